"""asyncio's functions and ours, for tests that run over both.

A test with one of these decorators runs once for each. `support/differences.py` lists what these
tests prove: the functions behave alike, or differ on purpose.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest

from structgather import as_completed_scoped, gather_structured

Gather: TypeAlias = Callable[..., Awaitable[Any]]
Loop: TypeAlias = Callable[..., AbstractAsyncContextManager[AsyncIterator[Awaitable[Any]]]]

SIDES = ["asyncio", "structgather"]


class Awaited:
    """An awaitable that is neither a coroutine nor a Future."""

    def __await__(self) -> Generator[Any, None, str]:
        yield from asyncio.sleep(1).__await__()
        return "awaited"


async def cancels_itself() -> str:
    """Return although the own Task is cancelled: no `await` follows."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel("by itself")
    return "value"


# gather

over_both = pytest.mark.parametrize("gather", [asyncio.gather, gather_structured], ids=SIDES)
both_modes = pytest.mark.parametrize("return_exceptions", [False, True])


def gathers_differ(theirs: Any, ours: Any) -> pytest.MarkDecorator:
    """Run over both gathers; `expected` is the result of asyncio's, then of ours."""
    sides = [(asyncio.gather, theirs), (gather_structured, ours)]
    return pytest.mark.parametrize(("gather", "expected"), sides, ids=SIDES)


# as_completed


@asynccontextmanager
async def plain(aws: Any, **options: Any) -> AsyncGenerator[Any, None]:
    """Call asyncio.as_completed, iterated with `for`, as ours is called."""

    async def each() -> AsyncIterator[Awaitable[Any]]:
        for earliest in asyncio.as_completed(aws, **options):
            yield earliest

    yield each()


@asynccontextmanager
async def asynchronous(aws: Any, **options: Any) -> AsyncGenerator[Any, None]:
    """Call asyncio.as_completed, iterated with `async for`, as ours is called."""
    iterated: Any = asyncio.as_completed(aws, **options)
    yield iterated


def cancelling_the_rest(as_completed: Loop) -> Loop:
    """Cancel and join children that asyncio's leaves running, as ours does."""

    @asynccontextmanager
    async def wrapped(aws: Any, **options: Any) -> AsyncGenerator[Any, None]:
        before = asyncio.all_tasks()
        try:
            async with as_completed(aws, **options) as completed:
                yield completed
        finally:
            await end(asyncio.all_tasks() - before)

    return wrapped


async def end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel and join tasks that asyncio leaves running."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


WITH_FOR = cancelling_the_rest(plain)
BOTH: list[Loop] = [WITH_FOR, as_completed_scoped]
_names = SIDES
if sys.version_info >= (3, 13):
    BOTH = [*BOTH, cancelling_the_rest(asynchronous)]
    _names = [*SIDES, "asyncio, async for"]
of_both = pytest.mark.parametrize("as_completed", BOTH, ids=_names)


def as_completed_differ(theirs: Any, ours: Any) -> pytest.MarkDecorator:
    """Run over both; `expected` is the result of plain asyncio, then of ours."""
    sides = [(plain, theirs), (as_completed_scoped, ours)]
    return pytest.mark.parametrize(("as_completed", "expected"), sides, ids=SIDES)
