"""`RateLimit.pause`: no call is admitted before it is over."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from datetime import timedelta
from typing import Any

import pytest

from structgather import RateLimit
from support.rate_limits import admitted
from support.virtual_tests import virtual
from support.virtual_time import now, run, timers_from_now_on

each_layer = pytest.mark.parametrize(
    "layers",
    [{"concurrent": 5}, {"requests": 5}, {"tokens": 5}, {"requests": 5, "burst": 5}],
    ids=str,
)


@each_layer
@virtual
async def test_no_call_is_admitted_before_the_pause_is_over(layers: dict[str, Any]) -> None:
    """Neither a call that arrives during the pause nor one that is waiting already."""
    limit = RateLimit(**layers, per=60)
    await admitted(limit)
    limit.pause(10)
    first = asyncio.create_task(admitted(limit))
    await asyncio.sleep(4)
    second = asyncio.create_task(admitted(limit))
    assert [await first, await second] == [10, 10]


@each_layer
@virtual
async def test_after_the_pause_calls_are_admitted_at_once(layers: dict[str, Any]) -> None:
    """Also if no call was waiting, so that no timer was set."""
    limit = RateLimit(**layers, per=60)
    limit.pause(10)
    await asyncio.sleep(12)
    assert [await admitted(limit) for _ in range(3)] == [12] * 3


@pytest.mark.parametrize(
    ("pauses", "until"),
    [([(0, 10), (2, 3)], 10), ([(0, 10), (5, 10)], 15), ([(0, 3), (1, 9), (2, 1)], 10)],
)
@virtual
async def test_pauses_extend_and_never_shorten_each_other(
    pauses: list[tuple[float, float]], until: float
) -> None:
    """The pause that ends last counts, whether it was requested first or last."""
    limit = RateLimit(concurrent=1)
    limit.pause(1)
    waiting = asyncio.create_task(admitted(limit))
    for at, seconds in pauses:
        await asyncio.sleep(at - now())
        limit.pause(seconds)
    assert await waiting == until


@virtual
async def test_a_pause_does_not_affect_running_calls() -> None:
    """They run on and settle; returned tokens are available when the pause is over."""
    limit = RateLimit(concurrent=1, tokens=100, per=60)
    async with limit(tokens=100) as call:
        limit.pause(10)
        waiting = asyncio.create_task(admitted(limit, tokens=50))
        await asyncio.sleep(5)
        call.settle(tokens=50)
        assert now() == 5
    assert await waiting == 10


@virtual
async def test_a_call_admitted_in_the_same_iteration_does_not_start() -> None:
    """Leaving a block admits the next call, before the code after the block requests the pause."""
    limit = RateLimit(concurrent=1, requests=2, tokens=10, per=60)
    async with limit(tokens=5):
        waiting = [asyncio.create_task(admitted(limit, tokens=5)) for _ in range(2)]
        await asyncio.sleep(1)
    limit.pause(10)
    assert repr(limit) == (
        "<RateLimit: 0 running, 2 waiting; 1 requests and 5 tokens in 60 s; paused for 10 s>"
    )
    assert [await task for task in waiting] == [11, 60]


@virtual
async def test_calls_put_back_by_a_pause_keep_their_order() -> None:
    """They are ahead of the calls that were behind them."""
    limit = RateLimit(requests=3, per=60, burst=3)
    order: list[int] = []

    async def call(name: int) -> None:
        async with limit():
            order.append(name)

    async with limit(requests=3):
        waiting = [asyncio.create_task(call(name)) for name in range(5)]
        asyncio.get_running_loop().call_at(60, asyncio.get_running_loop().call_soon, limit.pause, 5)
        await asyncio.wait(waiting)
    assert order == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("layers", [{"concurrent": 1}, {"requests": 1}], ids=str)
@virtual
async def test_a_call_cancelled_after_it_was_put_back_has_consumed_nothing(
    layers: dict[str, Any],
) -> None:
    """It leaves the queue, and the next one is admitted when the pause is over."""
    limit = RateLimit(**layers, per=10)
    async with limit():
        first = asyncio.create_task(admitted(limit))
        second = asyncio.create_task(admitted(limit))
        await asyncio.sleep(10)
    assert "1 running, 1 waiting" in repr(limit)
    limit.pause(5)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert await second == 15
    assert "0 running, 0 waiting" in repr(limit)


@virtual
async def test_a_waiter_cancelled_during_a_pause_has_consumed_nothing() -> None:
    """Neither its request nor its place, and the order of the others is unchanged."""
    limit = RateLimit(concurrent=1, requests=2, per=60)
    limit.pause(10)
    waiting = [asyncio.create_task(admitted(limit)) for _ in range(4)]
    await asyncio.sleep(5)
    for task in waiting[:2]:
        task.cancel()
    await asyncio.wait(waiting[:2])
    assert [await task for task in waiting[2:]] == [10, 10]


@virtual
async def test_a_pause_with_all_waiters_cancelled_keeps_no_timer() -> None:
    """The next call still waits for the pause."""
    limit = RateLimit(concurrent=1)
    limit.pause(10)
    waiting = asyncio.create_task(admitted(limit))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert limit._gate.timer is None
    assert await admitted(limit) == 10


@virtual
async def test_a_window_moves_on_during_a_pause() -> None:
    """Room appears as it would without the pause."""
    limit = RateLimit(requests=2, per=60)
    await admitted(limit)
    await asyncio.sleep(30)
    await admitted(limit)
    limit.pause(40)
    waiting = [asyncio.create_task(admitted(limit)) for _ in range(2)]
    assert [await task for task in waiting] == [70, 90]


@virtual
async def test_owed_tokens_are_repaid_during_a_pause() -> None:
    """250 of 100 used at 0 are repaid at 120, with or without a pause."""
    limit = RateLimit(tokens=100, per=60)
    async with limit() as call:
        call.settle(tokens=250)
    limit.pause(120)
    assert [await admitted(limit, tokens=50), await admitted(limit, tokens=100)] == [120, 180]


@virtual
async def test_a_burst_is_free_again_after_a_pause() -> None:
    """The even pace starts again: two at once, then one a second."""
    limit = RateLimit(requests=60, per=60, burst=2)
    assert [await admitted(limit) for _ in range(3)] == [0, 0, 1]
    limit.pause(10)
    waiting = [asyncio.create_task(admitted(limit)) for _ in range(4)]
    assert [await task for task in waiting] == [11, 11, 12, 13]


@virtual
async def test_a_pause_of_zero_changes_nothing() -> None:
    """A `Retry-After: 0` delays no call, admitted or new."""
    limit = RateLimit(concurrent=1)
    async with limit():
        waiting = asyncio.create_task(admitted(limit))
        await asyncio.sleep(1)
    limit.pause(0)
    assert "1 running, 0 waiting; " in repr(limit)
    assert [await waiting, await admitted(limit)] == [1, 1]
    limit.pause(10)
    limit.pause(0)
    assert await admitted(limit) == 11


@pytest.mark.parametrize("layers", [{"concurrent": 5}, {"requests": 5}], ids=str)
@virtual
async def test_the_fast_path_is_open_again_after_a_pause(layers: dict[str, Any]) -> None:
    """From the second call on."""
    limit = RateLimit(**layers)
    limit.pause(10)
    waiting = asyncio.create_task(admitted(limit))
    await waiting
    assert limit._gate.ceiling == 0
    await admitted(limit)
    assert limit._gate.ceiling >= 5


@virtual
async def test_a_pause_needs_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls wait, and however many shorter pauses are requested."""
    limit = RateLimit(concurrent=100)
    timers = timers_from_now_on(monkeypatch)
    limit.pause(10)
    waiting = [asyncio.create_task(admitted(limit)) for _ in range(100)]
    await asyncio.sleep(0)
    for _ in range(100):
        limit.pause(5)
    assert len(timers) == 1
    assert {await task for task in waiting} == {10}


@virtual
async def test_a_call_that_finishes_during_a_pause_admits_no_other() -> None:
    """Its place is free when the pause is over."""
    limit = RateLimit(concurrent=1)
    async with limit():
        waiting = asyncio.create_task(admitted(limit))
        await asyncio.sleep(1)
        limit.pause(10)
    assert "0 running, 1 waiting; 0 requests and 0 tokens in 60 s; paused for 10 s" in repr(limit)
    assert await waiting == 11
    assert "paused" not in repr(limit)


@virtual
async def test_a_place_is_needed_after_the_pause_too() -> None:
    """The only place is taken until 20; the pause is over at 10."""
    limit = RateLimit(concurrent=1)
    async with limit():
        limit.pause(10)
        waiting = asyncio.create_task(admitted(limit))
        await asyncio.sleep(20)
    assert await waiting == 20


# Loops and threads


@virtual
async def test_a_pause_may_come_before_the_first_call() -> None:
    """From then on the limit belongs to the running loop."""
    limit = RateLimit(requests=1)
    limit.pause(10)
    assert await admitted(limit) == 10


def test_a_pause_needs_a_running_event_loop() -> None:
    """Without a loop it is not known which clock counts: it is refused, and has no effect."""
    limit = RateLimit(concurrent=1)
    with pytest.raises(
        RuntimeError, match=r"pause\(\): no running event loop; from another thread"
    ):
        limit.pause(10)
    assert run(admitted(limit)) == 0


def test_a_pause_from_another_thread() -> None:
    """It is refused, and the error says how to do it."""
    errors: list[str] = []

    async def main() -> None:
        limit, loop = RateLimit(concurrent=1), asyncio.get_running_loop()
        paused = asyncio.Event()

        def elsewhere() -> None:
            try:
                limit.pause(3600)
            except RuntimeError as error:
                errors.append(str(error))
            loop.call_soon_threadsafe(limit.pause, 3600)
            loop.call_soon_threadsafe(paused.set)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await paused.wait()
        thread.join()
        assert "paused for 3" in repr(limit)

    with asyncio.Runner() as runner:
        runner.run(main())
    assert len(errors) == 1
    assert "loop.call_soon_threadsafe(limit.pause, seconds)" in errors[0]


def test_a_pause_on_another_loop_is_refused() -> None:
    """While the loop that uses the limit is open."""
    limit = RateLimit(concurrent=1)

    async def use() -> None:
        async with limit():
            pass

    async def pause() -> None:
        limit.pause(10)

    with asyncio.Runner() as first:
        first.run(use())
        with asyncio.Runner() as second, pytest.raises(RuntimeError, match="different event loop"):
            second.run(pause())


@pytest.mark.parametrize("layers", [{"concurrent": 2}, {"requests": 2}], ids=str)
@pytest.mark.parametrize(("asked_at", "begins_at", "due"), [(990, 0, 10), (990, 995, 1000)])
def test_a_pause_outlasts_its_loop(
    layers: dict[str, Any], asked_at: float, begins_at: float, due: float
) -> None:
    """The next program waits for the rest of it, whether its clock continues or starts again."""
    limit = RateLimit(**layers, per=60)

    async def pause() -> None:
        await asyncio.sleep(asked_at)
        limit.pause(10)

    async def use() -> float:
        await asyncio.sleep(begins_at)
        return await admitted(limit)

    run(pause())
    assert "paused" not in repr(limit)
    assert run(use()) == due


@pytest.mark.parametrize("again", [0, 1, 5])
def test_a_pause_that_extends_none_tells_how_much_is_left(again: float) -> None:
    """Of 10 seconds 5 are left when the program ends: so long the next one waits."""
    limit = RateLimit(concurrent=1)

    async def pause() -> None:
        limit.pause(10)
        await asyncio.sleep(5)
        limit.pause(again)

    run(pause())
    assert run(admitted(limit)) == 5


def test_a_pause_of_a_former_loop_moves_no_later_clock() -> None:
    """The usage of the second program still counts in the third."""
    limit = RateLimit(requests=1, per=60)

    async def pause() -> None:
        await asyncio.sleep(990)
        limit.pause(1)

    async def use(at: float) -> float:
        await asyncio.sleep(at)
        return await admitted(limit)

    run(pause())
    assert [run(use(0)), run(use(2))] == [1, 61]


# Bad input


@pytest.mark.parametrize(
    ("seconds", "error", "message"),
    [
        (-1, ValueError, r"RateLimit.pause\(\): seconds must be at least 0, not -1"),
        (-0.001, ValueError, "at least 0"),
        (math.nan, ValueError, "at least 0, not nan"),
        (math.inf, ValueError, r"RateLimit.pause\(\): seconds must be finite"),
        (10**400, ValueError, "must fit into a float"),
        ("3", TypeError, "seconds must be a number, not a str"),
        (None, TypeError, "seconds must be a number, not a NoneType"),
        (True, TypeError, "seconds must be a number, not a bool"),
        (timedelta(seconds=3), TypeError, r"use .total_seconds\(\)"),
    ],
)
@virtual
async def test_an_invalid_pause_is_refused(
    seconds: Any, error: type[Exception], message: str
) -> None:
    """The message has the value, and nothing is paused."""
    limit = RateLimit(concurrent=1)
    with pytest.raises(error, match=message):
        limit.pause(seconds)
    assert await admitted(limit) == 0
