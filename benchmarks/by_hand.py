"""The usual code by hand. It means well: what it cancels, it joins."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeAlias, cast

Call: TypeAlias = Callable[..., Awaitable[Any]]

LIMIT = 20
LONG = 60.0  # a timeout that never comes


async def task_group(*aws: Awaitable[Any]) -> list[Any]:
    """Run coroutines in a bare TaskGroup and collect the values by hand."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(cast("Coroutine[Any, Any, Any]", aw)) for aw in aws]
    return [task.result() for task in tasks]


async def gather_and_join(*aws: Awaitable[Any]) -> list[Any]:
    """Call gather, and cancel and join what it leaves behind."""
    tasks = [asyncio.ensure_future(aw) for aw in aws]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def semaphore_and_gather(*aws: Awaitable[Any]) -> list[Any]:
    """Call gather with a semaphore around each child."""
    semaphore = asyncio.Semaphore(LIMIT)

    async def limited(aw: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever the child returns
        async with semaphore:
            return await aw

    return await asyncio.gather(*[limited(aw) for aw in aws])


async def as_completed(*aws: Awaitable[Any]) -> list[Any]:
    """Collect values with asyncio.as_completed."""
    return [await earliest for earliest in asyncio.as_completed(aws)]


async def first_completed(aws: Sequence[Awaitable[Any]], n: int) -> list[Any]:
    """Wait for one child after the other until there are enough, cancel and join the rest."""
    pending = {asyncio.ensure_future(aw) for aw in aws}
    values: list[Any] = []
    try:
        while pending and len(values) < n:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            values += [task.result() for task in done if task.exception() is None]
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return values[:n]


async def workers(*aws: Awaitable[Any]) -> list[Any]:
    """Let so many workers take the children from a queue."""
    queue = asyncio.Queue[tuple[int, Awaitable[Any]]]()
    for item in enumerate(aws):
        queue.put_nowait(item)
    values: list[Any] = [None] * len(aws)

    async def worker() -> None:
        while not queue.empty():
            index, aw = queue.get_nowait()
            values[index] = await aw

    async with asyncio.TaskGroup() as group:
        for _ in range(LIMIT):
            group.create_task(worker())
    return values


async def wait_for_each(*aws: Awaitable[Any]) -> list[Any]:
    """Call gather with wait_for around each child."""
    return await asyncio.gather(*[asyncio.wait_for(aw, LONG) for aw in aws])


async def timeout_each(*aws: Awaitable[Any]) -> list[Any]:
    """Call gather with asyncio.timeout around each child."""

    async def limited(aw: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever the child returns
        async with asyncio.timeout(LONG):
            return await aw

    return await asyncio.gather(*[limited(aw) for aw in aws])


async def cancel_and_join(tasks: Iterable[asyncio.Future[Any]], *, cancel: bool = True) -> None:
    """Leave nothing behind; they may have been cancelled before."""
    left = [task for task in tasks if not task.done()]
    if cancel:
        for task in left:
            task.cancel()
    if left:
        await asyncio.wait(left)


async def as_completed_and_join(*aws: Awaitable[Any]) -> list[Any]:
    """Collect values with asyncio.as_completed; cancel and join what is left, if it is left."""
    tasks = [asyncio.ensure_future(aw) for aw in aws]
    try:
        return [await earliest for earliest in asyncio.as_completed(tasks)]
    finally:
        await cancel_and_join(tasks)


async def wait_and_join(*aws: Awaitable[Any]) -> list[Any]:
    """Wait for all or the first failure; cancel and join what is left."""
    tasks = [asyncio.ensure_future(aw) for aw in aws]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        return [task.result() for task in tasks]
    finally:
        await cancel_and_join(tasks)


# What arrives within some seconds


async def timeout_and_gather(aws: Sequence[Awaitable[Any]], within: float) -> list[Any]:
    """Call gather under asyncio.timeout: all, or nothing; join what gather leaves behind."""
    tasks = [asyncio.ensure_future(aw) for aw in aws]
    try:
        async with asyncio.timeout(within):
            return await asyncio.gather(*tasks)
    except TimeoutError:
        return []
    finally:
        # gather is over when the first of those that it has cancelled is.
        await cancel_and_join(tasks, cancel=False)


async def timeout_and_group(aws: Sequence[Awaitable[Any]], within: float) -> list[Any]:
    """Use a TaskGroup under asyncio.timeout: all, or nothing."""
    try:
        async with asyncio.timeout(within):
            return await task_group(*aws)
    except TimeoutError:
        return []


async def wait_within(aws: Sequence[Awaitable[Any]], within: float) -> list[Any]:
    """Call asyncio.wait with a timeout; cancel and join the rest."""
    tasks = [asyncio.ensure_future(aw) for aw in aws]
    try:
        await asyncio.wait(tasks, timeout=within)
        return [task.result() for task in tasks if task.done() and task.exception() is None]
    finally:
        await cancel_and_join(tasks)


# Admission


async def semaphores(calls: int) -> int:
    """Pass through two semaphores so many times."""
    first, second = asyncio.Semaphore(LIMIT), asyncio.Semaphore(LIMIT)
    for _ in range(calls):
        async with first, second:
            pass
    return calls
