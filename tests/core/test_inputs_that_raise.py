"""Inputs that raise: their exception propagates unchanged."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest

from structgather import Cancelled, as_completed_scoped, first_n_within
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after


class EmptyError(Exception):
    """Is false, as a container of errors without any."""

    def __len__(self) -> int:
        return 0


# Sources that raise: after "a", which is done by then, and beside a child that is not


def generator(running: Any, error: Exception) -> Iterator[Any]:
    yield after(0, "a")
    yield running
    raise error


async def async_generator(running: Any, error: Exception) -> AsyncIterator[Any]:
    yield after(0, "a")
    yield running
    await asyncio.sleep(1)
    raise error


class OwnIterator:
    """An iterator, which may raise exceptions that a generator can't raise."""

    def __init__(self, running: Any, error: Exception) -> None:
        self._children = [running, after(0, "a")]
        self._error = error

    def __iter__(self) -> OwnIterator:
        return self

    def __next__(self) -> Any:
        if self._children:
            return self._children.pop()
        raise self._error


Source = Callable[[Any, Exception], Any]
each_source = pytest.mark.parametrize(
    "source", [generator, async_generator, OwnIterator], ids=lambda source: source.__name__
)
ERRORS = [OSError("page 3 could not be listed"), EmptyError("page 3 could not be listed")]
each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


async def consume(block: Any, got: list[Any]) -> None:
    async with block as outcomes:
        async for outcome in outcomes:
            got.append(await outcome)  # noqa: PERF401 - what came before an error is to be there
        got.append("the end")


@each_source
@each_error
@virtual
async def test_the_exception_of_a_source_propagates_unchanged(
    source: Source, error: Exception
) -> None:
    """The iteration raises it after the earlier outcomes, even if the body awaits each outcome."""
    log: list[str] = []
    got: list[Any] = []
    with pytest.raises(type(error)) as caught:
        await consume(as_completed_scoped(source(stops_slowly(log), error), limit=2), got)
    assert caught.value is error
    assert (got, log) == (["a"], ["cleaned up"])
    me = asyncio.current_task()
    assert me is not None
    assert not me.cancelling()


async def in_a_task_group(*children: Coroutine[Any, Any, Any]) -> None:
    async with asyncio.TaskGroup() as group:
        for child in children:
            group.create_task(child)


@each_source
@virtual
async def test_the_exception_of_a_source_fails_a_task_group(source: Source) -> None:
    """The consuming task has failed, and is not cancelled: its TaskGroup raises the exception."""
    got: list[Any] = []
    block = as_completed_scoped(source(forever(), ERRORS[0]), limit=2)
    with pytest.raises(ExceptionGroup) as caught:
        await in_a_task_group(consume(block, got), forever())
    assert caught.value.exceptions == (ERRORS[0],)
    assert got == ["a"]


@virtual
async def test_children_cancelled_because_the_source_raised_are_undelivered() -> None:
    """They are not yielded; each is in `.undelivered`."""
    outcomes = as_completed_scoped(generator(forever(), ERRORS[0]), limit=2)
    got: list[Any] = []
    with pytest.raises(OSError, match="page 3"):
        await consume(outcomes, got)
    assert got == ["a"]
    assert [type(outcome) for outcome in outcomes.undelivered] == [Cancelled]


@virtual
async def test_an_item_that_is_not_awaitable_is_a_type_error() -> None:
    """In a lazily pulled input it is an error of the source, not a cancellation."""
    got: list[Any] = []
    children: Any = [after(0, "a"), forever(), 42]
    with pytest.raises(TypeError, match="child 2 must be awaitable, not an int: 42"):
        await consume(as_completed_scoped(iter(children), limit=2), got)
    assert got == ["a"]


async def pulled_by_a_race(items: list[Any]) -> None:
    await first_n_within(iter(items), limit=1)


async def pulled_by_a_block(items: list[Any]) -> None:
    await consume(as_completed_scoped(iter(items), limit=1), [])


async def pulled_asynchronously(items: list[Any]) -> None:
    async def source() -> AsyncIterator[Any]:
        for item in items:
            yield item

    await consume(as_completed_scoped(source()), [])


async def added(items: list[Any]) -> None:
    async with as_completed_scoped([after(0, "a")]) as outcomes:
        outcomes.add(*items)


@pytest.mark.parametrize(
    "pull", [pulled_by_a_race, pulled_by_a_block, pulled_asynchronously, added]
)
@virtual
async def test_coroutines_in_an_item_that_is_refused_are_closed(pull: Any) -> None:
    """Such as where `yield from` was meant: they are not "never awaited"."""
    child = after(1, "a")
    with pytest.raises(TypeError, match=r"must be awaitable, not a list: .* forget the star"):
        await pull([[child]])
    assert inspect.getcoroutinestate(child) == inspect.CORO_CLOSED


@pytest.mark.parametrize("limit", [None, 1, 2])
@pytest.mark.parametrize("source", [generator, OwnIterator])
@each_error
@virtual
async def test_the_exception_of_an_iterable_of_first_n_within(
    source: Source, error: Exception, limit: int | None
) -> None:
    """It is raised, whether it is true or false, when running children are joined."""
    log: list[str] = []
    running = stops_slowly(log) if limit == 2 else after(1, "b")
    with pytest.raises(type(error)) as caught:
        await first_n_within(source(running, error), limit=limit)
    assert caught.value is error
    assert log == ["cleaned up"] * (limit == 2)


@virtual
async def test_a_source_that_raises_stop_async_iteration() -> None:
    """The iteration does not stop as if it were exhausted: it raises a RuntimeError."""
    error = StopAsyncIteration("not the end")
    got: list[Any] = []
    with pytest.raises(RuntimeError, match="its input raised StopAsyncIteration") as caught:
        await consume(as_completed_scoped(OwnIterator(after(0, "b"), error), limit=1), got)
    assert caught.value.__cause__ is error
    assert got == ["a", "b"]


@each_error
@virtual
async def test_the_exception_of_an_iterable_on_entry(error: Exception) -> None:
    """If inputs are pulled on entry, it is raised there, and the body does not run."""
    for limit in (None, 3):
        block = as_completed_scoped(OwnIterator(after(0, "b"), error), limit=limit)
        with pytest.raises(type(error)) as caught:
            await block.__aenter__()
        assert caught.value is error


# Generators whose cleanup raises


def closing_badly(error: Exception) -> Iterator[Any]:
    try:
        while True:
            yield after(1, "a")
    finally:
        raise error


async def leave_early(inputs: Any) -> None:
    async with as_completed_scoped(inputs, limit=2) as outcomes:
        await anext(outcomes)


async def take_one(inputs: Any) -> None:
    await first_n_within(inputs, 1, limit=2)


@each_error
@pytest.mark.parametrize("leave", [leave_early, take_one])
@virtual
async def test_the_exception_of_a_generators_cleanup(leave: Any, error: Exception) -> None:
    """It is raised if there is no other, whether it is true or false."""
    with pytest.raises(type(error)) as caught:
        await leave(closing_badly(error))
    assert caught.value is error


@pytest.mark.parametrize("leave", [leave_early, take_one])
@virtual
async def test_a_cancellation_takes_precedence_over_a_generators_cleanup(leave: Any) -> None:
    """If the caller is cancelled, CancelledError is raised; its cause has the other exception."""
    error = OSError("not closed")
    task = asyncio.create_task(leave(closing_badly(error)))
    await asyncio.sleep(0.5)
    task.cancel("the user has left")
    with pytest.raises(asyncio.CancelledError, match="the user has left") as caught:
        await task
    cause: Any = caught.value.__cause__
    assert cause.message.endswith("(): the input failed")
    assert cause.exceptions == (error,)


def interrupted_when_pulled(interrupt: BaseException) -> Iterator[Any]:
    yield stops_slowly([], 3)
    yield after(1, "b")
    raise interrupt


def interrupted_in_its_cleanup(interrupt: BaseException) -> Iterator[Any]:
    try:
        yield stops_slowly([], 3)
        yield after(9, "b")
    finally:
        raise interrupt


async def race(inputs: Any) -> None:
    await first_n_within(inputs, 2, limit=2)


async def of_a_stream(source: Any, limit: int = 3) -> None:
    async with as_completed_scoped(source, limit=limit) as outcomes:
        async for _ in outcomes:
            pass


async def consume_two(inputs: Any) -> None:
    await of_a_stream(inputs, limit=2)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("inputs", [interrupted_when_pulled, interrupted_in_its_cleanup])
@pytest.mark.parametrize("call", [race, consume_two])
@virtual
async def test_an_interrupt_of_a_generator_takes_precedence_over_a_cancellation(
    call: Any, inputs: Any, interrupt: type[BaseException]
) -> None:
    """The call raises the interrupt, whether it comes before the cancellation or after it."""
    error = interrupt()
    raised: list[BaseException] = []

    async def caller() -> None:
        try:
            await call(inputs(error))
        except BaseException as caught:  # noqa: BLE001 - in a Task it would end the loop
            raised.append(caught)

    task = asyncio.create_task(caller())
    await asyncio.sleep(2)
    task.cancel()
    await task
    assert raised == [error]


@virtual
async def test_a_cycle_of_contexts_does_not_hang_the_block() -> None:
    """The search through contexts ends, although they form a cycle."""

    def inputs() -> Iterator[Any]:
        try:
            while True:
                yield forever()
        except GeneratorExit as ended:
            try:
                raise OSError("not closed")  # noqa: TRY301 - for a cycle of contexts
            except OSError as error:
                ended.__context__ = error
                raise

    with pytest.raises(LookupError) as caught:
        async with as_completed_scoped(inputs(), limit=2):
            raise LookupError
    (note,) = caught.value.__notes__
    assert "OSError: not closed" in note


@virtual
async def test_an_interrupt_of_the_body_does_not_hide_that_of_a_generators_cleanup() -> None:
    """Such as an impatient Ctrl-C after `sys.exit()`: it is in the notes."""

    def inputs() -> Iterator[Any]:
        try:
            while True:
                yield forever()
        finally:
            raise KeyboardInterrupt("hurry")

    with pytest.raises(SystemExit) as caught:
        async with as_completed_scoped(inputs(), limit=2):
            sys.exit(1)
    (note,) = caught.value.__notes__
    assert note.endswith("KeyboardInterrupt: hurry")


@pytest.mark.parametrize("leave", [leave_early, take_one])
@virtual
async def test_a_bad_input_takes_precedence_over_a_generators_cleanup(leave: Any) -> None:
    """The TypeError is raised, with the generator's exception in its notes."""

    def inputs() -> Iterator[Any]:
        try:
            yield 42
        finally:
            raise OSError("not closed")

    with pytest.raises(TypeError, match="child 0 must be awaitable, not an int: 42") as caught:
        await leave(inputs())
    (note,) = caught.value.__notes__
    assert "further children failed:\nthe input: Traceback" in note
    assert note.endswith("OSError: not closed")


async def of_a_race(source: Any) -> None:
    await first_n_within(source, limit=3)


@pytest.mark.parametrize("end", [StopIteration, LookupError])
@pytest.mark.parametrize("leave", [of_a_race, of_a_stream])
@virtual
async def test_an_exhausted_iterator_is_not_pulled_again(leave: Any, end: Any) -> None:
    """Some iterators continue after StopIteration, such as a cursor that is refilled."""
    asked: list[str] = []

    class Cursor:
        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            asked.append("next")
            if len(asked) == 3:
                raise end
            return after(len(asked), "a")

    with suppress(LookupError):
        await leave(Cursor())
    assert len(asked) == 3
