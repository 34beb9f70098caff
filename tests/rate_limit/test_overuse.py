"""`RateLimit`: tokens used beyond the estimate, and calls that leave without an admission."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
from collections.abc import Callable
from typing import Any

import pytest

from structgather import RateLimit, gather_structured
from support.rate_limits import enter, window_of
from support.virtual_tests import virtual
from support.virtual_time import now


@virtual
async def test_a_debt_made_step_by_step_is_as_large_as_one_made_at_once() -> None:
    """A stream may settle after each chunk."""
    waited: list[float] = []
    for settled in ((250,), (100, 200, 250), range(10, 251, 10)):
        limit = RateLimit(tokens=100, per=60)
        begin = now()
        async with limit() as call:
            for tokens in settled:
                call.settle(tokens=tokens)
        for tokens in (50, 100):
            async with limit(tokens=tokens):
                waited.append(now() - begin)
    assert waited == [120, 180] * 3


@pytest.mark.parametrize(
    ("estimate", "used", "callers"), [(50, 75, 8), (1, 100, 100), (10, 30, 20), (100, 150, 1)]
)
@virtual
async def test_callers_that_always_estimate_too_little_use_at_most_the_limit(
    estimate: int, used: int, callers: int
) -> None:
    """Over time, because later calls repay in full."""
    limit = RateLimit(tokens=100, per=60)
    admitted: list[float] = []

    async def caller() -> None:
        for _ in range(300 // callers):
            async with limit(tokens=estimate) as call:
                admitted.append(now())
                await asyncio.sleep(1)
                call.settle(tokens=used)

    await gather_structured(*(caller() for _ in range(callers)))
    # The overuse of the last calls is not repaid yet.
    settled = [at for at in admitted if at < admitted[-1] - 1]
    assert used * len(settled) <= 100 * (admitted[-1] / 60 + 1)


@virtual
async def test_a_debt_leaves_room_for_calls_that_fit_beside_it() -> None:
    """80 of 100 are repaid in the second window; 20 are free."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=100) as call:
        call.settle(tokens=180)
    async with limit(tokens=20):
        assert now() == 60
    async with limit(tokens=80):
        assert now() == 120


@virtual
async def test_the_fast_path_is_open_while_no_tokens_are_owed() -> None:
    """Before a debt, with one that had room at once, and when it is repaid."""
    limit = RateLimit(tokens=100, per=60)
    window = window_of(limit)
    async with limit() as call:
        call.settle(tokens=50)
        assert window.fast_requests == math.inf
        call.settle(tokens=250)
    assert window.fast_requests < 0
    async with limit(tokens=50):
        assert now() == 120
    assert window.fast_requests == math.inf


@virtual
async def test_a_debt_does_not_delay_an_older_one() -> None:
    """The older one counts from 60 to 120, although the window is next checked at 61."""
    limit = RateLimit(tokens=100, per=60)
    async with limit() as small, limit(tokens=90), limit() as late:
        small.settle(tokens=95)  # 10 now, 85 when the large one leaves
    await asyncio.sleep(61)
    late.settle(tokens=5)
    async with limit(tokens=95):
        assert now() == 120


@virtual
async def test_settling_for_less_admits_the_next_call() -> None:
    """At once, although the tokens were to be repaid later."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=60) as call:
        call.settle(tokens=1_000)
        task = asyncio.create_task(limit(tokens=90).__aenter__())
        await asyncio.sleep(10)
        assert not task.done()
        call.settle(tokens=10)
        await task
        assert now() == 10


@virtual
async def test_settling_for_what_fits_ends_the_debt() -> None:
    """Although the window is full: a call without tokens is admitted at once."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=100) as call:
        call.settle(tokens=150)
        assert not enter(limit())
        call.settle(tokens=100)
        assert enter(limit())
    assert len(window_of(limit).entries) == 2


@pytest.mark.parametrize(
    ("tokens", "message"),
    [(math.inf, "tokens must be finite"), (1e300, r"tokens=1e\+300 would take more than 10,000")],
)
@virtual
async def test_a_settlement_that_no_call_can_have_used_is_refused(
    tokens: float, message: str
) -> None:
    """It could never be repaid. Earlier settlements still count."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=10) as call:
        with pytest.raises(ValueError, match=message):
            call.settle(tokens=tokens)
    assert "10 tokens" in repr(limit)


@virtual
async def test_the_largest_debt() -> None:
    """It takes ten thousand windows to repay; a larger one is refused as a mistake."""
    limit = RateLimit(tokens=2, per=60)
    async with limit() as call:
        with pytest.raises(ValueError, match="would take more than 10,000 windows"):
            call.settle(tokens=20_001)
        call.settle(tokens=20_000)
    for seconds, fits in ((599_999, False), (1, True)):
        await asyncio.sleep(seconds)
        assert enter(limit(tokens=1)) == fits


@pytest.mark.parametrize("tokens", [0, 50])
@virtual
async def test_a_call_that_was_not_admitted_has_nothing_to_settle(tokens: int) -> None:
    """Neither while it waits nor when it was cancelled while it waited."""
    limit = RateLimit(tokens=10, per=60)
    async with limit(tokens=10):
        pass
    call = limit(tokens=5)
    task = asyncio.create_task(call.__aenter__())
    await asyncio.sleep(1)
    with pytest.raises(RuntimeError, match="has not been admitted"):
        call.settle(tokens=tokens)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with pytest.raises(RuntimeError, match="has not been admitted"):
        call.settle(tokens=tokens)
    assert "10 tokens" in repr(limit)
    async with limit(tokens=10):
        assert now() == 60


@virtual
async def test_a_call_that_finishes_while_the_head_waits_for_tokens_changes_nothing() -> None:
    """It returns its place, and no tokens."""
    limit = RateLimit(tokens=100, concurrent=2, per=60)
    first = await limit(tokens=50).__aenter__()
    second = await limit(tokens=30).__aenter__()
    order: list[tuple[str, float]] = []

    async def call(name: str, tokens: int) -> None:
        async with limit(tokens=tokens):
            order.append((name, now()))

    waits_for_a_place = asyncio.create_task(call("small", 20))
    waits_for_tokens = asyncio.create_task(call("large", 100))
    await asyncio.sleep(1)
    await first.__aexit__(None, None, None)
    await asyncio.sleep(1)
    await second.__aexit__(None, None, None)
    await gather_structured(waits_for_a_place, waits_for_tokens)
    assert order == [("small", 1), ("large", 61)]


def test_a_call_of_a_closed_loop_leaves_no_place_behind() -> None:
    """It is collected while calls of the next loop run, and does not change their number."""
    limit = RateLimit(concurrent=1)

    async def hold() -> None:
        async with limit():
            await asyncio.get_running_loop().create_future()

    held = hold()
    first = asyncio.new_event_loop()
    first.run_until_complete(_step(held))
    first.close()

    async def main() -> None:
        async with limit():
            held.close()
            gc.collect()
            assert "1 running" in repr(limit)

    with asyncio.Runner() as second:
        second.run(main())


async def _step(coroutine: Any) -> None:
    coroutine.send(None)


class _PlainHandles(asyncio.SelectorEventLoop):
    """Like loops of GUI toolkits: handles of `call_at` have only `cancel()`."""

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, **named: Any
    ) -> Any:
        timer = super().call_at(when, callback, *args, **named)

        class Plain:
            def cancel(self) -> None:
                timer.cancel()

        return Plain()


def test_a_loop_whose_timer_handles_have_no_when() -> None:
    """`when()` is not used."""

    async def main() -> None:
        limit = RateLimit(requests=1, per=0.01)
        async with limit():
            pass
        waiting = [asyncio.create_task(limit().__aenter__()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait(waiting)
        assert waiting[0].cancelled()
        await waiting[1]

    with asyncio.Runner(loop_factory=_PlainHandles) as runner:
        runner.run(main())
