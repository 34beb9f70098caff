"""Helpers of the tests of `RateLimit`."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

import pytest

from structgather import RateLimit
from structgather._window import PARTS
from structgather._window import Window as SlidingWindow
from support.virtual_time import now

if TYPE_CHECKING:
    from structgather._rate_limit import Admission


def window_of(limit: RateLimit) -> SlidingWindow:
    """Return the window of a limit that has one."""
    window = limit._gate.window
    assert window is not None
    return window


def counts(limit: RateLimit) -> tuple[float, float]:
    """Return the requests and tokens that count in the window."""
    loop = limit._gate.loop_in_use
    return window_of(limit).counts(-math.inf if loop is None else loop.time())


async def admitted(limit: RateLimit, **weights: float) -> float:
    """Be admitted, and return the time."""
    async with limit(**weights):
        return now()


def enter(call: Admission) -> bool:
    """Enter if it can be entered at once, else cancel it."""
    entering = call.__aenter__()
    try:
        entering.send(None)
    except StopIteration:
        return True
    with contextlib.suppress(asyncio.CancelledError):
        entering.throw(asyncio.CancelledError())
    return False


async def crowd(limit: RateLimit) -> None:
    """Admit so many calls of zero weight, so that later calls share entries."""
    for _ in range(PARTS):
        async with limit(requests=0):
            pass


async def cancelled_admission(limit: RateLimit, at: float) -> None:
    """Let a call be admitted at a time, and cancel it in the same loop iteration."""

    async def call() -> None:
        async with limit():
            pytest.fail("it was cancelled")

    held = limit()
    await held.__aenter__()
    task = asyncio.create_task(call())
    await asyncio.sleep(at - now())
    await held.__aexit__(None, None, None)  # admits the waiting call ...
    task.cancel()  # ... which is cancelled before it resumes
    with contextlib.suppress(asyncio.CancelledError):
        await task
