"""Tests that are coroutine functions and run in virtual time.

@virtual
async def test_it() -> None:
    await asyncio.sleep(3600)
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import pytest

from support.virtual_time import run

P = ParamSpec("P")


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Turn a coroutine function into a test. It fails if it leaves a task running."""

    @functools.wraps(test)
    def run_it(*args: P.args, **kwargs: P.kwargs) -> None:
        run(_leaving_nothing(test(*args, **kwargs)))

    return run_it


async def _leaving_nothing(test: Coroutine[Any, Any, None]) -> None:
    await test
    assert asyncio.all_tasks() == {asyncio.current_task()}


def run_stock(main: Coroutine[Any, Any, Any], *, eager: bool = False) -> None:
    """Run `main` on asyncio's own loop.

    On 3.12 and 3.13 a task whose eager first step raises is hashed while its exception is set,
    which the tasks of the simulated loop don't allow.
    """

    async def on_the_loop() -> None:
        if eager and sys.version_info >= (3, 12):
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await main

    asyncio.run(on_the_loop())


async def never() -> None:
    """Fail: the call must not start this child."""
    pytest.fail("it has started")


async def forever(log: list[str] | None = None) -> Any:
    """Wait until cancelled, and log that."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        if log is not None:
            log.append("cancelled")


async def stops_slowly(log: list[str], seconds: float = 1) -> Any:
    """Wait until cancelled, clean up for so many seconds, and log that."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.sleep(seconds)
        log.append("cleaned up")
