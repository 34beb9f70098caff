"""The input of `as_completed_scoped`: iterables and async iterables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from structgather import Cancelled, Ok, Outcome, as_completed_scoped
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now

BROKEN = ValueError("broken")


async def taken(outcomes: Any) -> list[Outcome[Any]]:
    """Return all outcomes that are still to be yielded."""
    return [outcome async for outcome in outcomes]


# Lazily pulled inputs


class Pulled:
    """Create children on demand and count them; each returns its number after a second."""

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
async def test_the_input_is_pulled_as_outcomes_are_taken(source: str, limit: int) -> None:
    """With `limit`, at most `limit` more inputs are pulled than outcomes were taken."""
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
    """A lazily pulled input may be infinite."""
    got: list[str] = []
    async with as_completed_scoped((after(1, "a") for _ in iter(int, 1)), limit=2) as outcomes:
        async for outcome in outcomes:
            got.append(await outcome)
            if len(got) == 5:
                break
    assert (got, now()) == (["a"] * 5, 3)


@virtual
async def test_without_a_limit_a_generator_is_exhausted_on_entry() -> None:
    """All children start together."""
    pulled = Pulled(5)
    async with as_completed_scoped(pulled.one_by_one()) as outcomes:
        assert (pulled.asked, len(outcomes)) == (5, 5)
        assert len(await taken(outcomes)) == 5
    assert now() == 1


# Iterables that raise


@virtual
async def test_a_generator_that_raises_half_way() -> None:
    """Its exception is raised after the earlier outcomes, and after running children are joined."""
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
    """Without `limit` it is exhausted on entry: entering raises, and nothing has started."""

    def inputs() -> Iterator[Any]:
        yield forever(log)
        raise BROKEN

    log: list[str] = []
    with pytest.raises(ValueError, match=r"^broken$"):
        async with as_completed_scoped(inputs()):
            pytest.fail("it was entered")
    assert log == []


@virtual
async def test_a_generator_is_closed_on_exit() -> None:
    """A generator that was not exhausted is closed when the block exits."""
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
async def test_the_callers_cancellation_takes_precedence_over_a_generators_cleanup() -> None:
    """The exception of the cleanup is raised if there is no other, else in its cause."""

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
    await asyncio.sleep(1.5)  # during the join
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    cause: Any = caught.value.__cause__
    assert cause.message == "as_completed_scoped(): the input failed"
    assert cause.exceptions == (BROKEN,)


# Async iterables


class Feed:
    """An async iterable of one child a second, which records that it was closed."""

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
async def test_outcomes_are_yielded_while_the_source_is_suspended(limit: int | None) -> None:
    """The iteration stops after the source's own cleanup."""
    feed = Feed(after(0, "a"), after(0, "b"))
    async with as_completed_scoped(feed, limit=limit) as outcomes:
        times = [(now(), await outcome) async for outcome in outcomes]
    assert (times, now(), feed.log) == ([(1, "a"), (2, "b")], 7, ["closed"])


@virtual
async def test_a_source_is_closed_when_the_block_is_left() -> None:
    """After a `break` the source is cancelled, and its cleanup is joined."""
    feed = Feed(after(0, "a"), after(0, "b"))
    async with as_completed_scoped(feed) as outcomes:
        assert await anext(outcomes) == Ok("a", 0, 0.0)
        assert feed.log == []
    assert (feed.log, now()) == (["closed"], 6)
    feed.close()


@virtual
async def test_a_source_suspended_at_a_yield_is_closed() -> None:
    """So is a source that waits for the consumer to take outcomes."""
    feed = Feed(after(0, "a"), after(0, "b"))
    async with as_completed_scoped(feed, limit=1):
        await asyncio.sleep(2)
    assert feed.log == ["closed"]
    feed.close()


@virtual
async def test_a_source_that_raises() -> None:
    """Its exception is raised after the earlier outcomes, and after running children are joined."""
    log: list[str] = []
    feed = Feed(after(0, "a"), stops_slowly(log), error=BROKEN)
    async with as_completed_scoped(feed) as outcomes:
        assert await anext(outcomes) == Ok("a", 0, 0.0)
        with pytest.raises(ValueError, match=r"^broken$"):
            await anext(outcomes)
        assert (log, feed.log) == (["cleaned up"], ["closed"])


async def reports_the_input(leave: Callable[[Exception | None], Awaitable[None]]) -> None:
    """The block raises what its input has raised, or has it in a note of what the body raises."""
    with pytest.raises(ValueError, match=r"^broken$"):
        await leave(None)
    with pytest.raises(KeyError) as caught:
        await leave(KeyError("body"))
    assert "the input: Traceback" in caught.value.__notes__[0]


@virtual
async def test_a_source_whose_cleanup_raises_on_exit() -> None:
    """Its exception is raised if there is no other, and is in a note if there is."""

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

    await reports_the_input(leave)


@virtual
async def test_a_source_that_ignores_its_cancellation() -> None:
    """Children that it yields while the block exits are closed, and never start."""

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
async def test_a_timeout_cancels_the_source() -> None:
    """At `timeout` a source that is suspended is cancelled, and TimeoutError is raised."""
    feed = Feed(after(0, "a"), after(0, "b"))
    async with as_completed_scoped(feed, timeout=1.5) as outcomes:
        assert await anext(outcomes) == Ok("a", 0, 0.0)
        with pytest.raises(TimeoutError, match="the input was not exhausted"):
            await anext(outcomes)
    assert feed.log == ["closed"]
    feed.close()


@virtual
async def test_timeout_0_does_not_start_the_source() -> None:
    """With `timeout=0` an async iterable is not iterated at all."""
    feed = Feed(after(0, "a"))
    async with as_completed_scoped(feed, timeout=0) as outcomes:
        with pytest.raises(TimeoutError, match="the input was not exhausted after 0 s"):
            await anext(outcomes)
    assert (feed.log, now()) == ([], 0)
    feed.close()


async def consumed_before(log: list[str], error: Exception | None = None) -> Any:
    async def inputs() -> AsyncIterator[Any]:
        try:
            yield after(0, "a")
            yield after(0, "b")
        finally:
            await asyncio.sleep(1)
            log.append("closed")
            if error is not None:
                raise error

    source = inputs()
    await (await anext(source))
    return source


@pytest.mark.parametrize("timeout", [None, 0])
@virtual
async def test_a_source_that_was_consumed_before_is_closed(timeout: float | None) -> None:
    """An async generator is closed although the block has not pulled it."""
    log: list[str] = []
    async with as_completed_scoped(await consumed_before(log), timeout=timeout):
        assert log == []
    assert log == ["closed"]


@virtual
async def test_a_source_that_was_consumed_before_and_whose_cleanup_raises() -> None:
    """Its exception is raised if there is no other, and is in a note if there is."""

    async def leave(error: Exception | None) -> None:
        async with as_completed_scoped(await consumed_before([], BROKEN)):
            if error is not None:
                raise error

    await reports_the_input(leave)


class Rows:
    """An async iterator, not a generator, as database cursors are; it may raise."""

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
async def test_an_async_iterator_without_aclose(limit: int | None) -> None:
    """It is iterated to its end, or to its exception; `aclose` is not required."""
    async with as_completed_scoped(Rows("a", "b"), limit=limit) as outcomes:
        assert [await outcome async for outcome in outcomes] == ["a", "b"]
    async with as_completed_scoped(Rows(OSError("it is lost")), limit=limit) as outcomes:
        with pytest.raises(OSError, match="it is lost"):
            await anext(outcomes)


@pytest.mark.parametrize("limit", [None, 1])
@virtual
async def test_an_empty_async_input_never_times_out(limit: int | None) -> None:
    """No child is missing, whenever it is iterated."""
    nothing: list[Any] = []
    async with as_completed_scoped(nothing, limit=limit, timeout=1) as outcomes:
        await asyncio.sleep(2)
        assert [outcome async for outcome in outcomes] == []


class Once:
    """An iterator that counts how often it was called after StopIteration."""

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
async def test_an_exhausted_iterator_is_not_called_again() -> None:
    """Each call may wait for a network."""
    items = Once(after(1, "a"), after(1, "b"))
    async with as_completed_scoped(items, limit=3) as outcomes:
        assert [await outcome async for outcome in outcomes] == ["b", "a"]
    assert items.asked == 1
