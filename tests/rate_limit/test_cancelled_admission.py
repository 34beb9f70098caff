"""`RateLimit`: cancelled admissions, and sums that are rounded."""

from __future__ import annotations

import asyncio

import pytest

from structgather import RateLimit
from support.rate_limits import cancelled_admission
from support.virtual_tests import virtual
from support.virtual_time import now


@virtual
async def test_a_cancelled_admission_frees_its_place() -> None:
    """At once, if only concurrency is limited."""
    limit = RateLimit(concurrent=1)
    await cancelled_admission(limit, 1)
    async with limit():
        assert now() == 1


@virtual
async def test_a_cancelled_admission_counts_in_no_window() -> None:
    """Neither when it is cancelled nor when its window has passed."""
    limit = RateLimit(concurrent=1, requests=2, per=60)
    await cancelled_admission(limit, 1)  # one call counts, from 0 on
    times: list[float] = []
    await asyncio.sleep(1)
    for _ in range(5):
        async with limit():
            times.append(now())
    assert times == [2, 60, 62, 120, 122]


@pytest.mark.parametrize("pace", [0.5, 1, 2])
@virtual
async def test_a_cancelled_admission_takes_no_step_of_an_even_pace(pace: float) -> None:
    """The next call is admitted in that step, the one after it a step later."""
    limit = RateLimit(concurrent=1, requests=60 / pace, per=60, burst=1)
    await cancelled_admission(limit, pace)
    for due in (pace, 2 * pace):
        async with limit():
            assert now() == due


@virtual
async def test_rounded_sums_leave_no_remainder() -> None:
    """After rounding, a full load is admitted when the window is over."""
    limit = RateLimit(tokens=1.0, per=60)  # 0.2 + 0.35 + 0.3 - 0.2 - 0.35 - 0.3 > 0
    for tokens in (0.2, 0.35, 0.3):
        async with limit(tokens=tokens):
            assert now() == 0
    async with limit(tokens=1.0):
        assert now() == 60
