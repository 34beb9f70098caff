"""Real event loops: asyncio's own, with lazy and with eager tasks, and uvloop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

Main = Callable[[], Coroutine[Any, Any, None]]


def stock() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def eager() -> asyncio.AbstractEventLoop:
    if sys.version_info >= (3, 12):
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop
    pytest.skip("there are no eager tasks before 3.12")


def uvloop() -> asyncio.AbstractEventLoop:
    module = pytest.importorskip("uvloop", reason="uvloop is not there for this platform")
    loop: asyncio.AbstractEventLoop = module.new_event_loop()
    return loop


on_each_loop = pytest.mark.parametrize("loop", [stock, eager, uvloop])
Loop = Callable[[], asyncio.AbstractEventLoop]


def run(main: Main, loop: Loop) -> None:
    """Run `main`, and fail if the loop reports an error."""
    complaints: list[Any] = []
    with asyncio.Runner(loop_factory=loop, debug=True) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(main())
    assert complaints == []
