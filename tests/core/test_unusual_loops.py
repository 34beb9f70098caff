"""Event loops that lack some of the methods of asyncio's, or create Tasks in their own way."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

from simloop.base_loop import LoopTask
from simloop.choosers import First
from simloop.loop import DeterministicLoop
from structgather import as_completed_scoped, first_n_within, gather_structured
from structgather._group import is_closed, replays_timers
from support.each_call import Call, each_call
from support.virtual_tests import forever, stops_slowly
from support.virtual_time import after


class NeverClosed(asyncio.AbstractEventLoop):
    """Raises NotImplementedError, as a workflow engine's loop does, which can't be closed."""


def test_a_loop_that_cannot_be_closed_is_open_and_replays_timers() -> None:
    """No timer is set on it for a log message."""
    loop = NeverClosed()  # type: ignore[abstract]  # nothing else is asked of it
    assert not is_closed(loop)
    assert replays_timers(loop)


def test_asyncios_own_loop_is_open_until_it_is_closed_and_replays_no_timers() -> None:
    """It implements `is_closed`."""
    loop = asyncio.new_event_loop()
    assert (is_closed(loop), replays_timers(loop)) == (False, False)
    loop.close()
    assert (is_closed(loop), replays_timers(loop)) == (True, False)


class Refusal:
    """A timer that can't be cancelled at first."""

    def __init__(self, error: BaseException) -> None:
        self._errors = [error]

    def cancel(self) -> None:
        if self._errors:
            raise self._errors.pop()


class Refusing(DeterministicLoop):
    """Refuses to cancel the timer of a `child_timeout`."""

    refusal: BaseException = OSError("no")

    def call_at(self, when: float, callback: Any, *args: Any, **options: Any) -> Any:  # type: ignore[override]  # simpler
        timer = super().call_at(when, callback, *args, **options)
        return Refusal(self.refusal) if "call_after_tick" in callback.__qualname__ else timer


def test_a_loop_that_refuses_to_cancel_a_timer() -> None:
    """Its exception is raised when all children have finished."""
    log: list[str] = []

    async def main() -> None:
        with pytest.raises(OSError, match="no"):
            await gather_structured(after(1, TypeError()), stops_slowly(log), child_timeout=5)

    with asyncio.Runner(loop_factory=lambda: Refusing(First())) as runner:  # type: ignore[abstract]
        runner.run(main())
    assert log == ["cleaned up"]


def test_an_interrupt_while_a_timer_is_cancelled_propagates() -> None:
    """Ctrl-C is not mistaken for a refusal."""

    async def main() -> None:
        await gather_structured(after(1, TypeError()), forever(), child_timeout=5)

    loop = Refusing(First())  # type: ignore[abstract]
    loop.refusal = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt), asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


class SettingNoTimers(DeterministicLoop):
    """Refuses every timer, as a loop with 32-bit timers refuses a long one."""

    def call_at(self, when: float, callback: Any, *args: Any, **options: Any) -> Any:  # type: ignore[override]  # simpler
        raise OverflowError("too long for a timer")


async def race_for_a_month(*children: Coroutine[Any, Any, Any]) -> None:
    await first_n_within(children, within=30 * 86_400)


async def stream_for_a_month(*children: Coroutine[Any, Any, Any]) -> None:
    async with as_completed_scoped(children, timeout=30 * 86_400):
        raise AssertionError


async def gather_for_a_month(*children: Coroutine[Any, Any, Any]) -> None:
    await gather_structured(*children, child_timeout=30 * 86_400)


@pytest.mark.parametrize("call", [gather_for_a_month, race_for_a_month, stream_for_a_month])
def test_a_loop_that_sets_no_timer(call: Call) -> None:
    """Its exception propagates, no child starts, and the coroutines are closed."""
    started: list[str] = []

    async def child(name: str) -> None:
        started.append(name)

    children = [child("a"), child("b")]

    async def main() -> None:
        with pytest.raises(OverflowError, match="too long for a timer"):
            await call(*children)

    with asyncio.Runner(loop_factory=lambda: SettingNoTimers(First())) as runner:  # type: ignore[abstract]
        runner.run(main())
    assert started == []
    assert {inspect.getcoroutinestate(child) for child in children} == {inspect.CORO_CLOSED}


class Eager(DeterministicLoop):
    """Starts each Task eagerly, without a task factory."""

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return LoopTask(coro, loop=self, eager_start=True, **options)


async def at_once(value: str) -> str:
    return value


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
@each_call
def test_a_loop_that_starts_tasks_eagerly(call: Call) -> None:
    """Children that finish in `create_task` settle, also after one that is suspended there."""

    async def main() -> None:
        assert await call(after(0, "a"), at_once("b"), at_once("c")) == ["a", "b", "c"]

    with asyncio.Runner(loop_factory=lambda: Eager(First())) as runner:  # type: ignore[abstract]
        runner.run(main())


class Guarded(DeterministicLoop):
    """Wraps some coroutines in one that does not run them, as an open circuit breaker does."""

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return super().create_task(guard(coro) if coro.__name__ == "at_once" else coro, **options)


async def guard(coroutine: Any) -> None:
    await asyncio.sleep(1)
    coroutine.close()


@each_call
def test_a_loop_that_wraps_some_coroutines(call: Call) -> None:
    """A child that its wrapper does not run settles with the value of the wrapper."""

    async def main() -> None:
        assert await call(after(2, "a"), at_once("b")) == ["a", None]

    with asyncio.Runner(loop_factory=lambda: Guarded(First())) as runner:  # type: ignore[abstract]
        runner.run(main())
