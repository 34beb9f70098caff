"""`RateLimit`: what was admitted and taken back, and sums that do not come out even."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from structgather import RateLimit
from support.virtual_tests import virtual
from support.virtual_time import now


async def taken_back(limit: RateLimit, at: float) -> None:
    """Be admitted at a time, and be cancelled in the very turn of the loop."""

    async def call() -> None:
        async with limit():
            pytest.fail("it was cancelled")

    held = limit()
    await held.__aenter__()
    task = asyncio.create_task(call())
    await asyncio.sleep(at - now())
    await held.__aexit__(None, None, None)  # admits the one that waits ...
    task.cancel()  # ... and before it goes on, it is cancelled
    with contextlib.suppress(asyncio.CancelledError):
        await task


@virtual
async def test_a_place_that_was_taken_back_without_a_window() -> None:
    """Where calls are limited to so many at a time, its place is free at once."""
    limit = RateLimit(concurrent=1)
    await taken_back(limit, 1)
    async with limit():
        assert now() == 1


@virtual
async def test_a_place_that_was_taken_back_counts_in_no_window() -> None:
    """It does not count, neither when it is taken back nor when its window has passed."""
    limit = RateLimit(concurrent=1, requests=2, per=60)
    await taken_back(limit, 1)  # so that one has counted, at 0
    times: list[float] = []
    await asyncio.sleep(1)
    for _ in range(5):
        async with limit():
            times.append(now())
    assert times == [2, 60, 62, 120, 122]


@pytest.mark.parametrize("pace", [0.5, 1, 2])
@virtual
async def test_a_place_that_was_taken_back_takes_no_turn_of_an_even_pace(pace: float) -> None:
    """Who comes in the turn of the one taken back is admitted in it, the next one a turn later."""
    limit = RateLimit(concurrent=1, requests=60 / pace, per=60, burst=1)
    await taken_back(limit, pace)
    for due in (pace, 2 * pace):
        async with limit():
            assert now() == due


@virtual
async def test_parts_that_do_not_add_up() -> None:
    """Numbers with a point are rounded; a full load is admitted when the window is over."""
    limit = RateLimit(tokens=1.0, per=60)  # 0.2 + 0.35 + 0.3 - 0.2 - 0.35 - 0.3 > 0
    for tokens in (0.2, 0.35, 0.3):
        async with limit(tokens=tokens):
            assert now() == 0
    async with limit(tokens=1.0):
        assert now() == 60
