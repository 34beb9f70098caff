"""How memory grows while children are fed, one after the other or all at once."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import TYPE_CHECKING, TypeAlias

import structgather
from benchmarks.contenders import OUR_AS_COMPLETED
from benchmarks.drivers import yield_once
from benchmarks.results import Growth

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    Consume: TypeAlias = Callable[[Iterable[Awaitable[int]]], Awaitable[int]]

TARGET = 5_000_000
LIMIT = 100
WARM_UP = 1_000


async def lazily(aws: Iterable[Awaitable[int]]) -> int:
    """Take children from an iterator, a hundred at a time."""
    count = 0
    async with getattr(structgather, OUR_AS_COMPLETED)(aws, limit=LIMIT) as outcomes:
        async for outcome in outcomes:
            await outcome
            count += 1
    return count


async def at_once(aws: Iterable[Awaitable[int]]) -> int:
    """Take them all: asyncio.as_completed makes every Task before the first result."""
    count = 0
    for earliest in asyncio.as_completed(list(aws)):
        await earliest
        count += 1
    return count


async def growth(consume: Consume, children: int) -> int:
    """Return how many bytes more were in use, at the worst moment, than before."""
    tracemalloc.start()
    try:
        await consume(map(yield_once, range(min(WARM_UP, children))))
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        if await consume(map(yield_once, range(children))) != children:
            message = "children are missing"
            raise RuntimeError(message)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


async def growths(children: int) -> list[Growth]:
    """Measure the function of this package, and asyncio's with the tenth part of the children."""
    few = max(1, children // 10)
    found = [Growth("asyncio.as_completed", few, await growth(at_once, few))]
    if hasattr(structgather, OUR_AS_COMPLETED):
        bytes_ = await growth(lazily, children)
        found.append(Growth(f"{OUR_AS_COMPLETED}, limit={LIMIT}", children, bytes_, TARGET))
    return found
