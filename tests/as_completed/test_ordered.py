"""`as_completed_scoped(..., ordered=True)`: an async map, in input order, with a limit."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import pytest

from simloop.every_schedule import either_start
from structgather import Cancelled, Failed, Ok, TimedOut, as_completed_scoped
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now, run

#: Makes an input of one kind out of coroutines.
Feed: TypeAlias = Callable[[list[Any]], Any]


def as_list(children: list[Any]) -> Any:
    return children


def as_generator(children: list[Any]) -> Iterator[Any]:
    yield from children


async def as_async_generator(children: list[Any]) -> AsyncIterator[Any]:
    for child in children:
        yield child


each_feed = pytest.mark.parametrize(
    "feed", [as_list, as_generator, as_async_generator], ids=lambda feed: feed.__name__
)
each_limit = pytest.mark.parametrize("limit", [None, 1, 2, 3, 9])

DURATIONS = [
    [1, 2, 3, 4],
    [4, 3, 2, 1],
    [3, 1, 4, 1, 5, 2, 6],
    [2, 2, 2, 2],
    [0, 0, 0],
    [0, 5, 0, 5, 0],
]


@each_feed
@each_limit
@pytest.mark.parametrize("durations", DURATIONS, ids=str)
@either_start
def test_outcomes_come_in_input_order(
    feed: Feed, limit: int | None, durations: list[int], *, eager: bool
) -> None:
    """However long each child takes, for every kind of input, with and without a limit."""

    async def main() -> None:
        children = [after(seconds, index) for index, seconds in enumerate(durations)]
        found: list[Any] = []
        async with as_completed_scoped(feed(children), limit=limit, ordered=True) as outcomes:
            found += [(each.index, await each, each.elapsed) async for each in outcomes]
        assert found == [(index, index, seconds) for index, seconds in enumerate(durations)]
        assert outcomes.undelivered == []

    run(main(), eager=eager)


@virtual
async def test_an_outcome_is_yielded_once_all_before_it_have_finished() -> None:
    """It is not held back any longer."""
    seen: list[float] = []
    children = [after(seconds, None) for seconds in (2, 1, 4, 3, 5)]
    async with as_completed_scoped(children, ordered=True) as outcomes:
        seen += [now() async for _ in outcomes]
    assert seen == [2, 2, 4, 4, 5]


class Crowd:
    """Counts the inputs pulled, the children running, and those started."""

    def __init__(self) -> None:
        self.pulled = self.started = self.running = self.most = 0

    async def child(self, seconds: float) -> None:
        self.started += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.running -= 1

    def children(self, *durations: float) -> Iterator[Awaitable[None]]:
        for seconds in durations:
            self.pulled += 1
            yield self.child(seconds)

    async def slowly(self, *durations: float) -> AsyncIterator[Awaitable[None]]:
        for child in self.children(*durations):
            await asyncio.sleep(0)
            yield child


@pytest.mark.parametrize("pull", [Crowd.children, Crowd.slowly], ids=["generator", "async"])
@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("durations", DURATIONS, ids=str)
@virtual
async def test_at_most_limit_children_are_ahead_of_the_consumer(
    pull: Any, limit: int, durations: list[int]
) -> None:
    """Outcomes held back for an earlier one count as not yet taken."""
    crowd, taken = Crowd(), 0
    async with as_completed_scoped(pull(crowd, *durations), limit=limit, ordered=True) as outcomes:
        async for _ in outcomes:
            taken += 1
            assert crowd.started <= taken + limit
            assert crowd.pulled <= taken + limit
            await asyncio.sleep(2)  # a slow consumer
            assert crowd.started <= taken + limit
            assert crowd.pulled <= taken + limit
    assert (taken, crowd.pulled) == (len(durations),) * 2
    assert crowd.most <= limit


@virtual
async def test_a_slow_first_child_holds_back_the_others() -> None:
    """The window moves with the consumer, not with the children that have finished."""
    crowd = Crowd()
    async with as_completed_scoped(
        crowd.children(10, *[1] * 20), limit=4, ordered=True
    ) as outcomes:
        await asyncio.sleep(5)
        assert (crowd.started, crowd.running) == (4, 1)
        assert (await anext(outcomes)).index == 0
        assert now() == 10
        assert len([outcome async for outcome in outcomes]) == 20
    assert crowd.most == 4


@virtual
async def test_a_failure_is_yielded_in_input_order() -> None:
    """It does not stop the iteration."""
    error = ValueError("broken")
    children = [after(3, "a"), after(1, error), after(2, "c")]
    async with as_completed_scoped(children, ordered=True) as outcomes:
        found = [outcome async for outcome in outcomes]
    assert found == [Ok("a", 0, 3.0), Failed(error, 1, 1.0), Ok("c", 2, 2.0)]


@each_limit
@virtual
async def test_a_timed_out_child_is_yielded_in_input_order(limit: int | None) -> None:
    """Each child is timed from its own start."""
    children = [after(9, "a"), after(1, "b"), after(9, "c"), after(1, "d")]
    async with as_completed_scoped(
        children, ordered=True, limit=limit, child_timeout=2
    ) as outcomes:
        found = [outcome async for outcome in outcomes]
    assert [type(outcome) for outcome in found] == [TimedOut, Ok, TimedOut, Ok]
    assert [outcome.index for outcome in found] == [0, 1, 2, 3]


# Leaving the block


@each_feed
@pytest.mark.parametrize("limit", [None, 2, 3])
@pytest.mark.parametrize("taken", [0, 1, 2])
@virtual
async def test_leaving_the_block_joins_the_children(
    feed: Feed, limit: int | None, taken: int
) -> None:
    """After none, one or two of the outcomes; those held back are in `.undelivered`."""
    log: list[str] = []
    children = [after(2, "a"), after(1, "b"), after(1, "c"), stops_slowly(log), after(1, "e")]
    async with as_completed_scoped(feed(children), limit=limit, ordered=True) as outcomes:
        for index in range(taken):
            assert (await anext(outcomes)).index == index
        await asyncio.sleep(1.5)
    assert len(asyncio.all_tasks()) == 1
    left = [outcome.index for outcome in outcomes.undelivered]
    assert left == sorted(left)
    assert min(left) == taken
    assert all(isinstance(outcome, (Ok, Cancelled)) for outcome in outcomes.undelivered)
    for child in children:  # the input creates the other coroutines only when it is pulled
        if inspect.getcoroutinestate(child) == inspect.CORO_CREATED:
            assert feed is not as_list
            child.close()


def test_outcomes_behind_an_interrupt_are_in_undelivered() -> None:
    """In input order, although the interrupt has no outcome."""
    left: list[int] = []

    async def main() -> None:
        children = [after(3, KeyboardInterrupt()), after(2, "b"), after(1, "c")]
        outcomes = as_completed_scoped(children, ordered=True)
        try:
            async with outcomes:
                await anext(outcomes)
        finally:
            left.extend(outcome.index for outcome in outcomes.undelivered)

    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert left == [1, 2]


@virtual
async def test_outcomes_held_back_are_in_undelivered() -> None:
    """They are in input order, before the cancelled ones."""
    children = [forever(), after(1, "b"), after(3, "c"), after(2, "d")]
    async with as_completed_scoped(children, ordered=True) as outcomes:
        await asyncio.sleep(2.5)
    assert [(type(each), each.index) for each in outcomes.undelivered] == [
        (Cancelled, 0),
        (Ok, 1),
        (Cancelled, 2),
        (Ok, 3),
    ]


@virtual
async def test_a_break_while_an_outcome_is_held_back_joins() -> None:
    """As without `ordered`."""
    crowd = Crowd()
    async with as_completed_scoped(crowd.children(*[1] * 100), limit=5, ordered=True) as outcomes:
        async for outcome in outcomes:
            if outcome.index == 10:
                break
    assert crowd.running == 0
    assert crowd.pulled <= 16


@virtual
async def test_a_cancelled_consumer_joins_the_children() -> None:
    """Its cancellation arrives while an outcome is held back."""
    log: list[str] = []

    async def use() -> None:
        children = [stops_slowly(log), after(1, "b"), stops_slowly(log)]
        async with as_completed_scoped(children, ordered=True) as outcomes:
            async for _ in outcomes:
                pytest.fail("nothing comes before the first")

    task = asyncio.create_task(use())
    await asyncio.sleep(2)
    task.cancel("the user has left")
    with pytest.raises(asyncio.CancelledError, match="the user has left"):
        await task
    assert (log, now()) == (["cleaned up"] * 2, 3)


# `timeout`, `cancel()`, `len()`, `add()`


@virtual
async def test_the_timeout_is_raised_after_the_outcomes_in_order() -> None:
    """Outcomes in order are yielded first; one that is held back is in `.undelivered`."""
    children = [after(1, "a"), after(2, "b"), forever(), after(3, "d")]
    found: list[Any] = []
    with pytest.raises(TimeoutError, match=r"1 child had not finished after 5 s"):
        await collect(found, children, timeout=5)
    assert found == ["a", "b"]
    assert now() == 5


async def collect(found: list[Any], children: Any, **options: Any) -> None:
    async with as_completed_scoped(children, ordered=True, **options) as outcomes:
        async for outcome in outcomes:
            found.append(await outcome)  # noqa: PERF401 - what comes before an error is looked at


@virtual
async def test_timeout_0() -> None:
    """Only children that were done before are yielded, at their indices."""
    done = [asyncio.create_task(after(0, name)) for name in "ab"]
    await asyncio.wait(done)
    found: list[Any] = []
    with pytest.raises(TimeoutError):
        await collect(found, [done[0], after(1, "late"), done[1]], timeout=0)
    assert found == ["a"]


@virtual
async def test_a_timeout_that_is_not_reached() -> None:
    """The iteration stops without an error if all children finish in time."""
    found: list[Any] = []
    await collect(found, [after(2, "a"), after(1, "b")], timeout=5)
    assert found == ["a", "b"]


@each_limit
@virtual
async def test_cancel_continues_in_input_order(limit: int | None) -> None:
    """Every child is an item, also one that never started."""
    children = [after(1, "a"), forever(), after(0, "c"), forever(), forever()]
    found: list[Any] = []
    async with as_completed_scoped(children, ordered=True, limit=limit) as outcomes:
        found.append(await anext(outcomes))
        outcomes.cancel()
        found += [outcome async for outcome in outcomes]
    assert [outcome.index for outcome in found] == [0, 1, 2, 3, 4]
    assert found[0] == Ok("a", 0, 1.0)
    assert all(isinstance(found[index], Cancelled) for index in (1, 3, 4))


@each_limit
@virtual
async def test_len_includes_outcomes_that_are_held_back(limit: int | None) -> None:
    """They have not been taken yet."""
    children = [after(3, "a"), after(1, "b"), after(2, "c")]
    async with as_completed_scoped(children, ordered=True, limit=limit) as outcomes:
        lengths = [len(outcomes)]
        lengths += [len(outcomes) async for _ in outcomes]
    assert lengths == [3, 2, 1, 0]


@virtual
async def test_len_includes_added_children_that_wait_for_the_input() -> None:
    """With a limit they start last."""
    children = [after(1, "a"), after(1, "b")]
    async with as_completed_scoped(children, ordered=True, limit=1) as outcomes:
        outcomes.add(after(1, "c"))
        outcomes.add(after(1, "d"))
        lengths = [len(outcomes)]
        lengths += [len(outcomes) async for _ in outcomes]
    assert lengths == [4, 3, 2, 1, 0]


@each_limit
@virtual
async def test_children_added_to_a_collection_are_yielded_last(limit: int | None) -> None:
    """They are numbered from its length on, and yielded in that order."""
    found: list[Any] = []
    children = [after(2, "a"), after(1, "b")]
    async with as_completed_scoped(children, ordered=True, limit=limit) as outcomes:
        assert [outcomes.add(after(2, "c")), outcomes.add(after(0, "d"))] == [2, 3]
        async for outcome in outcomes:
            found.append((outcome.index, await outcome))
            if outcome.index == 3:
                assert outcomes.add(after(1, "e")) == 4
    assert found == [*enumerate("abcde")]


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
@pytest.mark.parametrize("at", [0, 1, 2, 5])
@virtual
async def test_children_added_to_a_collection_start_last(limit: int, at: int) -> None:
    """They start after the rest of the collection."""
    found: list[int] = []
    children = [after(1, None) for _ in range(6)]
    async with as_completed_scoped(children, ordered=True, limit=limit) as outcomes:
        found += [(await anext(outcomes)).index for _ in range(at)]
        assert [outcomes.add(after(1, None)) for _ in range(5)] == [6, 7, 8, 9, 10]
        found += [outcome.index async for outcome in outcomes]
    assert found == [*range(11)]


@pytest.mark.parametrize("limit", [2, 3])
@virtual
async def test_children_added_to_a_generator_are_yielded_by_index(
    limit: int,
) -> None:
    """An added child takes the next index, before the rest of the generator."""
    found: list[Any] = []
    children = as_generator([after(1, f"given {number}") for number in range(4)])
    async with as_completed_scoped(children, ordered=True, limit=limit) as outcomes:
        index = outcomes.add(after(1, "added"))
        found += [(outcome.index, await outcome) async for outcome in outcomes]
    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    assert found[index][1] == "added"
    assert [value for _, value in found if value != "added"] == [f"given {n}" for n in range(4)]


@virtual
async def test_children_that_add_children() -> None:
    """A crawler: pages are yielded in the order in which they were found."""
    pages = {"/": ["/a", "/b"], "/a": ["/a/1"], "/b": ["/b/1", "/b/2"]}
    found: list[str] = []
    empty: list[Awaitable[str]] = []
    async with as_completed_scoped(empty, limit=2, ordered=True) as outcomes:

        async def page(url: str) -> str:
            await asyncio.sleep(len(url))
            return url

        outcomes.add(page("/"))
        async for outcome in outcomes:
            found.append(url := await outcome)
            for link in pages.get(url, []):
                outcomes.add(page(link))
    assert found == ["/", "/a", "/b", "/a/1", "/b/1", "/b/2"]


# Async sources


class SourceError(Exception):
    pass


@pytest.mark.parametrize("limit", [None, 2])
@virtual
async def test_the_exception_of_a_source_is_raised_after_its_outcomes(limit: int | None) -> None:
    """Those in input order that settled before it was raised."""

    async def inputs() -> AsyncIterator[Awaitable[Any]]:
        yield after(0.5, "a")
        yield after(9, "b")
        await asyncio.sleep(1)
        raise SourceError

    found: list[Any] = []
    with pytest.raises(SourceError):
        await collect(found, inputs(), limit=limit)
    assert found == ["a"]


@virtual
async def test_adopted_tasks_keep_their_indices() -> None:
    """Tasks that are already done, too."""
    done = asyncio.create_task(after(0, "b"))
    await done
    found: list[Any] = []
    await collect(found, [after(2, "a"), done, asyncio.create_task(after(1, "c"))])
    assert found == ["a", "b", "c"]


# Bad arguments


@pytest.mark.parametrize("bad", [1, 0, "yes", None, []], ids=repr)
@virtual
async def test_ordered_is_a_bool(bad: Any) -> None:
    """Anything else is a TypeError, raised before anything starts."""
    child = after(1, "a")
    with pytest.raises(TypeError, match=r"as_completed_scoped\(\): ordered must be True or False"):
        await as_completed_scoped([child], ordered=bad).__aenter__()
    assert inspect.getcoroutinestate(child) == inspect.CORO_CLOSED
    assert now() == 0
