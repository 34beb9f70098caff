"""Nothing outlives a call of the functions with outcomes, even with the collector off."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from contextvars import Context
from types import CoroutineType, ModuleType
from typing import Any

import pytest

from structgather import as_completed_scoped, first_n_within
from support.leak_detector import OF_CANCELLED_TIMERS, ChildError, Witness
from support.virtual_time import after, run

pytestmark = pytest.mark.usefixtures("no_collector")


class BodyError(Exception):
    """Raised by a body."""


# Each uses a function, in a frame of its own.


async def first_of_them(witness: Witness) -> None:
    assert len((await first_n_within(witness.children(), 1)).values) == 1


async def within_a_time(witness: Witness) -> None:
    found = await first_n_within(witness.children(), within=3)
    with suppress(ExceptionGroup):
        found.raise_if_short()


async def one_by_one(witness: Witness) -> None:
    await first_n_within(iter(witness.children()), limit=1, child_timeout=3)


async def first_cancelled(witness: Witness) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(3):
            await first_n_within(witness.children())


async def whole_stream(witness: Witness) -> None:
    async with as_completed_scoped(witness.children()) as outcomes:
        async for outcome in outcomes:
            outcome.done()
            del outcome


async def awaited_outcomes(witness: Witness) -> None:
    async with as_completed_scoped(witness.children(), limit=2) as outcomes:
        while True:
            try:
                await (await anext(outcomes))
            except ChildError:
                pass
            except StopAsyncIteration:
                break


async def left_by_break(witness: Witness) -> None:
    async with as_completed_scoped(witness.children()) as outcomes:
        async for outcome in outcomes:
            outcome.done()
            del outcome
            break


async def left_by_an_error(witness: Witness) -> None:
    async with as_completed_scoped(witness.children()):
        await asyncio.sleep(3)
        raise BodyError


async def left_late(witness: Witness) -> None:
    async with as_completed_scoped(witness.children(), timeout=3) as outcomes:
        async for outcome in outcomes:
            outcome.done()
            del outcome


async def added(witness: Witness) -> None:
    none_yet: list[Awaitable[Any]] = []
    async with as_completed_scoped(none_yet, limit=2) as outcomes:
        for child in witness.children():
            outcomes.add(child)
        async for outcome in outcomes:
            outcome.done()
            del outcome


USES: list[Callable[[Witness], Coroutine[Any, Any, None]]] = [
    first_of_them,
    within_a_time,
    one_by_one,
    first_cancelled,
    whole_stream,
    awaited_outcomes,
    left_by_break,
    left_by_an_error,
    left_late,
    added,
]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_nothing_outlives_the_call(use: Callable[[Witness], Coroutine[Any, Any, None]]) -> None:
    """One loop iteration after the call no task, frame, value or exception of it is alive."""

    async def main() -> None:
        witness = Witness()
        with suppress(BodyError, TimeoutError):
            await use(witness)
        await asyncio.sleep(0)
        assert len(witness.refs) >= 8
        witness.check(*OF_CANCELLED_TIMERS)
        await asyncio.sleep(10)
        witness.check()

    run(main())


# Memory, by count


class Counted:
    """A value that counts its instances."""

    alive = most = 0

    def __init__(self) -> None:
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1


MANY = 10_000


def inputs(limit: int) -> Iterator[Coroutine[Any, Any, Counted]]:
    """Yield many children, and check how many tasks exist."""

    async def child() -> Counted:
        await asyncio.sleep(0)
        return Counted()

    for _ in range(MANY):
        assert len(asyncio.all_tasks()) <= limit + 1
        yield child()


def test_a_long_stream_keeps_at_most_limit_children() -> None:
    """There are never more tasks and outcomes than `limit`, however long the stream is."""

    async def main() -> int:
        count = 0
        async with as_completed_scoped(inputs(10), limit=10) as outcomes:
            async for outcome in outcomes:
                count += outcome.done()
                del outcome
        return count

    Counted.most = 0
    assert asyncio.run(main()) == MANY
    assert (Counted.alive, Counted.most <= 11) == (0, True)


def test_a_long_race_keeps_at_most_limit_tasks() -> None:
    """There are never more tasks than `limit`; it keeps one outcome per input."""

    async def main() -> int:
        return len((await first_n_within(inputs(10), limit=10)).outcomes)

    assert asyncio.run(main()) == MANY


def all_that_it_refers_to(thing: object) -> Iterator[object]:
    """Return all objects reachable from `thing`, except classes and what they refer to."""
    seen: dict[int, object] = {}
    queue = [thing]
    while queue:
        here = queue.pop()
        if id(here) not in seen and not isinstance(here, type | ModuleType):
            seen[id(here)] = here
            yield here
            queue += gc.get_referents(here)


def test_a_finished_stream_refers_to_nothing() -> None:
    """A stream that is kept after its block refers to no task, handle, context, loop or input."""

    async def main() -> Any:
        future = asyncio.get_running_loop().create_future()
        children: list[Any] = [future, after(1, "a"), after(2, "b")]
        scoped = as_completed_scoped(children, limit=2, timeout=9, child_timeout=5)
        async with scoped as outcomes:
            await outcomes.__anext__()
        outcomes.undelivered.clear()
        return outcomes

    kinds = (asyncio.Future, asyncio.Handle, asyncio.AbstractEventLoop, Context, CoroutineType)
    assert [it for it in all_that_it_refers_to(run(main())) if isinstance(it, kinds)] == []


def test_a_failure_that_was_taken_is_not_kept() -> None:
    """When an outcome is taken and dropped, nothing else refers to its exception."""

    class Error(Exception):
        pass

    async def fails(delay: float) -> None:
        await asyncio.sleep(delay)
        raise Error

    async def main() -> None:
        async with as_completed_scoped([fails(1), after(2, "b"), after(3, "c")]) as outcomes:
            failed = weakref.ref((await anext(outcomes)).exception())
            await anext(outcomes)
            assert failed() is None

    run(main())


def test_a_late_child_that_was_taken_is_not_kept_while_others_stop() -> None:
    """Nor what it raised in its cleanup."""
    causes: list[weakref.ref[Any]] = []

    class CauseError(Exception):
        pass

    async def late() -> None:
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError as error:
            await asyncio.sleep(2)
            cause = CauseError()
            causes.append(weakref.ref(cause))
            raise error from cause

    async def slow() -> None:
        try:
            await asyncio.sleep(9)
        finally:
            await asyncio.sleep(5)

    async def main() -> None:
        async with as_completed_scoped([late(), slow()], child_timeout=1) as outcomes:
            await asyncio.sleep(2)
            outcomes.cancel()
            await anext(outcomes)
            await asyncio.sleep(1)
            assert causes[0]() is None

    run(main())


def test_the_cancellation_of_a_late_child_that_returns_is_not_kept() -> None:
    """A long stream of such children keeps nothing of them."""

    async def late_but_returns() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(9)
        return "all the same"

    def told() -> list[TimeoutError]:
        found = [it for it in gc.get_objects() if type(it) is TimeoutError]
        return [error for error in found if late_but_returns.__qualname__ in str(error)]

    async def main() -> None:
        children = [late_but_returns(), after(4, "b"), after(4, "c")]
        async with as_completed_scoped(children, limit=2, child_timeout=5) as outcomes:
            assert await (await anext(outcomes)) == "b"
            assert await (await anext(outcomes)) == "all the same"
            assert told() == []

    run(main())


def test_a_block_never_entered_leaves_nothing() -> None:
    """It refers to its input, and to nothing after it is dropped."""

    async def main() -> weakref.ref[Any]:
        future = asyncio.get_running_loop().create_future()
        as_completed_scoped([future, future], limit=1)
        return weakref.ref(future)

    assert run(main())() is None


def test_the_witness_sees_a_leak() -> None:
    """It reports a child that is still alive, and what refers to it."""

    async def main() -> None:
        witness = Witness()
        task = asyncio.create_task(witness.child("a", 9))
        await asyncio.sleep(1)
        kept = {"in here": task}
        with pytest.raises(AssertionError) as caught:
            witness.check(*OF_CANCELLED_TIMERS)
        message = str(caught.value)
        assert message.startswith("still alive: the frame of a, the task of a\n")
        assert f"Task {task.get_name()}\n" in message
        assert "<- coroutine Witness.child\n" in message
        assert "<- dict of in here" in message
        del kept, caught
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    run(main())
