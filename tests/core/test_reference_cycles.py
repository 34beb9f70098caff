"""A call leaves no reference cycles behind."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from structgather import (
    _errors,
    as_completed_scoped,
    first_n_within,
    gather_structured,
    warn_stuck_after,
)
from support.virtual_tests import forever, stops_slowly
from support.virtual_time import after, run


class ChildError(Exception):
    """Raised by a child."""


class BodyError(Exception):
    """Raised by the body of a block."""


def three() -> list[Coroutine[Any, Any, Any]]:
    """Create three: one returns, one fails, one is late and fails in its cleanup."""

    async def fails() -> None:  # an exception in a local variable would be a cycle
        await asyncio.sleep(2)
        raise ChildError

    async def fails_in_cleanup() -> None:
        try:
            await forever()
        finally:
            raise ChildError

    return [after(1, "a"), fails(), fails_in_cleanup()]


async def gathered() -> None:
    await gather_structured(after(1, "a"), after(2, "b"))


async def gathered_with_options() -> None:
    await gather_structured(after(1, "a"), after(2, "b"), limit=1, child_timeout=5)


async def gathered_nothing() -> None:
    await gather_structured()


async def gather_failed() -> None:
    with suppress(ChildError):
        await gather_structured(*three(), child_timeout=5)


async def gather_failed_in_a_group() -> None:
    with suppress(ExceptionGroup):
        await gather_structured(*three(), exception_group=True)


async def gather_failed_with_tasks() -> None:
    with suppress(ChildError):
        await gather_structured(*map(asyncio.create_task, three()))


async def gather_failed_with_one_task() -> None:
    async def fails() -> None:
        await asyncio.sleep(1)
        raise ChildError

    with suppress(ChildError):
        await gather_structured(asyncio.create_task(fails()))


async def gather_returned_failures() -> None:
    await gather_structured(*three(), return_exceptions=True, child_timeout=3)


async def gather_raised_its_failures() -> None:
    gathered = await gather_structured(*three(), return_exceptions=True, child_timeout=3)
    with suppress(ExceptionGroup):
        gathered.raise_failures()


async def gather_timed_out() -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(1.5):
            await gather_structured(*three())


async def gather_refused() -> None:
    with suppress(TypeError):
        await gather_structured(after(1, "a"), 42)  # type: ignore[call-overload]


async def race() -> None:
    await first_n_within(three(), 1, child_timeout=5)


async def race_late() -> None:
    found = await first_n_within(iter(three()), within=3, limit=3, child_timeout=9)
    with suppress(ExceptionGroup):
        found.raise_if_short()


async def race_timed_out() -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(1.5):
            await first_n_within(three())


async def race_of_a_broken_iterable() -> None:
    def broken() -> Any:
        yield from three()
        raise ChildError

    with suppress(ChildError):
        await first_n_within(broken(), limit=4)


async def block() -> None:
    async with as_completed_scoped([after(1, "a"), after(2, "b")], child_timeout=5) as outcomes:
        async for outcome in outcomes:
            await outcome


async def block_with_failures() -> None:
    async with as_completed_scoped(three(), limit=2, child_timeout=3) as outcomes:
        with suppress(StopAsyncIteration):
            while True:  # an outcome in a local variable would be a cycle, as it is raised here
                with suppress(ChildError, TimeoutError):
                    await (await anext(outcomes))


async def block_left_early() -> None:
    async with as_completed_scoped(three(), child_timeout=9) as outcomes:
        await anext(outcomes)


async def block_left_by_an_error() -> None:
    with suppress(BodyError):
        async with as_completed_scoped(three()):
            await asyncio.sleep(1.5)
            raise BodyError


async def block_left_by_a_childs_error() -> None:
    with suppress(ChildError):
        async with as_completed_scoped(three()) as outcomes:
            while True:  # as above
                await (await anext(outcomes))


async def block_late() -> None:
    with suppress(TimeoutError):
        async with as_completed_scoped(three(), timeout=1.5) as outcomes:
            async for outcome in outcomes:
                await outcome


async def block_timed_out() -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(1.5), as_completed_scoped(three()) as outcomes:
            async for outcome in outcomes:
                await outcome


async def block_of_a_source() -> None:
    async def feed() -> AsyncIterator[Any]:
        returns, fails, unused = three()
        unused.close()
        for child in (returns, fails):
            await asyncio.sleep(1)
            yield child
        raise ChildError

    with suppress(ChildError):
        async with as_completed_scoped(feed(), limit=2) as outcomes:
            async for outcome in outcomes:
                await outcome


async def block_timed_out_while_it_is_left() -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(1.5):
            async with as_completed_scoped([after(1, "a"), stops_slowly([])]) as outcomes:
                await anext(outcomes)


async def blocks_polled() -> None:
    async with as_completed_scoped([after(3, "a")]) as outcomes:
        for _ in range(2):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(outcomes)
        outcomes.add(after(0, "b"))
        outcomes.cancel()


async def nested() -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(3):
            await gather_structured(gather_timed_out(), race(), block_left_early(), forever())


async def block_of_a_generator_that_closes_badly() -> None:
    def feed() -> Iterator[Any]:
        try:
            while True:
                yield after(1, "a")
        finally:
            raise ChildError

    with suppress(ChildError):
        async with as_completed_scoped(feed(), limit=2) as outcomes:
            await anext(outcomes)


async def block_of_a_generator_that_closes_badly_timed_out() -> None:
    def feed() -> Iterator[Any]:
        try:
            while True:
                yield forever()
        finally:
            raise ChildError

    with suppress(TimeoutError):
        async with asyncio.timeout(1), as_completed_scoped(feed(), limit=2) as outcomes:
            await anext(outcomes)


async def block_of_an_async_generator_that_closes_badly_timed_out() -> None:
    async def feed() -> AsyncIterator[Any]:
        try:
            yield after(1, "a")
        finally:
            raise ChildError

    begun = feed()
    await (await anext(begun))
    with suppress(TimeoutError):
        async with asyncio.timeout(1), as_completed_scoped(begun, timeout=0):
            await forever()


USES: list[Callable[[], Coroutine[Any, Any, None]]] = [
    gathered,
    gathered_with_options,
    gathered_nothing,
    gather_failed,
    gather_failed_in_a_group,
    gather_failed_with_tasks,
    gather_failed_with_one_task,
    gather_returned_failures,
    gather_raised_its_failures,
    gather_timed_out,
    gather_refused,
    race,
    race_late,
    race_timed_out,
    race_of_a_broken_iterable,
    block,
    block_with_failures,
    block_left_early,
    block_left_by_an_error,
    block_left_by_a_childs_error,
    block_late,
    block_timed_out,
    block_of_a_source,
    block_timed_out_while_it_is_left,
    blocks_polled,
    nested,
    block_of_a_generator_that_closes_badly,
    block_of_a_generator_that_closes_badly_timed_out,
    block_of_an_async_generator_that_closes_badly_timed_out,
]


def fails_after_one() -> Iterator[Any]:
    yield after(0, "a")
    raise ChildError


def yields_a_number() -> Iterator[Any]:
    yield after(0, "a")
    yield 42


async def async_input(values: Iterable[Any]) -> AsyncIterator[Any]:
    for value in values:
        yield value


async def block_of(inputs: Any, limit: int | None = None) -> None:
    async with as_completed_scoped(inputs, limit=limit) as outcomes:
        async for _ in outcomes:
            pass


async def adds_a_number() -> None:
    async with as_completed_scoped([after(1, "a")]) as outcomes:
        outcomes.add(42)  # type: ignore[arg-type]


def future_of_another_loop() -> asyncio.Future[Any]:
    with asyncio.Runner() as runner:
        return runner.get_loop().create_future()


FOREIGN = future_of_another_loop()

#: Calls that refuse their input, or whose input raises.
REFUSALS: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
    "gather": lambda: gather_structured(after(1, "a"), 42),  # type: ignore[call-overload]
    "gather one": lambda: gather_structured(42),  # type: ignore[call-overload]
    "gather foreign": lambda: gather_structured(after(1, "a"), FOREIGN),
    "gather limit": lambda: gather_structured(after(1, "a"), limit=0),
    "first": lambda: first_n_within(yields_a_number()),
    "first limit": lambda: first_n_within(yields_a_number(), limit=2),
    "first raises": lambda: first_n_within(fails_after_one()),
    "first raises limit": lambda: first_n_within(fails_after_one(), limit=2),
    "block": lambda: block_of(yields_a_number()),
    "block limit": lambda: block_of(yields_a_number(), 2),
    "block raises": lambda: block_of(fails_after_one()),
    "block async": lambda: block_of(async_input(yields_a_number())),
    "add": adds_a_number,
}


async def garbage_of(use: Callable[[], Coroutine[Any, Any, None]]) -> dict[str, int]:
    """Return the types of objects that only the collector freed after the second use."""
    await use()
    await asyncio.sleep(10)
    gc.collect()
    gc.disable()
    try:
        await use()
        await asyncio.sleep(10)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return dict(Counter(type(thing).__name__ for thing in gc.garbage))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("eager", [False, True] if sys.version_info >= (3, 12) else [False])
@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_no_cycle_is_left(use: Callable[[], Coroutine[Any, Any, None]], *, eager: bool) -> None:
    """Reference counts free every object of a call."""
    assert run(garbage_of(use), eager=eager) == {}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_input_leaves_no_cycle(name: str) -> None:
    """Nor with the calling Task, which has the exception."""

    async def use() -> None:
        task = asyncio.create_task(REFUSALS[name]())
        await asyncio.wait([task])
        assert isinstance(task.exception(), (ChildError, RuntimeError, TypeError, ValueError))

    assert run(garbage_of(use)) == {}


@pytest.mark.parametrize("children", [1, 2])
@pytest.mark.parametrize("pause", range(4))
@pytest.mark.parametrize("start", range(1, 5))
def test_a_call_that_is_cancelled_twice_leaves_no_cycle(
    start: int, pause: int, children: int
) -> None:
    """Also if the second cancellation comes while the group is left."""

    async def child() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def caller() -> None:
        await gather_structured(*(child() for _ in range(children)))

    async def use() -> None:
        task = asyncio.create_task(caller())
        for _ in range(start):
            await asyncio.sleep(0)
        task.cancel("first")
        for _ in range(pause):
            await asyncio.sleep(0)
        task.cancel("second")
        await asyncio.wait([task])

    assert run(garbage_of(use)) == {}


@pytest.mark.parametrize("seconds", [0, 3])
@pytest.mark.parametrize("options", [{}, {"exception_group": True}, {"return_exceptions": True}])
def test_an_exception_of_a_child_that_is_also_thrown_in_leaves_no_cycle(
    options: dict[str, Any], seconds: float
) -> None:
    """Its traceback refers to the frame of the call, and the call to what its children raised."""

    async def raises(errors: list[ChildError]) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            raise errors[0]

    async def use() -> None:
        errors = [ChildError()]
        children: list[Any] = [raises(errors), stops_slowly([], 2)]
        call: Any = gather_structured(*children, **options)
        call.send(None)
        await asyncio.sleep(1)
        call.throw(errors[0])
        await asyncio.sleep(5)
        with suppress(ChildError):
            call.send(None)
        errors.clear()

    assert run(garbage_of(use)) == {}


async def gathered_one_that_is_cancelled() -> None:
    call = asyncio.create_task(gather_structured(asyncio.sleep(60)))
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.wait([call])


@pytest.mark.parametrize(
    "use",
    [gather_failed, race, block_left_early, gathered_one_that_is_cancelled],
    ids=lambda use: use.__name__,
)
def test_the_stuck_child_warning_leaves_no_cycle(
    use: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Nor where the call has cancelled children, and so watches them."""
    warn_stuck_after(5)
    assert run(garbage_of(use)) == {}


def test_the_check_finds_a_cycle() -> None:
    """It finds a frame that an exception refers back to."""

    async def use() -> None:
        kept: list[Any] = []
        with suppress(ChildError):
            kept.append(ChildError())
            raise kept[0]

    assert "ChildError" in run(garbage_of(use))


def test_an_interrupt_that_the_loop_raises_leaves_no_cycle() -> None:
    """No frame of its traceback refers to it."""
    interrupt = KeyboardInterrupt()
    with suppress(KeyboardInterrupt):
        _errors._raise(interrupt)
    *_, (frame, _) = traceback.walk_tb(interrupt.__traceback__)
    assert frame.f_code.co_name == "_raise"
    assert interrupt not in frame.f_locals.values()


def test_a_finished_call_keeps_no_interrupt() -> None:
    """The block of `as_completed_scoped` may outlive it for long."""
    errors = _errors.CallErrors()
    interrupt = KeyboardInterrupt()
    errors.keep_interrupt(interrupt)
    assert errors.take_last() is interrupt
    assert not errors
    assert errors.take_last() is None
