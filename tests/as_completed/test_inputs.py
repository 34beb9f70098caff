"""Where the children of `as_completed_scoped` come from: iterables and async iterables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from structgather import Cancelled, Ok, Outcome, as_completed_scoped
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now

BROKEN = ValueError("broken")


async def taken(outcomes: Any) -> list[Outcome[Any]]:
    """All that is still to come."""
    return [outcome async for outcome in outcomes]


# Pulled one by one.


class Pulled:
    """Makes children when it is asked to, and counts: each returns its number after a second."""

    def __init__(self, children: int) -> None:
        self.children, self.asked = children, 0

    def one_by_one(self) -> Iterator[Any]:
        for _ in range(self.children):
            self.asked += 1
            yield after(1, self.asked)

    async def asynchronously(self) -> AsyncIterator[Any]:
        for child in self.one_by_one():
            await asyncio.sleep(0)
            yield child


@pytest.mark.parametrize("source", ["one_by_one", "asynchronously"])
@pytest.mark.parametrize("limit", [1, 2, 3])
@virtual
async def test_the_input_is_pulled_as_the_consumer_takes(source: str, limit: int) -> None:
    """With `limit`, no more inputs are asked for than have been taken, plus `limit`."""
    pulled = Pulled(6)
    seen: list[int] = []
    async with as_completed_scoped(getattr(pulled, source)(), limit=limit) as outcomes:
        await asyncio.sleep(9)
        seen.append(pulled.asked)
        async for _ in outcomes:
            await asyncio.sleep(9)
            seen.append(pulled.asked)
    assert seen == [min(6, limit + taken) for taken in range(7)]


@virtual
async def test_an_endless_generator() -> None:
    """What is pulled lazily need not have an end."""
    got: list[str] = []
    async with as_completed_scoped((after(1, "a") for _ in iter(int, 1)), limit=2) as outcomes:
        async for outcome in outcomes:
            got.append(await outcome)
            if len(got) == 5:
                break
    assert (got, now()) == (["a"] * 5, 3)


@virtual
async def test_without_a_limit_all_start_at_once() -> None:
    """Without `limit` a generator is exhausted on entry, and all children run together."""
    pulled = Pulled(5)
    async with as_completed_scoped(pulled.one_by_one()) as outcomes:
        assert (pulled.asked, len(outcomes)) == (5, 5)
        assert len(await taken(outcomes)) == 5
    assert now() == 1


# Iterables that fail.


@virtual
async def test_a_generator_that_raises_half_way() -> None:
    """Its error comes behind the outcomes that were there before; what runs is joined first."""
    log: list[str] = []

    def inputs() -> Iterator[Any]:
        yield after(1, "a")
        yield stops_slowly(log)
        raise BROKEN

    async with as_completed_scoped(inputs(), limit=2) as outcomes:
        assert await anext(outcomes) == Ok("a", 0, 1.0)
        with pytest.raises(ValueError, match=r"^broken$") as caught:
            await anext(outcomes)
        assert (caught.value is BROKEN, log, now()) == (True, ["cleaned up"], 2)
    assert [type(outcome) for outcome in outcomes.undelivered] == [Cancelled]


@virtual
async def test_a_generator_that_raises_on_entry() -> None:
    """Without `limit` it is exhausted on entry: its error comes there, and nothing has started."""

    def inputs() -> Iterator[Any]:
        yield forever(log)
        raise BROKEN

    log: list[str] = []
    with pytest.raises(ValueError, match=r"^broken$"):
        async with as_completed_scoped(inputs()):
            pytest.fail("it was entered")
    assert log == []


@virtual
async def test_what_is_left_of_a_generator_is_closed() -> None:
    """A generator that was not exhausted is closed when the block is over."""
    log: list[str] = []

    def inputs() -> Iterator[Any]:
        try:
            while True:
                yield after(1, "a")
        finally:
            log.append("closed")

    async with as_completed_scoped(inputs(), limit=1) as outcomes:
        await anext(outcomes)
    assert log == ["closed"]


@virtual
async def test_a_generators_cleanup_that_raises_hides_no_cancellation() -> None:
    """Its error is raised if there is no other; a cancellation of the caller goes first."""

    def inputs() -> Iterator[Any]:
        try:
            while True:
                yield stops_slowly(log)
        finally:
            raise BROKEN

    async def body() -> None:
        async with as_completed_scoped(inputs(), limit=1):
            await asyncio.sleep(1)

    log: list[str] = []
    with pytest.raises(ValueError, match=r"^broken$"):
        await body()
    task = asyncio.create_task(body())
    await asyncio.sleep(1.5)  # it is joining
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Async iterables.


class Feed:
    """An async iterable of children, a second each, which says when it is closed."""

    def __init__(self, *children: Any, error: Exception | None = None) -> None:
        self.children, self.error = iter(children), error
        self.log: list[str] = []

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            for child in self.children:
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    child.close()
                    raise
                yield child
            if self.error is not None:
                raise self.error
        finally:
            await asyncio.sleep(5)
            self.log.append("closed")

    def close(self) -> None:
        for child in self.children:
            child.close()


@pytest.mark.parametrize("limit", [None, 1])
@virtual
async def test_a_slow_source(limit: int | None) -> None:
    """Outcomes come while the source is still at work, and the loop ends with its cleanup."""
    feed = Feed(after(0, "a"), after(0, "b"))
    async with as_completed_scoped(feed, limit=limit) as outcomes:
        times = [(now(), await outcome) async for outcome in outcomes]
    assert (times, now(), feed.log) == ([(1, "a"), (2, "b")], 7, ["closed"])


@virtual
async def test_a_source_is_closed_when_the_block_is_left() -> None:
    """After a `break` the source is cancelled, and its cleanup is part of the join."""
    feed = Feed(after(0, "a"), after(0, "b"))
    async with as_completed_scoped(feed) as outcomes:
        assert await anext(outcomes) == Ok("a", 0, 0.0)
        assert feed.log == []
    assert (feed.log, now()) == (["closed"], 6)
    feed.close()


@virtual
async def test_a_source_that_waits_for_the_consumer_is_closed() -> None:
    """So is one that stands at a `yield`, since the consumer has not taken what there is."""
    feed = Feed(after(0, "a"), after(0, "b"))
    async with as_completed_scoped(feed, limit=1):
        await asyncio.sleep(2)
    assert feed.log == ["closed"]
    feed.close()


@virtual
async def test_a_source_that_raises() -> None:
    """Its error comes behind the outcomes that were there before; what runs is joined first."""
    log: list[str] = []
    feed = Feed(after(0, "a"), stops_slowly(log), error=BROKEN)
    async with as_completed_scoped(feed) as outcomes:
        assert await anext(outcomes) == Ok("a", 0, 0.0)
        with pytest.raises(ValueError, match=r"^broken$"):
            await anext(outcomes)
        assert (log, feed.log) == (["cleaned up"], ["closed"])


@virtual
async def test_a_source_that_fails_while_the_block_is_left() -> None:
    """The error of its cleanup is raised if there is no other, and shows in a note if there is."""

    async def inputs() -> AsyncIterator[Any]:
        try:
            yield await forever()
        finally:
            raise BROKEN

    async def leave(error: Exception | None) -> None:
        async with as_completed_scoped(inputs()):
            await asyncio.sleep(1)
            if error is not None:
                raise error

    with pytest.raises(ValueError, match=r"^broken$"):
        await leave(None)
    with pytest.raises(KeyError) as caught:
        await leave(KeyError("body"))
    assert "the input: Traceback" in caught.value.__notes__[0]


@virtual
async def test_a_source_that_ignores_its_cancellation() -> None:
    """What it still hands over while the block is being left never starts, and is closed."""

    async def inputs() -> AsyncIterator[Any]:
        with suppress(asyncio.CancelledError):
            await forever()
        await asyncio.sleep(1)
        yield forever(log)

    log: list[str] = []
    async with as_completed_scoped(inputs()) as outcomes:
        await asyncio.sleep(1)
    assert (log, now()) == ([], 2)
    (outcome,) = outcomes.undelivered
    assert isinstance(outcome, Cancelled)
    assert str(outcome.error) == "never started"


@virtual
async def test_a_timeout_ends_the_source_too() -> None:
    """At `timeout` a source that has nothing to give is cancelled, and TimeoutError raised."""
    feed = Feed(after(0, "a"), after(0, "b"))
    async with as_completed_scoped(feed, timeout=1.5) as outcomes:
        assert await anext(outcomes) == Ok("a", 0, 0.0)
        with pytest.raises(TimeoutError, match="the input was not exhausted"):
            await anext(outcomes)
    assert feed.log == ["closed"]
    feed.close()


@virtual
async def test_a_source_of_which_nothing_is_wanted_is_not_begun() -> None:
    """With `timeout=0` the time is over before it could give anything."""
    feed = Feed(after(0, "a"))
    async with as_completed_scoped(feed, timeout=0) as outcomes:
        with pytest.raises(TimeoutError, match="the input was not exhausted within 0 s"):
            await anext(outcomes)
    assert (feed.log, now()) == ([], 0)
    feed.close()


class Rows:
    """An async iterator that is no generator, as database cursors are; it may break."""

    def __init__(self, *rows: Any) -> None:
        self._rows = iter(rows)

    def __aiter__(self) -> Rows:
        return self

    async def __anext__(self) -> Any:
        for row in self._rows:
            if isinstance(row, Exception):
                raise row
            return after(1, row)
        raise StopAsyncIteration


@pytest.mark.parametrize("limit", [None, 1])
@virtual
async def test_an_async_iterator_that_is_no_generator(limit: int | None) -> None:
    """It is taken to its end, or to its error, and needs no `aclose`."""
    async with as_completed_scoped(Rows("a", "b"), limit=limit) as outcomes:
        assert [await outcome async for outcome in outcomes] == ["a", "b"]
    async with as_completed_scoped(Rows(OSError("it is lost")), limit=limit) as outcomes:
        with pytest.raises(OSError, match="it is lost"):
            await anext(outcomes)


@pytest.mark.parametrize("limit", [None, 1])
@virtual
async def test_an_empty_input_is_never_late(limit: int | None) -> None:
    """Whenever it is iterated over: nothing is missing."""
    nothing: list[Any] = []
    async with as_completed_scoped(nothing, limit=limit, timeout=1) as outcomes:
        await asyncio.sleep(2)
        assert [outcome async for outcome in outcomes] == []


class Once:
    """An iterator that counts how often it was asked after its end."""

    def __init__(self, *items: Any) -> None:
        self.items = [*items]
        self.asked = 0

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> Any:
        if self.items:
            return self.items.pop()
        self.asked += 1
        raise StopIteration


@virtual
async def test_an_input_that_has_ended_is_not_asked_again() -> None:
    """It may wait for a network each time."""
    items = Once(after(1, "a"), after(1, "b"))
    async with as_completed_scoped(items, limit=3) as outcomes:
        assert [await outcome async for outcome in outcomes] == ["b", "a"]
    assert items.asked == 1
