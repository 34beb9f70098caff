"""What the long search does, in which order.

The worlds are those of the tests, in `searches.worlds`. The tests run searches of seconds; this
plan has those of minutes and hours.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

from searches.asyncio_calls import asyncio_as_completed, asyncio_gather, asyncio_task_group
from searches.counted import World
from searches.worlds import as_completed, first_n, gather
from simloop.behaviours import cleans_up_slowly, fails, ignores_one_cancellation, returns
from simloop.calls import breaks, first, stream
from simloop.every_schedule import (
    ANYTHING,
    LEAKS,
    OF_A_TIMEOUT_AROUND_A_BODY,
    OF_ADOPTION,
    OF_AN_EAGER_STEP,
    THREE,
    world_of,
)
from simloop.loop import Mode
from simloop.random_programs import judge_random
from simloop.run import Program
from simloop.worlds import Behaviour, Call
from structgather import gather_structured

THREE_CHILDREN = "three children"
MODES: list[Mode] = ["fifo", "racy"]
EAGER_TASKS = sys.version_info >= (3, 12)


@dataclass(frozen=True)
class Search:
    """One world, searched in one way."""

    call: str  # its name in the table
    world: str
    program: Program
    mode: Mode = "fifo"
    cancels: int = 0  # of the outer task, at most
    eager: bool = False
    but: frozenset[str] = frozenset()  # oracles that do not judge it
    ours: bool = True  # whether a violation is a failure

    @cached_property
    def key(self) -> str:
        """Its name in the state."""
        start = "eager" if self.eager else "lazy"
        return f"{self.call}, {self.world}, {self.mode}, {self.cancels} cancels, {start}"


@dataclass(frozen=True)
class Sample(Search):
    """The same with random schedules."""

    @cached_property
    def key(self) -> str:
        """Its name in the state."""
        return f"{super().key}, sampled"


@dataclass(frozen=True)
class Programs:
    """Random programs, one for each seed: `judge` raises an AssertionError if one is wrong."""

    key: str
    judge: Callable[[int], object]
    ours: bool = field(default=True, init=False)


Item = Search | Programs
Plan = list[Item]


@dataclass(frozen=True)
class Row:
    """A call of the table."""

    name: str
    call: Call
    racing: Literal["seconds", "minutes", "hours"] = "seconds"  # how long its racy searches take
    ours: bool = True
    deadline: float | None = None
    child_deadline: float | None = None

    def search(self, mode: Mode, cancels: int) -> Search:
        """Search the three children under this call."""
        program = world_of(
            self.call, THREE, deadline=self.deadline, child_deadline=self.child_deadline
        )
        # What asyncio leaves to the garbage collector is not compared.
        but = frozenset[str]() if self.ours else LEAKS
        return Search(self.name, THREE_CHILDREN, program, mode, cancels, but=but, ours=self.ours)


ROWS = [
    Row("`asyncio.gather`", asyncio_gather, "minutes", ours=False),
    Row("`asyncio.TaskGroup`", asyncio_task_group, "minutes", ours=False),
    Row("`asyncio.as_completed`", asyncio_as_completed, "hours", ours=False),
    Row(
        "`asyncio.as_completed`, left early",
        partial(asyncio_as_completed, breaks=True),
        "hours",
        ours=False,
    ),
    Row("`gather_structured`", gather_structured),
    Row("`gather_structured(return_exceptions=True)`", gather.return_exceptions),
    Row("`gather_structured(limit=2)`", gather.limit_2),
    Row("`gather_structured(child_timeout=1)`", gather.child_timeout, "hours", child_deadline=1),
    Row("`first_n_within(n=2)`", partial(first, n=2)),
    Row("`first_n_within(n=2, within=1)`", partial(first, n=2, within=1), "hours", deadline=1),
    Row("`as_completed_scoped`", stream, "minutes"),
    Row("`as_completed_scoped`, left early", partial(stream, body=breaks)),
    Row("`as_completed_scoped(timeout=1)`", partial(stream, timeout=1), "hours", deadline=1),
]

# Worlds that are too large for the tests.
FOUR: dict[str, Behaviour] = THREE | {"d": ignores_one_cancellation(points=2)}
FIVE: dict[str, Behaviour] = {
    "a": returns(points=2),
    "b": fails(points=3),
    "c": cleans_up_slowly(points=2),
    "d": ignores_one_cancellation(points=3),
    "e": gather.CROWD["c"],
}
CROWDS: list[tuple[str, Call, dict[str, Behaviour]]] = [
    ("gather_structured", gather_structured, gather.CROWD),
    ("gather_structured(limit=2)", gather.limit_2, gather.CROWD),
    ("first_n_within", first, first_n.CROWD),
    ("first_n_within(n=3, limit=2)", partial(first, n=3, limit=2), first_n.CROWD),
    ("as_completed_scoped", as_completed.in_crowd, as_completed.CROWD),
    ("as_completed_scoped(limit=2)", partial(as_completed.in_crowd, limit=2), as_completed.CROWD),
]
# A child's time counts from its start, before its first step.
OF_RACING = frozenset({"no_timeout_too_early"})


def fifo() -> Plan:
    """The three children in mode `fifo`, with up to 2 cancellations."""
    return [row.search("fifo", 2) for row in ROWS]


def racing(cancels: int, *times: str) -> Plan:
    """The three children in mode `racy`."""
    return [row.search("racy", cancels) for row in ROWS if row.racing in times]


def pairs() -> Iterator[Item]:
    """Every pair of behaviours in mode `racy`."""
    for row in ROWS:
        if not row.ours:
            continue
        for one in ANYTHING:
            for other in ANYTHING:
                children = {"a": ANYTHING[one], "b": ANYTHING[other]}
                program = world_of(
                    row.call, children, deadline=row.deadline, child_deadline=row.child_deadline
                )
                name = f"every pair of behaviours: {one} and {other}"
                yield Search(row.name, name, program, "racy", 1, but=OF_RACING)


def four() -> Iterator[Item]:
    """Four children."""
    for row in ROWS:
        if row.ours:
            program = world_of(
                row.call, FOUR, deadline=row.deadline, child_deadline=row.child_deadline
            )
            cancels = 1 if row.racing == "hours" else 2
            yield Search(row.name, "four children", program, "fifo", cancels)


def samples() -> Iterator[Item]:
    """Every world of the tests and larger ones, with up to three cancellations."""
    worlds: list[tuple[str, World]] = [
        *(("gather_structured", each) for each in gather.WORLDS),
        *(("first_n_within", each) for each in first_n.WORLDS),
        *(("as_completed_scoped", each) for each in as_completed.WORLDS),
    ]
    for function, each in worlds:
        but = each.excused | OF_ADOPTION if "adopted" in each.name else each.excused
        # In mode `racy` its body may call `add` too late, which raises.
        modes: list[Mode] = ["fifo"] if each.name == "adds timeout" else MODES
        yield from _sampled(function, each.name, each.program(), but, modes)
    for row in ROWS:
        if row.ours:
            program = world_of(
                row.call, FIVE, deadline=row.deadline, child_deadline=row.child_deadline
            )
            yield from _sampled(row.name, "five children", program, frozenset(), MODES)
    for name, call, crowd in CROWDS:
        but = OF_A_TIMEOUT_AROUND_A_BODY
        yield from _sampled(name, "a crowd", world_of(call, crowd), but, ["fifo"])
        # The timeout around one of them may expire too late to cancel it, and raise all the same.
        smaller = {label: behaviour for label, behaviour in crowd.items() if label != "e"}
        yield from _sampled(name, "a smaller crowd", world_of(call, smaller), but, MODES)


def _sampled(
    call: str, name: str, program: Program, but: frozenset[str], modes: list[Mode]
) -> Iterator[Item]:
    for eager in (False, True) if EAGER_TASKS else (False,):
        excused = but | (OF_AN_EAGER_STEP if eager else frozenset[str]())
        for mode in modes:
            also = OF_RACING if mode == "racy" else frozenset[str]()
            yield Sample(call, name, program, mode, 3, eager=eager, but=excused | also)


def programs() -> Plan:
    """Random programs: trees of nested scopes."""
    return [Programs("random programs", judge_random)]


def quick() -> Plan:
    """A minute."""
    return [*fifo(), *racing(0, "seconds")]


def long() -> Plan:
    """Everything, with the longest enumerations at the end."""
    return [
        *fifo(),
        *programs(),
        *samples(),
        *pairs(),
        *four(),
        *racing(1, "seconds", "minutes"),
        *racing(0, "hours"),
    ]


def endless() -> Plan:
    """The long plan, and searches of hours."""
    return [*long(), *racing(2, "seconds", "minutes"), *racing(1, "hours")]


def load(name: str) -> Plan:
    """Load a plan by its name in this module, or by `module:name`."""
    module, _, function = name.rpartition(":")
    return list(getattr(importlib.import_module(module or __name__), function)())
