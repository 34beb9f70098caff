"""The scenarios of the interrupt tests: each function, in every way that a call can finish."""

from __future__ import annotations

import asyncio
from asyncio import taskgroups
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import structgather
from simloop.behaviours import (
    cleans_up_slowly,
    fails,
    fails_at_once,
    fails_in_cleanup,
    hangs,
    nests,
    returns,
    returns_at_once,
    sleeps,
)
from simloop.calls import (
    Coro,
    adds,
    breaking,
    breaks,
    first,
    generator,
    raises,
    raising,
    slow,
    stream,
)
from simloop.every_schedule import world_of
from simloop.interrupts import ADOPTED, Place
from simloop.run import Program
from simloop.worlds import Behaviour, Call, Child
from structgather import gather_structured, warn_stuck_after
from structgather._as_completed import AsCompleted
from support import asyncio_interrupts
from support.asyncio_interrupts import (
    first_with_group,
    with_gather,
    with_gather_in_time,
    with_gather_in_turn,
    with_group,
    with_group_in_time,
    with_group_in_turn,
    with_group_quietly,
)

gather = gather_structured
collect = partial(gather, return_exceptions=True)

PACKAGE = str(Path(structgather.__file__).parent)


def is_ours(code: CodeType) -> bool:
    """Tell whether a function belongs to the package."""
    return code.co_filename.startswith(PACKAGE)


#: The line of the package that no code can protect.
UNPROTECTED = Place.first_of(vars(AsCompleted)["__aexit__"].__code__)

GATHER = {"gather", "_GatheringFuture", "ensure_future", "_wrap_awaitable"}


def is_of_asyncio(code: CodeType) -> bool:
    """Tell whether a function belongs to `gather` or TaskGroup, or to the user's code."""
    file, name = code.co_filename, code.co_qualname.partition(".")[0]
    return file in {taskgroups.__file__, asyncio_interrupts.__file__} or (
        file == asyncio.tasks.__file__ and name in GATHER
    )


def is_of_task_group(code: CodeType) -> bool:
    """Tell whether a function belongs to TaskGroup."""
    return code.co_filename == taskgroups.__file__


def holds(seconds: float = 9) -> Behaviour:
    """Wait for a long time; however that finishes, await one more point in its `finally`."""

    async def behave(child: Child) -> str:
        try:
            await child.watch(asyncio.sleep(seconds))
        finally:
            await child.point()
        return child.label

    return behave


def lingers(seconds: float = 3) -> Behaviour:
    """Wait until cancelled, and then for so many seconds more."""

    async def behave(child: Child) -> str:
        try:
            await child.watch(asyncio.get_running_loop().create_future())
        finally:
            await child.watch(asyncio.sleep(seconds))
        return child.label

    return behave


def cancelled(call: Call, at: float = 1) -> Call:
    """Cancel the caller at some time."""

    async def around(*children: Coro) -> Any:
        caller = asyncio.current_task()
        assert caller is not None
        timer = asyncio.get_running_loop().call_later(at, caller.cancel)
        del caller
        try:
            return await call(*children)
        finally:
            timer.cancel()

    return around


def tasks(children: Any) -> list[asyncio.Task[Any]]:
    """Create Tasks of the children, which the call adopts."""
    create = asyncio.get_running_loop().create_task
    return [
        create(child, name=ADOPTED + label) for label, child in zip("abc", children, strict=False)
    ]


async def of_tasks(*children: Coro, call: Call = gather) -> Any:
    return await call(*tasks(children))


def third_party(call: Call) -> Call:
    """Cancel the last child before its first step."""

    async def around(*children: Coro) -> Any:
        before = asyncio.all_tasks()

        def cancel() -> None:
            new = sorted(asyncio.all_tasks() - before, key=hash)
            if new:
                new[-1].cancel()

        asyncio.get_running_loop().call_soon(cancel)
        return await call(*children)

    return around


def with_warnings(call: Call) -> Call:
    """Warn about children that do not stop."""

    async def around(*children: Coro) -> Any:
        warn_stuck_after(1)
        try:
            return await call(*children)
        finally:
            warn_stuck_after(None)

    return around


class Scenario(NamedTuple):
    """A call and its children."""

    name: str
    call: Call
    children: dict[str, Behaviour]
    #: Whether children run when a block is left: then the first line of `__aexit__` runs while only
    #: that method could cancel them.
    left_early: bool = False

    @property
    def program(self) -> Program:
        return world_of(self.call, self.children)


two: dict[str, Behaviour] = {"a": returns(), "b": cleans_up_slowly()}
well: dict[str, Behaviour] = {"a": returns_at_once(), "b": cleans_up_slowly(), "c": returns()}
badly: dict[str, Behaviour] = {"a": fails(), "b": holds(), "c": returns()}
four: dict[str, Behaviour] = {**badly, "d": returns()}
timed: dict[str, Behaviour] = {"a": sleeps(0.5), "b": holds(), "c": fails_in_cleanup()}
held: dict[str, Behaviour] = {"a": holds(), "b": hangs()}
one_holds: dict[str, Behaviour] = {"a": returns(), "b": holds()}
three: dict[str, Behaviour] = {"a": holds(), "b": returns(), "c": returns()}

# fmt: off
of_generator = partial(first, limit=2, feed=generator)

SCENARIOS = [
    Scenario("gather", gather, well),
    Scenario("gather one child", gather, {"a": cleans_up_slowly()}),
    Scenario("gather fails", gather, badly),
    Scenario("gather fails at once", gather, {"a": fails_at_once(), "b": holds()}),
    Scenario("gather return_exceptions", collect, {"a": fails(), "b": cleans_up_slowly()}),
    Scenario("gather exception_group", partial(gather, exception_group=True), badly),
    Scenario("gather limit", partial(gather, limit=1), two),
    Scenario("gather limit fails", partial(gather, limit=2), four),
    Scenario("gather child_timeout", partial(gather, child_timeout=1), timed),
    Scenario("gather cancelled", cancelled(gather), held),
    Scenario("gather cancelled twice", cancelled(cancelled(gather), at=2), {"a": lingers()}),
    Scenario("gather nested", gather, {"a": nests(gather, x=returns(), y=holds()), "b": fails()}),
    Scenario("gather tasks", of_tasks, two),
    Scenario("gather tasks fails", of_tasks, badly),
    Scenario("gather tasks cancelled", cancelled(of_tasks), held),
    Scenario("gather third party", third_party(collect), {"a": cleans_up_slowly(), "b": returns()}),
    Scenario("gather stuck", with_warnings(cancelled(gather)), {"a": lingers()}),
    Scenario("first met", partial(first, n=1), one_holds),
    Scenario("first exhausted", partial(first, n=2), {"a": fails(), "b": returns()}),
    Scenario("first within", partial(first, within=1), timed),
    Scenario("first limit", partial(of_generator, n=1), three),
    Scenario("first input raises", partial(first, limit=2, feed=raising), three),
    Scenario("first cancelled", cancelled(first), held),
    Scenario("first tasks", partial(first, n=1, feed=tasks), one_holds),
    Scenario("stream", stream, two),
    Scenario("stream breaks", partial(stream, body=breaks), one_holds, left_early=True),
    Scenario("stream body raises", partial(stream, body=raises), one_holds, left_early=True),
    Scenario("stream adds", partial(stream, held_back=1, body=adds), two),
    Scenario("stream limit", partial(stream, limit=1, feed=generator), two),
    Scenario("stream ordered", partial(stream, ordered=True),
             {"a": cleans_up_slowly(), "b": returns()}),
    Scenario("stream source", partial(stream, limit=1, feed=slow, ordered=True), two),
    Scenario("stream source raises", partial(stream, feed=breaking), three),
    Scenario("stream timeout", partial(stream, timeout=1), timed),
    Scenario("stream child_timeout", partial(stream, child_timeout=1, limit=2), timed),
    Scenario("stream cancelled", cancelled(stream), held, left_early=True),
    Scenario("stream tasks", partial(stream, feed=tasks, body=breaks), one_holds, left_early=True),
]

#: The scenarios that asyncio's own functions have as well, by their names above.
WITH_GATHER = [
    Scenario("gather", with_gather, well),
    Scenario("gather one child", with_gather, {"a": cleans_up_slowly()}),
    Scenario("gather fails", with_gather, badly),
    Scenario("gather fails at once", with_gather, {"a": fails_at_once(), "b": holds()}),
    Scenario("gather return_exceptions", partial(with_gather, return_exceptions=True),
             {"a": fails(), "b": cleans_up_slowly()}),
    Scenario("gather limit", partial(with_gather_in_turn, limit=1), two),
    Scenario("gather limit fails", partial(with_gather_in_turn, limit=2), four),
    Scenario("gather child_timeout", partial(with_gather_in_time, child_timeout=1), timed),
    Scenario("gather cancelled", cancelled(with_gather), held),
    Scenario("gather nested", with_gather,
             {"a": nests(with_gather, x=returns(), y=holds()), "b": fails()}),
]
WITH_GROUP = [
    Scenario("gather", with_group, well),
    Scenario("gather one child", with_group, {"a": cleans_up_slowly()}),
    Scenario("gather fails", with_group, badly),
    Scenario("gather fails at once", with_group, {"a": fails_at_once(), "b": holds()}),
    Scenario("gather return_exceptions", with_group_quietly,
             {"a": fails(), "b": cleans_up_slowly()}),
    Scenario("gather limit", partial(with_group_in_turn, limit=1), two),
    Scenario("gather limit fails", partial(with_group_in_turn, limit=2), four),
    Scenario("gather child_timeout", partial(with_group_in_time, child_timeout=1), timed),
    Scenario("gather cancelled", cancelled(with_group), held),
    Scenario("gather nested", with_group,
             {"a": nests(with_group, x=returns(), y=holds()), "b": fails()}),
    Scenario("first met", partial(first_with_group, n=1), one_holds),
    Scenario("first exhausted", partial(first_with_group, n=2), {"a": fails(), "b": returns()}),
    Scenario("first within", partial(first_with_group, n=3, within=1), timed),
]
# fmt: on
