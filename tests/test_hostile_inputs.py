"""Sources that raise, equal awaitables, partials, foreign coroutine types: what a call is given."""

from __future__ import annotations

import asyncio
import collections.abc
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from each_call import Call, Leave, each_call, each_way_to_leave, with_and_without_limit
from virtual_tests import forever, stops_slowly, virtual
from virtual_time import after, now

from structgather import Cancelled, Ok, as_completed_scoped, first_n_within, gather_structured


class EmptyError(Exception):
    """Is false, as a container of errors without any."""

    def __len__(self) -> int:
        return 0


# Sources that raise: after "a", which is done by then, and beside a child that is not.


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
    """An iterator, which may raise what a generator can't."""

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


async def consume(inputs: Any, got: list[Any], **options: Any) -> None:
    async with as_completed_scoped(inputs, **options) as outcomes:
        async for outcome in outcomes:
            got.append(await outcome)


@each_source
@each_error
@virtual
async def test_the_error_of_a_source_comes_out_as_it_is(source: Source, error: Exception) -> None:
    """The iteration raises it behind what was there, though its body awaits each outcome."""
    log: list[str] = []
    got: list[Any] = []
    with pytest.raises(type(error)) as caught:
        await consume(source(stops_slowly(log), error), got, limit=2)
    assert caught.value is error
    assert (got, log) == (["a"], ["cleaned up"])
    me = asyncio.current_task()
    assert me is not None
    assert not me.cancelling()


@each_source
@virtual
async def test_the_error_of_a_source_ends_a_task_group(source: Source) -> None:
    """A task that consumes it has failed, not ended cancelled: its group raises the error."""
    got: list[Any] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(consume(source(forever(), ERRORS[0]), got, limit=2))
            group.create_task(forever())
    assert caught.value.exceptions == (ERRORS[0],)
    assert got == ["a"]


@virtual
async def test_what_an_error_of_the_source_cancels_is_undelivered() -> None:
    """The children that are cancelled for it are no items; each is in `.undelivered`."""
    with pytest.raises(OSError, match="page 3"):
        async with as_completed_scoped(generator(forever(), ERRORS[0]), limit=2) as outcomes:
            assert [outcome async for outcome in outcomes] == []
    assert [type(outcome) for outcome in outcomes.undelivered] == [Cancelled]


@virtual
async def test_an_item_that_is_no_awaitable_comes_out_as_a_type_error() -> None:
    """One that is pulled lazily is an error of the source: no cancellation is made of it."""
    got: list[Any] = []
    with pytest.raises(TypeError, match="item 2 of its input must be awaitable, not an int: 42"):
        await consume(iter([after(0, "a"), forever(), 42]), got, limit=2)
    assert got == ["a"]


@pytest.mark.parametrize("limit", [None, 1, 2])
@pytest.mark.parametrize("source", [generator, OwnIterator])
@each_error
@virtual
async def test_the_error_of_an_iterable_of_a_race(
    source: Source, error: Exception, limit: int | None
) -> None:
    """`first_n_within` raises it, whether it is true or false, when what runs is joined."""
    log: list[str] = []
    running = stops_slowly(log) if limit == 2 else after(1, "b")
    with pytest.raises(type(error)) as caught:
        await first_n_within(source(running, error), limit=limit)
    assert caught.value is error
    assert log == ["cleaned up"] * (limit == 2)


@virtual
async def test_a_source_that_raises_stop_async_iteration() -> None:
    """It does not look like the end: a RuntimeError says what it was."""
    error = StopAsyncIteration("not the end")
    got: list[Any] = []
    with pytest.raises(RuntimeError, match="its input raised StopAsyncIteration") as caught:
        await consume(OwnIterator(after(0, "b"), error), got, limit=1)
    assert caught.value.__cause__ is error
    assert got == ["a", "b"]


# Generators whose cleanup raises.


def closing_badly(error: Exception) -> Iterator[Any]:
    try:
        while True:
            yield after(1, "a")
    finally:
        raise error


async def leave_early(inputs: Any) -> None:
    async with as_completed_scoped(inputs, limit=2) as outcomes:
        await anext(outcomes)


@each_error
@pytest.mark.parametrize("leave", [leave_early, lambda inputs: first_n_within(inputs, 1, limit=2)])
@virtual
async def test_the_error_of_a_generators_cleanup(leave: Any, error: Exception) -> None:
    """It is raised if there is no other, whether it is true or false."""
    with pytest.raises(type(error)) as caught:
        await leave(closing_badly(error))
    assert caught.value is error


@pytest.mark.parametrize("leave", [leave_early, lambda inputs: first_n_within(inputs, 1, limit=2)])
@virtual
async def test_a_cancellation_goes_before_a_generators_cleanup(leave: Any) -> None:
    """Where the caller is cancelled, the generator's error does not take its place."""
    task = asyncio.create_task(leave(closing_badly(OSError("not closed"))))
    await asyncio.sleep(0.5)
    task.cancel("the user has left")
    with pytest.raises(asyncio.CancelledError, match="the user has left"):
        await task


# A limit, and what is added while an input is being pulled.


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
async def test_what_is_added_while_a_source_is_awaited(limit: int) -> None:
    """What is added takes its room; the input that is being waited for comes after it."""
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
async def test_a_generator_that_adds(limit: int) -> None:
    """What a generator adds while it is asked for an input takes the room of that input."""
    crowd = Crowd()

    def feed() -> Iterator[Any]:
        for number in range(4):
            if number >= limit:
                outcomes.add(crowd.child())
            yield crowd.child()

    async with as_completed_scoped(feed(), limit=limit) as outcomes:
        assert [await outcome async for outcome in outcomes] == ["a"] * (8 - limit)
    assert crowd.most == limit


# What is the same, and what only looks like it.


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
async def test_equal_awaitables_are_two(call: str, limit: int | None) -> None:
    """Only the very same object is refused: two queries that are equal both run."""
    ran.clear()
    children = [Query(1), Query(1), Query(2)]
    if call == "first":
        assert (await first_n_within(children, limit=limit)).values == [1, 1, 2]
    else:
        async with as_completed_scoped(children, limit=limit) as outcomes:
            assert [outcome.result() async for outcome in outcomes] == [1, 1, 2]
    assert len(ran) == 3


@virtual
async def test_equal_awaitables_are_one_for_gather() -> None:
    """As with asyncio.gather, what is equal runs once and fills each place."""
    ran.clear()
    assert await gather_structured(Query(1), Query(2), Query(1)) == [1, 2, 1]
    assert len(ran) == 2
    assert await asyncio.gather(Query(1), Query(2), Query(1)) == [1, 2, 1]
    assert len(ran) == 4


# What is refused.


class Unspeakable:
    """Can't be shown."""

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
        (Unspeakable(), "not an Unspeakable"),
    ],
    ids=["partial", "function", "unspeakable"],
)
@virtual
async def test_what_cannot_be_awaited_is_a_type_error(call: Call, bad: Any, told: str) -> None:
    """What cannot be awaited is named, whatever can be had of it; nothing has started."""
    with pytest.raises(TypeError, match=f"must be awaitable, .*{told}"):
        await call(after(1, "a"), bad)
    assert now() == 0


@pytest.mark.parametrize("function", [first_n_within, as_completed_scoped])
@pytest.mark.parametrize("bad", [functools.partial(wants_one, 1), Unspeakable()])
@virtual
async def test_what_cannot_be_iterated_is_a_type_error(function: Any, bad: Any) -> None:
    """The same for what stands in place of the iterable."""
    with pytest.raises(TypeError, match="of awaitables, not an? (partial|Unspeakable)"):
        if function is first_n_within:
            await function(bad)
        else:
            await function(bad).__aenter__()


# Coroutines of a type of somebody's own, as Cython makes them.


class Foreign(collections.abc.Coroutine[Any, Any, Any]):
    """A coroutine whose `close()` raises."""

    def __init__(self, inner: Awaitable[Any]) -> None:
        self._inner: Any = inner.__await__()

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
async def test_a_foreign_coroutine_is_left(leave: Leave) -> None:
    """Its `close()` that raises takes the place of nothing, and goes to no hook."""
    log: list[str] = []
    await leave(Foreign(stops_slowly(log)), stops_slowly(log), Foreign(stops_slowly(log)))
    assert (log, now()) == (["cleaned up"] * 3, 2)


@virtual
async def test_a_foreign_coroutine_beside_a_failure() -> None:
    """The first failure is raised, also where a foreign coroutine waits for its turn."""
    error = ValueError("first")
    for limit in (None, 1):
        with pytest.raises(ValueError, match="first") as caught:
            await gather_structured(after(1, error), Foreign(after(5, "b")), limit=limit)
        assert caught.value is error


@each_call
@virtual
async def test_foreign_coroutines_beside_a_bad_argument(call: Call) -> None:
    """What is refused is refused with its own error, though they can't be closed."""
    with pytest.raises(TypeError, match="must be awaitable"):
        await call(Foreign(after(1, "a")), 42)


@virtual
async def test_a_foreign_coroutine_whose_turn_never_comes() -> None:
    """It is accounted for, and its `close()` that raises ends nothing."""
    found = await first_n_within([after(1, "a"), Foreign(after(1, "b"))], 1, limit=1)
    assert found.outcomes[0] == Ok("a", 0, 1.0)
    assert isinstance(found.outcomes[1], Cancelled)
