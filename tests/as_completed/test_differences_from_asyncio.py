"""Where `as_completed_scoped` differs from asyncio.as_completed on purpose.

Each test runs over both and asserts what each of them does. `differences.py` lists what they
prove; the documentation's table has the same rows.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, cast

import pytest

from structgather import AsCompleted
from support.both_sides import Loop, as_completed_differ, cancels_itself, end, plain
from support.virtual_tests import stops_slowly, virtual
from support.virtual_time import after, now

NOTHING: list[Awaitable[Any]] = []


def seen_by_users(completed: Any) -> Any:
    """Undo the wrapping that `plain` does: test what users of asyncio's function get."""
    if isinstance(completed, AsCompleted):
        return cast("Any", completed)
    return asyncio.as_completed(NOTHING)


class Child:
    """An awaitable that logs its start, and whose place in a set is known."""

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


# Input


@as_completed_differ([0, 1, 2], [2, 1, 0])
@virtual
async def test_the_order_in_which_children_start(as_completed: Loop, expected: list[int]) -> None:
    """Asyncio's starts its children in the order of a set, ours in input order."""
    log: list[int] = []
    async with as_completed([Child(2, log), Child(1, log), Child(0, log)]) as completed:
        await (await anext(completed))
        assert log == expected
    await asyncio.sleep(9)


@as_completed_differ(TypeError, ["a"])
@virtual
async def test_async_iterables(as_completed: Loop, expected: Any) -> None:
    """Asyncio's raises TypeError for an async iterable; ours accepts it."""

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
    """Asyncio's runs and yields it once; ours raises ValueError."""
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
async def test_a_generator_is_pulled_lazily(as_completed: Loop, expected: int) -> None:
    """Asyncio's exhausts the input first; here `limit` bounds how far ahead it is pulled."""
    asked: list[int] = []

    def inputs() -> Iterator[Awaitable[int]]:
        for number in range(100):
            asked.append(number)
            yield after(1, number)

    # Until 3.11 asyncio's raises TypeError for a generator.
    aws: Any = [*inputs()] if as_completed is plain and sys.version_info < (3, 12) else inputs()
    options = {} if as_completed is plain else {"limit": 3}
    async with as_completed(aws, **options) as completed:
        await (await anext(completed))
        assert len(asked) == expected
    await asyncio.sleep(9)


@as_completed_differ([0], [])
@virtual
async def test_a_bad_item_starts_nothing(as_completed: Loop, expected: list[int]) -> None:
    """Asyncio's leaves the children before the bad item running; ours has started none."""
    log: list[int] = []
    with pytest.raises(TypeError):
        async with as_completed([Child(0, log), 1]) as completed:
            await anext(completed)
    await asyncio.sleep(9)
    assert log == expected


# Items


@as_completed_differ("no", [(1, 1.0), (0, 2.0)])
@virtual
async def test_an_item_knows_its_index(as_completed: Loop, expected: Any) -> None:
    """Asyncio's item is an anonymous coroutine; ours has `index` and `elapsed`."""
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
async def test_the_number_of_outcomes_to_come(as_completed: Loop, expected: Any) -> None:
    """Asyncio's has no length; ours has `len()`."""
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
async def test_add_and_cancel_during_the_iteration(as_completed: Loop, expected: list[str]) -> None:
    """Asyncio's can only be iterated; ours has `add()` and `cancel()`."""
    async with as_completed([after(1, "a")]) as completed:
        found: Any = seen_by_users(completed)
        assert [name for name in ("add", "cancel") if hasattr(found, name)] == expected
        await (await anext(completed))
    await asyncio.sleep(9)


@as_completed_differ(["__iter__"], ["__aenter__", "__aexit__"])
@virtual
async def test_ways_to_iterate(as_completed: Loop, expected: list[str]) -> None:
    """Asyncio's is iterated with `for`, without a block; ours with `async for`, in a block."""
    found = seen_by_users(as_completed([]))
    names = ["__iter__", "__aenter__", "__aexit__"]
    assert [name for name in names if hasattr(found, name)] == expected


# Leaving the loop


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
async def test_leaving_the_loop_early(
    as_completed: Loop, expected: list[str], leave: Callable[[Loop, Any], Awaitable[Any]]
) -> None:
    """However the loop is left, asyncio's leaves children running; ours has joined them."""
    log: list[str] = []
    late = asyncio.create_task(stops_slowly(log))
    await leave(as_completed, [late, after(1, "a")])
    assert log == expected
    assert late.done() == bool(expected)
    await end({late})


@as_completed_differ("lost", ["b"])
@virtual
async def test_outcomes_that_were_not_taken(as_completed: Loop, expected: Any) -> None:
    """Asyncio's loses results that were not awaited; ours has them in `.undelivered`."""
    async with as_completed([after(1, "a"), after(2, "b")]) as completed:
        await (await anext(completed))
        await asyncio.sleep(9)
    found: Any = seen_by_users(completed)
    try:
        seen: Any = [outcome.result() for outcome in found.undelivered]
    except AttributeError:
        seen = "lost"
    assert seen == expected


@as_completed_differ("by itself", "value")
@virtual
async def test_a_child_that_cancels_itself_and_returns(as_completed: Loop, expected: str) -> None:
    """Its Task is cancelled, but the child has returned: its value counts."""
    async with as_completed([cancels_itself()]) as completed:
        try:
            got = await (await anext(completed))
        except asyncio.CancelledError as error:
            (got,) = error.args
    assert got == expected


@as_completed_differ([], ["cleaned up"])
@virtual
async def test_a_cancelled_caller(as_completed: Loop, expected: list[str]) -> None:
    """Asyncio's leaves children running when its caller is cancelled; ours joins them."""
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
async def test_children_after_a_timeout(as_completed: Loop, expected: Any) -> None:
    """Asyncio's raises TimeoutError and leaves the child running; ours cancels and joins it."""
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
