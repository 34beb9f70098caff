"""Where `as_completed_scoped` is meant to differ from asyncio.as_completed.

Each test runs over both, and says what is seen with each. The differences that they prove stand in
`differences.py`, from which the documentation has its table.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, cast

import pytest

from structgather import AsCompleted
from support.both_sides import Loop, as_completed_differ, end, plain
from support.virtual_tests import stops_slowly, virtual
from support.virtual_time import after, now

NOTHING: list[Awaitable[Any]] = []


def seen_by_users(completed: Any) -> Any:
    """Look behind the shape that `plain` gives to asyncio's: at what its users get."""
    if isinstance(completed, AsCompleted):
        return cast("Any", completed)
    return asyncio.as_completed(NOTHING)


class Child:
    """An awaitable that says when it starts, and where it stands in a set."""

    def __init__(self, place: int, log: list[int]) -> None:
        self._place = place
        self._log = log

    def __hash__(self) -> int:
        return self._place

    def __eq__(self, other: object) -> bool:
        return self is other

    def __await__(self) -> Generator[Any, None, int]:
        self._log.append(self._place)
        yield from asyncio.sleep(1).__await__()
        return self._place


# What goes in


@as_completed_differ([0, 1, 2], [2, 1, 0])
@virtual
async def test_in_which_order_children_start(as_completed: Loop, expected: list[int]) -> None:
    """Asyncio's starts its children in the order of a set; ours in that of the input."""
    log: list[int] = []
    async with as_completed([Child(2, log), Child(1, log), Child(0, log)]) as completed:
        await (await anext(completed))
        assert log == expected
    await asyncio.sleep(9)


@as_completed_differ(TypeError, ["a"])
@virtual
async def test_async_iterables(as_completed: Loop, expected: Any) -> None:
    """Asyncio's refuses what has to be iterated with `async for`; ours takes it."""

    async def inputs() -> AsyncIterator[Awaitable[str]]:
        yield after(1, "a")

    try:
        async with as_completed(inputs()) as completed:
            seen: Any = [await earliest async for earliest in completed]
    except TypeError:
        seen = TypeError
    assert seen == expected


@as_completed_differ(["a"], "children 0 and 1")
@virtual
async def test_one_task_twice(as_completed: Loop, expected: Any) -> None:
    """Asyncio's runs and yields it once; ours refuses the same child twice."""
    task = asyncio.create_task(after(1, "a"))
    seen: Any
    try:
        async with as_completed([task, task]) as completed:
            seen = [await earliest async for earliest in completed]
    except ValueError as error:
        seen = "children 0 and 1" if "children 0 and 1 are the same" in str(error) else error
    assert seen == expected
    assert await task == "a"


@as_completed_differ(100, 4)
@virtual
async def test_a_generator_may_be_pulled_lazily(as_completed: Loop, expected: int) -> None:
    """Asyncio's takes the whole input first; here `limit` bounds how far ahead it is pulled."""
    asked: list[int] = []

    def inputs() -> Iterator[Awaitable[int]]:
        for number in range(100):
            asked.append(number)
            yield after(1, number)

    # Until 3.11 asyncio's takes no generator at all.
    aws: Any = [*inputs()] if as_completed is plain and sys.version_info < (3, 12) else inputs()
    options = {} if as_completed is plain else {"limit": 3}
    async with as_completed(aws, **options) as completed:
        await (await anext(completed))
        assert len(asked) == expected
    await asyncio.sleep(9)


@as_completed_differ([0], [])
@virtual
async def test_a_bad_item_starts_nothing(as_completed: Loop, expected: list[int]) -> None:
    """What asyncio's has started before it comes to a bad item runs on; ours has started none."""
    log: list[int] = []
    with pytest.raises(TypeError):
        async with as_completed([Child(0, log), 1]) as completed:
            await anext(completed)
    await asyncio.sleep(9)
    assert log == expected


# What comes out


@as_completed_differ("no", [(1, 1.0), (0, 2.0)])
@virtual
async def test_an_item_knows_which_one_it_is(as_completed: Loop, expected: Any) -> None:
    """Asyncio's item is a coroutine that says nothing; ours has its place and its time."""
    seen: Any = []
    async with as_completed([after(2, "b"), after(1, "a")]) as completed:
        async for item in completed:
            found: Any = item
            if asyncio.iscoroutine(item):
                seen = "no"
            else:
                seen.append((found.index, found.elapsed))
            await item
    assert seen == expected


@as_completed_differ("no", 2)
@virtual
async def test_how_many_are_to_come(as_completed: Loop, expected: Any) -> None:
    """Asyncio's has no length; ours says how many outcomes are to come."""
    async with as_completed([after(1, "a"), after(2, "b"), after(3, "c")]) as completed:
        await (await anext(completed))
        found: Any = seen_by_users(completed)
        try:
            seen: Any = len(found)
        except TypeError:
            seen = "no"
        assert seen == expected
    await asyncio.sleep(9)


@as_completed_differ([], ["add", "cancel"])
@virtual
async def test_what_can_be_done_meanwhile(as_completed: Loop, expected: list[str]) -> None:
    """Asyncio's is only iterated; to ours a child can be added, and all be cancelled."""
    async with as_completed([after(1, "a")]) as completed:
        found: Any = seen_by_users(completed)
        assert [name for name in ("add", "cancel") if hasattr(found, name)] == expected
        await (await anext(completed))
    await asyncio.sleep(9)


@as_completed_differ(["__iter__"], ["__aenter__", "__aexit__"])
@virtual
async def test_how_it_is_iterated(as_completed: Loop, expected: list[str]) -> None:
    """Asyncio's is iterated with `for`, without a block; ours in a block, with `async for`."""
    found = seen_by_users(as_completed([]))
    names = ["__iter__", "__aenter__", "__aexit__"]
    assert [name for name in names if hasattr(found, name)] == expected


# How it ends


async def by_break(as_completed: Loop, aws: Any) -> None:
    async with as_completed(aws) as completed:
        async for earliest in completed:
            await earliest
            break


async def by_return(as_completed: Loop, aws: Any) -> Any:
    async with as_completed(aws) as completed:
        async for earliest in completed:
            return await earliest
    return None


async def by_an_exception(as_completed: Loop, aws: Any) -> None:
    async def body() -> None:
        async with as_completed(aws) as completed:
            async for earliest in completed:
                await earliest
                raise LookupError

    with pytest.raises(LookupError):
        await body()


@as_completed_differ([], ["cleaned up"])
@pytest.mark.parametrize("leave", [by_break, by_return, by_an_exception])
@virtual
async def test_leaving(
    as_completed: Loop, expected: list[str], leave: Callable[[Loop, Any], Awaitable[Any]]
) -> None:
    """However the loop is left, asyncio's leaves the others running; ours has joined them."""
    log: list[str] = []
    late = asyncio.create_task(stops_slowly(log))
    await leave(as_completed, [late, after(1, "a")])
    assert log == expected
    assert late.done() == bool(expected)
    await end({late})


@as_completed_differ("lost", ["b"])
@virtual
async def test_what_was_not_handed_out(as_completed: Loop, expected: Any) -> None:
    """What a child returned that nobody asked for is lost with asyncio's; ours has it."""
    async with as_completed([after(1, "a"), after(2, "b")]) as completed:
        await (await anext(completed))
        await asyncio.sleep(9)
    found: Any = seen_by_users(completed)
    try:
        seen: Any = [outcome.result() for outcome in found.undelivered]
    except AttributeError:
        seen = "lost"
    assert seen == expected


@as_completed_differ([], ["cleaned up"])
@virtual
async def test_a_cancelled_caller(as_completed: Loop, expected: list[str]) -> None:
    """A cancellation of the caller doesn't reach asyncio's children; ours are joined."""
    log: list[str] = []
    late = asyncio.create_task(stops_slowly(log))

    async def caller() -> None:
        async with as_completed([late]) as completed:
            await (await anext(completed))

    task = asyncio.create_task(caller())
    await asyncio.sleep(1)
    task.cancel("the user has left")
    with pytest.raises(asyncio.CancelledError, match="the user has left"):
        await task
    assert log == expected
    await end({late})


@as_completed_differ(([], 1), (["cleaned up"], 2))
@virtual
async def test_what_a_timeout_leaves_running(as_completed: Loop, expected: Any) -> None:
    """Asyncio's raises TimeoutError and lets the late one run; here it was cancelled and joined."""
    log: list[str] = []
    late = asyncio.create_task(stops_slowly(log))

    async def loop() -> None:
        async with as_completed([late], timeout=1) as completed:
            async for earliest in completed:
                await earliest

    with pytest.raises(TimeoutError):
        await loop()
    assert (log, now()) == expected
    await end({late})
