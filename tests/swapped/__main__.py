"""Run a project's own tests with `gather_structured` in place of `asyncio.gather`, and compare.

    python tests/swapped CHECKOUT --python VENV/bin/python [--timeout SECONDS] [-- PYTEST ARGUMENTS]

The project's pytest runs twice in the checkout, with the interpreter of its environment: once as it
is, once with gather swapped by a plugin. Nothing is installed or changed. The exit code is 1 if a
test fails with `gather_structured` only, or did not finish; 2 if the runs can't be compared.
"""

# ruff: noqa: T201 - it prints what it found

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).parent


class Run:
    """What the plugin wrote about one run, and what pytest printed."""

    def __init__(self, lines: Iterable[str], output: str) -> None:
        self.output = output
        self.passed: set[str] = set()  # or skipped
        self.failed: dict[str, str] = {}  # with the first line of the error
        self.running: dict[str, None] = {}
        self.calls = Counter[str]()
        for line in lines:
            event, test, text = json.loads(line)
            if event == "started":
                self.running[test] = None
            elif event == "finished":
                self.running.pop(test, None)
            elif event == "failed":
                self.failed.setdefault(test, text)
            elif event in {"passed", "skipped"}:
                self.passed.add(test)
            elif event in {"awaited", "kept"}:
                self.calls[event] += int(text)
        self.passed -= self.failed.keys() | self.running.keys()


def extended(variable: str, separator: str, *values: str) -> str:
    """Put values before those that an environment variable has."""
    return separator.join([*values, *filter(None, [os.environ.get(variable)])])


def run(options: argparse.Namespace, plugins: Sequence[str]) -> Run:
    """Run the project's tests with some of our plugins."""
    with tempfile.TemporaryDirectory() as folder:
        report, output = Path(folder, "report"), Path(folder, "output")
        report.touch()
        environment = {
            **os.environ,
            "PYTHONPATH": extended("PYTHONPATH", os.pathsep, str(HERE)),
            # For the workers of pytest-xdist; -p comes before the plugins of the environment.
            "PYTEST_PLUGINS": extended("PYTEST_PLUGINS", ",", *plugins),
            "SWAPPED_REPORT": str(report),
        }
        named = [argument for plugin in plugins for argument in ("-p", plugin)]
        command = [options.python, "-m", "pytest", *named, *options.arguments]
        killed = False
        with output.open("w") as file:
            try:
                subprocess.run(  # noqa: S603 - what the user asks for
                    command,
                    cwd=options.checkout,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=options.timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                killed = True
        lines = report.read_text("utf-8").splitlines()
        found = Run(lines, output.read_text("utf-8", "replace"))
        if killed and not found.running:
            found.running["no test, but pytest itself"] = None
        return found


def compare(before: Run, after: Run) -> bool:
    """Print what differs, and return whether any test suffers from `gather_structured`."""
    worse = {test: text for test, text in after.failed.items() if test not in before.failed}
    not_run = before.passed - after.passed - after.failed.keys() - after.running.keys()
    if not after.running:  # which would have been counted at the end
        awaited, kept = after.calls["awaited"], after.calls["kept"]
        print(f"gather was called {awaited + kept} times: {awaited} calls awaited, {kept} kept")
    print(f"{len(before.passed & after.passed):6} passed or skipped in both")
    print(f"{len(before.failed.keys() & after.failed.keys()):6} failed in both")
    print(f"{len(before.failed.keys() & after.passed):6} failed only with asyncio.gather")
    print(f"{len(worse):6} failed only with gather_structured")
    for test, text in worse.items():
        print(f"       {test}\n           {text}")
    print(f"{len(after.running):6} did not finish with gather_structured")
    for test in after.running:
        print(f"       {test}")
    if not_run:
        print(
            f"{len(not_run):6} passed with asyncio.gather, and did not run with gather_structured"
        )
    return bool(worse or after.running or not_run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both, print, return the exit code."""
    parser = argparse.ArgumentParser(
        "python tests/swapped", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("checkout", type=Path, help="the folder of the project")
    parser.add_argument(
        "--python", default=sys.executable, help="of the environment of the project"
    )
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for each of the runs")
    # Python before 3.13 doesn't take a "--" that stands behind an option.
    given = list(sys.argv[1:] if arguments is None else arguments)
    at = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:at])
    options.arguments = given[at + 1 :]
    python = shutil.which(str(options.python))
    if python is None:
        parser.error(f"there is no interpreter {options.python}")
    # Relative to here, not to the checkout. A link is kept: it belongs to the environment.
    options.python = os.path.abspath(python)  # noqa: PTH100
    before = run(options, ["swapped_report"])
    if before.running:
        print("These did not finish with asyncio.gather:", *before.running, sep="\n    ")
        return 2
    after = run(options, ["swapped_report", "swapped_gather"])
    for side, name in (before, "asyncio.gather"), (after, "gather_structured"):
        if not (side.passed or side.failed or side.running):
            print(side.output, f"No test ran with {name}.", sep="\n")
            return 2
    return int(compare(before, after))


if __name__ == "__main__":
    sys.exit(main())
