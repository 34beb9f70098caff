"""How much memory is taken while children run, fed one after the other or all at once."""

from __future__ import annotations

import asyncio
import gc
import math
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import structgather
from benchmarks.contenders import GATHER, OUR_AS_COMPLETED, OUR_GATHER
from benchmarks.drivers import yield_once
from benchmarks.results import Growth

Consume: TypeAlias = Callable[[Iterable[Awaitable[int]]], Awaitable[int]]

TARGET = 5_000_000
LIMIT = 100
WARM_UP = 100


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


async def gathered(aws: Iterable[Awaitable[int]]) -> int:
    """Take them all with asyncio.gather."""
    return len(await asyncio.gather(*aws))


async def gathered_by_us(aws: Iterable[Awaitable[int]]) -> int:
    """Take them all with gather_structured."""
    return len(await structgather.gather_structured(*aws))


async def gathered_in_turn(aws: Iterable[Awaitable[int]]) -> int:
    """Take them all, but run a hundred at a time: a Task is made when its turn has come."""
    return len(await structgather.gather_structured(*aws, limit=LIMIT))


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


LAZILY = f"{OUR_AS_COMPLETED}, limit={LIMIT}"
CONSUMERS: dict[str, Consume] = {
    GATHER: gathered,
    OUR_GATHER: gathered_by_us,
    f"{OUR_GATHER}, limit={LIMIT}": gathered_in_turn,
    "asyncio.as_completed": at_once,
    LAZILY: lazily,
}


async def growths(children: int) -> list[Growth]:
    """Measure with a hundred children and more, only the lazy function with the most of them."""
    counts = [10**power for power in range(2, 1 + math.floor(math.log10(children)))]
    return [
        Growth(name, count, await growth(consume, count), TARGET if name == LAZILY else None)
        for count in counts
        for name, consume in CONSUMERS.items()
        if (count <= children // 10 or name == LAZILY)
        and (name != LAZILY or hasattr(structgather, OUR_AS_COMPLETED))
    ]
