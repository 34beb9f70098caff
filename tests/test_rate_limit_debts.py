"""`RateLimit`: what a call has really used, and who has left without having been there."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
from collections.abc import Callable
from typing import Any

import pytest
from virtual_tests import virtual
from virtual_time import now

from structgather import RateLimit, gather_structured


@virtual
async def test_a_debt_is_not_smaller_when_it_is_made_step_by_step() -> None:
    """A stream that settles with each chunk owes in the end what one word at the end owes."""
    waited: list[float] = []
    for words in ((250,), (100, 200, 250), range(10, 251, 10)):
        limit = RateLimit(tokens=100, per=60)
        begin = now()
        async with limit() as call:
            for tokens in words:
                call.settle(tokens=tokens)
        for tokens in (50, 100):
            async with limit(tokens=tokens):
                waited.append(now() - begin)
    assert waited == [120, 180] * 3


@pytest.mark.parametrize(
    ("estimate", "used", "callers"), [(50, 75, 8), (1, 100, 100), (10, 30, 20), (100, 150, 1)]
)
@virtual
async def test_who_always_estimates_too_little_uses_no_more_than_the_limit(
    estimate: int, used: int, callers: int
) -> None:
    """In the long run; what nobody could know, those who come later repay in full."""
    limit = RateLimit(tokens=100, per=60)
    admitted: list[float] = []

    async def caller() -> None:
        for _ in range(300 // callers):
            async with limit(tokens=estimate) as call:
                admitted.append(now())
                await asyncio.sleep(1)
                call.settle(tokens=used)

    await gather_structured(*(caller() for _ in range(callers)))
    # Those that were admitted last are to be repaid by nobody yet.
    settled = [at for at in admitted if at < admitted[-1] - 1]
    assert used * len(settled) <= 100 * (admitted[-1] / 60 + 1)


@virtual
async def test_a_debt_leaves_room_for_what_fits_beside_it() -> None:
    """80 of 100 are repaid in the second window; 20 are free."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=100) as call:
        call.settle(tokens=180)
    async with limit(tokens=20):
        assert now() == 60
    async with limit(tokens=80):
        assert now() == 120


@virtual
async def test_a_debt_that_is_repaid_is_in_nobodys_way() -> None:
    """Nor one that finds room at once: who fits is admitted without a look at the window."""
    limit = RateLimit(tokens=100, per=60)
    gate = limit._gate
    async with limit() as call:
        call.settle(tokens=50)
        assert gate.most_requests == math.inf
        call.settle(tokens=250)
    assert gate.most_requests < 0
    async with limit(tokens=50):
        assert now() == 120
    assert gate.most_requests == math.inf


@virtual
async def test_a_debt_that_is_known_when_another_has_begun_comes_after_it() -> None:
    """The one that counts from 60 leaves at 120, although nobody has looked before 61."""
    limit = RateLimit(tokens=100, per=60)
    async with limit() as small, limit(tokens=90) as large, limit() as late:
        small.settle(tokens=95)  # 10 now, 85 when the large one leaves
        large.settle(tokens=0)
    await asyncio.sleep(61)
    late.settle(tokens=5)
    async with limit(tokens=95):
        assert now() == 120


@virtual
async def test_a_debt_that_is_forgiven_lets_the_next_one_in() -> None:
    """At once, although it was to be repaid later."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=60) as call:
        call.settle(tokens=1_000)
        task = asyncio.create_task(limit(tokens=90).__aenter__())
        await asyncio.sleep(10)
        assert not task.done()
        call.settle(tokens=10)
        await task
        assert now() == 10


@pytest.mark.parametrize("tokens", [math.inf, 1e300])
@virtual
async def test_what_nobody_can_have_used_is_refused(tokens: float) -> None:
    """It would take for ever to write it down. What was said before still counts."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=10) as call:
        with pytest.raises(ValueError, match="no call has used"):
            call.settle(tokens=tokens)
    assert "10 tokens" in repr(limit)


@virtual
async def test_the_largest_debt() -> None:
    """It keeps everybody waiting for a hundred thousand windows. More is taken for a mistake."""
    limit = RateLimit(tokens=2, per=60)
    async with limit() as call:
        with pytest.raises(ValueError, match="no call has used"):
            call.settle(tokens=200_001)
        call.settle(tokens=200_000)
    async with limit(tokens=1):
        assert now() == 6_000_000


@pytest.mark.parametrize("tokens", [0, 50])
@virtual
async def test_who_was_not_admitted_has_nothing_to_settle(tokens: int) -> None:
    """Neither while it waits nor when it was cancelled while it waited."""
    limit = RateLimit(tokens=10, per=60)
    async with limit(tokens=10):
        pass
    call = limit(tokens=5)
    task = asyncio.create_task(call.__aenter__())
    await asyncio.sleep(1)
    with pytest.raises(RuntimeError, match="enter it first"):
        call.settle(tokens=tokens)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with pytest.raises(RuntimeError, match="enter it first"):
        call.settle(tokens=tokens)
    assert "10 tokens" in repr(limit)
    async with limit(tokens=10):
        assert now() == 60


@virtual
async def test_who_leaves_while_the_first_waits_for_tokens_changes_nothing() -> None:
    """A call that ends looks at no window: it can give back a place, and no tokens."""
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
    """It is collected while calls of the next loop are under way; their number stays what it is."""
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
    """As loops of GUI toolkits are: what `call_at` returns can be cancelled, and no more."""

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, **named: Any
    ) -> Any:
        timer = super().call_at(when, callback, *args, **named)

        class Plain:
            def cancel(self) -> None:
                timer.cancel()

        return Plain()


def test_a_loop_whose_timers_do_not_tell_their_time() -> None:
    """A change of who is next is all that they are needed for."""

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
