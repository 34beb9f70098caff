"""Loops that implement only what coroutines need, such as Temporal's, which runs a workflow.

tests/integrations uses that loop itself. This one does not implement `is_closed`, has each timer
in its history, and while it evicts the workflow no timer can be cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from simloop.base_loop import LoopTask
from simloop.choosers import First
from simloop.loop import DeterministicLoop
from structgather import RateLimit, gather_structured, warn_stuck_after
from support.each_call import Call, Leave, each_call, each_way_to_leave, stream
from support.virtual_tests import forever, stops_slowly
from support.virtual_time import run


class EvictedError(BaseException):
    """The workflow is being evicted, and must not change its history."""


class WorkflowLoop(DeterministicLoop):
    """The loop of one workflow."""

    evicts = False

    def is_closed(self) -> bool:
        raise NotImplementedError

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if self.evicts:
            raise EvictedError


@pytest.fixture
def loop() -> WorkflowLoop:
    return WorkflowLoop(First())  # type: ignore[abstract]  # no I/O


@each_way_to_leave
def test_no_timer_is_set_for_the_stuck_warning(
    leave: Leave, loop: WorkflowLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """However long the cleanup of a child takes, no timer is set and nothing is logged."""
    warn_stuck_after(5)
    log: list[str] = []
    with (
        caplog.at_level(logging.WARNING, "structgather"),
        asyncio.Runner(loop_factory=lambda: loop) as runner,
    ):
        runner.run(leave(stops_slowly(log, 60)))
    assert (log, loop.time()) == (["cleaned up"], 61)
    assert caplog.messages == []


@each_call
def test_a_timer_that_cannot_be_cancelled(call: Call, loop: WorkflowLoop) -> None:
    """The children are cancelled and joined all the same, then the loop's exception is raised."""
    log: list[str] = []

    async def workflow() -> None:
        task = asyncio.create_task(call(forever(log), forever(log), child_timeout=9))
        await asyncio.sleep(1)
        loop.evicts = True
        task.cancel()
        (error,) = await asyncio.gather(task, return_exceptions=True)
        loop.evicts = False
        assert log == ["cancelled", "cancelled"]
        # The block is left by its own exception; in the other calls there is none.
        assert type(error) is (asyncio.CancelledError if call is stream else EvictedError)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(workflow())


@each_call
def test_a_timer_that_cannot_be_cancelled_after_a_failure(call: Call, loop: WorkflowLoop) -> None:
    """The failure is raised, not the loop's exception about the timer."""
    made: list[asyncio.Task[None]] = []

    def factory(_: object, child: Any, **options: Any) -> asyncio.Task[None]:
        if made:
            loop.evicts = True
            raise MemoryError
        made.append(LoopTask(child, loop=loop, **options))
        return made[0]

    async def workflow() -> None:
        loop.set_task_factory(factory)
        with pytest.raises(MemoryError):
            await call(forever(), forever(), child_timeout=9)
        loop.evicts = False
        assert made[0].cancelled()
        loop.set_task_factory(None)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(workflow())


def test_a_loop_that_does_not_implement_is_closed_is_open(loop: WorkflowLoop) -> None:
    """Calls wait under a RateLimit as usual, and another loop may not use it."""
    limit = RateLimit(concurrent=1)
    log: list[float] = []

    async def call() -> None:
        async with limit():
            await asyncio.sleep(1)
            log.append(asyncio.get_running_loop().time())

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(gather_structured(call(), call(), call()))
    assert log == [1, 2, 3]
    with pytest.raises(RuntimeError, match="bound to a different event loop"):
        run(call())
