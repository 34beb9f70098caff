"""Worlds under `gather_structured`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import ref

import pytest

from searches.counted import World, pairs, racing, schedules, sweeps
from simloop.base_loop import LoopTask
from simloop.behaviours import (
    cancels_itself,
    cleans_up_slowly,
    fails,
    fails_in_cleanup,
    ignores_one_cancellation,
    nests,
    returns_while_cancelled,
    sleeps,
)
from simloop.every_schedule import (
    LEAKS,
    OF_A_TIMEOUT_AROUND_A_BODY,
    SMALL,
    THREE,
    in_a_timeout,
)
from simloop.loop import current, point
from simloop.worlds import Behaviour, Call, Child
from structgather import gather_structured

Coro = Coroutine[Any, Any, Any]

TWO: dict[str, Behaviour] = {"a": fails(), "b": cleans_up_slowly()}
NESTED: dict[str, Behaviour] = {"a": nests(gather_structured, **THREE), "b": fails()}
NESTED_SMALL: dict[str, Behaviour] = {"a": nests(gather_structured, **TWO), "b": fails()}

# Calls: gather_structured with something around it, or with adopted arguments.

return_exceptions = partial(gather_structured, return_exceptions=True)
exception_group = partial(gather_structured, exception_group=True)
limit_1 = partial(gather_structured, limit=1)
limit_2 = partial(gather_structured, limit=2)
child_timeout = partial(gather_structured, child_timeout=1)


async def adopts(*coroutines: Coro) -> Any:
    """Children are Tasks of the caller."""
    return await gather_structured(*map(asyncio.create_task, coroutines))


async def adopts_with_child_timeout(*coroutines: Coro) -> Any:
    """Children are Tasks of the caller, each with a timeout."""
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
    """Each child is in a call of its own; all these calls, and the outer one, adopt one Task."""
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


def with_factory(factory: Any, call: Call) -> Call:
    """Make the call on a loop that has a task factory."""

    async def around(*coroutines: Coro) -> Any:
        loop = current()
        before = loop.get_task_factory()
        loop.set_task_factory(factory)
        try:
            return await call(*coroutines)
        finally:
            loop.set_task_factory(before)

    return around


def wraps(loop: Any, coroutine: Coro, **options: Any) -> LoopTask[Any]:
    """Run each child in another coroutine, as tracers do."""

    async def traced(coroutine: Coro) -> Any:
        return await coroutine

    return LoopTask(traced(coroutine), loop=loop, **options)


def delays(loop: Any, coroutine: Coro, **options: Any) -> LoopTask[Any]:
    """Run each child in another coroutine, which yields to the loop before and after."""

    async def traced(coroutine: Coro) -> Any:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            coroutine.close()
            raise
        value = await coroutine
        await asyncio.sleep(0)
        return value

    return LoopTask(traced(coroutine), loop=loop, **options)


# A reference that is not weak would be a cycle.
caller: ContextVar[Callable[[], asyncio.Task[Any] | None]] = ContextVar("caller")


async def known_to_children(*coroutines: Coro) -> Any:
    """The children know the calling Task."""
    task = asyncio.current_task()
    assert task is not None
    token = caller.set(ref(task))
    try:
        del task
        return await gather_structured(*coroutines)
    finally:
        caller.reset(token)


def joins_the_caller(points: int = 1) -> Behaviour:
    """Tries to join the Task that waits for it, which is refused before anything starts."""

    async def behave(child: Child) -> str:
        await child.points(points)
        refused = ""
        try:
            await gather_structured(never_started(), caller.get()())  # type: ignore[arg-type]
        except RuntimeError as error:
            refused = str(error)
        assert "child 1 is an ancestor of the calling task" in refused
        return child.label

    return behave


async def never_started() -> None:
    pytest.fail("it was started")


ANCESTOR: dict[str, Behaviour] = {"a": joins_the_caller(), "b": cleans_up_slowly()}
NESTED_ANCESTOR: dict[str, Behaviour] = {
    "a": nests(gather_structured, x=joins_the_caller(), y=cleans_up_slowly()),
    "b": fails(points=2),
}

# The faults of a TaskGroup alone, shown in `simloop/test_finds_wrong_gathers.py`.
OF_THE_GROUP = frozenset[str](
    {
        *({"outer_cancel_surfaces", "cancelling_balanced"} if sys.version_info < (3, 13) else ()),
        *(LEAKS if sys.version_info < (3, 14) else ()),
    }
)


# fmt: off
WORLDS = [
    World("plain", gather_structured),
    World("return_exceptions", return_exceptions, smaller=SMALL),
    World("exception_group", exception_group, smaller=SMALL),
    World("limit=1", limit_1),
    World("limit=2", limit_2),
    World("child_timeout", child_timeout, child_deadline=1, smaller=SMALL),
    World("adopts", adopts, smaller=SMALL),
    World("adopts, child_timeout", adopts_with_child_timeout, TWO, child_deadline=1),
    World("twice_each", twice_each, smaller=SMALL),
    World("adopts_a_future", adopts_a_future, smaller=SMALL, cancels=1),
    World("shares_a_task", shares_a_task, smaller=TWO, cancels=1),
    World("in_a_timeout", in_a_timeout(gather_structured), deadline=1, smaller=SMALL,
          excused=OF_A_TIMEOUT_AROUND_A_BODY),
    World("in_a_group", in_a_group, smaller=SMALL, excused=OF_THE_GROUP),
    World("in_a_cleanup", in_a_cleanup, smaller=SMALL),
    World("nested", gather_structured, NESTED, smaller=NESTED_SMALL),
    World("ancestor", known_to_children, ANCESTOR),
    World("ancestor, nested", known_to_children, NESTED_ANCESTOR, cancels=1),
    World("factory wraps", with_factory(wraps, gather_structured), smaller=SMALL),
    World("factory delays", with_factory(delays, gather_structured), smaller=SMALL),
]
# Events that race.
RACING = [
    World("three children", gather_structured, smaller=SMALL, cancels=0),
    World("limit=2", limit_2, smaller=SMALL, cancels=0),
    World("child_timeout", child_timeout, TWO, cancels=0),
    World("two children", gather_structured, TWO),
]
# fmt: on
PAIRS: dict[str, Call] = {
    "plain": gather_structured,
    "return_exceptions": return_exceptions,
    "child_timeout": child_timeout,
}


CROWD: dict[str, Behaviour] = {
    "a": nests(limit_1, x=sleeps(1), y=cleans_up_slowly(points=2)),
    "b": ignores_one_cancellation(points=3),
    "c": nests(return_exceptions, x=fails(), y=cancels_itself(), z=fails_in_cleanup()),
    "d": returns_while_cancelled(points=3),
    "e": nests(in_a_timeout(gather_structured), x=cleans_up_slowly(points=2)),
    "f": cleans_up_slowly(points=2),
    "g": fails(points=4),
}


SWEEPS = [
    World("plain", gather_structured, CROWD),
    World("return_exceptions", return_exceptions, CROWD),
    World("limit=2", limit_2, CROWD),
    World("child_timeout", child_timeout, CROWD),
    World("adopts", adopts, CROWD),
]

SEARCHES = [
    *schedules("gather_structured", WORLDS),
    *racing("gather_structured", RACING),
    *pairs("gather_structured", PAIRS),
    *sweeps("gather_structured", SWEEPS),
]
