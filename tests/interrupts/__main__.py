"""Interrupt every line: structgather, `asyncio.gather` and TaskGroup side by side, as Markdown.

    python tests/interrupts                        on this Python: a minute or two
    python tests/interrupts python3.11 python3.13  on these, in sequence
    python tests/interrupts --each                 one row for each scenario of structgather

A KeyboardInterrupt and a MemoryError are raised at line event 1, 2, 3, ... of

    structgather        the package
    asyncio.gather      its function in asyncio/tasks.py, and the user's code that calls it
    asyncio.TaskGroup   asyncio/taskgroups.py, and the user's code that calls it
    ... in TaskGroup    asyncio/taskgroups.py, while structgather uses it: C code, and callbacks of
                        the event loop, can't be interrupted

"cancel" raises nothing: the caller is cancelled between two lines, as by the signal handler of
`asyncio.run`. An orphan is a child that is not done when the call has returned; in brackets, those
at the first line of a context manager's `__aexit__`. "by itself" counts scenarios with orphans even
without an interrupt. A call hangs if it does not finish when its caller is cancelled, and waits if
it finishes only then. The exit code is 1 if structgather has other orphans than these, or hangs.
"""

from __future__ import annotations

import argparse
import logging
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent)]

from simloop.interrupts import (  # noqa: E402 - run as a script, it finds the package first
    Interrupt,
    Interrupted,
    Start,
    interrupts,
    lines_of,
)
from structgather import warn_stuck_after  # noqa: E402
from support.interrupt_scenarios import (  # noqa: E402
    SCENARIOS,
    UNPROTECTED,
    WITH_GATHER,
    WITH_GROUP,
    Scenario,
    is_of_asyncio,
    is_of_task_group,
    is_ours,
)

HEAD = """\
| Python | call | interrupt | scenarios | by itself | points | orphans | hangs | waits |
|---|---|---|---:|---:|---:|---:|---:|---:|"""

ERRORS: list[Interrupt] = ["KeyboardInterrupt", "MemoryError"]
STARTS: list[Start] = ["lazy", "plain"]
if sys.version_info >= (3, 12):
    STARTS.append("eager")


class Row:
    """The figures of some scenarios."""

    def __init__(self, call: str, interrupt: str) -> None:
        self.call = call
        self.interrupt = interrupt
        self.scenarios = self.by_itself = self.points = self.hangs = self.waits = 0
        self.orphans = self.unprotected = 0

    def add(self, runs: list[Interrupted], last: Interrupted) -> None:
        """Add the runs of one scenario, of which the last was not interrupted."""
        self.points += len(runs)
        self.by_itself += bool(last.orphans)
        self.hangs += sum(run.hangs for run in runs)
        self.waits += sum(run.idle and not run.hangs for run in runs)
        orphans = [run for run in runs if run.orphans or run.left]
        self.orphans += len(orphans)
        self.unprotected += sum(run.place == UNPROTECTED for run in orphans)

    def is_broken(self) -> bool:
        """Tell whether there is an orphan that code could prevent, or a call hangs."""
        return self.orphans > self.unprotected or self.hangs > 0

    def __str__(self) -> str:
        orphans = f"{self.orphans:,}"
        if self.unprotected:
            orphans = f"{self.orphans - self.unprotected:,} ({self.unprotected})"
        figures = [f"{figure:,}" for figure in (self.scenarios, self.by_itself, self.points)] + [
            orphans,
            f"{self.hangs:,}",
            f"{self.waits:,}",
        ]
        cells = [platform.python_version(), self.call, self.interrupt, *figures]
        return f"| {' | '.join(cells)} |"


def measure(
    call: str,
    scenarios: Iterable[Scenario],
    is_of_interest: Callable[[CodeType], bool],
    kinds: list[Interrupt] = ERRORS,
    starts: list[Start] = STARTS[:1],
) -> Row:
    """Interrupt every line of these scenarios."""
    row = Row(call, " and ".join(kinds))
    for scenario in scenarios:
        row.scenarios += 1
        for start in starts:
            for kind in kinds:
                lines = lines_of(is_of_interest)
                *runs, last = interrupts(scenario.program, kind, lines, start)
                row.add(runs, last)
    row.by_itself //= len(starts) * len(kinds)
    return row


def table(match: str) -> Iterable[tuple[Row, bool]]:
    """Yield the rows, each with whether it must be clean."""

    def some(scenarios: list[Scenario]) -> list[Scenario]:
        return [scenario for scenario in scenarios if match in scenario.name]

    names = {scenario.name for scenario in WITH_GATHER}
    same = [scenario for scenario in SCENARIOS if scenario.name in names]
    yield measure("structgather", some(SCENARIOS), is_ours, starts=STARTS), True
    yield measure("structgather", some(SCENARIOS), is_ours, ["cancel"], STARTS), True
    yield measure("structgather, in TaskGroup", some(SCENARIOS), is_of_task_group), False
    yield measure("`gather_structured`, as below", some(same), is_ours), True
    yield measure("`asyncio.gather`", some(WITH_GATHER), is_of_asyncio), False
    yield measure("`asyncio.TaskGroup`", some(WITH_GROUP), is_of_asyncio), False


def each(match: str) -> Iterable[tuple[Row, bool]]:
    """Yield a row for each scenario."""
    for scenario in SCENARIOS:
        if match in scenario.name:
            yield measure(scenario.name, [scenario], is_ours, starts=STARTS), True


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("pythons", nargs="*", help="interpreters to run it on (the one that starts it)")
    add("--each", action="store_true", help="a row for each scenario of structgather")
    add("--match", default="", help="only scenarios with this in their name")
    add("--rows", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    # Some scenarios are about the warning, which logging would print.
    logging.getLogger("structgather").addHandler(logging.NullHandler())
    if not options.rows:
        print(HEAD, flush=True)  # noqa: T201 - what it is for
    broken = False
    for python in options.pythons:
        command = [python, HERE, "--rows", "--match", options.match]
        command += ["--each"] * options.each
        broken |= subprocess.run(command, check=False).returncode != 0  # noqa: S603 - this script
    if not options.pythons:
        warn_stuck_after(None)
        for row, must_be_clean in (each if options.each else table)(options.match):
            print(row, flush=True)  # noqa: T201
            broken |= must_be_clean and row.is_broken()
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
