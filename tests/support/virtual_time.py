"""Runs the coroutine of a test on the deterministic loop, in virtual time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from simloop.choosers import First
from simloop.loop import DeterministicLoop
from simloop.run import listening

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], *, eager: bool = False) -> T:
    """Run `main`; fail if asyncio would log something, or a coroutine was never awaited."""
    loop = DeterministicLoop(First())  # type: ignore[abstract]  # no I/O
    if eager:
        loop.start_eagerly()
    complaints: list[str] = []
    with listening(complaints, complaints):
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                result = runner.run(main)
        finally:
            del main
            gc.collect(0)
    # Warnings are complete only here.
    assert complaints == []
    assert loop.handler_calls == []
    return result


def now() -> float:
    """Return the virtual time, which starts at 0."""
    return asyncio.get_running_loop().time()


def timers_from_now_on(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.TimerHandle]:
    """Return a list that records the timers of the running loop from now on."""
    loop = asyncio.get_running_loop()
    call_at, timers = loop.call_at, list[asyncio.TimerHandle]()

    def recorded(*args: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(call_at(*args, **options))
        return timers[-1]

    monkeypatch.setattr(loop, "call_at", recorded)
    return timers


def still_to_ring(timers: list[asyncio.TimerHandle]) -> list[asyncio.TimerHandle]:
    """Return the timers that are neither due nor cancelled."""
    return [timer for timer in timers if timer.when() > now() and not timer.cancelled()]


async def after(seconds: float, value: Any) -> Any:
    """Return a value, or raise it if it is an exception, after so many seconds."""
    await asyncio.sleep(seconds)
    if isinstance(value, BaseException):
        raise value
    return value
