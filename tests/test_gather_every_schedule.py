"""Every schedule of small worlds, with outer cancellations, judged by every oracle.

`SEARCHES` says how many schedules each world has with at most 0, 1 and 2 outer cancellations. The
numbers are asserted: a search that got smaller has lost something, one that grew has found choices
that nobody had thought of. They are the same on all Pythons, save where the table says otherwise.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

import pytest

from harness.behaviours import (
    cancels_itself,
    cleans_up_slowly,
    exits,
    fails,
    fails_at_once,
    fails_in_cleanup,
    hangs,
    ignores_one_cancellation,
    nests,
    returns,
    returns_at_once,
    returns_while_cancelled,
    sleeps,
)
from harness.choosers import explore, sweep
from harness.loop import current, point
from harness.oracles import check_all
from harness.run import Program, Run
from harness.worlds import Behaviour, Call, world
from structgather import gather_structured

Coro = Coroutine[Any, Any, Any]

EAGER = pytest.param(
    True,  # noqa: FBT003
    id="eager",
    marks=pytest.mark.skipif(
        sys.version_info < (3, 12), reason="there are no eager tasks before 3.12"
    ),
)

THREE: dict[str, Behaviour] = {
    "a": returns(points=2),
    "b": fails(points=2),
    "c": cleans_up_slowly(points=2),
}

# Calls: gather_structured, and what stands around it or is handed to it.

return_exceptions = partial(gather_structured, return_exceptions=True)
exception_group = partial(gather_structured, exception_group=True)
with_child_timeout = partial(gather_structured, child_timeout=1)


async def adopts(*coroutines: Coro) -> Any:
    """Children are Tasks of the caller's, and are owned as if they were the call's."""
    return await gather_structured(*map(asyncio.create_task, coroutines))


async def adopts_one_twice(*coroutines: Coro) -> Any:
    """Children fill two places each, once as a Task and once as the same coroutine object."""
    task = asyncio.create_task(coroutines[0])
    both = [task, *coroutines[1:]]
    values = await gather_structured(*both, *both)
    assert values[: len(both)] == values[len(both) :]
    return values[: len(both)]


async def adopts_a_future(*coroutines: Coro) -> Any:
    """A bare Future, which the outside completes, is a child as well."""
    future = point("future")
    try:
        return (await gather_structured(*coroutines, future))[:-1]
    finally:
        assert future.done()


async def shares_a_task(*coroutines: Coro) -> Any:
    """Each child is in a call of its own, which owns one and the same Task as all the others."""
    shared = asyncio.create_task(stay())

    async def own(coroutine: Coro) -> Any:
        try:
            return (await gather_structured(coroutine, shared))[0]
        except asyncio.CancelledError:
            if cancels_of_this_task():
                raise
            return None  # another call has failed, and so has cancelled the Task

    return await gather_structured(*map(own, coroutines))


async def stay() -> None:
    await point("shared")


def cancels_of_this_task() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


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
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                calls.append(group.create_task(call_of_one(coroutine)))  # noqa: PERF401
        return [call.result()[0] for call in calls]
    finally:
        del group, calls  # both refer to tasks


async def call_of_one(coroutine: Coro) -> Any:
    return await gather_structured(coroutine)


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


class Search(NamedTuple):
    """A world, and how many schedules it has with at most 0, 1, 2, ... cancellations."""

    name: str
    counts: tuple[int, ...]
    call: Call
    children: dict[str, Behaviour] = THREE
    deadline: float | None = None
    child_deadline: float | None = None

    def program(self) -> Program:
        return world(
            self.call,
            deadline=self.deadline,
            child_deadline=self.child_deadline,
            **self.children,
        )


SEARCHES = [
    Search("plain", (155, 1175, 5264), gather_structured),
    Search("return_exceptions", (210, 1724, 7756), return_exceptions),
    Search("exception_group", (155, 1175, 5264), exception_group),
    Search("limit=1", (1, 16, 77), partial(gather_structured, limit=1)),
    Search("limit=2", (21, 176, 851), partial(gather_structured, limit=2)),
    Search("child_timeout", (344, 2722, 13208), with_child_timeout, child_deadline=1),
    Search("adopts", (155, 1175, 5264), adopts),
    Search("adopts_one_twice", (155, 1175, 5264), adopts_one_twice),
    Search("adopts_a_future", (155, 1175, 5264), adopts_a_future),
    Search("shares_a_task", (155, 1175, 5264), shares_a_task),
    Search("in_a_timeout", (155, 1175, 5264), in_a_timeout, deadline=1),
    Search("in_a_group", (155, 1175, 5264), in_a_group),
    Search("in_a_cleanup", (155, 1175, 5264), in_a_cleanup),
    Search("nested", (155, 1175, 5264), gather_structured, {"a": nests(gather_structured, **THREE), "b": fails()}),
    Search("timeouts in timeouts", (155, 1175, 5264), with_child_timeout, {"a": nests(in_a_timeout, x=sleeps(1), y=cleans_up_slowly()), "b": sleeps(1)}),
]
