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

#: Makes an input of any kind of coroutines.
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
    """However long each child takes, whatever kind of input, with a limit and without."""

    async def main() -> None:
        children = [after(seconds, index) for index, seconds in enumerate(durations)]
        found: list[Any] = []
        async with as_completed_scoped(feed(children), limit=limit, ordered=True) as outcomes:
            found += [(each.index, await each, each.elapsed) async for each in outcomes]
        assert found == [(index, index, seconds) for index, seconds in enumerate(durations)]
        assert outcomes.undelivered == []

    run(main(), eager=eager)


@virtual
async def test_an_outcome_comes_as_soon_as_it_can() -> None:
    """When it and all before it have finished: none is held back longer."""
    seen: list[float] = []
    children = [after(seconds, None) for seconds in (2, 1, 4, 3, 5)]
    async with as_completed_scoped(children, ordered=True) as outcomes:
        seen += [now() async for _ in outcomes]
    assert seen == [2, 2, 4, 4, 5]


class Crowd:
    """Counts the inputs that were pulled, the children that run, and those that were started."""

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
async def test_never_more_than_limit_are_ahead_of_the_consumer(
    pull: Any, limit: int, durations: list[int]
) -> None:
    """Outcomes that are held back for an earlier one count as not yet taken."""
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
async def test_a_slow_first_child_holds_back_what_is_started() -> None:
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
async def test_a_failure_is_an_item_in_its_place() -> None:
    """It ends no iteration."""
    error = ValueError("broken")
    children = [after(3, "a"), after(1, error), after(2, "c")]
    async with as_completed_scoped(children, ordered=True) as outcomes:
        found = [outcome async for outcome in outcomes]
    assert found == [Ok("a", 0, 3.0), Failed(error, 1, 1.0), Ok("c", 2, 2.0)]


@each_limit
@virtual
async def test_a_late_child_is_an_item_in_its_place(limit: int | None) -> None:
    """Each has its own time, from its own start."""
    children = [after(9, "a"), after(1, "b"), after(9, "c"), after(1, "d")]
    async with as_completed_scoped(
        children, ordered=True, limit=limit, child_timeout=2
    ) as outcomes:
        found = [outcome async for outcome in outcomes]
    assert [type(outcome) for outcome in found] == [TimedOut, Ok, TimedOut, Ok]
    assert [outcome.index for outcome in found] == [0, 1, 2, 3]


# Leaving


@each_feed
@pytest.mark.parametrize("limit", [None, 2, 3])
@pytest.mark.parametrize("taken", [0, 1, 2])
@virtual
async def test_leaving_the_block_joins_the_children(
    feed: Feed, limit: int | None, taken: int
) -> None:
    """After none, one or two of the outcomes; those held back are `undelivered`."""
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
    for child in children:  # what an async generator or a generator had not made is ours to close
        if inspect.getcoroutinestate(child) == inspect.CORO_CREATED:
            assert feed is not as_list
            child.close()


@virtual
async def test_what_is_held_back_is_undelivered() -> None:
    """It is there in input order, before what was cancelled."""
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
async def test_a_break_in_the_midst_leaves_nothing_running() -> None:
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
    """While an outcome is held back."""
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


# The time of the whole iteration, `cancel()`, `len()`, `add()`


@virtual
async def test_a_timeout_comes_behind_the_outcomes_that_are_there() -> None:
    """Those in input order that were there in time; one that is held back is undelivered."""
    children = [after(1, "a"), after(2, "b"), forever(), after(3, "d")]
    found: list[Any] = []
    with pytest.raises(TimeoutError, match=r"1 running child was not done within 5 s"):
        await collect(found, children, timeout=5)
    assert found == ["a", "b"]
    assert now() == 5


async def collect(found: list[Any], children: Any, **options: Any) -> None:
    async with as_completed_scoped(children, ordered=True, **options) as outcomes:
        async for outcome in outcomes:
            found.append(await outcome)  # noqa: PERF401 - what comes before an error is looked at


@virtual
async def test_no_time_at_all() -> None:
    """With `timeout=0` only what was done before counts, in its place."""
    done = [asyncio.create_task(after(0, name)) for name in "ab"]
    await asyncio.wait(done)
    found: list[Any] = []
    with pytest.raises(TimeoutError):
        await collect(found, [done[0], after(1, "late"), done[1]], timeout=0)
    assert found == ["a"]


@virtual
async def test_a_timeout_that_is_not_reached() -> None:
    """The iteration ends without an error when all have finished in time."""
    found: list[Any] = []
    await collect(found, [after(2, "a"), after(1, "b")], timeout=5)
    assert found == ["a", "b"]


@each_limit
@virtual
async def test_cancel_continues_in_input_order(limit: int | None) -> None:
    """Every child has an item, also those that were never started."""
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
async def test_len_counts_what_is_held_back(limit: int | None) -> None:
    """What has finished but was not taken is yet to come."""
    children = [after(3, "a"), after(1, "b"), after(2, "c")]
    async with as_completed_scoped(children, ordered=True, limit=limit) as outcomes:
        lengths = [len(outcomes)]
        lengths += [len(outcomes) async for _ in outcomes]
    assert lengths == [3, 2, 1, 0]


@each_limit
@virtual
async def test_added_children_come_behind_a_collection(limit: int | None) -> None:
    """They are numbered from its length on, and come in that order."""
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
async def test_added_children_take_no_room_from_a_collection(limit: int, at: int) -> None:
    """In input order what was added is behind all that is left of it."""
    found: list[int] = []
    children = [after(1, None) for _ in range(6)]
    async with as_completed_scoped(children, ordered=True, limit=limit) as outcomes:
        found += [(await anext(outcomes)).index for _ in range(at)]
        assert [outcomes.add(after(1, None)) for _ in range(5)] == [6, 7, 8, 9, 10]
        found += [outcome.index async for outcome in outcomes]
    assert found == [*range(11)]


@pytest.mark.parametrize("limit", [2, 3])
@virtual
async def test_children_added_to_a_generator_come_in_the_order_of_their_numbers(
    limit: int,
) -> None:
    """What is added takes the next number, before what is left of the generator."""
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
    """A crawler: each page comes in the order in which it was found."""
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
async def test_a_source_that_raises_comes_behind_its_outcomes(limit: int | None) -> None:
    """Those in input order that were there before it raised."""

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
async def test_adopted_tasks_keep_their_places() -> None:
    """Those that are done already as well."""
    done = asyncio.create_task(after(0, "b"))
    await done
    found: list[Any] = []
    await collect(found, [after(2, "a"), done, asyncio.create_task(after(1, "c"))])
    assert found == ["a", "b", "c"]


# Bad arguments


@pytest.mark.parametrize("bad", [1, 0, "yes", None, []], ids=repr)
@virtual
async def test_ordered_is_a_bool(bad: Any) -> None:
    """Anything else is a TypeError, before anything has started."""
    child = after(1, "a")
    with pytest.raises(TypeError, match=r"as_completed_scoped\(\): ordered must be True or False"):
        await as_completed_scoped([child], ordered=bad).__aenter__()
    assert inspect.getcoroutinestate(child) == inspect.CORO_CLOSED
    assert now() == 0
