"""Searches whose numbers of schedules are asserted.

A search runs every schedule of a world and judges each run by every oracle. The number of schedules
is asserted as well: a search that became smaller has lost cases, one that became larger has
unexpected choices. The numbers are the same on all Pythons, but for eager Tasks, where there may be
more from 3.14 on. `schedules.toml` has them, one line per search: the schedules with at most 0, 1,
... cancellations of the caller.

    python tests/searches --renew "gather.*racing"    run the searches whose names match, and write
                                                      what they count into schedules.toml

Searches are in the default run of the tests, or `exhaustive`:

    schedules   with at most one cancellation, of smaller children where that takes too long, and
                with eager tasks without a cancellation; exhaustive with two, eager with one
    racing      without a cancellation; exhaustive with one or two
    pairs       every behaviour of a child beside every behaviour of its sibling, without a
                cancellation; exhaustive with one, and with eager tasks
    sweep       of a larger call: a cancellation at every step; exhaustive at every two steps
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from simloop.choosers import explore, sweep
from simloop.every_schedule import ANYTHING, OF_AN_EAGER_STEP, THREE, judge, world_of
from simloop.loop import Mode
from simloop.run import Program, Run
from simloop.worlds import Behaviour, Call

TABLE = Path(__file__).with_name("schedules.toml")
HEADING = """\
# How many schedules each search visits, with at most 0, 1, ... cancellations of the caller.
# `python tests/searches --renew` writes this file.
"""

Children = Mapping[str, Behaviour]
Table = dict[tuple[str, str], list[int]]


class World(NamedTuple):
    """A call under test and its children."""

    name: str
    call: Call
    children: Children = THREE
    deadline: float | None = None
    child_deadline: float | None = None
    excused: frozenset[str] = frozenset()  # oracles that do not judge it
    smaller: Children | None = None  # the children of the default run, if all take too long
    cancels: int = 2  # at most this many in the exhaustive search

    def program(self, children: Children | None = None) -> Program:
        """The world as a program, with other children if they are given."""
        return world_of(
            self.call,
            dict(self.children if children is None else children),
            deadline=self.deadline,
            child_deadline=self.child_deadline,
        )

    def judge(self, run: Run) -> None:
        """Ask the oracles about one run."""
        judge(run, self.excused)


class Search(NamedTuple):
    """One line of the table, and the function that counts its schedules."""

    function: str
    name: str
    run: Callable[[], list[int]]
    eager: bool = False
    exhaustive: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Its key in the table."""
        return self.function, self.name

    def __str__(self) -> str:
        """Its name in test ids, and for `--renew`."""
        return f"{self.function}: {self.name}"

    def check(self) -> None:
        """Judge every schedule, and compare their number with the table."""
        counts, expected = self.run(), table().get(self.key, [])
        if self.eager and sys.version_info >= (3, 14):
            # Its TaskGroup has a callback also for a Task that finishes eagerly: one more boundary.
            expected = [max(pair) for pair in zip(counts, expected, strict=True)]
        assert counts == expected, f"if this is right: --renew '^{self}$'"


def read() -> Table:
    """Read the table."""
    functions = tomllib.loads(TABLE.read_text("utf-8"))
    return {(fn, name): counts for fn, names in functions.items() for name, counts in names.items()}


table = cache(read)


def write(counts: Table) -> None:
    """Write the table anew."""
    lines = [HEADING]
    for function, entries in groupby(counts.items(), lambda entry: entry[0][0]):
        lines.append(f"[{function}]")
        lines += [f"{json.dumps(name)} = {json.dumps(found)}" for (_, name), found in entries]
        lines.append("")
    TABLE.write_text("\n".join(lines), "utf-8")


def count(
    program: Program,
    check: Callable[[Run], object] = judge,
    *,
    cancels: int = 0,
    mode: Mode = "fifo",
    eager: bool = False,
) -> list[int]:
    """Judge every schedule; return how many there are with at most 0, 1, ... cancellations."""
    found = [0] * (cancels + 1)
    for run in explore(program, cancels=cancels, mode=mode, eager=eager):
        check(run)
        for most in range(len(run.cancel_steps), cancels + 1):
            found[most] += 1
    return found


def schedules(function: str, worlds: Iterable[World]) -> Iterator[Search]:
    """Every schedule in mode `fifo`, with lazy and with eager tasks."""
    for world in worlds:
        for eager in (False, True):
            name = world.name + (", eager" if eager else "")

            def some(world: World = world, *, eager: bool = eager) -> list[int]:
                program = world.program(world.smaller)
                return count(program, world.judge, cancels=0 if eager else 1, eager=eager)

            def every(world: World = world, *, eager: bool = eager) -> list[int]:
                cancels = min(world.cancels, 1) if eager else world.cancels
                return count(world.program(), world.judge, cancels=cancels, eager=eager)

            yield Search(function, name, some, eager)
            if eager or world.smaller is not None or world.cancels > 1:
                yield Search(function, f"{name}, exhaustive", every, eager, exhaustive=True)


def racing(function: str, worlds: Iterable[World]) -> Iterator[Search]:
    """Every schedule in mode `racy`."""
    for world in worlds:

        def some(world: World = world) -> list[int]:
            return count(world.program(world.smaller), world.judge, mode="racy")

        def every(world: World = world) -> list[int]:
            return count(world.program(), world.judge, cancels=world.cancels, mode="racy")

        name = f"racing, {world.name}"
        yield Search(function, name, some)
        if world.smaller is not None or world.cancels:
            yield Search(function, f"{name}, exhaustive", every, exhaustive=True)


def pairs(function: str, calls: Mapping[str, Call]) -> Iterator[Search]:
    """Every behaviour of a child beside every behaviour of its sibling."""
    for name, call in calls.items():
        for eager in (False, True):

            def some(call: Call = call) -> list[int]:
                return count_pairs(call, cancels=0, eager=False)

            def every(call: Call = call, *, eager: bool = eager) -> list[int]:
                return count_pairs(call, cancels=1, eager=eager)

            if not eager:
                yield Search(function, f"pairs, {name}", some)
            full = f"pairs, {name}{', eager' if eager else ''}, exhaustive"
            yield Search(function, full, every, eager, exhaustive=True)


def count_pairs(call: Call, *, cancels: int, eager: bool) -> list[int]:
    """Judge every schedule of every pair of behaviours, and count them."""
    # An interrupt in an eager first step leaves the call that creates the task, not the loop.
    names = [name for name in ANYTHING if not (eager and name == "exits_at_once")]
    found = [0] * (cancels + 1)
    for one in names:
        for other in names:
            program = world_of(call, {"a": ANYTHING[one], "b": ANYTHING[other]})
            check = partial(judge, excused=OF_AN_EAGER_STEP if eager else ())
            numbers = count(program, check, cancels=cancels, eager=eager)
            found = [total + number for total, number in zip(found, numbers, strict=True)]
    return found


def sweeps(function: str, worlds: Iterable[World]) -> Iterator[Search]:
    """A cancellation at every step of a larger call that otherwise runs as under asyncio."""
    for world in worlds:
        for cancels in (1, 2):

            def at_every_step(world: World = world, cancels: int = cancels) -> list[int]:
                found = 0
                for run in sweep(world.program(), cancels=cancels):
                    judge(run, world.excused)
                    found += 1
                return [found]

            name = f"sweep, {world.name}{', exhaustive' if cancels > 1 else ''}"
            yield Search(function, name, at_every_step, exhaustive=cancels > 1)
