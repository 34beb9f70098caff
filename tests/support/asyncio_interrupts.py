"""The interrupt scenarios with asyncio's own functions, in the user's usual code.

Every line of this file belongs to the user, and so may be interrupted.
"""

from __future__ import annotations

import asyncio
from typing import Any

from simloop.calls import Coro
from simloop.worlds import Arrived


async def with_gather(*children: Any, return_exceptions: bool = False) -> list[Any]:
    return await asyncio.gather(*children, return_exceptions=return_exceptions)


async def with_group(*children: Coro) -> list[Any]:
    tasks = list[asyncio.Task[Any]]()
    try:
        async with asyncio.TaskGroup() as group:
            tasks.extend(map(group.create_task, children))
        return [task.result() for task in tasks]
    finally:
        del tasks


async def quietly(child: Coro) -> Any:
    try:
        return await child
    except Exception as error:  # noqa: BLE001 - it becomes a value
        return error


async def with_group_quietly(*children: Coro) -> list[Any]:
    return await with_group(*map(quietly, children))


async def in_turn(semaphore: asyncio.Semaphore, child: Coro) -> Any:
    async with semaphore:
        return await child


async def with_gather_in_turn(*children: Coro, limit: int) -> list[Any]:
    semaphore = asyncio.Semaphore(limit)
    return await asyncio.gather(*(in_turn(semaphore, child) for child in children))


async def with_group_in_turn(*children: Coro, limit: int) -> list[Any]:
    semaphore = asyncio.Semaphore(limit)
    return await with_group(*(in_turn(semaphore, child) for child in children))


async def in_time(seconds: float, child: Coro) -> Any:
    async with asyncio.timeout(seconds):
        return await child


async def with_gather_in_time(*children: Coro, child_timeout: float) -> list[Any]:
    return await asyncio.gather(*(in_time(child_timeout, child) for child in children))


async def with_group_in_time(*children: Coro, child_timeout: float) -> list[Any]:
    return await with_group(*(in_time(child_timeout, child) for child in children))


async def first_with_group(*children: Coro, n: int, within: float | None = None) -> Arrived:
    """Leave a group as soon as there are so many values, or at the deadline."""

    class Enough(Exception):  # noqa: N818 - it is no error
        pass

    values = Arrived()

    async def add(child: Coro) -> None:
        value = await quietly(child)
        if not isinstance(value, Exception):
            values.append(value)
            if len(values) == n:
                raise Enough

    try:
        async with asyncio.timeout(within), asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(add(child))
    except* (Enough, TimeoutError):
        pass
    return values
