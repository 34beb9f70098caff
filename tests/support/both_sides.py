"""asyncio's functions and ours side by side: for tests that run over both.

A test that is decorated with one of these runs once for each side. `tests/differences.py` says
which difference, or which likeness, each of them proves.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest

from structgather import as_completed_scoped, gather_structured

Gather: TypeAlias = Callable[..., Awaitable[Any]]
Loop: TypeAlias = Callable[..., AbstractAsyncContextManager[AsyncIterator[Awaitable[Any]]]]

SIDES = ["asyncio", "structgather"]

# gather

over_both = pytest.mark.parametrize("gather", [asyncio.gather, gather_structured], ids=SIDES)
both_modes = pytest.mark.parametrize("return_exceptions", [False, True])


def gathers_differ(theirs: Any, ours: Any) -> pytest.MarkDecorator:
    """Run over both gathers; `expected` is what is seen with asyncio's, and with ours."""
    sides = [(asyncio.gather, theirs), (gather_structured, ours)]
    return pytest.mark.parametrize(("gather", "expected"), sides, ids=SIDES)


# as_completed


@asynccontextmanager
async def plain(aws: Any, **options: Any) -> AsyncGenerator[Any, None]:
    """Put asyncio.as_completed, iterated with `for`, into the shape of ours: it does no more."""

    async def each() -> AsyncIterator[Awaitable[Any]]:
        for earliest in asyncio.as_completed(aws, **options):
            yield earliest

    yield each()


@asynccontextmanager
async def asynchronous(aws: Any, **options: Any) -> AsyncGenerator[Any, None]:
    """Put asyncio.as_completed, iterated with `async for`, into the shape of ours."""
    iterated: Any = asyncio.as_completed(aws, **options)
    yield iterated


def ending_the_rest(as_completed: Loop) -> Loop:
    """Add to asyncio's what ours does by itself: what is left running is ended."""

    @asynccontextmanager
    async def ended(aws: Any, **options: Any) -> AsyncGenerator[Any, None]:
        before = asyncio.all_tasks()
        try:
            async with as_completed(aws, **options) as completed:
                yield completed
        finally:
            await end(asyncio.all_tasks() - before)

    return ended


async def end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel and join what asyncio leaves running."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


WITH_FOR = ending_the_rest(plain)
BOTH: list[Loop] = [WITH_FOR, as_completed_scoped]
_names = SIDES
if sys.version_info >= (3, 13):
    BOTH = [*BOTH, ending_the_rest(asynchronous)]
    _names = [*SIDES, "asyncio, async for"]
of_both = pytest.mark.parametrize("as_completed", BOTH, ids=_names)


def as_completed_differ(theirs: Any, ours: Any) -> pytest.MarkDecorator:
    """Run over both; `expected` is what is seen with asyncio's as it is, and with ours."""
    sides = [(plain, theirs), (as_completed_scoped, ours)]
    return pytest.mark.parametrize(("as_completed", "expected"), sides, ids=SIDES)
