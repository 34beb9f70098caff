"""What the documentation of `asyncio.as_completed` says, of both; and where they differ on purpose.

Each test runs with the standard library's function and with this one, under one adapter.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest
from virtual_tests import forever, stops_slowly, virtual
from virtual_time import after, now

from structgather import as_completed_scoped

Loop: TypeAlias = Callable[..., AbstractAsyncContextManager[AsyncIterator[Awaitable[Any]]]]


@asynccontextmanager
async def standard(aws: Any, **options: Any) -> AsyncGenerator[Any, None]:
    """asyncio.as_completed, whose awaitables are handed over; what it leaves running is ended."""

    async def each() -> AsyncIterator[Awaitable[Any]]:
        for earliest in asyncio.as_completed(aws, **options):
            yield earliest

    try:
        yield each()
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


BOTH: list[Loop] = [standard, as_completed_scoped]
of_both = pytest.mark.parametrize("as_completed", BOTH, ids=["asyncio", "structgather"])


async def values(as_completed: Loop, aws: Any, **options: Any) -> list[Any]:
    """The body that everybody writes."""
    got: list[Any] = []
    async with as_completed(aws, **options) as completed:
        async for earliest in completed:
            got.append(await earliest)  # noqa: PERF401
    return got


# What is the same.


@of_both
@virtual
async def test_the_earliest_come_first(as_completed: Loop) -> None:
    """Results come in the order in which they are there, not in that of the input."""
    aws = [after(3, "c"), after(1, "a"), after(2, "b")]
    assert await values(as_completed, aws) == ["a", "b", "c"]
    assert now() == 3


@of_both
@virtual
async def test_they_run_concurrently(as_completed: Loop) -> None:
    """All are started before the first one is waited for."""
    assert len(await values(as_completed, [after(1, number) for number in range(50)])) == 50
    assert now() == 1


@of_both
@virtual
async def test_any_iterable_of_any_awaitables(as_completed: Loop) -> None:
    """Lists, sets, generators (asyncio's since 3.12); of coroutines, Tasks, Futures."""
    future = asyncio.get_running_loop().create_future()
    future.set_result("future")
    assert await values(as_completed, [future]) == ["future"]
    assert await values(as_completed, {asyncio.create_task(after(1, "task"))}) == ["task"]
    assert await values(as_completed, [after(1, "coroutine")]) == ["coroutine"]
    if as_completed is not standard or sys.version_info >= (3, 12):
        assert await values(as_completed, (after(1, name) for name in "a")) == ["a"]
    assert await values(as_completed, []) == []


@of_both
@virtual
async def test_an_error_is_raised_where_it_is_awaited(as_completed: Loop) -> None:
    """The child's own exception comes out of the `await`, and the loop can go on."""
    error = ValueError("broken")
    got: list[Any] = []
    async with as_completed([after(1, error), after(2, "b")]) as completed:
        async for earliest in completed:
            try:
                got.append(await earliest)
            except ValueError as caught:
                got.append(caught)
    assert got == [error, "b"]


@of_both
@virtual
async def test_timeout_raises_when_it_is_over(as_completed: Loop) -> None:
    """What came in time is handed out, then TimeoutError is raised."""
    got: list[Any] = []

    async def loop() -> None:
        async with as_completed([after(1, "a"), forever()], timeout=2) as completed:
            async for earliest in completed:
                got.append(await earliest)  # noqa: PERF401

    with pytest.raises(TimeoutError):
        await loop()
    assert (got, now()) == (["a"], 2)


@of_both
@virtual
async def test_a_timeout_that_is_not_reached(as_completed: Loop) -> None:
    """A timeout in which all are done changes nothing."""
    assert await values(as_completed, [after(1, "a")], timeout=2) == ["a"]


@of_both
@virtual
async def test_a_single_one_is_refused(as_completed: Loop) -> None:
    """One awaitable in place of an iterable is a TypeError."""
    child = forever()
    with pytest.raises(TypeError):
        await values(as_completed, child)
    child.close()


@virtual
async def test_a_body_written_for_asyncio_runs_unchanged() -> None:
    """Two lines change, the body does not: it awaits, catches, counts and breaks as before."""

    async def body(completed: Any, log: list[Any]) -> None:
        async for earliest in completed:
            try:
                log.append(await earliest)
            except ValueError as error:
                log.append(str(error))
            if len(log) == 3:
                break

    logs: list[list[Any]] = []
    for as_completed in BOTH:
        aws = [after(1, "a"), after(2, ValueError("b")), after(3, "c"), forever()]
        log: list[Any] = []
        async with as_completed(aws) as completed:
            await body(completed, log)
        logs.append(log)
    assert logs == [["a", "b", "c"]] * 2


# What differs, on purpose.


@of_both
@virtual
async def test_what_a_break_leaves_running(as_completed: Loop) -> None:
    """Asyncio's leaves the others running; here none is left when the block is."""
    log: list[str] = []
    children = [after(1, "a"), stops_slowly(log), stops_slowly(log)]
    tasks = [asyncio.create_task(child) for child in children]
    if as_completed is standard:
        for earliest in asyncio.as_completed(tasks):
            await earliest
            break
    else:
        async with as_completed(tasks) as completed:
            async for outcome in completed:
                await outcome
                break
    assert sum(not task.done() for task in tasks) == (2 if as_completed is standard else 0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@of_both
@virtual
async def test_what_a_timeout_leaves_running(as_completed: Loop) -> None:
    """Asyncio's raises TimeoutError and lets the late one run; here it was cancelled and joined."""
    log: list[str] = []
    task = asyncio.create_task(stops_slowly(log))

    async def loop() -> None:
        if as_completed is standard:
            for earliest in asyncio.as_completed([task], timeout=1):
                await earliest
        else:
            await values(as_completed, [task], timeout=1)

    with pytest.raises(TimeoutError):
        await loop()
    assert log == ([] if as_completed is standard else ["cleaned up"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@of_both
@virtual
async def test_one_task_twice(as_completed: Loop) -> None:
    """Asyncio's runs it once and yields it once; here two places for one child are refused."""
    task = asyncio.create_task(after(1, "a"))
    if as_completed is standard:
        assert await values(as_completed, [task, task]) == ["a"]
    else:
        with pytest.raises(ValueError, match="are the same object"):
            await values(as_completed, [task, task])
        assert await task == "a"


@virtual
async def test_what_is_yielded_knows_which_one_it_is() -> None:
    """Asyncio's yields wrappers (or Tasks, on 3.13); here each item has the place in the input."""
    async with as_completed_scoped([after(2, "b"), after(1, "a")]) as outcomes:
        assert [outcome.index async for outcome in outcomes] == [1, 0]


@virtual
async def test_a_generator_may_be_pulled_lazily() -> None:
    """Asyncio's takes the whole input first; here `limit` bounds how far ahead it is pulled."""
    asked: list[int] = []

    def inputs() -> Iterator[Any]:
        for number in range(100):
            asked.append(number)
            yield after(1, number)

    async with as_completed_scoped(inputs(), limit=3) as outcomes:
        await anext(outcomes)
        assert len(asked) == 4
