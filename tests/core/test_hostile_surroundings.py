"""Shutdowns, deep stacks and foreign Futures: what happens around a call harms none of it."""

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

# Everything is cancelled at once.


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
def test_every_task_is_cancelled_while_the_loop_stands(call: Call, *, youngest_first: bool) -> None:
    """As at the end of `asyncio.run`: in whichever order, each cleanup has run undisturbed."""
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
    """As a shutdown handler does it: in whichever order, each cleanup has run undisturbed."""
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
    """Each child sees the message with which its caller was cancelled, as with asyncio.gather."""
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
    """What runs in the background when the program ends cleans up once and undisturbed."""
    log: list[str] = []

    async def main() -> None:
        background.append(asyncio.create_task(call(*[cleans_up(log, 0.001) for _ in range(4)])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    for _ in range(5):  # asyncio cancels the tasks in the order of a set, which is by address
        background: list[Any] = []
        asyncio.run(main())
        assert background[0].cancelled()
    assert log == ["cleaned up"] * 20


@each_call
def test_a_loop_that_is_closed_meanwhile(call: Call) -> None:
    """A call whose loop is gone is collected without a word, save asyncio's own."""
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


# Depth.


def test_fifty_calls_in_each_other_are_cancelled_in_one_instant() -> None:
    """Those deeper down follow in later turns; and the next fifty are cancelled as these were."""

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
def test_thousands_of_calls_in_each_other_are_cancelled(call: Call) -> None:
    """A cancellation goes down through 3,000 levels to the last one, and its message comes up."""
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


# Foreign Futures.


class Uncancellable(asyncio.Future[Any]):
    """Raises when it is cancelled."""

    def cancel(self, msg: Any = None) -> bool:
        raise RuntimeError("not now")


def uncancellable() -> Uncancellable:
    future = Uncancellable()
    asyncio.get_running_loop().call_later(5, future.set_result, "in its own time")
    return future


def told() -> list[str]:
    """What the loop's handler was told, which is expected here."""
    calls, current().handler_calls[:] = [*current().handler_calls], []
    return calls


@each_way_to_leave
@virtual
async def test_a_future_that_cannot_be_cancelled(leave: Leave) -> None:
    """It is reported to the loop, and joined; those behind it are cancelled all the same."""
    log: list[str] = []
    await leave(stops_slowly(log), uncancellable(), stops_slowly(log))
    assert (now(), log) == (5, ["cleaned up"] * 2)
    (message,) = told()
    assert "(): cancel() of child " in message
    assert "failed: RuntimeError('not now')" in message


@each_call
@virtual
async def test_a_late_future_that_cannot_be_cancelled(call: Call) -> None:
    """A time that is over ends those that can be ended; the one that can't has its value."""
    late, value = await call(forever(), uncancellable(), child_timeout=1)
    assert (type(late), value, now()) == (TimeoutError, "in its own time", 5)
    assert len(told()) == 1


@virtual
async def test_a_block_left_with_a_future_that_cannot_be_cancelled() -> None:
    """The exception of the body goes on when that Future is done."""
    with suppress(ZeroDivisionError):
        async with as_completed_scoped([uncancellable(), forever()]):
            await asyncio.sleep(1)
            raise ZeroDivisionError
    assert (now(), len(told())) == (5, 1)
