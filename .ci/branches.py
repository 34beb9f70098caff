#!/usr/bin/env python3
"""Measures which branches of the package no test takes.

    .ci/branches.py [PYTHON ...]

Each PYTHON, this one by default, is an interpreter that has the dependency group `proof`. Some
branches are there for some Pythons only: what several of them take is put together.

Left out is what takes no branch that the other tests don't: the searches of every schedule, which
take their time; tests/integrations, which need other people's packages and real time; the tests of
the benchmarks and of the pages. Exits with 1 if a test fails or a branch is left.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = [
    "searches/test_every_schedule.py",
    "integrations",
    "benchmarks",
    "repository/test_documentation.py",
]


def main(pythons: list[str]) -> int:
    """Run the tests on each interpreter, and report what is left by all of them."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"COVERAGE_FILE": str(Path(folder, "coverage"))}

        def coverage(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [python, "-m", "coverage", *arguments],
                cwd=ROOT,
                env=environment,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

        def tests(python: str) -> subprocess.CompletedProcess[str]:
            ignored = [f"--ignore-glob=tests/{name}" for name in LEFT_OUT]
            return coverage(python, "run", "-m", "pytest", "-q", "-p", "no:cacheprovider", *ignored)

        failed = False
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for python, done in zip(pythons, pool.map(tests, pythons), strict=True):
                lines = done.stdout.splitlines()
                print(f"{python}:", *(lines if done.returncode else lines[-1:]), sep="\n")
                failed = failed or done.returncode != 0
        coverage(pythons[-1], "combine")
        report = coverage(pythons[-1], "report")
    print(report.stdout)
    return 1 if failed or report.returncode else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [sys.executable]))
