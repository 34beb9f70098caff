"""The long search: every schedule of small worlds, samples of bigger ones, and random programs.

    python tests/searches                  a minute: the three children, as Markdown
    python tests/searches long --jobs 2    hours: everything; resumes where it was stopped
    python tests/searches long --publish   write the results of all Pythons into tests/README.md
    python tests/searches --renew          update schedules.toml, which the tests assert

It runs on the Python that starts it. Counts belong to a version of the package and are dropped when
it changes. The exit code is 1 if a promise is broken; the output shows how to repeat the violation.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from searches.campaign import Budget, Campaign
from searches.plan import load
from searches.renewing import renew
from searches.report import publish, report, totals
from searches.state import FOLDER, State, open_state

README = Path(__file__).parents[1] / "README.md"


def say(line: str) -> None:
    """Print failures and progress to stderr, apart from the tables."""
    print(line, file=sys.stderr, flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("plan", nargs="?", default="quick", help="quick, long, endless, or module:function")
    add("--schedules", type=int, default=2_000_000, help="random schedules in all (2,000,000)")
    add("--programs", type=int, default=100_000, help="random programs in all (100,000)")
    add("--minutes", type=float, help="stop after so many minutes; the next run resumes")
    add("--jobs", type=int, default=1, help="processes (1)")
    add("--state", type=Path, help="the file to resume from (.search_cache has one per Python)")
    add("--publish", action="store_true", help="search nothing; write the README's figures")
    add("--renew", nargs="?", const="", metavar="REGEX", help="only those whose names match")
    add("--readme", type=Path, default=README, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.publish:
        return publish_all(options)
    if options.renew is not None:
        return renew(options.renew, options.jobs, say)
    path = options.state
    if path is None and options.plan != "quick":
        path = FOLDER / "{}.{}.json".format(*sys.version_info)
    state, news = open_state(path) if path else (State.new(), "")
    if news:
        say(news)
    budget = Budget(options.schedules, options.programs, options.minutes)
    campaign = Campaign(options.plan, state, budget, path, options.jobs, say)

    def stop(number: int, _frame: object) -> None:
        say("stopping: finishing and saving what has begun")
        campaign.stopping = True
        signal.signal(number, signal.SIG_DFL)  # a second signal kills

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    say(f"{len(campaign.items)} searches")
    try:
        campaign.go()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    print(report(campaign.items, [state]))
    left = sum(not campaign.is_done(item) for item in campaign.items)
    if left:
        say(f"{left} searches are not done: start it again to resume")
    return 1 if totals(campaign.items, state)[2] else 0


def publish_all(options: argparse.Namespace) -> int:
    """Write the figures of all Pythons for this version of the package into the README."""
    paths = [options.state] if options.state else sorted(FOLDER.glob("*.json"))
    now, states = State.new(), list[State]()
    for path in paths:
        state = State.load(path)
        now.python = state.python
        if change := state.differs(now):
            say(f"{change}: the counts in {path.name} are left out")
        else:
            states.append(state)
    if not states:
        say("there is nothing to publish")
        return 2
    text = report(load(options.plan), states)
    options.readme.write_text(publish(options.readme.read_text("utf-8"), text), "utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
