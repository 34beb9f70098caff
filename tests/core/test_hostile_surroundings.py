"""Shutdowns, deep recursion and foreign Futures do no harm to a call."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest

from simloop.choosers import First
from simloop.loop import DeterministicLoop, current
from simloop.run import listening
from structgather import as_completed_scoped, first_n_within, gather_structured
from support.each_call import CALLS, Call, Leave, each_call, each_way_to_leave
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import now

# Every task is cancelled


async def cleans_up(log: list[str], seconds: float = 1) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            log.append("disturbed")
            raise
        log.append("cleaned up")


async def nested(*children: Any) -> Any:
    return await gather_structured(first_n_within(children), gather_structured(forever()))


async def adopted(*children: Any) -> Any:
    return await gather_structured(*map(asyncio.create_task, children))


@pytest.mark.parametrize("call", [*CALLS, nested, adopted], ids=lambda call: call.__name__)
@pytest.mark.parametrize("youngest_first", [False, True])
def test_every_task_is_cancelled_while_the_loop_is_stopped(
    call: Call, *, youngest_first: bool
) -> None:
    """As at the end of `asyncio.run`: in any order, each cleanup runs without interruption."""
    log: list[str] = []
    loop = DeterministicLoop(First())  # type: ignore[abstract]  # no I/O

    async def begin() -> None:
        loop.create_task(call(*[cleans_up(log) for _ in range(3)]))
        await asyncio.sleep(1)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(begin())
        for task in sorted(loop.live_tasks(), key=lambda task: task.birth, reverse=youngest_first):
            task.cancel()
    assert log == ["cleaned up"] * 3
    assert (loop.live_tasks(), loop.handler_calls) == ([], [])


@pytest.mark.parametrize("call", [*CALLS[:2], nested, adopted], ids=lambda call: call.__name__)
@pytest.mark.parametrize("youngest_first", [False, True])
@virtual
async def test_every_task_is_cancelled_by_a_task(call: Call, *, youngest_first: bool) -> None:
    """As in a shutdown handler: in any order, each cleanup runs without interruption."""
    log: list[str] = []
    tasks = [asyncio.create_task(call(*[cleans_up(log) for _ in range(3)]))]
    await asyncio.sleep(1)
    me = asyncio.current_task()
    for task in sorted(current().live_tasks(), key=lambda task: task.birth, reverse=youngest_first):
        if task is not me:
            task.cancel()
    await asyncio.wait(tasks)
    assert log == ["cleaned up"] * 3


@pytest.mark.parametrize("call", CALLS[:2], ids=lambda call: call.__name__)
@virtual
async def test_the_message_of_a_cancellation_reaches_the_children(call: Call) -> None:
    """Each child receives the message of its caller's cancellation, as with asyncio.gather."""
    seen: list[Any] = []

    async def child() -> None:
        try:
            await forever()
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    task = asyncio.create_task(call(child(), child()))
    await asyncio.sleep(1)
    task.cancel("the user has left")
    await asyncio.wait([task])
    assert seen == [("the user has left",)] * 2


@each_call
def test_the_end_of_asyncio_run(call: Call) -> None:
    """Background tasks clean up once, without interruption, when the program ends."""
    log: list[str] = []

    async def main() -> None:
        background.append(asyncio.create_task(call(*[cleans_up(log, 0.001) for _ in range(4)])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    for _ in range(5):  # asyncio cancels the tasks in the order of a set, by address
        background: list[Any] = []
        asyncio.run(main())
        assert background[0].cancelled()
    assert log == ["cleaned up"] * 20


@each_call
def test_a_loop_that_is_closed_during_a_call(call: Call) -> None:
    """The call is collected, and nothing is reported except by asyncio itself."""
    loop = DeterministicLoop(First())  # type: ignore[abstract]  # no I/O
    complaints: list[str] = []

    async def begin() -> None:
        loop.create_task(call(forever(), forever(), limit=2, child_timeout=9))
        await asyncio.sleep(1)

    with listening(complaints, complaints):
        loop.run_until_complete(begin())
        loop.close()
        gc.collect()
    assert complaints == []
    assert loop.handler_calls == ["Task was destroyed but it is pending!: None"] * 3


# Depth


def test_fifty_nested_calls_are_cancelled_in_the_same_instant() -> None:
    """Deeper calls follow in later loop iterations, fifty at a time."""

    async def in_each_other(calls: int) -> None:
        if calls:
            await gather_structured(in_each_other(calls - 1))
        else:
            bottom.set()
            await forever()

    async def main() -> None:
        for calls, at_once in [(60, 51), (60, 51), (3, 4)]:
            task = asyncio.create_task(in_each_other(calls))
            await bottom.wait()
            bottom.clear()
            task.cancel()
            tasks = asyncio.all_tasks()
            assert (len(tasks), sum(task.cancelling() for task in tasks)) == (calls + 2, at_once)
            with suppress(asyncio.CancelledError):
                await task

    bottom = asyncio.Event()
    asyncio.run(main())


@each_call
def test_thousands_of_nested_calls_are_cancelled(call: Call) -> None:
    """A cancellation reaches the innermost of 3,000 levels, and its message propagates back."""
    loop = DeterministicLoop(First(), max_steps=100_000)  # type: ignore[abstract]  # no I/O
    log: list[str] = []

    async def level(number: int) -> Any:
        if number:
            return await call(level(number - 1))
        bottom.set()
        return await stops_slowly(log)

    async def main() -> None:
        task = asyncio.create_task(level(3_000))
        await bottom.wait()
        task.cancel("the user has left")
        with pytest.raises(asyncio.CancelledError, match="the user has left"):
            await task

    bottom = asyncio.Event()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    assert (log, loop.time(), loop.handler_calls) == (["cleaned up"], 1, [])


# Foreign Futures


class Uncancellable(asyncio.Future[Any]):
    """Raises when it is cancelled."""

    def cancel(self, msg: Any = None) -> bool:
        raise RuntimeError("not now")


def uncancellable() -> Uncancellable:
    future = Uncancellable()
    asyncio.get_running_loop().call_later(5, future.set_result, "in its own time")
    return future


def logged_errors() -> list[str]:
    """The calls of the exception handler, which this test expects."""
    calls, current().handler_calls[:] = [*current().handler_calls], []
    return calls


@each_way_to_leave
@virtual
async def test_a_future_that_cannot_be_cancelled(leave: Leave) -> None:
    """The error is reported to the loop; the Future is joined, and later children are cancelled."""
    log: list[str] = []
    await leave(stops_slowly(log), uncancellable(), stops_slowly(log))
    assert (now(), log) == (5, ["cleaned up"] * 2)
    (message,) = logged_errors()
    assert "(): cancel() of child " in message
    assert "failed: RuntimeError('not now')" in message


@virtual
async def test_a_single_future_that_cannot_be_cancelled() -> None:
    """The error is reported, and the caller's cancellation is raised when the Future is done."""
    call = asyncio.create_task(gather_structured(uncancellable()))
    await asyncio.sleep(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert now() == 5
    expected = "gather_structured(): cancel() of child 0 failed: RuntimeError('not now')"
    messages = logged_errors()
    assert messages
    assert all(expected in message for message in messages)


@each_call
@virtual
async def test_a_late_future_that_cannot_be_cancelled(call: Call) -> None:
    """A timeout cancels the children that can be; the one that can't be has its value."""
    late, value = await call(forever(), uncancellable(), child_timeout=1)
    assert (type(late), value, now()) == (TimeoutError, "in its own time", 5)
    assert len(logged_errors()) == 1


@virtual
async def test_a_block_left_with_a_future_that_cannot_be_cancelled() -> None:
    """The body's exception propagates when that Future is done."""
    with suppress(ZeroDivisionError):
        async with as_completed_scoped([uncancellable(), forever()]):
            await asyncio.sleep(1)
            raise ZeroDivisionError
    assert (now(), len(logged_errors())) == (5, 1)
