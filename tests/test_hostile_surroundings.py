"""Task factories, shutdowns, deep stacks, foreign Futures: whatever happens around a call."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from each_call import (
    CALLS,
    Call,
    Leave,
    each_call,
    each_way_to_leave,
    with_and_without_limit,
)
from harness.choosers import First
from harness.loop import DeterministicLoop, current
from harness.plumbing import LoopTask
from harness.run import listening
from virtual_tests import forever, stops_slowly, virtual
from virtual_time import after, now

from structgather import as_completed_scoped, first_n_within, gather_structured

Factory = Callable[..., Any]


@asynccontextmanager
async def task_factory(factory: Factory) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        yield
    finally:
        loop.set_task_factory(None)


# Task factories.


@each_call
@with_and_without_limit
@pytest.mark.parametrize("at", [1, 2, 3, 4])
@virtual
async def test_a_factory_that_raises(call: Call, limit: int | None, at: int) -> None:
    """Its error comes out as it is, when the children that have started are joined."""
    error, made, log = MemoryError("no more tasks"), 0, list[str]()

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        if made == at:
            raise error
        return LoopTask(coroutine, loop=loop, **options)

    async def child(seconds: float) -> None:
        await asyncio.sleep(0)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.sleep(1)
            log.append("cleaned up")

    children = [child(seconds) for seconds in (1, 4, 5, 6)]
    async with task_factory(factory):
        with pytest.raises(MemoryError) as caught:
            await call(*children, limit=limit)
    assert caught.value is error
    assert made == at
    # Where all start in one turn, none of them has made its first step.
    assert len(log) == (0 if at <= (limit or 4) else at - 1)


def wrapping(wrap: Callable[[Any, int], Coroutine[Any, Any, Any]]) -> Factory:
    made = 0

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        return LoopTask(wrap(coroutine, made), loop=loop, **options)

    return factory


@each_call
@with_and_without_limit
@virtual
async def test_a_factory_that_wraps_the_coroutine(call: Call, limit: int | None) -> None:
    """What is awaited around a child, as tracers do, changes nothing."""

    async def traced(coroutine: Any, number: int) -> Any:
        await asyncio.sleep(1)
        return await coroutine

    async with task_factory(wrapping(traced)):
        assert await call(after(1, "a"), after(2, "b"), limit=limit) == ["a", "b"]


@each_call
@with_and_without_limit
@pytest.mark.parametrize("turns", [0, 1])
@virtual
async def test_a_wrapper_that_fails_without_the_child(
    call: Call, limit: int | None, turns: int
) -> None:
    """The child has failed with the wrapper's error: nobody waits for it any longer."""
    error = OSError("the exporter is down")

    async def traced(coroutine: Any, number: int) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        if number == 2:
            raise error
        return await coroutine

    async with task_factory(wrapping(traced)):
        found = await call(after(1, "a"), after(1, "b"), after(1, "c"), limit=limit)
    assert found == ["a", error, "c"]


@each_call
@virtual
async def test_a_wrapper_that_returns_without_the_child(call: Call) -> None:
    """What the wrapper returned counts, and the child's coroutine is closed."""

    async def cached(coroutine: Any, number: int) -> Any:
        await asyncio.sleep(1)
        return f"cached {number}"

    async with task_factory(wrapping(cached)):
        assert await call(forever(), forever()) == ["cached 1", "cached 2"]


@each_way_to_leave
@virtual
async def test_a_wrapper_that_is_cancelled_before_the_child(leave: Leave) -> None:
    """A child that its wrapper had not come to yet is closed, and the call ends at once."""

    async def traced(coroutine: Any, number: int) -> Any:
        await asyncio.sleep(0 if number == 3 else 9)
        return await coroutine

    async with task_factory(wrapping(traced)):
        await leave(forever(), forever())
    assert now() == 1


@each_call
@with_and_without_limit
@virtual
async def test_a_factory_that_takes_no_options(call: Call, limit: int | None) -> None:
    """A factory of two parameters, as many a library has installed, is enough."""

    def factory(loop: Any, coroutine: Any) -> Any:
        return LoopTask(coroutine, loop=loop)

    async with task_factory(factory):
        assert await call(after(1, "a"), after(2, "b"), limit=limit) == ["a", "b"]


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
    call_task = asyncio.create_task(call(*[cleans_up(log) for _ in range(3)]))
    await asyncio.sleep(1)
    me = asyncio.current_task()
    for task in sorted(current().live_tasks(), key=lambda task: task.birth, reverse=youngest_first):
        if task is not me:
            task.cancel()
    await asyncio.wait([call_task])
    assert log == ["cleaned up"] * 3


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
    assert "a child can't be cancelled, its cancel() raised" in message
    assert "not now" in message


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
