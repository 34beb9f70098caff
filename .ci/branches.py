#!/usr/bin/env python3
"""Measures which branches of the package no test takes.

    .ci/branches.py [PYTHON ...]

Each PYTHON, this one by default, is an interpreter that has the dependency group `proof`. Some
branches are there for some Pythons only: what several of them take is put together. The searches of
every schedule are left out: they take their time, and take no branch that the other tests don't.
Exits with 1 if a test fails or a branch is left.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ["test_*_every_schedule.py", "test_benchmarks.py", "test_documentation.py"]


def main(pythons: list[str]) -> int:
    """Run the tests on each interpreter, and report what is left by all of them."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"COVERAGE_FILE": str(Path(folder, "coverage"))}

        def coverage(python: str, *arguments: str) -> int:
            command = [python, "-m", "coverage", *arguments]
            return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode

        ignored = [f"--ignore-glob=*/{name}" for name in LEFT_OUT]
        tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *ignored]
        failed = [python for python in pythons if coverage(python, "run", *tests)]
        coverage(pythons[-1], "combine", "-q")
        left = coverage(pythons[-1], "report")
    for python in failed:
        print(f"The tests fail on {python}.")
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [sys.executable]))
