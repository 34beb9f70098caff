"""Layers of timeouts, limits, and tools that ignore their cancellation."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from integrations.left_running import left_running

import structgather
from structgather import (
    Ok,
    TimedOut,
    as_completed_scoped,
    first_n_within,
    gather_structured,
)
from support.each_call import Call, Leave, each_call, each_way_to_leave
from support.real_loops import run, stock
from support.virtual_tests import virtual
from support.virtual_time import after, now

# Four layers of timeouts

TOOL, FAN_OUT, TURN, WORKFLOW = 4.0, 10.0, 30.0, 100.0


async def turn(tools: list[float], limit: int | None, thinking: float) -> list[type]:
    async with asyncio.timeout(TURN):
        calls = [after(seconds, seconds) for seconds in tools]
        found = await first_n_within(calls, within=FAN_OUT, child_timeout=TOOL, limit=limit)
        await asyncio.sleep(thinking)
        return [type(outcome) for outcome in found.outcomes]


async def workflow(*turns: Any) -> list[Any]:
    async with asyncio.timeout(WORKFLOW):
        return [await each for each in turns]


@virtual
async def test_each_of_four_layers_of_timeout_fires_alone() -> None:
    """Tool, fan-out, turn, workflow: each timeout is raised where it belongs."""
    # A tool takes too long: its outcome is TimedOut, and the others are not affected.
    assert await workflow(turn([1, 60, 3], None, 0)) == [[Ok, TimedOut, Ok]]
    assert now() == TOOL
    # Tools that are each in time take too long in sequence.
    began = now()
    assert await workflow(turn([3, 3, 3, 3], 1, 0)) == [[Ok, Ok, Ok, TimedOut]]
    assert now() - began == FAN_OUT
    # The turn takes too long, with the work after its tools.
    began = now()
    with pytest.raises(TimeoutError):
        await workflow(turn([1], None, 60))
    assert now() - began == TURN
    # Each turn is in time, but not all of them together.
    began = now()
    turns = [turn([1], None, 28) for _ in range(3)]
    with pytest.raises(TimeoutError):
        await workflow(*turns, asyncio.sleep(60))
    assert now() - began == WORKFLOW
    assert await left_running() == 0


# Limits


@virtual
async def test_a_semaphore_and_gather() -> None:
    """A semaphore creates all tasks at once, and a failure leaves them; `limit` does neither."""

    class Fetch:
        running = most = 0

        async def page(self, n: int) -> int:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(1)
            finally:
                self.running -= 1
            if n == 50:
                raise LookupError(n)
            return n

    async def by_hand(page: Callable[[int], Awaitable[int]]) -> None:
        semaphore = asyncio.Semaphore(5)

        async def one(n: int) -> int:
            async with semaphore:
                return await page(n)

        await asyncio.gather(*(one(n) for n in range(100)))

    async def limited(page: Callable[[int], Awaitable[int]]) -> None:
        await gather_structured(*(page(n) for n in range(100)), limit=5)

    for fan_out, tasks, left in [(by_hand, 100, range(45, 50)), (limited, 5, range(1))]:
        fetch, begin = Fetch(), now()
        call = asyncio.create_task(fan_out(fetch.page))
        await asyncio.sleep(0.5)
        assert len(asyncio.all_tasks()) == 2 + tasks
        with pytest.raises(LookupError):
            await call
        assert now() - begin == 11
        assert fetch.most == 5
        assert await left_running() in left


class Row:
    """An input of a batch. `alive` counts the instances, `most` is their highest number."""

    alive = most = 0

    def __init__(self) -> None:
        Row.alive += 1
        Row.most = max(Row.most, Row.alive)

    def __del__(self) -> None:
        Row.alive -= 1


async def handle(row: Row) -> int:
    await asyncio.sleep(0)
    return id(row)


def rows(count: int) -> Iterator[Any]:
    return (handle(Row()) for _ in range(count))


async def rows_from_afar(count: int) -> AsyncIterator[Any]:
    for row in rows(count):
        await asyncio.sleep(0)
        yield row


@pytest.mark.parametrize("source", [rows, rows_from_afar])
@virtual
async def test_a_batch_over_a_large_input(source: Callable[[int], Any]) -> None:
    """With gather all inputs of a batch exist at once; a stream with a limit has about as many."""
    Row.most = 0
    await asyncio.gather(*rows(1_000))
    assert Row.most >= 1_000

    Row.most = 0
    async with as_completed_scoped(source(1_000), limit=10) as outcomes:
        assert len([outcome async for outcome in outcomes]) == 1_000
    assert Row.most <= 2 * 10 + 2


# Tools that ignore their cancellation


@each_call
def test_a_blocking_tool_in_a_thread_times_out(call: Call) -> None:
    """The child finishes at its timeout; its thread runs on until the tool returns."""
    may_return, is_over = threading.Event(), threading.Event()

    def blocks() -> None:
        may_return.wait(60)
        is_over.set()

    async def main() -> None:
        begin = time.monotonic()
        late, quick = await call(asyncio.to_thread(blocks), after(0, "a"), child_timeout=0.2)
        assert isinstance(late, TimeoutError)
        assert "child 0, to_thread" in str(late)
        assert quick == "a"
        assert time.monotonic() - begin < 30
        assert not is_over.is_set()
        may_return.set()
        assert await asyncio.to_thread(is_over.wait, 60)

    run(main, stock)


@each_call
def test_a_tool_that_blocks_the_loop_is_late(call: Call) -> None:
    """It can't be cancelled while it blocks, nor can the timeouts of the others fire."""

    async def blocks() -> str:
        time.sleep(0.05)  # noqa: ASYNC251 - that is the mistake
        await asyncio.sleep(3600)
        return "never"

    async def main() -> None:
        late, slow = await call(blocks(), after(3600, "b"), child_timeout=0.02)
        assert isinstance(late, TimeoutError)
        assert isinstance(slow, TimeoutError)

    run(main, stock)


@each_way_to_leave
@virtual
async def test_a_tool_that_ignores_its_cancellation_is_named(
    leave: Leave, caplog: pytest.LogCaptureFixture
) -> None:
    """It keeps the turn waiting; the warning has its name, its line and since when."""

    async def stubborn_tool() -> None:
        for _ in range(4):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                continue

    structgather.warn_stuck_after(5)
    with caplog.at_level(logging.WARNING, "structgather"):
        await leave(stubborn_tool())
    first = caplog.messages[0]
    assert "stubborn_tool" in first
    assert "child 0" in first
    assert "test_asyncio_limits.py" in first
