"""A kept result refers to no task and no context, and nothing else of the call is alive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from structgather import RateLimit, as_completed_scoped, first_n_within, gather_structured
from support.leak_detector import ChildError, Witness
from support.virtual_time import run

pytestmark = pytest.mark.usefixtures("no_collector")

# Each takes children, and returns a result that the caller may keep.
Call = Callable[..., Coroutine[Any, Any, Any]]


async def gather(*children: Any, **options: Any) -> Any:
    return await gather_structured(*children, return_exceptions=True, **options)


async def gather_that_fails(*children: Any, **options: Any) -> Any:
    call = gather_structured(*children, **options)
    del children  # Tasks among them: the traceback of the exception leads to this frame.
    try:
        return await call
    except (ChildError, TimeoutError) as error:
        return error


async def gather_in_a_group(*children: Any, **options: Any) -> Any:
    call = gather_structured(*children, exception_group=True, **options)
    del children
    try:
        return await call
    except BaseExceptionGroup as errors:
        return errors


async def first(*children: Any, **options: Any) -> Any:
    return await first_n_within(children, within=5, **options)


async def first_one(*children: Any, **options: Any) -> Any:
    try:
        return await first_n_within(iter(children), 1, **options)
    finally:
        for child in filter(asyncio.iscoroutine, children):
            child.close()  # one that was not pulled


async def stream(*children: Any, **options: Any) -> Any:
    outcomes: list[Any] = []
    with suppress(TimeoutError):
        async with as_completed_scoped(children, timeout=5, **options) as scoped:
            outcomes.append(scoped)
            async for outcome in scoped:
                outcomes.append(outcome)
                del outcome
    return outcomes


async def stream_that_breaks(*children: Any, **options: Any) -> Any:
    outcomes: list[Any] = []
    async with as_completed_scoped(iter(children), **options) as scoped:
        outcomes.append(scoped)
        async for outcome in scoped:
            outcomes.append(outcome)
            del outcome
            break
    return outcomes


CALLS: list[Call] = [
    gather,
    gather_that_fails,
    gather_in_a_group,
    first,
    first_one,
    stream,
    stream_that_breaks,
]


# Each makes a call over children of a witness.
Way = Callable[[Call, Witness], Coroutine[Any, Any, Any]]


async def plainly(call: Call, witness: Witness) -> Any:
    return await call(witness.child("a", 1), witness.child("b", 2, fails=True))


async def late(call: Call, witness: Witness) -> Any:
    return await call(*witness.children(), child_timeout=4)


async def with_a_limit(call: Call, witness: Witness) -> Any:
    return await call(*witness.children(), limit=2, child_timeout=4)


async def with_tasks(call: Call, witness: Witness) -> Any:
    children = [witness.child("a", 1), witness.child("b", 2, fails=True)]
    return await call(*map(asyncio.create_task, children))


async def cancelled(call: Call, witness: Witness) -> Any:
    task = asyncio.create_task(in_a_task(call, witness))
    await asyncio.sleep(0.5)
    task.cancel("the user has left")
    with suppress(asyncio.CancelledError):
        await task


async def in_a_task(call: Call, witness: Witness) -> Any:
    witness.saw_task("the caller")
    await call(*witness.children())


async def under_a_rate_limit(call: Call, witness: Witness) -> Any:
    limit = RateLimit(concurrent=1, requests=2, per=0.5)

    async def under(child: Any) -> Any:
        witness.saw_task("the caller")
        try:
            async with limit():
                return await child
        finally:
            child.close()
            del child

    children = [witness.child("a", 0.1), witness.child("b", 0.2, fails=True)]
    return await call(*map(under, children))


WAYS: list[Way] = [plainly, late, with_a_limit, with_tasks, cancelled, under_a_rate_limit]

#: Results that keep more than outcomes: an exception keeps the frames of its traceback.
OF_THE_OUTCOMES = ("the value", "the error", "the cancellation", "the frame")


@pytest.mark.parametrize("eager", [False, True] if sys.version_info >= (3, 12) else [False])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_nothing_outlives_a_call(call: Call, way: Way, *, eager: bool) -> None:
    """While the outcomes are kept, no task and no context of it is alive; without them, nothing."""
    witness = Witness()

    async def owner() -> Any:
        witness.saw_task("the owner")
        return await way(call, witness)

    async def main() -> None:
        kept = await asyncio.create_task(owner())
        await asyncio.sleep(10)  # the loop's own cancelled timers
        witness.check(*OF_THE_OUTCOMES)
        del kept
        witness.check()

    run(main(), eager=eager)
    assert len(witness.refs) >= 4


# Each kind of leak, on purpose


def a_task(task: asyncio.Task[Any], error: BaseException) -> Any:
    return task


def a_context(task: asyncio.Task[Any], error: BaseException) -> Any:
    return asyncio.get_running_loop().call_later(99, print, context=context_of(task))


def context_of(task: asyncio.Task[Any]) -> Any:
    if sys.version_info >= (3, 12):
        return task.get_context()
    return None


def an_exception(task: asyncio.Task[Any], error: BaseException) -> Any:
    return error


@pytest.mark.parametrize("leak", [a_task, a_context, an_exception], ids=lambda leak: leak.__name__)
def test_each_kind_of_leak_is_named(leak: Any) -> None:
    """The message names the object, and what refers to it."""
    if leak is a_context and sys.version_info < (3, 12):
        pytest.skip("Task.get_context is new in 3.12")
    witness = Witness()

    async def main() -> str:
        child = asyncio.create_task(witness.child("a", fails=True))
        await asyncio.wait([child])
        error = child.exception()
        assert error is not None
        leaked = {"here it is": leak(child, error)}
        del child, error
        with pytest.raises(AssertionError) as caught:
            witness.check()
        if leak is a_context:
            leaked["here it is"].cancel()
        return str(caught.value)

    message = run(main())
    expected = {a_task: "the task of a", a_context: "the context of a", an_exception: "the error"}
    assert expected[leak] in message
    assert "<- dict of here it is" in message
