"""Tests that are coroutine functions, in virtual time: an hour of theirs takes no time.

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

from support.virtual_time import run

P = ParamSpec("P")


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of a coroutine function. A task that it leaves behind is a failure."""

    @functools.wraps(test)
    def run_it(*args: P.args, **kwargs: P.kwargs) -> None:
        run(_leaving_nothing(test(*args, **kwargs)))

    return run_it


async def _leaving_nothing(test: Coroutine[Any, Any, None]) -> None:
    await test
    assert asyncio.all_tasks() == {asyncio.current_task()}


def run_stock(main: Coroutine[Any, Any, Any], *, eager: bool = False) -> None:
    """Run on asyncio's own loop what 3.12 and 3.13 can't run eagerly on one written in Python.

    There a task whose first step raises is hashed while its exception is set.
    """

    async def on_the_loop() -> None:
        if eager and sys.version_info >= (3, 12):
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await main

    asyncio.run(on_the_loop())


async def forever(log: list[str] | None = None) -> Any:
    """Wait until it is cancelled, and say so."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        if log is not None:
            log.append("cancelled")


async def stops_slowly(log: list[str], seconds: float = 1) -> Any:
    """Wait until it is cancelled, then clean up for so many seconds, and say so."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.sleep(seconds)
        log.append("cleaned up")
