"""A call into which an exception is thrown, or which is closed, or whose loop is closed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import traceback
import types
import weakref
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any

import pytest

from simloop.choosers import First
from simloop.every_schedule import either_start
from simloop.loop import DeterministicLoop
from simloop.run import listening
from structgather import (
    _stream,
    as_completed_scoped,
    first_n_within,
    gather_structured,
    warn_stuck_after,
)
from structgather._ancestors import Joins
from structgather._group import Waiter
from support.each_call import CALLS, Call, each_call, each_call_and_one_child, first, gather
from support.virtual_tests import forever, run_stock, stops_slowly, virtual
from support.virtual_time import after, run, still_to_ring, timers_from_now_on


@types.coroutine
def thrown_into(call: Coroutine[Any, Any, Any], *errors: BaseException) -> Generator[Any, Any, Any]:
    """Drive a coroutine as wrappers do, and throw these exceptions into it, one after the other."""
    awaited = call.send(None)
    yield from asyncio.sleep(1).__await__()  # the children start
    for error in errors:
        awaited = call.throw(error)
    while True:
        yield awaited
        try:
            awaited = call.send(None)
        except StopIteration as end:
            return end.value


@each_call
@virtual
async def test_an_exception_that_is_thrown_in(call: Call) -> None:
    """It is raised when all children have finished: of several the first one."""
    log: list[str] = []
    one, other = LookupError("first"), LookupError("second")
    with pytest.raises(LookupError) as caught:
        await thrown_into(call(stops_slowly(log, 0), stops_slowly(log)), one, other)
    assert caught.value is one
    assert log == ["cleaned up"] * 2


@each_call_and_one_child
@pytest.mark.parametrize("children", [1, 2])
@virtual
async def test_an_exception_that_is_thrown_in_keeps_its_traceback(call: Any, children: int) -> None:
    """It shows where the exception was raised first."""

    def raises() -> None:
        raise MemoryError

    with pytest.raises(MemoryError) as first_raised:
        raises()
    with pytest.raises(MemoryError) as caught:
        await thrown_into(call(*(forever() for _ in range(children))), first_raised.value)
    assert "raises" in [frame.name for frame in traceback.extract_tb(caught.tb)]


@pytest.mark.parametrize("children", [1, 2])
@virtual
async def test_a_cancellation_after_an_exception_that_is_thrown_in(children: int) -> None:
    """The cancellation is raised, with the exception as its cause."""
    log: list[str] = []
    error, cancellation = LookupError("first"), asyncio.CancelledError("second")
    call = gather_structured(*(stops_slowly(log) for _ in range(children)))
    with pytest.raises(asyncio.CancelledError, match=r"^second$") as caught:
        await thrown_into(call, error, cancellation)
    assert caught.value.__cause__ is error
    assert log == ["cleaned up"] * children


@pytest.mark.parametrize("children", [1, 2])
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@virtual
async def test_an_interrupt_after_an_exception_that_is_thrown_in(
    interrupt: type[BaseException], children: int
) -> None:
    """The interrupt is raised."""
    log: list[str] = []
    call = gather_structured(*(stops_slowly(log) for _ in range(children)))
    with pytest.raises(interrupt):
        await thrown_into(call, LookupError("first"), interrupt())
    assert log == ["cleaned up"] * children


@pytest.mark.parametrize("children", [1, 2])
@virtual
async def test_the_first_of_two_cancellations_that_are_thrown_in(children: int) -> None:
    """It is raised, as the first of two calls of `Task.cancel` is."""
    call = gather_structured(*(stops_slowly([]) for _ in range(children)))
    with pytest.raises(asyncio.CancelledError, match=r"^first$"):
        await thrown_into(call, asyncio.CancelledError("first"), asyncio.CancelledError("second"))


@pytest.mark.parametrize("children", [1, 2])
@pytest.mark.parametrize("call", [gather_structured, gather, first])
@virtual
async def test_the_message_of_a_cancellation_that_is_thrown_in(call: Any, children: int) -> None:
    """The children receive its message."""
    told: list[Any] = []

    async def child() -> None:
        try:
            await forever()
        except asyncio.CancelledError as error:
            told.append(error.args)
            raise

    with pytest.raises(asyncio.CancelledError):
        await thrown_into(
            call(*(child() for _ in range(children))), asyncio.CancelledError("the user has left")
        )
    assert told == [("the user has left",)] * children


@each_call_and_one_child
@virtual
async def test_two_cancellations_with_messages_are_thrown_in(call: Any) -> None:
    """A child receives one of the messages."""
    log: list[str] = []
    with pytest.raises(asyncio.CancelledError) as caught:
        await thrown_into(call(stops_slowly(log)), asyncio.CancelledError("one", "two"))
    assert (caught.value.args, log) == (("one", "two"), ["cleaned up"])


class StruckError(Exception):
    """Supports weak references."""


@types.coroutine
def struck(call: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Drive a coroutine, throw an exception into it and keep no reference to that."""
    call.send(None)
    yield from asyncio.sleep(0).__await__()
    yield call.throw(StruckError())
    call.send(None)


def alive(kind: type) -> list[object]:
    """Return the objects of a type that have not been freed."""
    return [thing for thing in gc.get_objects() if isinstance(thing, kind)]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("call", [gather, first])
def test_an_exception_that_is_thrown_in_leaves_no_cycle(call: Any) -> None:
    """It is freed, with all of the call, once nothing refers to it."""
    gone: list[weakref.ref[StruckError]] = []

    async def main() -> None:
        try:
            await struck(call(forever()))
        except StruckError as error:
            gone.append(weakref.ref(error))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert [error() for error in gone] == [None]
    assert alive(Waiter) == []


@pytest.mark.parametrize("call", [gather, first])
@virtual
async def test_a_call_that_is_closed(call: Call) -> None:
    """Closing its coroutine cancels its children, which can't be joined."""
    log: list[str] = []
    running = call(forever(log), forever(log))
    running.send(None)
    await asyncio.sleep(1)
    running.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log == ["cancelled"] * 2


async def block(log: list[str]) -> None:
    async with as_completed_scoped([forever(log)]) as outcomes:
        await anext(outcomes)


@pytest.mark.parametrize("by_its_caller", [False, True])
@virtual
async def test_a_block_that_is_closed_is_freed(*, by_its_caller: bool) -> None:
    """Also if its caller finishes before or after: the package keeps no reference to it."""
    before = set(_stream._without_caller)
    log: list[str] = []
    running = block(log)

    async def caller() -> None:
        running.send(None)
        await asyncio.sleep(0)
        if by_its_caller:
            running.close()

    await asyncio.create_task(caller())
    await asyncio.sleep(0)
    running.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log == ["cancelled"]
    assert _stream._without_caller <= before


@pytest.mark.parametrize("cleanups", [0, 2])
@pytest.mark.parametrize("call", [gather, first])
@virtual
async def test_failures_in_a_call_that_is_closed(call: Call, cleanups: int) -> None:
    """They can't be raised any more, and asyncio does not report them."""

    async def fails_in_cleanup() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(1)
            raise ValueError

    in_cleanup = [fails_in_cleanup() for _ in range(cleanups)]
    running = call(after(0, KeyError()), forever(), *in_cleanup)
    running.send(None)
    await asyncio.sleep(1)
    running.close()
    del running
    await asyncio.sleep(2)


async def gathers(*children: Any, limit: int | None = None) -> None:
    await gather_structured(*children, limit=limit)


async def has_a_deadline(*children: Any, limit: int | None = None) -> None:
    await first_n_within(children, within=3600, limit=limit)


async def iterates(*children: Any, limit: int | None = None) -> None:
    async with as_completed_scoped(children, limit=limit, timeout=3600) as outcomes:
        await anext(outcomes)


async def adds(*children: Any, limit: int | None = None) -> None:
    none: list[Coroutine[Any, Any, None]] = []
    async with as_completed_scoped(none, limit=limit, timeout=3600) as outcomes:
        for child in children:
            outcomes.add(child)
        await anext(outcomes)


async def adds_in_order(*children: Any, limit: int | None = None) -> None:
    async with as_completed_scoped(children[:2], limit=limit, ordered=True) as outcomes:
        for child in children[2:]:
            outcomes.add(child)
        await anext(outcomes)


async def leaves(*children: Any, limit: int | None = None) -> None:
    async with as_completed_scoped(children, limit=limit, timeout=3600):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("iterations", [0, 1, 2])
@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("children", [1, 3])
@pytest.mark.parametrize("call", [gathers, has_a_deadline, iterates, leaves, adds, adds_in_order])
def test_nothing_is_left_of_a_call_that_is_closed(
    call: Any, children: int, limit: int | None, iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No timer, no cycle, no coroutine that was never awaited; however early it is closed."""

    async def main() -> None:
        timers = timers_from_now_on(monkeypatch)
        running = call(*(forever() for _ in range(children)), limit=limit)
        running.send(None)
        for _ in range(iterations):
            await asyncio.sleep(0)
        if call is leaves:
            running.send(None)  # from the body to the join
        running.close()
        del running
        for _ in range(3):
            await asyncio.sleep(0)
        assert alive(Joins) == []
        assert still_to_ring(timers) == []

    run(main())


@pytest.mark.parametrize("adopts", [False, True])
def test_no_warning_of_a_call_that_was_closed_is_due(
    monkeypatch: pytest.MonkeyPatch, *, adopts: bool
) -> None:
    """Although its children have yet to finish their cleanups."""
    warn_stuck_after(5)

    async def main() -> None:
        children: list[Any] = [stops_slowly([], 2), stops_slowly([], 2)]
        if adopts:
            children = [asyncio.create_task(child) for child in children]
            await asyncio.sleep(0)
        timers = timers_from_now_on(monkeypatch)
        running = gather_structured(*children)
        running.send(None)
        running.close()
        await asyncio.sleep(1)
        assert [timer for timer in still_to_ring(timers) if "_look" in repr(timer)] == []
        await asyncio.sleep(2)

    run(main())


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("children", [1, 2])
@pytest.mark.parametrize("call", [gathers, has_a_deadline])
@virtual
async def test_failures_of_a_call_that_was_closed_are_freed(call: Any, children: int) -> None:
    """They refer to the frames of their children, and these to the call."""

    async def fails_in_cleanup() -> None:
        try:
            await forever()
        finally:
            raise ValueError

    running = call(*(fails_in_cleanup() for _ in range(children)))
    running.send(None)
    await asyncio.sleep(0)
    running.close()
    del running
    for _ in range(3):
        await asyncio.sleep(0)
    assert alive(Joins) == []


@virtual
async def test_a_value_in_a_call_that_is_closed() -> None:
    """It is dropped, although a sibling still runs."""
    alive: list[weakref.ref[object]] = []
    log: list[str] = []

    class Value:
        pass

    async def returns_when_cancelled() -> Value:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        value = Value()
        alive.append(weakref.ref(value))
        return value

    running = gather_structured(returns_when_cancelled(), stops_slowly(log))
    running.send(None)
    await asyncio.sleep(1)
    running.close()
    await asyncio.sleep(0.5)
    assert [value() for value in alive] == [None]
    await asyncio.sleep(1)
    assert log == ["cleaned up"]


async def gather_of_asyncio(*children: Any) -> Any:
    return await asyncio.gather(*children)


def reported(call: Any) -> list[str]:
    """Close a loop after the first step of a call, and return what is reported when it is freed."""
    complaints: list[str] = []
    unfinished: list[str] = []

    async def child() -> None:
        pytest.fail("it has begun")

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: unfinished.append(context["message"]))
    with listening(complaints, complaints), contextlib.closing(loop):
        task = loop.create_task(call(child(), child()))
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        del task
        gc.collect()
    return sorted(complaints + unfinished)


def test_a_block_on_a_loop_that_is_closed() -> None:
    """A failure in it is not reported when it is collected."""
    loop = DeterministicLoop(First())  # type: ignore[abstract]  # no I/O

    async def owner() -> None:
        async with as_completed_scoped([after(0, ValueError()), forever()]):
            await forever()

    async def begin() -> None:
        loop.create_task(owner())
        await asyncio.sleep(1)

    loop.run_until_complete(begin())
    loop.close()
    gc.collect()
    assert loop.handler_calls
    assert not [call for call in loop.handler_calls if "never retrieved" in call]


def test_a_block_with_an_async_source_on_a_loop_that_is_closed() -> None:
    """The cleanup of the source, which awaits, is not begun when the block is collected."""
    loop = DeterministicLoop(First())  # type: ignore[abstract]  # no I/O
    complaints: list[str] = []

    async def inputs() -> AsyncGenerator[Any]:
        try:
            while True:
                yield after(1, "a")
        finally:
            await asyncio.sleep(0)

    async def owner() -> None:
        async with as_completed_scoped(inputs(), limit=1):  # there is no room for a second one
            await forever()

    async def begin() -> None:
        loop.create_task(owner())
        await asyncio.sleep(2)

    with listening(complaints, complaints):
        loop.run_until_complete(begin())
        loop.close()
        gc.collect()
    assert [text for text in complaints if "ignored GeneratorExit" in text] == []


@each_call
def test_a_loop_that_is_closed_before_the_first_step(call: Call) -> None:
    """As with gather, pending Tasks and coroutines that never started are reported."""
    assert set(reported(call)) == set(reported(gather_of_asyncio))


@pytest.mark.parametrize("call", [gather_of_asyncio, *CALLS, gather_structured])
def test_an_interrupt_reaches_a_loop_whose_caller_handles_it(call: Any) -> None:
    """As with asyncio.gather; the caller gets it if the loop runs on."""
    log: list[str] = []

    async def interrupts() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        try:
            await call(interrupts())
        except KeyboardInterrupt:
            log.append("handled")

    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        task = loop.create_task(main())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        loop.run_until_complete(task)
    assert log == ["handled"]


@each_call
def test_two_interrupts(call: Call) -> None:
    """The loop raises each; if the loop runs on, the call raises the first one."""

    async def interrupts() -> None:
        raise KeyboardInterrupt

    async def exits() -> None:
        try:
            await forever()
        finally:
            raise SystemExit

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            await call(exits(), interrupts())

    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        task = loop.create_task(main())
        for interrupt in (KeyboardInterrupt, SystemExit):
            with pytest.raises(interrupt):
                loop.run_until_complete(task)
        loop.run_until_complete(task)


async def one_child(child: Coroutine[Any, Any, Any], sibling: Coroutine[Any, Any, Any]) -> Any:
    sibling.close()
    return await gather_structured(child)


def test_an_interrupt_and_an_exception_of_the_body() -> None:
    """The loop raises the interrupt; if it runs on, the block raises it, not the exception."""

    async def interrupts() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        async with as_completed_scoped([interrupts()]):
            await asyncio.sleep(0.01)
            raise LookupError

    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        task = loop.create_task(main())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        with pytest.raises(KeyboardInterrupt) as caught:
            loop.run_until_complete(task)
        assert isinstance(caught.value.__context__, LookupError)


@either_start
@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("call", [*CALLS, one_child], ids=lambda call: call.__name__)
def test_an_interrupt_is_raised_once_in_asyncio_run(
    call: Call, kind: type[BaseException], steps: int, *, eager: bool
) -> None:
    """It ends `asyncio.run`, which still closes async generators, as with asyncio.gather."""
    closed: list[str] = []

    async def exits() -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        raise kind

    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append("closed")

    async def main() -> None:
        generator = numbers()
        await anext(generator)
        await call(exits(), stops_slowly([], 0))

    with pytest.raises(kind):
        run_stock(main(), eager=eager)
    assert closed == ["closed"]
