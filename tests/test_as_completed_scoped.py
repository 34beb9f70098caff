"""What `as_completed_scoped` promises while its block is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from virtual_tests import forever, stops_slowly, virtual
from virtual_time import after, now

from structgather import Cancelled, Failed, Ok, Outcome, TimedOut, as_completed_scoped

BROKEN = ValueError("broken")


async def taken(outcomes: Any) -> list[Outcome[Any]]:
    """All that is still to come."""
    return [outcome async for outcome in outcomes]


# Iterating.


@virtual
async def test_outcomes_come_as_children_end() -> None:
    """Each child is an item at the moment when it ends, whatever its place in the input."""
    async with as_completed_scoped([after(3, "c"), after(1, "a"), after(2, "b")]) as outcomes:
        times = [(now(), await outcome) async for outcome in outcomes]
    assert times == [(1, "a"), (2, "b"), (3, "c")]


@virtual
async def test_a_failing_child_is_an_item() -> None:
    """A failure, or a child that cancels itself, does not end the iteration."""

    async def gives_up() -> None:
        raise asyncio.CancelledError("enough")

    async with as_completed_scoped([after(1, BROKEN), gives_up(), after(2, "b")]) as outcomes:
        given_up, broken, value = await taken(outcomes)
    assert isinstance(given_up, Cancelled)
    assert (str(given_up.error), given_up.index) == ("enough", 1)
    assert (broken, value) == (Failed(BROKEN, 0, 1.0), Ok("b", 2, 2.0))


@virtual
async def test_children_run_while_the_body_does() -> None:
    """What has ended while the body was busy waits for it, in the order of the ends."""
    async with as_completed_scoped([after(2, "b"), after(1, "a"), after(4, "c")]) as outcomes:
        await asyncio.sleep(3)
        assert [await outcome async for outcome in outcomes] == ["a", "b", "c"]
    assert now() == 4


@virtual
async def test_iterating_twice_goes_on() -> None:
    """A second loop goes on where the first one broke off; at the end there is nothing more."""
    async with as_completed_scoped([after(1, "a"), after(2, "b"), after(3, "c")]) as outcomes:
        async for outcome in outcomes:
            assert await outcome == "a"
            break
        assert await anext(outcomes) == Ok("b", 1, 2.0)
        assert await taken(outcomes) == [Ok("c", 2, 3.0)]
        assert await taken(outcomes) == []


@virtual
async def test_every_kind_of_child() -> None:
    """Coroutines, Tasks, Futures, objects with `__await__`: all that `await` takes."""

    class Answer:
        def __await__(self) -> Iterator[Any]:
            yield from asyncio.sleep(3).__await__()
            return "d"

    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(2, future.set_result, "c")
    done = asyncio.create_task(after(0, "a"))
    await asyncio.sleep(0.5)
    children: list[Any] = [after(1, "b"), done, future, Answer()]
    async with as_completed_scoped(children) as outcomes:
        assert [await outcome async for outcome in outcomes] == ["a", "b", "c", "d"]


@virtual
async def test_no_input_no_outcome() -> None:
    """Over nothing the loop is over at once."""
    async with as_completed_scoped([]) as outcomes:
        assert len(outcomes) == 0
        assert outcomes  # as a stream, it is there
        assert await taken(outcomes) == []


# Lazy pulling.


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
    seen = []
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
    got = []
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


@virtual
async def test_child_timeout_counts_from_the_start() -> None:
    """Each child has its own time, from its own start; a late one is cancelled and joined."""
    log: list[str] = []
    children = [after(2, "a"), stops_slowly(log), after(2, "b")]
    async with as_completed_scoped(children, limit=1, child_timeout=3) as outcomes:
        got = [(type(outcome), outcome.elapsed) async for outcome in outcomes]
    assert got == [(Ok, 2), (TimedOut, 4), (Ok, 2)]
    assert log == ["cleaned up"]


# add


@virtual
async def test_the_body_adds_children() -> None:
    """`add` starts a child at once; it comes as an outcome like the others."""
    async with as_completed_scoped([after(1, 3)]) as outcomes:
        got = []
        async for outcome in outcomes:
            got.append((now(), await outcome))
            if await outcome:
                outcomes.add(after(1, await outcome - 1))
    assert got == [(1, 3), (2, 2), (3, 1), (4, 0)]


@virtual
async def test_children_add_children() -> None:
    """A crawler: children add what they find, and the loop ends when nothing is left."""
    links = {"/": ["/a", "/b"], "/a": ["/c"], "/b": [], "/c": []}

    async def fetch(page: str) -> str:
        await asyncio.sleep(1)
        for link in links[page]:
            outcomes.add(fetch(link))
        return page

    async with as_completed_scoped([fetch("/")], limit=2) as outcomes:
        assert [await outcome async for outcome in outcomes] == ["/", "/a", "/b", "/c"]
    assert now() == 3


@virtual
async def test_the_index_of_what_is_added() -> None:
    """What is added to a list is numbered from its length on, so that the list's places hold."""
    urls = ["a", "b", "c"]
    async with as_completed_scoped([after(1, url) for url in urls], limit=1) as outcomes:
        assert outcomes.add(after(1, "d")) == 3
        for outcome in await taken(outcomes):
            assert await outcome == [*urls, "d"][outcome.index]


@virtual
async def test_what_is_added_goes_first() -> None:
    """With `limit`, what was added has its turn before what is left of the input."""
    inputs = (after(1, name) for name in "abc")
    async with as_completed_scoped(inputs, limit=1) as outcomes:
        assert outcomes.add(after(1, "x")) == 1
        assert [await outcome async for outcome in outcomes] == ["a", "x", "b", "c"]


@virtual
async def test_adding_a_task_adopts_it() -> None:
    """A Task that is added is cancelled and joined with the others."""
    log: list[str] = []
    async with as_completed_scoped([]) as outcomes:
        outcomes.add(asyncio.create_task(stops_slowly(log)))
        await asyncio.sleep(1)
    assert log == ["cleaned up"]


# len


@virtual
async def test_len_counts_down() -> None:
    """`len()` is the number of outcomes that are yet to come, of unstarted children as well."""
    async with as_completed_scoped([after(1, "a"), after(1, "b"), after(2, "c")], limit=2) as it:
        counts = [len(it)]
        async for _ in it:
            counts.append(len(it))  # noqa: PERF401
        assert counts == [3, 2, 1, 0]
        it.add(after(1, "d"))
        assert len(it) == 1
        assert await taken(it) == [Ok("d", 3, 1.0)]
    assert len(it) == 0


@virtual
async def test_len_of_what_nobody_can_know() -> None:
    """Where a generator has not come to its end, `len()` is a TypeError, and then a number."""
    async with as_completed_scoped((after(1, name) for name in "ab"), limit=1) as outcomes:
        with pytest.raises(TypeError, match="the number of outcomes to come is not known"):
            len(outcomes)
        assert len(await taken(outcomes)) == 2
        assert len(outcomes) == 0
    async with as_completed_scoped(Pulled(2).asynchronously()) as outcomes:
        with pytest.raises(TypeError, match="the number of outcomes to come is not known"):
            len(outcomes)
        await asyncio.sleep(0.5)
        assert len(outcomes) == 2


# cancel


@virtual
async def test_cancel_stops_all_and_the_loop_goes_on() -> None:
    """After `cancel()` each child is an item nevertheless, also the one that never started."""
    log: list[str] = []
    children = [after(1, "a"), stops_slowly(log), forever(log)]
    async with as_completed_scoped(children, limit=2) as outcomes:
        assert await anext(outcomes) == Ok("a", 0, 1.0)
        outcomes.cancel()
        outcomes.cancel()
        assert len(outcomes) == 2
        got = {outcome.index: outcome async for outcome in outcomes}
        assert len(outcomes) == 0
    assert [type(got[1]), type(got[2]), log] == [Cancelled, Cancelled, ["cleaned up"]]
    assert (got[1].elapsed, outcomes.undelivered) == (2, [])


@virtual
async def test_a_child_can_cancel_all() -> None:
    """Also a child may call `cancel()`: it is cancelled itself, as its siblings are."""

    async def finds_it() -> str:
        outcomes.cancel()
        return "found"

    async with as_completed_scoped([finds_it(), forever()]) as outcomes:
        found, other = await taken(outcomes)
    assert (found, type(other)) == (Ok("found", 0, 0.0), Cancelled)


# timeout


@virtual
async def test_at_the_timeout_the_iteration_raises() -> None:
    """Outcomes that came in time are items; then TimeoutError, when all children were joined."""
    log: list[str] = []
    children = [after(1, "a"), after(2, "b"), stops_slowly(log, 5)]
    async with as_completed_scoped(children, timeout=2) as outcomes:
        assert [await anext(outcomes), await anext(outcomes)] == [Ok("a", 0, 1.0), Ok("b", 1, 2.0)]
        with pytest.raises(TimeoutError, match=r"1 running child was not done within 2 s$"):
            await anext(outcomes)
        assert (log, now()) == (["cleaned up"], 7)
    assert [type(outcome) for outcome in outcomes.undelivered] == [TimedOut]


@virtual
async def test_a_slow_consumer_loses_nothing_at_the_timeout() -> None:
    """What had come in time is handed out after the timeout, before the TimeoutError."""
    async with as_completed_scoped([after(1, "a"), forever()], timeout=2) as outcomes:
        await asyncio.sleep(9)
        assert await anext(outcomes) == Ok("a", 0, 1.0)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await anext(outcomes)


@virtual
async def test_a_timeout_that_nobody_needs() -> None:
    """Where all have ended in time, a consumer that is late gets all of them and no error."""
    async with as_completed_scoped([after(1, "a"), after(2, "b")], timeout=2) as outcomes:
        await asyncio.sleep(9)
        assert [await outcome async for outcome in outcomes] == ["a", "b"]
        with pytest.raises(RuntimeError, match="nothing can be added"):
            outcomes.add(forever())


@virtual
async def test_timeout_0_is_over_at_once() -> None:
    """With `timeout=0` nothing starts: done Tasks are items, all else is missing."""
    log: list[str] = []
    done = asyncio.create_task(after(0, "a"))
    await done
    async with as_completed_scoped([forever(log), done], timeout=0) as outcomes:
        assert await anext(outcomes) == Ok("a", 1, 0.0)
        with pytest.raises(TimeoutError):
            await anext(outcomes)
    assert [(type(outcome), outcome.index) for outcome in outcomes.undelivered] == [(Cancelled, 0)]
    assert (log, now()) == ([], 0)
    async with as_completed_scoped([done], timeout=0) as outcomes:
        assert await taken(outcomes) == [Ok("a", 0, 0.0)]
