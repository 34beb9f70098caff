"""Task factories that raise, or put a wrapper around each coroutine.

A wrapper that only awaits the coroutine changes nothing. An exception of the wrapper itself fails
the call, as it would fail a TaskGroup; it is raised bare, after all children are joined.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from simloop.base_loop import LoopTask
from simloop.every_schedule import either_start
from simloop.run import listening
from structgather import (
    Cancelled,
    TimedOut,
    as_completed_scoped,
    first_n_within,
    gather_structured,
)
from support.each_call import (
    CALLS,
    Call,
    Leave,
    each_call,
    each_way_to_leave,
    with_and_without_limit,
)
from support.virtual_tests import forever, never, stops_slowly, virtual
from support.virtual_time import after, now, run

Factory = Callable[..., Any]


@asynccontextmanager
async def task_factory(factory: Factory) -> AsyncGenerator[None]:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        yield
    finally:
        loop.set_task_factory(None)


@each_call
@with_and_without_limit
@pytest.mark.parametrize("at", [1, 2, 3, 4])
@virtual
async def test_a_factory_that_raises(call: Call, limit: int | None, at: int) -> None:
    """Its exception is raised unchanged, after the children that have started are joined."""
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
    # Without a limit all start in one loop iteration: none has made its first step.
    assert len(log) == (0 if at <= (limit or 4) else at - 1)


async def add_one(child: Any, other: Any) -> None:
    other.close()
    async with as_completed_scoped([forever()]) as outcomes:
        outcomes.add(child)
        await anext(outcomes)


def reported(call: Any, factory: Factory) -> list[str]:
    """Return the warnings of a call with a task factory, after everything is collected."""
    complaints: list[str] = []

    async def main() -> None:
        async with task_factory(factory):
            with suppress(MemoryError):
                await call(forever(), forever())

    with listening(complaints, complaints):
        asyncio.run(main())
        gc.collect()
    return complaints


@pytest.mark.parametrize("call", [*CALLS, add_one], ids=lambda call: call.__name__)
def test_a_child_without_a_task_is_not_reported(call: Any) -> None:
    """Neither its coroutine nor the one around it is "never awaited"."""
    made = 0

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        if made == 2:
            raise MemoryError
        return asyncio.Task(coroutine, loop=loop, **options)

    assert reported(call, factory) == []


@virtual
async def test_a_factory_that_raises_during_an_iteration() -> None:
    """The iteration raises its exception; the children cancelled for it are not yielded."""
    made = 0

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        if made == 3:
            raise MemoryError("no more tasks")
        return LoopTask(coroutine, loop=loop, **options)

    got: list[Any] = []
    async with task_factory(factory):
        with pytest.raises(MemoryError, match="no more tasks"):
            await consume([after(1, "a"), forever(), forever()], got)
    assert got == ["a"]


@each_call
@virtual
async def test_a_factory_that_raises_before_the_caller_is_cancelled(call: Call) -> None:
    """The caller's CancelledError is raised after the join, and leads to the other exception."""
    log: list[str] = []
    task = asyncio.create_task(call(stops_slowly(log, 5), after(1, "a"), forever(), limit=2))
    async with task_factory(raising_at(3)):
        await asyncio.sleep(2)
        task.cancel("the user has left")
        with pytest.raises(asyncio.CancelledError, match="the user has left") as caught:
            await task
    assert (log, now(), task.cancelling()) == (["cleaned up"], 6, 1)
    assert caught.value.__cause__ is not None
    assert "MemoryError: no more tasks" in "".join(traceback.format_exception(caught.value))


@each_call
@virtual
async def test_a_factory_that_raises_before_a_timeout(call: Call) -> None:
    """The TimeoutError of `asyncio.timeout` is raised, and leads to the other exception."""
    log: list[str] = []
    async with task_factory(raising_at(3)):
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(2):
                await call(stops_slowly(log, 5), after(1, "a"), forever(), limit=2)
    assert (log, now()) == (["cleaned up"], 6)
    assert "MemoryError: no more tasks" in "".join(traceback.format_exception(caught.value))


async def add_and_raise(error: Exception) -> None:
    async with as_completed_scoped([forever()]) as outcomes:
        outcomes.add(forever())
        raise error


@virtual
async def test_a_factory_that_raises_before_the_body_raises() -> None:
    """The exception of the body propagates, and has the other one in its notes."""
    error = KeyError("body")
    async with task_factory(raising_at(2)):
        with pytest.raises(KeyError) as caught:
            await add_and_raise(error)
    assert caught.value is error
    (note,) = error.__notes__
    assert note.startswith("as_completed_scoped(): further children failed:\nthe call: Traceback")
    assert note.endswith("MemoryError: no more tasks")


def raising_at(number: int) -> Factory:
    made = 0

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        if made == number:
            raise MemoryError("no more tasks")
        return LoopTask(coroutine, loop=loop, **options)

    return factory


async def consume(children: list[Any], got: list[Any]) -> None:
    async with as_completed_scoped(children, limit=2) as outcomes:
        async for outcome in outcomes:
            got.append(await outcome)  # noqa: PERF401 - what came before an error is to be there


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
    """A wrapper that awaits the child, as tracers do, changes nothing."""

    async def traced(coroutine: Any, number: int) -> Any:
        await asyncio.sleep(1)
        return await coroutine

    async with task_factory(wrapping(traced)):
        assert await call(after(1, "a"), after(2, "b"), limit=limit) == ["a", "b"]


@each_call
@with_and_without_limit
@pytest.mark.parametrize("iterations", [0, 1])
@virtual
async def test_a_wrapper_that_fails_before_the_child(
    call: Call, limit: int | None, iterations: int
) -> None:
    """The call raises the wrapper's exception, bare, after all children are joined."""
    error, log = OSError("the exporter is down"), list[str]()

    async def traced(coroutine: Any, number: int) -> Any:
        for _ in range(iterations):
            await asyncio.sleep(0)
        if number == 2:
            raise error
        return await coroutine

    async with task_factory(wrapping(traced)):
        with pytest.raises(OSError, match="exporter") as caught:
            await call(after(1, "a"), after(1, "b"), after(1, "c"), stops_slowly(log), limit=limit)
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert caught.value is error
    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


@each_call
@virtual
async def test_a_wrapper_that_returns_without_the_child(call: Call) -> None:
    """The value of the wrapper is the child's, and the child's coroutine is closed."""

    async def cached(coroutine: Any, number: int) -> Any:
        await asyncio.sleep(1)
        return f"cached {number}"

    async with task_factory(wrapping(cached)):
        assert await call(forever(), forever()) == ["cached 1", "cached 2"]


@each_way_to_leave
@virtual
async def test_a_wrapper_that_is_cancelled_before_the_child(leave: Leave) -> None:
    """A child that its wrapper has not started is closed, and the call does not wait for it."""

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
    """A factory with two parameters, as several libraries install it, works."""

    def factory(loop: Any, coroutine: Any) -> Any:
        return LoopTask(coroutine, loop=loop)

    async with task_factory(factory):
        assert await call(after(1, "a"), after(2, "b"), limit=limit) == ["a", "b"]


@each_call
@with_and_without_limit
@virtual
async def test_a_wrapper_that_swallows_the_childs_exception(call: Call, limit: int | None) -> None:
    """The child has failed all the same."""
    error = OSError("the child's own")

    async def swallowing(coroutine: Any, number: int) -> Any:
        try:
            return await coroutine
        except OSError:
            if number == 1:
                return "a default"
            raise asyncio.CancelledError from None

    async with task_factory(wrapping(swallowing)):
        assert await call(after(1, error), after(1, error), limit=limit) == [error, error]


async def exporting(coroutine: Any, number: int) -> Any:
    """A tracer that exports its span after the child has finished."""
    try:
        return await coroutine
    finally:
        await asyncio.sleep(1)


def lazily(factory: Factory) -> Factory:
    return factory


def eagerly(factory: Factory) -> Factory:
    def eager(loop: Any, coroutine: Any, **options: Any) -> Any:
        return factory(loop, coroutine, **{**options, "eager_start": True})

    return eager


starts = pytest.mark.parametrize(
    "start",
    [
        lazily,
        pytest.param(
            eagerly, marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")
        ),
    ],
    ids=["lazy", "eager"],
)


@each_call
@with_and_without_limit
@starts
@virtual
async def test_a_wrapper_that_runs_on_after_the_child(
    call: Call, limit: int | None, start: Callable[[Factory], Factory]
) -> None:
    """The call joins the wrapper too; a child settles, and makes room, when it finishes itself."""
    error = OSError("the child's own")

    async def child(number: int) -> int:
        if number == 2:
            raise error
        return number

    async with task_factory(start(wrapping(exporting))):
        found = await call(*map(child, range(5)), limit=limit)
        assert len(asyncio.all_tasks()) == 1
    assert found == [0, 1, error, 3, 4]
    assert now() == 1


class Compiled(Coroutine[Any, Any, Any]):
    """A coroutine of a type of its own, like Cython's."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, error: Any, *_: Any) -> Any:
        return self._coroutine.throw(error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()


@each_call
@with_and_without_limit
@starts
@virtual
async def test_a_compiled_wrapper(
    call: Call, limit: int | None, start: Callable[[Factory], Factory]
) -> None:
    """Any coroutine works: no attribute of the wrapper is used."""
    error = OSError("the child's own")
    children = [after(0, "a"), after(0, error), after(1, "b"), after(1, error)]

    def compiled(loop: Any, coroutine: Any, **options: Any) -> Any:
        return LoopTask(Compiled(coroutine), loop=loop, **options)

    async with task_factory(start(compiled)):
        assert await call(*children, limit=limit) == ["a", error, "b", error]


@starts
@pytest.mark.parametrize("return_exceptions", [False, True])
@virtual
async def test_failures_of_children_whose_wrappers_run_on(
    start: Callable[[Factory], Factory], *, return_exceptions: bool
) -> None:
    """Each is reported once, and the first in time is raised."""

    async def child(number: int) -> None:
        raise OSError(number)

    async with task_factory(start(wrapping(exporting))):
        children = map(child, range(3))
        if return_exceptions:
            found = await gather_structured(*children, return_exceptions=True)
            group = found.exception_group()
            assert group is not None
            assert [error.args for error in group.exceptions] == [(0,), (1,), (2,)]
        else:
            with pytest.raises(OSError, match="0"):
                await gather_structured(*children)


@starts
@virtual
async def test_values_of_children_whose_wrappers_run_on(
    start: Callable[[Factory], Factory],
) -> None:
    """Each is reported once."""
    async with task_factory(start(wrapping(exporting))):
        found = await first_n_within([after(0, "a"), after(5, "b")], 2)
    assert found.values == ["a", "b"]


@each_call
@with_and_without_limit
@starts
@virtual
async def test_a_wrapper_with_a_timeout(
    call: Call, limit: int | None, start: Callable[[Factory], Factory]
) -> None:
    """The call raises the wrapper's TimeoutError after the join, and `cancelling()` is 0."""
    log: list[str] = []

    async def with_a_timeout(coroutine: Any, number: int) -> Any:
        async with asyncio.timeout(1 if number == 1 else 100):
            return await coroutine

    async with task_factory(start(wrapping(with_a_timeout))):
        with pytest.raises(TimeoutError):
            await call(forever(), stops_slowly(log), limit=limit)
    assert (log, now()) == (["cleaned up"], 2)
    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


@virtual
async def test_wrappers_that_are_cancelled_before_their_first_step() -> None:
    """The coroutines in them are closed before the call returns."""
    caller = asyncio.current_task()
    assert caller is not None
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        async with task_factory(wrapping(exporting)):
            asyncio.get_running_loop().call_soon(caller.cancel)
            with pytest.raises(asyncio.CancelledError):
                await gather_structured(forever(), forever())
        caller.uncancel()
        await asyncio.sleep(1)
        gc.collect()
    assert not seen


@each_call
@with_and_without_limit
@virtual
async def test_a_factory_that_returns_a_future(call: Call, limit: int | None) -> None:
    """The call does not require a Task."""
    error = OSError("the child's own")

    class Promise(asyncio.Future[Any]):
        def set_name(self, name: object) -> None: ...

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        promise = Promise(loop=loop)

        def done(task: asyncio.Task[Any]) -> None:
            if task.exception():
                promise.set_exception(task.exception() or OSError())
            else:
                promise.set_result(task.result())

        LoopTask(coroutine, loop=loop).add_done_callback(done)
        return promise

    async with task_factory(factory):
        assert await call(after(1, "a"), after(2, error), limit=limit) == ["a", error]


def shielded(inner: Any, _loop: Any, **_: Any) -> Any:
    shield: Any = asyncio.shield(inner)

    def set_name(name: object) -> None:
        pass  # until 3.13 a TaskGroup names what a factory returns

    shield.set_name = set_name
    return shield


def awaited(inner: Any, loop: Any, **options: Any) -> Any:
    async def outer() -> Any:
        return await inner

    return LoopTask(outer(), loop=loop, **options)


@asynccontextmanager
async def in_another_task(wrap: Callable[..., Any]) -> AsyncGenerator[None]:
    """Run each coroutine in a Task that is not cancelled with what the factory returns."""
    inner: list[asyncio.Task[Any]] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        inner.append(LoopTask(coroutine, loop=loop))
        return wrap(inner[-1], loop, **options)

    async with task_factory(factory):
        yield
    for task in inner:
        task.cancel()
    await asyncio.gather(*inner, return_exceptions=True)


@each_way_to_leave
@pytest.mark.parametrize("wrap", [shielded, awaited])
@virtual
async def test_a_factory_that_runs_the_coroutine_in_another_task(leave: Leave, wrap: Any) -> None:
    """The call does not wait for that Task; a child in it is closed."""
    log: list[str] = []
    async with in_another_task(wrap):
        await leave(forever(log), forever(log))
    assert (log, now()) == (["cancelled"] * 2, 1)


@virtual
async def test_another_task_that_has_not_started() -> None:
    """A child that is cancelled before the first step of that Task is Cancelled."""
    outcomes = as_completed_scoped([after(1, "a"), after(1, "b"), forever()], limit=2)
    async with in_another_task(awaited), outcomes:
        assert await (await anext(outcomes)) == "a"
        assert await (await anext(outcomes)) == "b"
    assert [*map(type, outcomes.undelivered)] == [Cancelled]


@pytest.mark.parametrize("wrap", [shielded, awaited])
@virtual
async def test_a_late_child_in_another_task(wrap: Any) -> None:
    """It is TimedOut."""
    async with in_another_task(wrap):
        found = await first_n_within([forever()], within=1)
    assert [*map(type, found.outcomes)] == [TimedOut]


class CustomBaseError(BaseException):
    """Not an Exception."""


@each_call
@pytest.mark.parametrize("kind", [ValueError, GeneratorExit, CustomBaseError])
@virtual
async def test_a_task_that_a_factory_created_never_fails(
    call: Call, kind: type[BaseException]
) -> None:
    """The TaskGroup sees no failure, whatever the child raises."""
    made: list[asyncio.Task[Any]] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        made.append(LoopTask(coroutine, loop=loop, **options))
        return made[-1]

    error = kind("the child's own")
    async with task_factory(factory):
        found = await call(after(1, "a"), after(1, error))
        await asyncio.sleep(0)
    assert found == ["a", error]
    assert made[0].result() is None
    assert made[1].result() is None


async def add_all(*children: Any) -> None:
    async with as_completed_scoped([after(0, "first")]) as outcomes:
        for child in children:
            outcomes.add(child)
        async for _ in outcomes:
            pass


@each_call
@either_start
def test_a_wrapper_that_fails_after_the_child(call: Call, *, eager: bool) -> None:
    """The call raises the wrapper's exception, and asyncio does not report it as well."""
    if eager and sys.version_info[:2] == (3, 12):
        pytest.skip("gh-128550: the group of 3.12 cancels its caller inside create_task")

    async def at_once() -> str:
        return "c"

    async def traced(coroutine: Any) -> Any:
        await coroutine
        raise ConnectionError

    async def main() -> None:
        def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
            if eager:
                options["eager_start"] = True
            return asyncio.Task(traced(coroutine), loop=loop, **options)

        async with task_factory(factory):
            with pytest.raises(ConnectionError):
                await call(at_once(), after(1, "b"))

    run(main())


@pytest.mark.parametrize("call", [*CALLS, add_all], ids=lambda call: call.__name__)
def test_a_child_that_its_wrapper_never_starts_is_not_reported(call: Any) -> None:
    """It is not "never awaited": a caching wrapper may not need it."""

    async def cached(_coroutine: Any, number: int) -> int:
        return number

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        return asyncio.Task(cached(coroutine, 1), loop=loop, **options)

    assert reported(call, factory) == []


@virtual
async def test_elapsed_is_the_childs_own_time() -> None:
    """It does not include what the wrapper does after the child."""

    async def traced(coroutine: Any, number: int) -> Any:
        try:
            return await coroutine
        finally:
            await asyncio.sleep(5)

    async with task_factory(wrapping(traced)), as_completed_scoped([after(1, "a")]) as outcomes:
        await asyncio.sleep(2)
        outcomes.add(after(1, "b"))
        await asyncio.sleep(2)
        assert [outcome.elapsed async for outcome in outcomes] == [1, 1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
@each_call
@virtual
async def test_an_eager_factory_with_a_compiled_wrapper(call: Call) -> None:
    """It is joined like any other."""
    log: list[str] = []

    async def at_once() -> str:
        return "c"

    async def traced(coroutine: Any) -> Any:
        value = await coroutine
        await asyncio.sleep(1)
        log.append("sent")
        return value

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        options["eager_start"] = True
        return asyncio.Task(Compiled(traced(coroutine)), loop=loop, **options)

    async with task_factory(factory):
        assert await call(after(0, "a"), after(1, "b"), at_once()) == ["a", "b", "c"]
        assert log == ["sent"] * 3


@virtual
async def test_the_first_of_two_failing_wrappers_is_raised() -> None:
    """The first one in time, if both fail in one loop iteration; the other is in its notes."""

    async def traced(coroutine: Any, number: int) -> Any:
        await asyncio.sleep(1)
        raise OSError(f"exporter {number}")

    async with task_factory(wrapping(traced)):
        with pytest.raises(OSError, match="exporter 1") as caught:
            await gather_structured(forever(), forever())
    note, *_ = caught.value.__notes__
    assert note.startswith("gather_structured(): further children failed:\nthe call: Traceback")
    assert note.endswith("OSError: exporter 2")


@virtual
async def test_the_first_of_two_wrappers_that_fail_after_the_child_is_raised() -> None:
    """The other is in its notes, once."""

    async def traced(coroutine: Any, number: int) -> Any:
        await coroutine
        raise OSError(f"exporter {number}")

    async with task_factory(wrapping(traced)):
        with pytest.raises(OSError, match="exporter 1") as caught:
            await gather_structured(after(1, "a"), after(1, "b"))
    (note,) = caught.value.__notes__
    assert note.startswith("gather_structured(): further children failed:\nthe call: Traceback")
    assert note.endswith("OSError: exporter 2")


@virtual
async def test_a_wrapper_that_fails_in_a_block() -> None:
    """Adopted Tasks and the input are cancelled as well, and no child can be added any more."""
    log: list[str] = []
    adopted = asyncio.create_task(forever(log))

    async def traced(coroutine: Any, number: int) -> Any:
        if number == 3:
            await asyncio.sleep(1)
            raise OSError("the exporter is down")
        return await coroutine

    async def adds_in_its_cleanup() -> None:
        try:
            await forever()
        finally:
            with pytest.raises(RuntimeError, match="can't add a child"):
                outcomes.add(never())
            log.append("refused")

    async def inputs() -> AsyncGenerator[Any]:
        yield adopted
        yield adds_in_its_cleanup()
        yield never()
        await forever(log)

    async with task_factory(wrapping(traced)):
        with pytest.raises(OSError, match="exporter") as caught:
            async with as_completed_scoped(inputs()) as outcomes:
                await anext(outcomes)
    assert sorted(log) == ["cancelled", "cancelled", "refused"]
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("call", [*CALLS, gather_structured], ids=lambda call: call.__name__)
@pytest.mark.parametrize("count", [1, 2])
@virtual
async def test_a_caller_that_is_cancelled_while_wrappers_run_on(call: Any, count: int) -> None:
    """Its cancellation is not lost, although all children have returned."""

    async def traced(coroutine: Any, number: int) -> Any:
        await coroutine
        await asyncio.sleep(5)

    children = [after(1, "a") for _ in range(count)]
    task: asyncio.Task[Any] = asyncio.create_task(call(*children))
    async with task_factory(wrapping(traced)):
        await asyncio.sleep(2)
        task.cancel("the user has left")
        with pytest.raises(asyncio.CancelledError, match="the user has left"):
            await task
    assert task.cancelling() == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


@each_call
@virtual
async def test_a_wrapped_child_starts_with_the_others(call: Call) -> None:
    """In the same loop iteration, if the wrapper awaits nothing before it."""
    log: list[str] = []
    made = 0

    async def child(name: str) -> None:
        log.append(name)
        await asyncio.sleep(0)
        log.append(name)

    async def traced(coroutine: Any) -> Any:
        return await coroutine

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        return LoopTask(traced(coroutine) if made == 2 else coroutine, loop=loop, **options)

    async with task_factory(factory):
        await call(child("a"), child("b"))
    assert log == ["a", "b", "a", "b"]
