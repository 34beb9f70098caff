"""`RateLimit`: waiting calls are woken in time, and cancelled ones leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest

from structgather import RateLimit
from structgather._gate import Gate
from support.rate_limits import admitted, cancelled_admission
from support.virtual_tests import virtual
from support.virtual_time import now, run, timers_from_now_on


def gates() -> int:
    """Return how many gates exist."""
    gc.collect()
    return sum(type(thing) is Gate for thing in gc.get_objects())


async def cancel(waiting: asyncio.Task[Any]) -> None:
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting


@virtual
async def test_a_waiter_is_woken_although_another_was_cancelled() -> None:
    """Both were due at the same time."""
    limit = RateLimit(requests=1, per=60)
    await admitted(limit)
    waiting = asyncio.create_task(admitted(limit))
    await asyncio.sleep(1)
    await cancel(waiting)
    assert await admitted(limit) == 60


@virtual
async def test_a_waiter_is_woken_earlier_when_a_large_call_is_cancelled() -> None:
    """It was behind a call that had to wait longer."""
    limit = RateLimit(tokens=100, per=60)
    await admitted(limit, tokens=50)
    await asyncio.sleep(10)
    await admitted(limit, tokens=50)
    large = asyncio.create_task(admitted(limit, tokens=100))
    small = asyncio.create_task(admitted(limit, tokens=50))
    await asyncio.sleep(1)
    await cancel(large)
    assert await small == 60


@virtual
async def test_a_timer_that_fires_early_is_set_again() -> None:
    """Timers of asyncio may fire early, by the resolution of the clock."""
    limit = RateLimit(requests=1, per=60)
    await admitted(limit)
    waiting = asyncio.create_task(admitted(limit))
    await asyncio.sleep(59)
    gate = limit._gate
    assert gate.timer is not None
    gate.timer.cancel()
    gate._on_time()
    assert await waiting == 60


@virtual
@pytest.mark.parametrize("options", [{"requests": 1}, {"concurrent": 1}], ids=str)
async def test_nothing_refers_to_a_limit_without_waiters(options: dict[str, Any]) -> None:
    """No timer does after the last waiter was cancelled: the loop may run for days."""
    before = gates()
    limit = RateLimit(**options, per=3600)
    async with limit():
        waiting = asyncio.create_task(admitted(limit))
        await asyncio.sleep(1)
        await cancel(waiting)
    del limit, waiting
    await asyncio.sleep(0)  # the loop drops the handle of its last step
    assert gates() == before


@virtual
async def test_a_cancelled_call_does_not_count_as_waiting() -> None:
    """Not even before it has resumed."""
    limit = RateLimit(concurrent=1)
    async with limit():
        waiting = asyncio.create_task(admitted(limit))
        await asyncio.sleep(1)
        assert "1 waiting" in repr(limit)
        waiting.cancel()
        assert "0 waiting" in repr(limit)
        await cancel(waiting)


@virtual
async def test_the_first_call_that_still_waits_is_admitted() -> None:
    """After one that was cancelled in this iteration and has not resumed."""
    limit = RateLimit(concurrent=1)
    async with limit():
        waiting = [asyncio.create_task(admitted(limit)) for _ in range(2)]
        await asyncio.sleep(1)
        waiting[0].cancel()
    assert "1 running, 0 waiting" in repr(limit)
    await asyncio.wait(waiting)
    assert waiting[0].cancelled()


@pytest.mark.parametrize("options", [{"concurrent": 2}, {"requests": 3}], ids=str)
@virtual
async def test_a_new_call_does_not_start_before_one_that_was_admitted(
    options: dict[str, Any],
) -> None:
    """There is room for both, and the first one resumes only in the next loop iteration."""
    limit = RateLimit(**options, per=60)
    order: list[str] = []

    async def call(name: str, seconds: float = 0) -> None:
        async with limit():
            order.append(name)
            await asyncio.sleep(seconds)

    async with limit(), limit(requests=2 if "requests" in options else 1):
        waiting = asyncio.create_task(call("first", 10))
        await asyncio.sleep(60)
    await call("second")
    await call("third")
    assert order == ["first", "second", "third"]
    assert now() == 60
    await waiting


@virtual
async def test_a_new_call_is_admitted_when_the_one_before_it_is_cancelled() -> None:
    """That one was admitted, and had not resumed."""
    limit = RateLimit(concurrent=2)
    async with limit(), limit():
        first = asyncio.create_task(admitted(limit))
        await asyncio.sleep(1)
    second = asyncio.create_task(admitted(limit))
    asyncio.get_running_loop().call_soon(first.cancel)
    assert await second == 1
    await asyncio.wait([first])


@virtual
async def test_cancelled_calls_leave_the_middle_of_the_queue() -> None:
    """Although the head still waits."""
    limit = RateLimit(requests=1, per=3600)
    await admitted(limit)
    waiting = [asyncio.create_task(admitted(limit)) for _ in range(100)]
    await asyncio.sleep(1)
    for task in waiting[1:-1]:
        task.cancel()
    await asyncio.wait(waiting[1:-1])
    assert len(limit._gate.queue) == 2
    assert [await waiting[0], await waiting[-1]] == [3600, 7200]


def test_cancelling_waiters_behind_the_head_is_cheap() -> None:
    """The head's time is not computed again for each."""

    class Loop(asyncio.SelectorEventLoop):
        asked = 0

        def time(self) -> float:
            self.asked += 1
            return super().time()

    async def main() -> None:
        limit = RateLimit(requests=1, per=3600)
        await admitted(limit)
        waiting = [asyncio.create_task(admitted(limit)) for _ in range(100)]
        await asyncio.sleep(0)
        before = loop.asked
        for task in waiting[1:]:
            task.cancel()
        await asyncio.wait(waiting[1:])
        assert loop.asked < before + 50
        await cancel(waiting[0])

    loop = Loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


@virtual
async def test_waiters_need_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often calls settle: a cancelled timer stays in the loop for a while."""
    limit = RateLimit(tokens=1000, per=3600)
    timers = timers_from_now_on(monkeypatch)
    async with limit(tokens=1000) as call:
        waiting = asyncio.create_task(admitted(limit, tokens=1000))
        await asyncio.sleep(0)
        for tokens in range(1000, 900, -1):
            call.settle(tokens=tokens)
        assert len(timers) == 1
        await cancel(waiting)


@virtual
async def test_a_waiter_that_needs_much_room_is_woken_once() -> None:
    """Not for each entry that leaves: there may be thousands."""
    limit = RateLimit(requests=3, per=60)
    for _ in range(3):
        await admitted(limit)
        await asyncio.sleep(1)
    waiting = asyncio.create_task(admitted(limit, requests=3))
    await asyncio.sleep(0)
    timer = limit._gate.timer
    assert timer is not None
    assert timer.when() == await waiting == 62


@virtual
async def test_a_coroutine_closed_while_it_waits_takes_no_place() -> None:
    """A coroutine driven by hand, which no task cancels."""
    limit = RateLimit(concurrent=1)
    async with limit():
        by_hand = limit().__aenter__()
        by_hand.send(None)
        by_hand.close()
        assert "0 waiting" in repr(limit)
    assert "0 running" in repr(limit)
    assert await admitted(limit) == 0


@virtual
async def test_a_cancelled_admission_frees_one_place() -> None:
    """And its step of the even pace."""
    limit = RateLimit(concurrent=1, requests=60, per=60, burst=1)
    await cancelled_admission(limit, 1)
    assert "0 running" in repr(limit)
    assert [await admitted(limit), await admitted(limit)] == [1, 2]


# The next event loop


def left_behind(limit: RateLimit) -> tuple[Any, Any]:
    """Return a running call and a waiting one, whose loop is closed."""

    async def enter() -> tuple[Any, Any]:
        call, waits = limit(), limit()
        await call.__aenter__()
        waiting = waits.__aenter__()
        waiting.send(None)
        (waiter,) = limit._gate.queue.values()
        waiter.add_done_callback(print)  # it would be a task's callback
        return call, waiting

    return run(enter())


@pytest.mark.parametrize("options", [{"requests": 1}, {"concurrent": 1}], ids=str)
def test_the_next_loop_starts_without_the_calls_of_the_last(options: dict[str, Any]) -> None:
    """Their places are free, no call waits behind them, and the timer is a new one."""
    limit = RateLimit(**options, per=60)
    left = left_behind(limit)

    async def two() -> list[float]:
        return [await admitted(limit), await admitted(limit)]

    assert run(two()) == ([60, 120] if "requests" in options else [0, 0])
    left[1].close()


def test_a_call_admitted_as_its_loop_was_closed_counts_for_one_window() -> None:
    """It will never resume."""
    limit = RateLimit(concurrent=1, requests=2, per=60)

    async def leave() -> Any:
        async with limit():
            waiting = limit().__aenter__()
            waiting.send(None)
        return waiting

    async def three() -> list[float]:
        return [await admitted(limit) for _ in range(3)]

    left = run(leave())
    assert run(three()) == [60, 60, 120]
    left.close()


def test_an_even_pace_moves_to_a_new_clock() -> None:
    """The next call is admitted a second after the last one of the program before."""
    limit = RateLimit(requests=60, per=60, burst=1)

    async def two(at: float) -> list[float]:
        await asyncio.sleep(at)
        return [await admitted(limit), await admitted(limit)]

    assert run(two(990)) == [990, 991]
    assert run(two(0)) == [1, 2]


def test_an_even_pace_of_another_clock_makes_no_call_wait_forever() -> None:
    """The window of the last program is over: at most the whole burst is taken."""
    limit = RateLimit(requests=60, tokens=100, per=60, burst=2)

    async def use() -> None:
        await asyncio.sleep(990)
        async with limit(tokens=10) as call:
            await asyncio.sleep(100)
        call.settle(tokens=5)

    async def three() -> list[float]:
        return [await admitted(limit) for _ in range(3)]

    run(use())
    assert run(three()) == [1, 2, 3]


def test_a_call_that_finishes_after_its_loop_admits_no_other() -> None:
    """No call could resume: the queue is dropped."""
    limit = RateLimit(concurrent=1)
    call, waiting = left_behind(limit)
    ends = call.__aexit__(None, None, None)
    with pytest.raises(StopIteration):
        ends.send(None)
    assert "0 waiting" in repr(limit)
    waiting.close()
