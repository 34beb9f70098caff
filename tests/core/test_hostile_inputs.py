"""Unusual inputs: generators that add, equal awaitables, partials, coroutines of other types."""

from __future__ import annotations

import asyncio
import collections.abc
import functools
import inspect
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from structgather import Cancelled, Ok, as_completed_scoped, first_n_within, gather_structured
from support.each_call import Call, Leave, each_call, each_way_to_leave, with_and_without_limit
from support.virtual_tests import never, stops_slowly, virtual
from support.virtual_time import after, now

# A limit, and children that are added while the input is pulled


class Crowd:
    """Counts how many of its children run at a time."""

    running = most = 0

    async def child(self) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(2)
        self.running -= 1
        return "a"


@pytest.mark.parametrize("limit", [1, 2])
@virtual
async def test_a_child_added_while_a_source_is_awaited(limit: int) -> None:
    """It takes the free room; the input that is being awaited starts after it."""
    crowd = Crowd()

    async def feed() -> AsyncIterator[Any]:
        for _ in range(4):
            await asyncio.sleep(1)
            yield crowd.child()

    async with as_completed_scoped(feed(), limit=limit) as outcomes:
        await asyncio.sleep(0.5)
        for _ in range(limit):
            outcomes.add(crowd.child())
        assert [await outcome async for outcome in outcomes] == ["a"] * (4 + limit)
    assert crowd.most == limit


@pytest.mark.parametrize("limit", [1, 2])
@virtual
async def test_a_generator_that_adds_a_child(limit: int) -> None:
    """A child that the generator adds while it is pulled starts before its next item."""
    crowd = Crowd()

    def feed() -> Iterator[Any]:
        for number in range(4):
            if number >= limit:
                outcomes.add(crowd.child())
            yield crowd.child()

    async with as_completed_scoped(feed(), limit=limit) as outcomes:
        assert [await outcome async for outcome in outcomes] == ["a"] * (8 - limit)
    assert crowd.most == limit


# Identity and equality


@dataclass(frozen=True)
class Query:
    """An awaitable that is equal to others."""

    number: int

    def __await__(self) -> Generator[Any, Any, int]:
        ran.append(self)
        yield from asyncio.sleep(1).__await__()
        return self.number


ran: list[Query] = []


@pytest.mark.parametrize("call", ["first", "stream"])
@with_and_without_limit
@virtual
async def test_equal_awaitables_are_two_children(call: str, limit: int | None) -> None:
    """Only the same object is refused: two equal queries both run."""
    ran.clear()
    children = [Query(1), Query(1), Query(2)]
    if call == "first":
        assert (await first_n_within(children, limit=limit)).values == [1, 1, 2]
    else:
        async with as_completed_scoped(children, limit=limit) as outcomes:
            assert [outcome.result() async for outcome in outcomes] == [1, 1, 2]
    assert len(ran) == 3


@virtual
async def test_equal_awaitables_are_one_child_of_gather() -> None:
    """As with asyncio.gather, equal awaitables run once and fill each position."""
    for gather in (gather_structured, asyncio.gather):
        ran.clear()
        assert [*await gather(Query(1), Query(2), Query(1))] == [1, 2, 1]
        assert len(ran) == 2


# Refused input


class Unspeakable:
    """Its repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


async def wants_one(number: int) -> None:
    raise AssertionError(number)


@each_call
@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (functools.partial(wants_one, 1), "Did you forget to call it"),
        (wants_one, r"Did you forget to call it: wants_one\(\.\.\.\)"),
        (Unspeakable(), r"not an Unspeakable: \(its repr failed\)"),
    ],
    ids=["partial", "function", "unspeakable"],
)
@virtual
async def test_what_cannot_be_awaited_is_a_type_error(call: Call, bad: Any, told: str) -> None:
    """The message describes the object as far as possible; nothing has started."""
    with pytest.raises(TypeError, match=f"must be awaitable, .*{told}"):
        await call(after(1, "a"), bad)
    assert now() == 0


async def enter(bad: Any) -> None:
    await as_completed_scoped(bad).__aenter__()


@pytest.mark.parametrize("call", [first_n_within, enter])
@pytest.mark.parametrize("bad", [functools.partial(wants_one, 1), Unspeakable()])
@virtual
async def test_what_cannot_be_iterated_is_a_type_error(call: Any, bad: Any) -> None:
    """The same for an object in place of the iterable."""
    with pytest.raises(TypeError, match=r"of awaitables, not an? (partial|Unspeakable)"):
        await call(bad)


# Coroutines of other types, as Cython creates them


class Foreign(collections.abc.Coroutine[Any, Any, Any]):
    """A coroutine whose `close()` raises."""

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = inner
        self._inner: Any = inner.__await__()

    def close_unstarted(self) -> None:
        """Close the wrapped coroutine, which must not have started."""
        assert inspect.getcoroutinestate(self._coroutine) == inspect.CORO_CREATED
        self._coroutine.close()

    def send(self, value: Any) -> Any:
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()
        raise OSError("not closed")

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)


@each_way_to_leave
@virtual
async def test_a_foreign_coroutine_is_cancelled_and_joined(leave: Leave) -> None:
    """It is never closed, so a `close()` that raises does not matter."""
    log: list[str] = []
    await leave(Foreign(stops_slowly(log)), stops_slowly(log), Foreign(stops_slowly(log)))
    assert (log, now()) == (["cleaned up"] * 3, 2)


@virtual
async def test_a_queued_foreign_coroutine_is_left_alone_after_a_failure() -> None:
    """With a limit the call never starts it, and does not close it."""
    error, queued = ValueError("first"), Foreign(after(5, "b"))
    with pytest.raises(ValueError, match="first") as caught:
        await gather_structured(after(1, error), queued, limit=1)
    assert caught.value is error
    queued.close_unstarted()


@virtual
async def test_a_foreign_coroutine_beside_a_failure() -> None:
    """It is cancelled, and the first failure is raised."""
    error = ValueError("first")
    with pytest.raises(ValueError, match="first") as caught:
        await gather_structured(after(1, error), Foreign(after(5, "b")))
    assert (caught.value, now()) == (error, 1)


@each_call
@virtual
async def test_foreign_coroutines_beside_a_bad_argument(call: Call) -> None:
    """The error of the refusal is raised, and they are left alone."""
    foreign = Foreign(after(1, "a"))
    with pytest.raises(TypeError, match="must be awaitable"):
        await call(foreign, 42)
    foreign.close_unstarted()


@virtual
async def test_a_foreign_coroutine_that_is_never_started_has_an_outcome() -> None:
    """It is Cancelled; the coroutine was left alone."""
    foreign = Foreign(after(1, "b"))
    found = await first_n_within([after(1, "a"), foreign], 1, limit=1)
    assert found.outcomes[0] == Ok("a", 0, 1.0)
    assert isinstance(found.outcomes[1], Cancelled)
    foreign.close_unstarted()


class Unhashable:
    """An awaitable that is not hashable."""

    __hash__ = None  # type: ignore[assignment]

    def __await__(self) -> Generator[Any, None, object]:
        yield from asyncio.sleep(1).__await__()
        return object()


@virtual
async def test_duplicates_of_an_unhashable_awaitable() -> None:
    """The same object runs once and fills each of its positions."""
    one, two = Unhashable(), Unhashable()
    a, b, c = await gather_structured(one, two, one)
    assert a is c
    assert a is not b


class NoCallbacks(asyncio.Future[Any]):
    """A Future that refuses done callbacks."""

    def add_done_callback(self, *_: Any, **_options: Any) -> None:
        raise OSError("no callbacks")


@virtual
async def test_a_future_that_refuses_callbacks() -> None:
    """Its exception is raised once the Tasks before it are joined; coroutines behind are closed."""
    log: list[str] = []
    task = asyncio.create_task(stops_slowly(log, 5))
    await asyncio.sleep(0)
    behind = never()
    with pytest.raises(OSError, match="no callbacks"):
        await gather_structured(task, NoCallbacks(), behind)
    assert (log, now()) == (["cleaned up"], 5)
    assert inspect.getcoroutinestate(behind) == inspect.CORO_CLOSED


@virtual
async def test_a_caller_that_is_cancelled_after_a_future_has_refused_callbacks() -> None:
    """The first cancellation is raised after the join; its cause is the other exception."""
    log: list[str] = []
    child = asyncio.create_task(stops_slowly(log, 5))
    await asyncio.sleep(0)
    caller = asyncio.create_task(gather_structured(child, NoCallbacks()))
    for number in range(2):
        await asyncio.sleep(1)
        caller.cancel(f"cancellation {number}")
    with pytest.raises(asyncio.CancelledError, match="cancellation 0") as caught:
        await caller
    assert isinstance(caught.value.__cause__, OSError)
    assert (log, now()) == (["cleaned up"], 5)


class FailsWhenCancelled(NoCallbacks):
    """It fails instead of being cancelled."""

    def cancel(self, msg: Any = None) -> bool:
        self.set_exception(KeyError("its own"))
        return True


@virtual
async def test_a_failure_of_a_future_that_has_refused_callbacks() -> None:
    """It is in the notes, although no callback tells the call that the Future is done."""
    with pytest.raises(OSError, match="no callbacks") as caught:
        await gather_structured(after(9, "a"), FailsWhenCancelled())
    (note,) = caught.value.__notes__
    assert "child 1: KeyError: 'its own'" in note
