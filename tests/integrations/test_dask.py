"""Dask: children that run on a real cluster, on this machine and in real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("distributed", exc_type=ImportError)

import distributed
from integrations import dask_tasks
from integrations.dask_tasks import fail, running, work
from integrations.shown import shown

from structgather import Cancelled, TimedOut, as_completed_scoped, first_n_within, gather_structured

# The README shows these functions.


def keys_at_work(dask_worker: Any) -> list[str]:
    return [task.key for task in dask_worker.state.executing]


async def remote(
    client: Any, function: Callable[..., Any], *arguments: Any, stop: Any = None
) -> Any:
    future = client.submit(function, *arguments, pure=False)
    try:
        return await future
    finally:
        if not future.done():  # this child is being cancelled
            if stop is not None:
                await stop.set()
            await future.cancel()  # a task that waits for a worker never starts
            at_work = True
            while at_work:
                await asyncio.sleep(0.02)
                keys_of_workers = await client.run(keys_at_work)
                at_work = any(future.key in keys for keys in keys_of_workers.values())


def test_the_page_shows_these_lines() -> None:
    """The README shows the code that is tested here."""
    assert shown(keys_at_work, remote)


# What they are compared with

LONG = 30.0


@pytest.fixture(autouse=True)
def nothing_runs_before_and_after() -> Iterator[None]:
    dask_tasks.started.clear()
    dask_tasks.ended.clear()
    yield
    assert running() == []


@asynccontextmanager
async def cluster(threads: int = 4) -> AsyncGenerator[Any]:
    options: dict[str, Any] = {
        "processes": False,
        "n_workers": 1,
        "threads_per_worker": threads,
        "dashboard_address": ":0",  # any port, so that two runs do not collide on the default one
        "asynchronous": True,
    }
    dask: Any = distributed  # it has no types
    async with (
        dask.LocalCluster(**options) as local,
        dask.Client(local, asynchronous=True) as client,
    ):
        yield client


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def until_they_run(count: int) -> None:
    while len(running()) < count:  # noqa: ASYNC110 - it happens in other threads
        await asyncio.sleep(0.01)


def long(client: Any, name: str) -> Coroutine[Any, Any, Any]:
    dask: Any = distributed
    stop = dask.Event(f"stop {name}", client=client)
    return remote(client, work, name, LONG, stop, stop=stop)


def test_values_are_in_argument_order() -> None:
    """Children are computed on the cluster, at most two at a time, like any others."""

    async def main() -> None:
        async with cluster() as client:
            calls = (remote(client, work, name, 0.05) for name in "abcd")
            assert await gather_structured(*calls, limit=2) == list("abcd")

    run(main())


def test_gather_leaves_a_remote_orphan() -> None:
    """Awaited with asyncio.gather, a remote task runs on after its sibling's failure."""

    async def main() -> None:
        async with cluster() as client:

            async def as_usual(function: Callable[..., Any], *arguments: Any) -> Any:
                return await client.submit(function, *arguments, pure=False)

            with pytest.raises(ConnectionError):
                await asyncio.gather(as_usual(work, "a", 1), as_usual(fail, "b", 0.2))
            assert running() == ["a"]

    run(main())


def test_a_cancelled_await_leaves_the_remote_task_running() -> None:
    """Cancelling the task that awaits a Dask future does not stop the computation."""

    async def main() -> None:
        async with cluster() as client:
            future = client.submit(work, "a", 1, pure=False)

            async def as_usual() -> Any:
                return await future

            caller = asyncio.create_task(as_usual())
            await until_they_run(1)
            caller.cancel()
            await asyncio.wait([caller])
            assert caller.cancelled()
            assert running() == ["a"]

    run(main())


def test_a_failure_stops_the_remote_siblings() -> None:
    """When gather_structured raises, no task runs on the cluster."""

    async def main() -> None:
        async with cluster() as client:
            begin = time.monotonic()
            with pytest.raises(ConnectionError):
                await gather_structured(
                    long(client, "a"), long(client, "b"), remote(client, fail, "c", 0.2)
                )
            assert running() == []
            assert {"a", "b", "c"} == set(dask_tasks.ended)
            assert time.monotonic() - begin < LONG

    run(main())


def test_a_deadline_stops_late_tasks() -> None:
    """When first_n_within returns, late tasks do not run on the cluster any more."""

    async def main() -> None:
        async with cluster() as client:
            calls = [remote(client, work, "a", 0.01), long(client, "b")]
            found = await first_n_within(calls, within=1.5)
            assert running() == []
            assert (found.values, found.reason) == (["a"], "deadline")
            assert isinstance(found.outcomes[1], TimedOut)

    run(main())


def test_a_cancelled_caller_stops_every_task() -> None:
    """When a turn that consumes a stream times out, nothing runs on the cluster afterwards."""

    async def main() -> None:
        async with cluster() as client:
            stream = as_completed_scoped(long(client, name) for name in "abc")

            async def turn() -> None:
                async with stream as outcomes:
                    async for _ in outcomes:
                        pass

            caller = asyncio.create_task(turn())
            await until_they_run(3)
            caller.cancel()
            await asyncio.wait([caller])
            assert running() == []
            assert sorted(dask_tasks.ended) == list("abc")
            assert [type(left) for left in stream.undelivered] == [Cancelled] * 3

    run(main())


def test_a_task_that_cannot_be_stopped_is_joined() -> None:
    """Without an event a running task is joined; one that waits for a worker never starts."""

    async def main() -> None:
        async with cluster(threads=1) as client:
            calls = [remote(client, work, name, 0.7) for name in "ab"]
            children = asyncio.create_task(gather_structured(*calls))
            await until_they_run(1)
            children.cancel()
            await asyncio.wait([children])
            assert running() == []
            await asyncio.sleep(0.2)
            assert len(dask_tasks.started) == 1

    run(main())
