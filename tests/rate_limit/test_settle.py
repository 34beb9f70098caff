"""`RateLimit`: settled tokens count once, for one window, from their settlement."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from structgather import RateLimit
from support.rate_limits import admitted, window_of
from support.virtual_tests import virtual


@virtual
async def test_returned_tokens_are_returned_once() -> None:
    """When the window is over, only the rest leaves it: the next one does not exceed the limit."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=100) as call:
        call.settle(tokens=30)
    await asyncio.sleep(60)
    assert [await admitted(limit, tokens=tokens) for tokens in (100, 70)] == [60, 120]


@virtual
async def test_a_waiter_is_admitted_when_tokens_are_returned() -> None:
    """At once, not only when the call that returned them has finished."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=100) as call:
        waiting = asyncio.create_task(admitted(limit, tokens=70))
        await asyncio.sleep(5)
        call.settle(tokens=30)
        await asyncio.sleep(5)
    assert await waiting == 5


@virtual
@pytest.mark.parametrize("more", [0.25, 1, 1.5])
async def test_a_small_debt_counts_from_its_settlement(more: float) -> None:
    """Not from the admission: settled at 5, it leaves at 65. No part of it is lost."""
    limit = RateLimit(tokens=10, per=60)
    async with limit(tokens=8) as call:
        await asyncio.sleep(5)
        call.settle(tokens=8 + more)
        assert f"{8 + more:g} tokens" in repr(limit)
    assert await admitted(limit, tokens=10 - more) == 60
    assert await admitted(limit, tokens=0.01) == 65


@virtual
async def test_a_debt_of_a_call_whose_window_is_over_counts_from_its_settlement() -> None:
    """Not from when the call left the window, at 60."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=100) as call:
        await asyncio.sleep(90)
        call.settle(tokens=150)
    assert [await admitted(limit, tokens=tokens) for tokens in (50, 50)] == [90, 150]


@virtual
async def test_less_than_one_token_is_returned() -> None:
    """Tokens may be fractions."""
    limit = RateLimit(tokens=10, per=60)
    async with limit(tokens=10) as call:
        call.settle(tokens=9.5)
    assert await admitted(limit, tokens=0.5) == 0


@virtual
async def test_a_debt_is_not_a_request() -> None:
    """Only its tokens count."""
    limit = RateLimit(tokens=100, requests=2, per=60)
    async with limit(tokens=10) as call:
        call.settle(tokens=90)
    assert [await admitted(limit), await admitted(limit)] == [0, 60]


@virtual
async def test_settling_again_takes_no_memory() -> None:
    """A call that used its estimate has one entry, however often it settles."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=10) as call:
        for _ in range(100):
            call.settle(tokens=10)
    assert call.debt is None
    assert len(window_of(limit).entries) == 1


@virtual
async def test_settling_without_a_limit_of_tokens_does_nothing() -> None:
    """It is allowed, so that limits can be exchanged."""
    limit = RateLimit(concurrent=1)
    async with limit(tokens=10) as call:
        for tokens in (50, 5):
            call.settle(tokens=tokens)
            assert "0 requests and 0 tokens" in repr(limit)
    assert limit._gate.window is None
    limit = RateLimit(requests=1)
    async with limit(tokens=10) as call:
        call.settle(tokens=50)
    assert "1 requests and 10 tokens" in repr(limit)


@virtual
async def test_a_debt_without_room_makes_no_entry() -> None:
    """It counts when there is room for it."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=100) as call:
        call.settle(tokens=150)
    assert len(window_of(limit).entries) == 1
    assert [await admitted(limit, tokens=tokens) for tokens in (50, 100)] == [60, 120]


@virtual
async def test_debts_are_repaid_in_the_order_of_their_settlements() -> None:
    """Each takes the next room in the window, ahead of waiting calls."""
    limit = RateLimit(tokens=100, per=60)
    async with limit() as large, limit() as small:
        large.settle(tokens=200)  # 100 until 60, and 100 more until 120
        await asyncio.sleep(10)
        small.settle(tokens=50)  # from 120 until 180
    assert [await admitted(limit, tokens=tokens) for tokens in (50, 100)] == [120, 180]


@virtual
async def test_an_even_pace_other_than_one_a_second() -> None:
    """30 a minute, and each counts for two: one every four seconds."""
    limit = RateLimit(requests=30, per=60, burst=2)
    assert [await admitted(limit, requests=2) for _ in range(3)] == [0, 4, 8]


@virtual
async def test_by_default_a_call_is_one_request_and_no_tokens() -> None:
    """And `per` is a minute."""
    limit = RateLimit(requests=9, tokens=9)
    await admitted(limit)
    assert "1 requests and 0 tokens in 60 s" in repr(limit)


@virtual
async def test_tokens_are_settled_by_name() -> None:
    """A number alone does not say what it is."""
    async with RateLimit(tokens=100)(tokens=5) as call:
        settle: Any = call.settle
        with pytest.raises(TypeError):
            settle(5)
