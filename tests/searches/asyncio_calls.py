"""asyncio's functions, in the shape of a call of a world."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from simloop.worlds import Arrived

Coro = Coroutine[Any, Any, Any]


async def asyncio_gather(*coroutines: Coro) -> list[Any]:
    """Return what `asyncio.gather` returns."""
    return await asyncio.gather(*coroutines)


async def asyncio_task_group(*coroutines: Coro) -> list[Any]:
    """Do the same with a TaskGroup."""
    group, tasks = asyncio.TaskGroup(), list[asyncio.Task[Any]]()
    try:
        async with group:
            tasks += map(group.create_task, coroutines)
        return [task.result() for task in tasks]
    finally:
        del group, tasks  # an exception refers to the frame, which must not refer to them


async def asyncio_as_completed(
    *coroutines: Coro, timeout: float | None = None, breaks: bool = False
) -> list[Any]:
    """Return the values in the order in which they arrive, or only the first one."""
    # It puts its arguments into a set, where Tasks of the simulated loop have an order.
    arriving: Any = asyncio.as_completed(map(asyncio.create_task, coroutines), timeout=timeout)
    values, earliest = Arrived(), None
    try:
        for earliest in arriving:
            values.append(await earliest)
            if breaks:
                break
        return values
    finally:
        del arriving, earliest  # as above
