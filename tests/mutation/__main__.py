"""Mutation testing: the package is changed in one place, and some test must fail.

    python tests/mutation                     hours: every mutant of the calls, a sample of the rest
    python tests/mutation _gate.py _scope.py  these modules
    python tests/mutation --report            try nothing; print the known results

It can be stopped at any time, and resumes from .mutation_cache. A mutant that was
killed is not tried again until its function changes; one that survived, until a test changes. The
exit code is 1 if one survives that equivalent.toml does not explain, or if that file explains one
that does not exist.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent)]

from mutation.campaign import Campaign  # noqa: E402 - run as a script, it finds the package first


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("modules", nargs="*", help="modules of the package (all that plan.toml names)")
    add("--jobs", type=int, default=1, help="trials at once (1)")
    add("--report", action="store_true", help="try nothing; print what is known")
    add("--survivors", action="store_true", help="only what has survived before")
    add("--match", default="", help="only mutants whose description contains this")
    add("--stages", type=int, default=9, help="only so many stages of tests for each (all)")
    options = parser.parse_args()
    campaign = Campaign(options.modules, options.match, options.stages)
    if not options.report:
        campaign.run(options.jobs, survivors=options.survivors)
    print(campaign.report())  # noqa: T201 - what it is for
    return 1 if campaign.unexplained() or campaign.stale() else 0


if __name__ == "__main__":
    sys.exit(main())
