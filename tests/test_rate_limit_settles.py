"""`RateLimit`: what is settled counts once, for one window, from when it was known."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from virtual_tests import virtual
from virtual_time import now

from structgather import RateLimit


async def admitted(limit: RateLimit, **weights: float) -> float:
    """Be admitted, and say when."""
    async with limit(**weights):
        return now()


@virtual
async def test_what_was_given_back_is_not_given_back_once_more() -> None:
    """When the window is over, only the rest leaves it: the next holds no more than the limit."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=100) as call:
        call.settle(tokens=30)
    await asyncio.sleep(60)
    assert [await admitted(limit, tokens=tokens) for tokens in (100, 70)] == [60, 120]


@virtual
async def test_who_waits_goes_on_when_tokens_are_given_back() -> None:
    """At once, not only when the call that gave them back is over."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=100) as call:
        waiting = asyncio.create_task(admitted(limit, tokens=70))
        await asyncio.sleep(5)
        call.settle(tokens=30)
        await asyncio.sleep(5)
    assert await waiting == 5


@virtual
@pytest.mark.parametrize("more", [0.25, 1, 1.5])
async def test_a_small_debt_counts_from_when_it_was_known(more: float) -> None:
    """Not from the admission: known at 5, it is left behind at 65. No part of it is forgiven."""
    limit = RateLimit(tokens=10, per=60)
    async with limit(tokens=8) as call:
        await asyncio.sleep(5)
        call.settle(tokens=8 + more)
        assert f"{8 + more:g} tokens" in repr(limit)
    assert await admitted(limit, tokens=10 - more) == 60
    assert await admitted(limit, tokens=0.01) == 65


@virtual
async def test_less_than_one_token_is_given_back() -> None:
    """Tokens may have parts."""
    limit = RateLimit(tokens=10, per=60)
    async with limit(tokens=10) as call:
        call.settle(tokens=9.5)
    assert await admitted(limit, tokens=0.5) == 0


@virtual
async def test_a_debt_is_no_request() -> None:
    """It counts for tokens alone."""
    limit = RateLimit(tokens=100, requests=2, per=60)
    async with limit(tokens=10) as call:
        call.settle(tokens=90)
    assert [await admitted(limit), await admitted(limit)] == [0, 60]


@virtual
async def test_what_is_said_again_takes_no_memory() -> None:
    """A call that has used what was estimated leaves one entry, however often it says so."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=10) as call:
        for _ in range(100):
            call.settle(tokens=10)
    assert call.debt is None
    assert len(window_of(limit).entries) == 1


@virtual
async def test_where_no_tokens_are_limited_nothing_is_settled() -> None:
    """It may be said all the same, so that a limit can be exchanged for another."""
    limit = RateLimit(concurrent=1)
    async with limit(tokens=10) as call:
        for tokens in (50, 5):
            call.settle(tokens=tokens)
            assert "0 requests and 0 tokens" in repr(limit)
    assert len(window_of(limit).entries) == 0


@virtual
async def test_a_debt_that_finds_no_room_takes_none() -> None:
    """It is remembered once, where it is to be repaid."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=100) as call:
        call.settle(tokens=150)
    assert [(debt.since, debt.tokens) for debt in call.debts] == [(60, 50)]
    assert len(window_of(limit).entries) == 1


@virtual
async def test_debts_are_repaid_in_the_order_in_which_they_were_known() -> None:
    """Each takes the next room in the window, ahead of those who wait."""
    limit = RateLimit(tokens=100, per=60)
    async with limit() as large, limit() as small:
        large.settle(tokens=200)  # 100 until 60, and 100 more until 120
        await asyncio.sleep(10)
        small.settle(tokens=50)  # from 120 until 180
    assert [await admitted(limit, tokens=tokens) for tokens in (50, 100)] == [120, 180]


@virtual
async def test_a_pace_that_is_not_one_a_second() -> None:
    """30 a minute, and each counts for two: one in four seconds."""
    limit = RateLimit(requests=30, per=60, burst=2)
    assert [await admitted(limit, requests=2) for _ in range(3)] == [0, 4, 8]


@virtual
async def test_a_call_is_one_request_and_no_token_a_minute() -> None:
    """Unless it is said otherwise."""
    limit = RateLimit(requests=9, tokens=9)
    await admitted(limit)
    assert "1 requests and 0 tokens in 60 s" in repr(limit)


@virtual
async def test_tokens_are_settled_by_name() -> None:
    """A number alone does not say what it counts."""
    async with RateLimit(tokens=100)(tokens=5) as call:
        settle: Any = call.settle
        with pytest.raises(TypeError):
            settle(5)
