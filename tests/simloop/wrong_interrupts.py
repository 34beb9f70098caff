"""Ways to gather on a TaskGroup that fail if an interrupt is raised in one of their lines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

Coro = Coroutine[Any, Any, Any]


async def leaves_without_finally(*children: Coro) -> list[Any]:
    """Enter and leave the group by hand: an exception in between leaves it open."""
    group = asyncio.TaskGroup()
    await group.__aenter__()
    tasks = [group.create_task(child) for child in children]
    await asyncio.wait(tasks)
    await group.__aexit__(None, None, None)
    return [task.result() for task in tasks]


async def counts(*children: Coro) -> list[Any]:
    """Wait until a count is 0, though the code that counts may be interrupted."""
    values: list[Any] = [None] * len(children)
    left = len(children)
    changed = asyncio.Event()

    async def count(index: int, child: Coro) -> None:
        nonlocal left
        try:
            values[index] = await child
        finally:
            left -= 1
            changed.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(count(*numbered)) for numbered in enumerate(children)]
        cancelled: BaseException | None = None
        while left:
            try:
                await changed.wait()
            except asyncio.CancelledError as error:
                cancelled = error
                for task in tasks:
                    task.cancel()
            changed.clear()
        if cancelled is not None:
            raise cancelled
    return values


async def records_anything(*children: Coro) -> list[Any]:
    """Record every exception as the child's, also one raised around it."""
    values: list[Any] = [None] * len(children)

    async def record(index: int, child: Coro) -> None:
        try:
            value = await child
            values[index] = value
        except BaseException as error:  # noqa: BLE001 - that is what is wrong with it
            values[index] = error

    async with asyncio.TaskGroup() as group:
        for index, child in enumerate(children):
            group.create_task(record(index, child))
    return values


async def checks_before_it_wakes(*children: Coro) -> list[Any]:
    """Set a result unless the future is done, which a signal handler may cancel in between."""
    values: list[Any] = [None] * len(children)
    last = asyncio.get_running_loop().create_future()
    left = set(range(len(children)))

    async def run(index: int, child: Coro) -> None:
        values[index] = await child
        left.discard(index)
        if not left and not last.done():
            last.set_result(None)

    async with asyncio.TaskGroup() as group:
        for index, child in enumerate(children):
            group.create_task(run(index, child))
        await last
    return values
