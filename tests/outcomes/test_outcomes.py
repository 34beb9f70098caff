"""Ok, Failed, TimedOut, Cancelled: how one child finished."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import sys
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, assert_never, cast

import pytest

from structgather import Cancelled, Failed, Ok, Outcome, TimedOut, as_completed_scoped
from support.virtual_tests import forever, virtual
from support.virtual_time import after, run

LATE, STOPPED, BROKEN = TimeoutError("late"), asyncio.CancelledError("stop"), ValueError("broken")
EACH: list[Outcome[str]] = [
    Ok("value", 0, 0.5),
    Failed(BROKEN, 1, 1.5),
    TimedOut(LATE, 2, 2.5),
    Cancelled(STOPPED, 3, 3.5),
]
each_outcome = pytest.mark.parametrize("outcome", EACH, ids=lambda outcome: type(outcome).__name__)


def outcomes_of(*children: Any, **options: Any) -> list[Outcome[Any]]:
    """Return the outcomes of the children, in argument order."""

    async def main() -> list[Outcome[Any]]:
        made = [child() for child in children]
        async with as_completed_scoped(made, **options) as outcomes:
            got = [outcome async for outcome in outcomes]
        return sorted(got, key=lambda outcome: outcome.index)

    return run(main())


def what(outcome: Outcome[str]) -> str:
    match outcome:
        case Ok(value):
            return value
        case Failed(error):
            return f"failed: {error}"
        case TimedOut(error):
            return f"timed out: {error}"
        case Cancelled(error):
            return f"cancelled: {error}"
        case _:
            assert_never(outcome)


def test_match_unpacks_an_outcome() -> None:
    """A `match` statement tells the types apart and binds their content."""
    found = [what(outcome) for outcome in EACH]
    assert found == ["value", "failed: broken", "timed out: late", "cancelled: stop"]
    match EACH[1]:
        case Failed(ValueError() as error, index, elapsed):
            assert (error, index, elapsed) == (BROKEN, 1, 1.5)
        case _:
            pytest.fail("not matched")


@each_outcome
def test_an_outcome_is_immutable(outcome: Outcome[str]) -> None:
    """No attribute can be set, added or deleted, and there is no `__dict__`."""
    for attribute in (*outcome.__match_args__, "other"):
        with pytest.raises(AttributeError, match=attribute):
            setattr(outcome, attribute, None)
        with pytest.raises(AttributeError, match=attribute):
            delattr(outcome, attribute)
    assert not hasattr(outcome, "__dict__")


@pytest.mark.parametrize("kind", [Ok, Failed, TimedOut, Cancelled])
def test_the_classes_are_final(kind: Any) -> None:
    """So type checkers know that a `match` is exhaustive."""
    assert kind.__final__


def test_equality() -> None:
    """Outcomes of one type with the same content, index and time are equal, and hash equally."""
    assert Ok("value", 0, 0.5) == EACH[0]
    assert hash(Ok("value", 0, 0.5)) == hash(EACH[0])
    assert Failed(BROKEN, 1, 1.5) == EACH[1]
    for other in (Ok("other", 0, 0.5), Ok("value", 1, 0.5), Ok("value", 0, 1.5), "value"):
        assert other != EACH[0]
    assert Failed(LATE, 2, 2.5) != TimedOut(LATE, 2, 2.5)
    assert len({*EACH, *EACH}) == 4


def test_repr() -> None:
    """The repr has the type, the content, the index and the time."""
    assert [repr(outcome) for outcome in EACH] == [
        "Ok('value', index=0, elapsed=0.500)",
        "Failed(ValueError('broken'), index=1, elapsed=1.500)",
        "TimedOut(TimeoutError('late'), index=2, elapsed=2.500)",
        "Cancelled(CancelledError('stop'), index=3, elapsed=3.500)",
    ]


@each_outcome
def test_it_can_be_pickled_and_copied(outcome: Outcome[str]) -> None:
    """A copy is equal and of the same type."""
    for twin in (pickle.loads(pickle.dumps(outcome)), copy.deepcopy(outcome)):  # noqa: S301
        assert type(twin) is type(outcome)
        assert repr(twin) == repr(outcome)
    assert copy.copy(outcome) == outcome


# The methods of a Future


def finished_task(outcome: Outcome[str]) -> asyncio.Future[str]:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    match outcome:
        case Ok(value):
            future.set_result(value)
        case Failed(error) | TimedOut(error):
            future.set_exception(error)
        case Cancelled(error):
            future.cancel(*error.args)
    return future


def says(thing: Any, name: str) -> tuple[str, object]:
    try:
        value = getattr(thing, name)()
    except BaseException as error:  # noqa: BLE001 - it is compared
        return "raised", repr(error)
    return "returned", value


@each_outcome
@virtual
async def test_it_has_the_methods_of_a_finished_task(outcome: Outcome[str]) -> None:
    """result(), exception(), cancelled() and done() do what those of a finished Task do."""
    task = finished_task(outcome)
    for name in ("result", "exception", "cancelled", "done"):
        assert says(outcome, name) == says(task, name)


@each_outcome
@virtual
async def test_awaiting_it_is_like_awaiting_a_finished_task(outcome: Outcome[str]) -> None:
    """`await outcome` returns the value or raises the exception, any number of times, at once."""
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "the loop ran a callback")
    for _ in range(2):
        try:
            assert await outcome == "value"
        except (ValueError, TimeoutError, asyncio.CancelledError) as error:
            assert error is outcome.error  # type: ignore[union-attr]  # noqa: PT017
    assert ran == []


@each_outcome
def test_it_raises_when_it_is_awaited(outcome: Outcome[str]) -> None:
    """And not before, like a coroutine: code that collects awaitables can take it."""
    steps = outcome.__await__()
    with pytest.raises((StopIteration, ValueError, TimeoutError, asyncio.CancelledError)):
        next(steps)


@virtual
async def test_it_can_be_passed_where_an_awaitable_is_expected() -> None:
    """wait_for, gather and ensure_future take an outcome."""
    assert await asyncio.wait_for(EACH[0], 1) == "value"
    results = await asyncio.gather(*EACH[:2], return_exceptions=True)
    assert results == ["value", BROKEN]


# The exception


class CustomError(Exception):
    pass


def test_the_exception_is_the_childs_own_object() -> None:
    """The outcome has, and raises, the object that the child raised."""
    error = CustomError("broken")
    (outcome,) = outcomes_of(lambda: after(0, error))
    assert outcome.exception() is error
    with pytest.raises(CustomError) as caught:
        outcome.result()
    assert caught.value is error


def test_cause_and_context_are_unchanged() -> None:
    """Raising it in an `except` block does not set its context."""

    async def child() -> None:
        try:
            int("inner")
        except ValueError as inner:
            raise CustomError("outer") from inner

    (outcome,) = outcomes_of(child)
    error = outcome.exception()
    assert error is not None
    cause, context = error.__cause__, error.__context__
    assert isinstance(cause, ValueError)
    try:
        getattr(asyncio, "of the body")
    except AttributeError:
        with pytest.raises(CustomError):
            outcome.result()
    assert (error.__cause__, error.__context__) == (cause, context)


def frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


async def innermost() -> None:
    await asyncio.sleep(0)
    raise CustomError


async def outermost() -> None:
    await innermost()


def test_the_traceback_shows_the_child_and_does_not_grow() -> None:
    """It has the line that raises it and the child's frames, once, each time it is raised."""
    (outcome,) = outcomes_of(outermost)
    error = outcome.exception()
    assert error is not None
    assert frames(error) == ["outermost", "innermost"]
    for _ in range(3):
        with pytest.raises(CustomError) as caught:
            outcome.result()
        assert frames(caught.value)[-2:] == ["outermost", "innermost"]
        assert frames(caught.value).count("result") == 1


def test_an_exception_that_cannot_be_changed_is_raised() -> None:
    """An exception whose attributes can't be set is raised like any other."""

    @dataclass(frozen=True)
    class Frozen(Exception):  # noqa: N818
        code: int

    (outcome,) = outcomes_of(lambda: after(0, Frozen(7)))
    with pytest.raises(Frozen, match="7"):
        outcome.result()


class CustomCancelledError(asyncio.CancelledError):
    """Supports weak references."""


async def await_it(outcomes: list[Outcome[Any]]) -> None:
    await outcomes.pop()


USES: list[Callable[[list[Outcome[Any]]], object]] = [
    lambda outcomes: outcomes.pop().result(),
    lambda outcomes: outcomes.pop().exception(),
    lambda outcomes: await_it(outcomes).send(None),
]


@pytest.mark.parametrize("use", USES, ids=["result", "exception", "await"])
def test_there_is_no_reference_cycle(use: Callable[[list[Outcome[Any]]], object]) -> None:
    """With the collector off, the exception is freed when the outcome is dropped."""
    gc.collect()
    gc.disable()
    try:
        outcomes = outcomes_of(outermost)
        error = weakref.ref(cast("CustomError", outcomes[0].exception()))
        outcomes *= 2
        for _ in range(2):
            with suppress(CustomError):
                use(outcomes)
        assert error() is None
    finally:
        gc.enable()


def test_there_is_no_reference_cycle_through_a_cancellation() -> None:
    """Nor if `exception()` raises, as it does for a cancelled Task."""
    gc.collect()
    gc.disable()
    try:
        error = CustomCancelledError()
        gone = weakref.ref(error)
        outcome = Cancelled(error, 0, 0.0)
        del error
        with suppress(CustomCancelledError):
            outcome.exception()
        del outcome
        assert gone() is None
    finally:
        gc.enable()


# `index` and `elapsed`


def test_index_is_the_position_in_the_input() -> None:
    """`index` does not depend on which child finishes first."""

    async def main() -> list[tuple[int, str]]:
        children = [after(3, "a"), after(1, "b"), after(2, "c")]
        async with as_completed_scoped(children) as outcomes:
            return [(outcome.index, await outcome) async for outcome in outcomes]

    assert run(main()) == [(1, "b"), (2, "c"), (0, "a")]


def test_elapsed_is_exact() -> None:
    """`elapsed` counts from the child's own start to its finish, to the tick of the clock."""
    children = [lambda: after(2, "a"), lambda: after(3, "b"), lambda: after(5, CustomError())]
    for options in ({}, {"limit": 1}, {"child_timeout": 9}, {"timeout": 10}):
        assert [outcome.elapsed for outcome in outcomes_of(*children, **options)] == [2, 3, 5]
    late = outcomes_of(*children, child_timeout=2.5)
    assert [outcome.elapsed for outcome in late] == [2, 2.5, 2.5]


def test_a_late_child_is_named() -> None:
    """TimedOut has a TimeoutError that names the child and its time; its cause has the line."""
    (outcome,) = outcomes_of(forever, child_timeout=2)
    assert isinstance(outcome, TimedOut)
    assert str(outcome.error).startswith("as_completed_scoped(): child 0, forever (Task-")
    assert str(outcome.error).endswith("took longer than its child_timeout of 2 s")
    cause = outcome.error.__cause__
    assert isinstance(cause, asyncio.CancelledError)
    assert "forever" in frames(cause)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
def test_eager_children_have_the_same_outcomes() -> None:
    """A child that finishes in its eager first step has an outcome like any other."""

    async def main() -> list[Outcome[str]]:
        children = [after(0, "a"), after(0, BROKEN)]
        async with as_completed_scoped(children) as outcomes:
            return [outcome async for outcome in outcomes]

    assert run(main(), eager=True) == [Ok("a", 0, 0.0), Failed(BROKEN, 1, 0.0)]
