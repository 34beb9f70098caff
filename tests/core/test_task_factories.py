"""Task factories that raise, wrap or refuse: a call is as sound as without them."""

from __future__ import annotations

import asyncio
import gc
import math
import sys
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from simloop.base_loop import LoopTask
from simloop.every_schedule import either_start
from simloop.run import listening
from structgather import as_completed_scoped, first_n_within, gather_structured
from support.each_call import (
    CALLS,
    Call,
    Leave,
    each_call,
    each_way_to_leave,
    with_and_without_limit,
)
from support.virtual_tests import forever, virtual
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


async def add_one(child: Any, other: Any) -> None:
    other.close()
    async with as_completed_scoped([forever()]) as outcomes:
        outcomes.add(child)
        await anext(outcomes)


@pytest.mark.parametrize("call", [*CALLS, add_one], ids=lambda call: call.__name__)
def test_of_a_child_without_a_task_nothing_is_reported(call: Any) -> None:
    """Neither it nor what was to carry it is "never awaited"."""
    complaints: list[str] = []

    async def main() -> None:
        made = 0

        def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
            nonlocal made
            made += 1
            if made == 2:
                raise MemoryError
            return asyncio.Task(coroutine, loop=loop, **options)

        async with task_factory(factory):
            with suppress(MemoryError):
                await call(forever(), forever())

    with listening(complaints, complaints):
        asyncio.run(main())
        gc.collect()
    assert complaints == []


@virtual
async def test_a_factory_that_raises_in_the_midst_of_an_iteration() -> None:
    """The iteration raises its error; what is cancelled for it is no item."""
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


@each_call
@with_and_without_limit
@virtual
async def test_a_wrapper_that_swallows_what_the_child_raised(call: Call, limit: int | None) -> None:
    """The child has failed all the same, whatever the wrapper makes of it."""
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
    """What a tracer does that sends its spans when the call that it traces is over."""
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
async def test_a_wrapper_that_goes_on_when_the_child_is_done(
    call: Call, limit: int | None, start: Callable[[Factory], Factory]
) -> None:
    """The call waits for the wrapper too, and each child settles once."""
    error = OSError("the child's own")

    async def child(number: int) -> int:
        if number == 2:
            raise error
        return number

    async with task_factory(start(wrapping(exporting))):
        found = await call(*map(child, range(5)), limit=limit)
        assert len(asyncio.all_tasks()) == 1
    assert found == [0, 1, error, 3, 4]
    assert now() == math.ceil(5 / (limit or 5))


class Compiled(Coroutine[Any, Any, Any]):
    """A coroutine of a type of its own, as Cython's are."""

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
async def test_a_wrapper_that_is_compiled(
    call: Call, limit: int | None, start: Callable[[Factory], Factory]
) -> None:
    """Nothing is asked of its coroutine that Python does not ask of any."""
    error = OSError("the child's own")
    children = [after(0, "a"), after(0, error), after(1, "b"), after(1, error)]

    def compiled(loop: Any, coroutine: Any, **options: Any) -> Any:
        return LoopTask(Compiled(coroutine), loop=loop, **options)

    async with task_factory(start(compiled)):
        assert await call(*children, limit=limit) == ["a", error, "b", error]


@starts
@pytest.mark.parametrize("return_exceptions", [False, True])
@virtual
async def test_failures_of_children_whose_wrappers_go_on(
    start: Callable[[Factory], Factory], *, return_exceptions: bool
) -> None:
    """They are as many as have failed, and the first is the one that asyncio.gather raises."""

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
async def test_values_of_children_whose_wrappers_go_on(
    start: Callable[[Factory], Factory],
) -> None:
    """No value counts twice."""
    async with task_factory(start(wrapping(exporting))):
        found = await first_n_within([after(0, "a"), after(5, "b")], 2)
    assert found.values == ["a", "b"]


@each_call
@with_and_without_limit
@starts
@virtual
async def test_a_wrapper_that_cancels_the_child(
    call: Call, limit: int | None, start: Callable[[Factory], Factory]
) -> None:
    """The child has failed with what the wrapper raises: no cancellation is invented."""

    async def with_a_deadline(coroutine: Any, number: int) -> Any:
        async with asyncio.timeout(1):
            return await coroutine

    async with task_factory(start(wrapping(with_a_deadline))):
        found = await call(forever(), after(0, "a"), limit=limit)
    assert isinstance(found[0], TimeoutError)
    assert found[1] == "a"


@virtual
async def test_wrappers_that_are_cancelled_before_their_first_step() -> None:
    """The coroutines in them are closed, also where the caller goes on before it is told so."""
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
    """It need not be a Task."""
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


class CustomBaseError(BaseException):
    """Not an Exception."""


@each_call
@pytest.mark.parametrize("kind", [ValueError, GeneratorExit, CustomBaseError])
@virtual
async def test_a_task_ends_as_its_child_does(call: Call, kind: type[BaseException]) -> None:
    """For those who look at Tasks: tracers, monitors, `asyncio.Task` in a debugger."""
    made: list[asyncio.Task[Any]] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        made.append(LoopTask(coroutine, loop=loop, **options))
        return made[-1]

    error = kind("the child's own")
    async with task_factory(factory):
        found = await call(after(1, "a"), after(1, error))
        await asyncio.sleep(0)
    assert found == ["a", error]
    assert made[0].result() == "a"
    assert made[1].exception() is error


async def add_all(*children: Any) -> None:
    async with as_completed_scoped([after(0, "first")]) as outcomes:
        for child in children:
            outcomes.add(child)
        async for _ in outcomes:
            pass


@each_call
@either_start
def test_a_wrapper_that_fails_when_the_child_has_returned(call: Call, *, eager: bool) -> None:
    """What the child returned counts; asyncio does not report the wrapper's failure."""

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
            assert await call(at_once(), after(1, "b")) == ["c", "b"]

    run(main())


@pytest.mark.parametrize("call", [*CALLS, add_all], ids=lambda call: call.__name__)
def test_of_a_child_that_its_wrapper_leaves_out_nothing_is_reported(call: Any) -> None:
    """It has never started: that is what the wrapper wanted."""
    complaints: list[str] = []

    async def cached(_coroutine: Any, number: int) -> int:
        return number

    async def main() -> None:
        def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
            return asyncio.Task(cached(coroutine, 1), loop=loop, **options)

        async with task_factory(factory):
            await call(forever(), forever())

    with listening(complaints, complaints):
        asyncio.run(main())
        gc.collect()
    assert complaints == []


@virtual
async def test_each_wrapped_child_has_a_time_of_its_own() -> None:
    """Although one has ended, and waits for its wrapper, when the other begins."""

    async def traced(coroutine: Any, number: int) -> Any:
        try:
            return await coroutine
        finally:
            await asyncio.sleep(5)

    async with task_factory(wrapping(traced)), as_completed_scoped([after(1, "a")]) as outcomes:
        await asyncio.sleep(2)
        outcomes.add(after(1, "b"))
        await asyncio.sleep(2)
        assert [outcome.elapsed async for outcome in outcomes] == [6, 6]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
@each_call
@virtual
async def test_an_eager_factory_with_a_compiled_wrapper(call: Call) -> None:
    """Nothing can be asked of such a coroutine: it is joined as others are."""
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
async def test_of_two_wrappers_that_fail_in_one_turn_the_first_counts() -> None:
    """In the order in which they failed, as without a wrapper."""

    async def traced(coroutine: Any, number: int) -> Any:
        await asyncio.sleep(1)
        raise OSError(f"exporter {number}")

    async with task_factory(wrapping(traced)):
        with pytest.raises(OSError, match="exporter 1") as caught:
            await gather_structured(forever(), forever())
    assert "exporter 2" in caught.value.__notes__[0]


@each_call
@virtual
async def test_a_child_with_a_wrapper_begins_with_those_that_have_none(call: Call) -> None:
    """In the same turn of the loop, where the wrapper does nothing before."""
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
