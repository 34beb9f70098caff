"""What the tests of interrupts run: each function, in every way that a call can end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
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
    breaks,
    breaking,
    first,
    generator,
    raises,
    raising,
    slow,
    stream,
)
from simloop.every_schedule import world_of
from simloop.interrupts import ADOPTED
from simloop.run import Program
from simloop.worlds import Behaviour, Call, Child
from structgather import gather_structured

gather = gather_structured
collect = partial(gather, return_exceptions=True)

PACKAGE = str(Path(structgather.__file__).parent)


def is_ours(file: str) -> bool:
    """Tell whether a file belongs to the package."""
    return file.startswith(PACKAGE)


def holds(seconds: float = 9) -> Behaviour:
    """Wait for a long time; however that ends, await one point more in its `finally`."""

    async def behave(child: Child) -> str:
        try:
            await child.watch(asyncio.sleep(seconds))
        finally:
            await child.point()
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
    """Make Tasks of the children, which the call is to adopt."""
    create = asyncio.get_running_loop().create_task
    return [create(child, name=ADOPTED + label) for label, child in zip("abc", children, strict=False)]


async def of_tasks(*children: Coro, call: Call = gather) -> Any:
    return await call(*tasks(children))


def third_party(call: Call, which: int) -> Call:
    """Cancel a child before its first step."""

    async def around(*children: Coro) -> Any:
        loop = asyncio.get_running_loop()
        before = asyncio.all_tasks()

        def cancel() -> None:
            new = asyncio.all_tasks() - before
            ordered = sorted(new, key=hash)
            if which < len(ordered):
                ordered[which].cancel()

        loop.call_soon(cancel)
        return await call(*children)

    return around


class Scenario(NamedTuple):
    """A call and its children."""

    name: str
    call: Call
    children: dict[str, Behaviour]

    @property
    def program(self) -> Program:
        return world_of(self.call, self.children)


two: dict[str, Behaviour] = {"a": returns(), "b": cleans_up_slowly()}
well: dict[str, Behaviour] = {"a": returns_at_once(), "b": cleans_up_slowly(), "c": returns()}
badly: dict[str, Behaviour] = {"a": fails(), "b": holds(), "c": returns()}
timed: dict[str, Behaviour] = {"a": sleeps(0.5), "b": holds(), "c": fails_in_cleanup()}
held: dict[str, Behaviour] = {"a": holds(), "b": hangs()}

SCENARIOS = [
    Scenario("gather", gather, well),
    Scenario("gather one", gather, {"a": cleans_up_slowly()}),
    Scenario("gather fails", gather, badly),
    Scenario("gather fails at once", gather, {"a": fails_at_once(), "b": holds()}),
    Scenario("gather return_exceptions", collect, {"a": fails(), "b": cleans_up_slowly()}),
    Scenario("gather exception_group", partial(gather, exception_group=True), badly),
    Scenario("gather limit", partial(gather, limit=1), two),
    Scenario("gather limit fails", partial(gather, limit=2), {**badly, "d": returns()}),
    Scenario("gather child_timeout", partial(gather, child_timeout=1), timed),
    Scenario("gather cancelled", cancelled(gather), held),
    Scenario("gather adopts", of_tasks, {"a": returns(), "b": cleans_up_slowly()}),
    Scenario("gather adopts fails", of_tasks, badly),
    Scenario("gather adopts cancelled", cancelled(of_tasks), held),
    Scenario("gather nested", gather, {"a": nests(gather, x=returns(), y=holds()), "b": fails()}),
    Scenario("gather third party", third_party(collect, 1), two),
    Scenario("first", partial(first, n=1), {"a": returns(), "b": holds()}),
    Scenario("first exhausted", partial(first, n=2), {"a": fails(), "b": returns()}),
    Scenario("first within", partial(first, within=1), timed),
    Scenario("first limit", partial(first, n=1, limit=2, feed=generator), {"a": holds(), "b": returns(), "c": returns()}),
    Scenario("first input raises", partial(first, limit=2, feed=raising), {"a": holds(), "b": returns(), "c": returns()}),
    Scenario("first cancelled", cancelled(first), held),
    Scenario("first adopts", partial(first, n=1, feed=tasks), {"a": returns(), "b": holds()}),
    Scenario("stream", stream, two),
    Scenario("stream breaks", partial(stream, body=breaks), {"a": returns(), "b": holds()}),
    Scenario("stream body raises", partial(stream, body=raises), {"a": returns(), "b": holds()}),
    Scenario("stream adds", partial(stream, held_back=1, body=adds), two),
    Scenario("stream limit", partial(stream, limit=1, feed=generator), two),
    Scenario("stream ordered", partial(stream, ordered=True), {"a": cleans_up_slowly(), "b": returns()}),
    Scenario("stream async", partial(stream, limit=1, feed=slow, ordered=True), two),
    Scenario("stream async raises", partial(stream, feed=breaking), {"a": holds(), "b": returns(), "c": returns()}),
    Scenario("stream timeout", partial(stream, timeout=1), timed),
    Scenario("stream child_timeout", partial(stream, child_timeout=1, limit=2), timed),
    Scenario("stream cancelled", cancelled(stream), held),
    Scenario("stream adopts", partial(stream, feed=tasks, body=breaks), {"a": returns(), "b": holds()}),
]
