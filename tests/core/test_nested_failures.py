"""Failures inside a nested call are not lost when the outer call cancels the nested one."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from structgather import (
    Cancelled,
    TimedOut,
    as_completed_scoped,
    first_n_within,
    gather_structured,
)
from support.each_call import Call, each_call
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now


async def fails_in_cleanup() -> None:
    try:
        await forever()
    finally:
        await asyncio.sleep(1)
        raise ValueError("could not roll back")


# Calls that are cancelled, and in which a child then fails. Its failure must not be lost.


async def plain() -> Any:
    return await fails_in_cleanup()


async def gather() -> Any:
    return await gather_structured(fails_in_cleanup(), forever())


async def gather_returning() -> Any:
    return await gather_structured(fails_in_cleanup(), forever(), return_exceptions=True)


async def first() -> Any:
    return await first_n_within([fails_in_cleanup(), forever()], within=60)


async def stream() -> Any:
    async with as_completed_scoped([fails_in_cleanup(), forever()]) as outcomes:
        return [outcome async for outcome in outcomes]


async def stream_busy() -> Any:
    async with as_completed_scoped([fails_in_cleanup(), forever()]):
        await forever()


async def stream_body() -> Any:
    async with as_completed_scoped([stops_slowly([], 1.5)]):
        await asyncio.sleep(0.5)
        raise ValueError("could not roll back")


async def twice() -> Any:
    return await gather_structured(first(), forever())


async def task_group() -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(fails_in_cleanup())


Inner = Callable[[], Coroutine[Any, Any, Any]]
each_inner_call = pytest.mark.parametrize(
    "inner",
    [plain, gather, gather_returning, first, stream, stream_busy, stream_body, twice, task_group],
    ids=lambda inner: inner.__name__,
)


def shown(error: BaseException) -> int:
    """Count the failure in the traceback."""
    return "".join(traceback.format_exception(error)).count("ValueError: could not roll back")


@each_inner_call
@virtual
async def test_the_first_failure_shows_failures_inside_its_siblings(inner: Inner) -> None:
    """They are in its notes, once."""
    error = KeyError("first")
    with pytest.raises(KeyError) as caught:
        await gather_structured(after(1, error), inner())
    assert caught.value is error
    assert shown(error) == 1
    assert now() == 2


@each_inner_call
@virtual
async def test_a_group_has_failures_inside_its_siblings(inner: Inner) -> None:
    """With `exception_group` the group has them, after the first failure."""
    error = KeyError("first")
    with pytest.raises(BaseExceptionGroup) as caught:
        await gather_structured(after(1, error), inner(), exception_group=True)
    own, nested = caught.value.split(lambda each: each is error)
    assert own is not None
    assert nested is not None
    assert len(caught.value.exceptions) == 2
    assert shown(nested) == 1


@each_inner_call
@virtual
async def test_losers_keep_failures_inside_them(inner: Inner) -> None:
    """`FirstN.exception_group()` has them, although the loser was cancelled."""
    found = await first_n_within([after(1, "a"), inner()], 1)
    assert found.values == ["a"]
    group = found.exception_group()
    assert group is not None
    assert shown(group) == 1


async def raises_inside(block: Any, error: Exception) -> None:
    async with block:
        await asyncio.sleep(1)
        raise error


@each_inner_call
@virtual
async def test_a_body_that_raises_shows_failures_inside(inner: Inner) -> None:
    """They are in the notes of the exception that leaves the block, once."""
    error = KeyError("body")
    with pytest.raises(KeyError) as caught:
        await raises_inside(as_completed_scoped([inner()]), error)
    assert caught.value is error
    assert shown(error) == 1


@each_inner_call
@virtual
async def test_a_deadline_shows_failures_inside(inner: Inner) -> None:
    """The outcome of a child that the deadline of the call cancelled leads to them."""
    (outcome,) = (await first_n_within([inner()], within=1)).outcomes
    assert shown(outcome.error) == 1  # type: ignore[union-attr]  # there is one


@each_call
@each_inner_call
@virtual
async def test_a_late_child_shows_failures_inside(call: Call, inner: Inner) -> None:
    """The outcome of a child that timed out leads to them."""
    (error,) = await call(inner(), child_timeout=1)
    assert shown(error) == 1


@each_call
@each_inner_call
@virtual
async def test_a_timeout_shows_failures_inside(call: Call, inner: Inner) -> None:
    """The TimeoutError of `asyncio.timeout` around the outer call leads to them, at any depth."""
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(1):
            await call(inner(), forever())
    assert shown(caught.value) == 1


@each_call
@each_inner_call
@virtual
async def test_a_cancellation_shows_failures_inside(call: Call, inner: Inner) -> None:
    """The CancelledError of the outer call is the caller's own, and leads to them."""
    task = asyncio.create_task(call(inner(), forever()))
    await asyncio.sleep(1)
    task.cancel("the user has left")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("the user has left",)
    assert shown(caught.value) == 1


async def nothing_fails() -> Any:
    return await gather_structured(first_n_within([forever()]), forever())


@virtual
async def test_a_cancelled_call_without_failures_is_no_failure() -> None:
    """A nested call that is cancelled, without failures inside, is not reported as one."""
    error = KeyError("first")
    with pytest.raises(KeyError):
        await gather_structured(after(1, error), nothing_fails())
    raised_by = ["gather_structured(): raised by child 0, after"]
    assert error.__notes__ == raised_by
    found = await first_n_within([after(1, "a"), nothing_fails()], 1)
    assert found.exception_group() is None
    assert isinstance(found.outcomes[1], Cancelled)
    outcomes = as_completed_scoped([nothing_fails()])
    with pytest.raises(KeyError):
        await raises_inside(outcomes, error)
    assert error.__notes__ == raised_by
    assert [type(outcome) for outcome in outcomes.undelivered] == [Cancelled]


# The Task of a child, as `asyncio.all_tasks()`, tracers and monitors see it


def watched(tasks: list[Any], child: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    async def run() -> Any:
        tasks.append(asyncio.current_task())
        return await child

    return run()


@each_call
@virtual
async def test_the_task_of_a_child_never_fails(call: Call) -> None:
    """It returns None, or is cancelled as the child was: nothing is raised into the TaskGroup."""
    tasks: list[asyncio.Task[Any]] = []
    error = ValueError("own")
    children = [after(1, "a"), after(1, error), after(1, asyncio.CancelledError("own")), forever()]
    await call(*[watched(tasks, child) for child in children], child_timeout=2)
    returned, failed, cancelled, late = tasks
    assert returned.result() is None
    assert failed.result() is None
    assert cancelled.cancelled()
    assert late.cancelled()


@each_call
@virtual
async def test_a_failure_is_not_reported_to_the_loop(call: Call) -> None:
    """A failure that the call raises or returns is not passed to the exception handler as well."""
    await call(after(1, ValueError()), after(1, OSError()), after(1, MemoryError()))


@virtual
async def test_the_task_of_a_late_child_is_cancelled() -> None:
    """Its outcome tells it from a child that was cancelled for another reason."""
    tasks: list[asyncio.Task[Any]] = []
    (outcome,) = (await first_n_within([watched(tasks, forever())], within=1)).outcomes
    assert isinstance(outcome, TimedOut)
    assert tasks[0].cancelled()
