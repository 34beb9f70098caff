"""How much memory children take while they run, fed lazily or all at once."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeAlias

from benchmarks.contenders import GATHER, GROUP, OUR_AS_COMPLETED, OUR_GATHER, group_gather
from benchmarks.drivers import yield_once
from benchmarks.results import Growth
from structgather import as_completed_scoped, gather_structured

Children: TypeAlias = Iterable[Coroutine[Any, Any, int]]
Consume: TypeAlias = Callable[[Children], Awaitable[int]]

LIMIT = 100
AT_ONCE = 10_000  # children at the most, where all Tasks are created at once
LAZILY = f"{OUR_AS_COMPLETED}, limit={LIMIT}"


async def lazily(children: Children) -> int:
    """Take children from an iterator, at most a hundred ahead."""
    count = 0
    async with as_completed_scoped(children, limit=LIMIT) as outcomes:
        async for outcome in outcomes:
            await outcome
            count += 1
    return count


async def as_completed(children: Children) -> int:
    """Use asyncio.as_completed, which creates every Task before the first result."""
    count = 0
    for earliest in asyncio.as_completed(list(children)):
        await earliest
        count += 1
    return count


async def gather(children: Children) -> int:
    """Use asyncio.gather."""
    return len(await asyncio.gather(*children))


async def group(children: Children) -> int:
    """Use a bare TaskGroup."""
    return len(await group_gather(*children))


async def our_gather(children: Children) -> int:
    """Use gather_structured."""
    return len(await gather_structured(*children))


async def our_gather_with_limit(children: Children) -> int:
    """Use gather_structured with a limit: a Task is created when there is room."""
    return len(await gather_structured(*children, limit=LIMIT))


CONSUMERS: dict[str, Consume] = {
    GATHER: gather,
    OUR_GATHER: our_gather,
    GROUP: group,
    f"{OUR_GATHER}, limit={LIMIT}": our_gather_with_limit,
    "asyncio.as_completed": as_completed,
    LAZILY: lazily,
}


async def growth(consume: Consume, children: int) -> int:
    """Return by how many bytes the peak exceeds what was allocated before."""
    tracemalloc.start()
    try:
        await consume(map(yield_once, range(100)))
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


async def growths(most: int) -> list[Growth]:
    """Measure from a hundred children to the most, these only where they are fed lazily."""
    counts = [10**power for power in range(2, 7) if 10**power <= most]
    return [
        Growth(name, count, await growth(consume, count))
        for count in counts
        for name, consume in CONSUMERS.items()
        if count <= min(AT_ONCE, most // 10) or name == LAZILY
    ]
