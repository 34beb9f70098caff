"""Every schedule of small worlds, with outer cancellations, judged by every oracle.

`SEARCHES` says how many schedules each world has with at most 0, 1 and 2 outer cancellations. The
numbers are asserted: a search that got smaller has lost something, one that grew has found choices
that nobody had thought of. They are the same on all Pythons.

Each callback that a call asks of the loop is a boundary more, before which a cancellation may come
or, in mode racy, anything: one that a call does not need any more makes its searches smaller, and
by no other choice. `core/test_callbacks_per_call.py` counts the callbacks themselves.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple, Unpack

import pytest

from simloop.behaviours import (
    cancels_itself,
    cleans_up_slowly,
    exits,
    fails,
    fails_at_once,
    fails_in_cleanup,
    ignores_one_cancellation,
    nests,
    returns,
    returns_at_once,
    returns_while_cancelled,
    sleeps,
)
from simloop.choosers import explore, sweep
from simloop.every_schedule import (
    LEAKS,
    OF_A_TIMEOUT_AROUND_A_BODY,
    OF_AN_EAGER_STEP,
    OF_AN_INTERRUPT,
    THREE,
    either_start,
)
from simloop.loop import current, point
from simloop.oracles import ORACLES
from simloop.run import Options, Program, Run
from simloop.worlds import Behaviour, Call, world
from structgather import gather_structured

Coro = Coroutine[Any, Any, Any]

TWO: dict[str, Behaviour] = {"a": fails(), "b": cleans_up_slowly()}
NESTED: dict[str, Behaviour] = {"a": nests(gather_structured, **THREE), "b": fails()}

# Calls: gather_structured, and what stands around it or is handed to it.

return_exceptions = partial(gather_structured, return_exceptions=True)
exception_group = partial(gather_structured, exception_group=True)
limit_1 = partial(gather_structured, limit=1)
limit_2 = partial(gather_structured, limit=2)
child_timeout = partial(gather_structured, child_timeout=1)


async def adopts(*coroutines: Coro) -> Any:
    """Children are Tasks of the caller's, and are owned as if they were the call's."""
    return await gather_structured(*map(asyncio.create_task, coroutines))


async def adopts_the_late(*coroutines: Coro) -> Any:
    """Children are Tasks of the caller's, each with a time of its own."""
    return await gather_structured(*map(asyncio.create_task, coroutines), child_timeout=1)


async def twice_each(*coroutines: Coro) -> Any:
    """Each child fills two places: the first one as a Task, the others as coroutines."""
    children = [asyncio.create_task(coroutines[0]), *coroutines[1:]]
    values = await gather_structured(*children, *children)
    assert values[: len(children)] == values[len(children) :]
    return values[: len(children)]


async def adopts_a_future(*coroutines: Coro) -> Any:
    """A bare Future, which the outside completes, is a child as well."""
    future = point("future")
    try:
        return (await gather_structured(*coroutines, future))[:-1]
    finally:
        assert future.done()


async def shares_a_task(*coroutines: Coro) -> Any:
    """Each child is in a call of its own; all these calls, and the outer one, own one Task."""
    shared = asyncio.create_task(stay())
    calls = [
        gather_structured(coroutine, shared, return_exceptions=True) for coroutine in coroutines
    ]
    call = gather_structured(*calls, shared)
    del shared, calls
    return first_of_each((await call)[:-1])


def first_of_each(values: list[Any]) -> list[Any]:
    """The first item of each list, or raise the first exception among them."""
    firsts = [value[0] for value in values]
    try:
        for first in firsts:
            if isinstance(first, Exception):
                raise first
        return firsts
    finally:
        firsts, values, first = [], [], None  # no frame refers to the exception that refers to it


async def stay() -> None:
    await point("shared")


async def in_a_timeout(*coroutines: Coro) -> Any:
    """A timeout of the caller's around the call, which fires or doesn't, and is never lost."""
    timeout = asyncio.timeout(1)
    came = False
    try:
        async with timeout:
            return await gather_structured(*coroutines)
    except (TimeoutError, asyncio.CancelledError):
        came = True
        raise
    finally:
        assert came or not timeout.expired()
        del timeout  # it refers to the task


async def in_a_group(*coroutines: Coro) -> Any:
    """Each child is in a call of its own, in a Task of one TaskGroup."""
    calls: list[asyncio.Task[Any]] = []
    group = asyncio.TaskGroup()
    try:
        async with group:
            for coroutine in coroutines:
                calls.append(group.create_task(gather_structured(coroutine)))  # noqa: PERF401
        return [call.result()[0] for call in calls]
    finally:
        del group, calls  # both refer to tasks


async def in_a_cleanup(*coroutines: Coro) -> Any:
    """The usual cleanup: cancel all and gather them, in a `finally` that a cancellation may run."""
    tasks = [*map(asyncio.create_task, coroutines)]
    try:
        await asyncio.wait(tasks[:1])
    finally:
        for task, label in zip(tasks, "abc", strict=False):
            if task.cancel():
                current().log(label, "cancelled from outside")
        await gather_structured(*tasks, return_exceptions=True)


def of(call: Call, children: dict[str, Behaviour]) -> Program:
    return world(call, deadline=None, child_deadline=None, **children)


# What `simloop/test_finds_wrong_gathers.py` shows of a TaskGroup alone.
OF_THE_GROUP = frozenset[str](
    {
        *({"outer_cancel_surfaces", "cancelling_balanced"} if sys.version_info < (3, 13) else ()),
        *(LEAKS if sys.version_info < (3, 14) else ()),
    }
)


def judge(run: Run, but: Iterable[str] = ()) -> None:
    """Ask every oracle that has to do with the call under test."""
    excused = {*but, *(OF_AN_INTERRUPT if run.interrupts else ())}
    for oracle in ORACLES:
        if oracle.__name__ not in excused:
            oracle(run)


class Search(NamedTuple):
    """A world, and how many schedules it has with at most 0, 1, ... outer cancellations."""

    name: str
    call: Call
    counts: tuple[int, ...]
    eager: tuple[int, ...]  # the same with eager tasks, whose first steps leave no choice
    children: dict[str, Behaviour] = THREE
    deadline: float | None = None
    child_deadline: float | None = None
    but: frozenset[str] = frozenset()

    def program(self) -> Program:
        return world(
            self.call, deadline=self.deadline, child_deadline=self.child_deadline, **self.children
        )


# fmt: off
SEARCHES = [
    Search("plain", gather_structured, (155, 1174, 4854), (155, 1171)),
    Search("return_exceptions", return_exceptions, (210, 1723, 7083), (210, 1720)),
    Search("exception_group", exception_group, (155, 1174, 4854), (155, 1171)),
    Search("limit=1", limit_1, (1, 14, 48), (1, 12)),
    Search("limit=2", limit_2, (21, 172, 741), (21, 167)),
    Search("child_timeout", child_timeout, (344, 2721, 11769), (344, 2718), child_deadline=1),
    Search("adopts", adopts, (155, 1555, 8388), (155, 1552)),
    Search("adopts_the_late", adopts_the_late, (6, 60, 320), (6, 58), TWO, child_deadline=1),
    Search("twice_each", twice_each, (155, 1274, 5702), (155, 1271)),
    Search("adopts_a_future", adopts_a_future, (1077, 8003), (1077, 8000)),
    Search("shares_a_task", shares_a_task, (1680, 20297), (1680,)),
    Search("in_a_timeout", in_a_timeout, (370, 2744, 12335), (370, 2741), THREE, 1,
           but=OF_A_TIMEOUT_AROUND_A_BODY),
    Search("in_a_group", in_a_group, (155, 2060, 15052), (155, 2054), but=OF_THE_GROUP),
    Search("in_a_cleanup", in_a_cleanup, (155, 1545, 8596), (155, 1542)),
    Search("nested", gather_structured, (370, 3457, 19964), (370, 3452), NESTED),
]
# fmt: on


def count(program: Program, but: Iterable[str] = (), **options: Unpack[Options]) -> int:
    """Judge every schedule, and say how many there are."""
    found = 0
    for run in explore(program, **options):
        judge(run, but)
        found += 1
    return found


@either_start
@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.name)
def test_every_schedule(search: Search, *, eager: bool) -> None:
    """Every promise holds in every schedule, and there are as many schedules as ever."""
    expected = search.eager if eager else search.counts
    found = [
        count(search.program(), search.but, cancels=cancels, eager=eager)
        for cancels in range(len(expected))
    ]
    assert found == [*expected]


# Everything that a child can do, beside everything that its sibling can do.
ANYTHING: dict[str, Behaviour] = {
    "returns": returns(),
    "returns_at_once": returns_at_once(),
    "sleeps": sleeps(1),
    "fails": fails(),
    "fails_at_once": fails_at_once(),
    "exits": exits(),
    "cancels_itself": cancels_itself(),
    "cleans_up_slowly": cleans_up_slowly(),
    "fails_in_cleanup": fails_in_cleanup(),
    "ignores_one_cancellation": ignores_one_cancellation(),
    "returns_while_cancelled": returns_while_cancelled(),
    "nests": nests(gather_structured, x=fails(), y=cleans_up_slowly()),
}


@either_start
@pytest.mark.parametrize(
    ("call", "lazy_count", "eager_count"),
    [
        pytest.param(gather_structured, 4839, 4496, id="plain"),
        pytest.param(return_exceptions, 5398, 5058, id="return_exceptions"),
        pytest.param(child_timeout, 9860, 9517, id="child_timeout"),
    ],
)
def test_every_pair_of_behaviours(
    call: Call, lazy_count: int, eager_count: int, *, eager: bool
) -> None:
    """Whatever one child does and whatever its sibling does, with one outer cancellation."""
    found = sum(
        count(
            world(call, a=one, b=other),
            OF_AN_EAGER_STEP if eager else (),
            cancels=1,
            eager=eager,
        )
        for one in ANYTHING.values()
        for other in ANYTHING.values()
    )
    assert found == (eager_count if eager else lazy_count)


@pytest.mark.parametrize(
    ("program", "cancels", "expected"),
    [
        pytest.param(of(gather_structured, THREE), 0, 15938, id="three-children"),
        pytest.param(of(limit_2, THREE), 0, 368, id="limit=2"),
        pytest.param(of(child_timeout, TWO), 0, 222, id="child_timeout"),
        pytest.param(of(gather_structured, TWO), 2, 403, id="two-cancellations"),
    ],
)
def test_every_schedule_of_racing_events(program: Program, cancels: int, expected: int) -> None:
    """Every promise holds also where several things happen in one turn of the loop."""
    assert count(program, mode="racy", cancels=cancels) == expected


CROWD: dict[str, Behaviour] = {
    "a": nests(limit_1, x=sleeps(1), y=cleans_up_slowly(points=2)),
    "b": ignores_one_cancellation(points=3),
    "c": nests(return_exceptions, x=fails(), y=cancels_itself(), z=fails_in_cleanup()),
    "d": returns_while_cancelled(points=3),
    "e": nests(in_a_timeout, x=cleans_up_slowly(points=2)),
    "f": cleans_up_slowly(points=2),
    "g": fails(points=4),
}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param(gather_structured, 1072, id="plain"),
        pytest.param(return_exceptions, 1148, id="return_exceptions"),
        pytest.param(limit_2, 536, id="limit=2"),
        pytest.param(child_timeout, 1072, id="child_timeout"),
        pytest.param(adopts, 1498, id="adopts"),
    ],
)
def test_a_cancellation_at_every_step(call: Call, expected: int) -> None:
    """Cancelled at any step, or at any two, a larger call with calls in it keeps every promise."""
    found = 0
    for run in sweep(of(call, CROWD), cancels=2):
        judge(run)
        found += 1
    assert found == expected
