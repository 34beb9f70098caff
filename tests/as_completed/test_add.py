"""Children that are added to `as_completed_scoped` while its block is open."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from simloop.every_schedule import either_start
from structgather import TimedOut, as_completed_scoped
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now, run

NONE_YET: list[Awaitable[Any]] = []


@virtual
async def test_the_body_adds_children() -> None:
    """`add` starts a child at once; it comes as an outcome like the others."""
    async with as_completed_scoped([after(1, 3)]) as outcomes:
        got: list[Any] = []
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
        async for outcome in outcomes:
            assert await outcome == [*urls, "d"][outcome.index]


@virtual
async def test_what_is_added_goes_first() -> None:
    """With `limit`, what was added has its turn before what is left of the input."""
    inputs = (after(1, name) for name in "abc")
    async with as_completed_scoped(inputs, limit=1) as outcomes:
        assert outcomes.add(after(1, "x")) == 1
        assert [await outcome async for outcome in outcomes] == ["a", "x", "b", "c"]


@virtual
async def test_what_was_added_and_never_started_is_closed() -> None:
    """Where its turn never came, a coroutine that was added is closed, and is Cancelled."""
    late = after(1, "late")
    async with as_completed_scoped([after(9, "a")], limit=1) as outcomes:
        outcomes.add(late)
        await asyncio.sleep(1)
    assert inspect.getcoroutinestate(late) == inspect.CORO_CLOSED
    assert [outcome.elapsed for outcome in outcomes.undelivered] == [0, 1]


@virtual
async def test_adding_a_task_adopts_it() -> None:
    """A Task that is added is cancelled and joined with the others."""
    log: list[str] = []
    async with as_completed_scoped(NONE_YET) as outcomes:
        outcomes.add(asyncio.create_task(stops_slowly(log)))
        await asyncio.sleep(1)
    assert log == ["cleaned up"]


@pytest.mark.parametrize("limit", [1, 2, None])
@either_start
def test_the_limit_holds_for_what_is_added(limit: int | None, *, eager: bool) -> None:
    """No more than `limit` children run at a time, also if one adds another in its first step."""
    running = most = 0

    async def child(depth: int, outcomes: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if depth:
            outcomes.add(child(depth - 1, outcomes))
            outcomes.add(child(0, outcomes))
        await asyncio.sleep(1)
        running -= 1

    async def main() -> int:
        async with as_completed_scoped(NONE_YET, limit=limit) as outcomes:
            outcomes.add(child(3, outcomes))
            return len([outcome.result() async for outcome in outcomes])

    assert run(main(), eager=eager) == 7
    assert most == limit if limit is not None else most > 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
def test_an_eager_child_adds_while_the_block_is_being_entered() -> None:
    """A child that makes its first step on entry may add already."""

    async def child() -> str:
        stream.add(after(1, "added"))
        return "first"

    async def main() -> list[Any]:
        async with stream as outcomes:
            return [await outcome async for outcome in outcomes]

    stream = as_completed_scoped([child()])
    assert run(main(), eager=True) == ["first", "added"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
def test_an_eager_child_of_an_async_source_adds_on_entry() -> None:
    """The same where source and child both make their first step while the block is entered."""

    async def child() -> str:
        stream.add(after(1, "added"))
        return "first"

    async def inputs() -> AsyncIterator[Awaitable[str]]:
        yield child()

    async def main() -> list[Any]:
        async with stream as outcomes:
            return [await outcome async for outcome in outcomes]

    stream = as_completed_scoped(inputs())
    assert run(main(), eager=True) == ["first", "added"]


@virtual
async def test_what_is_added_while_the_last_one_is_late_has_its_own_time() -> None:
    """Its time begins although no other child has any left."""
    async with as_completed_scoped([stops_slowly([], 60)], child_timeout=5) as outcomes:
        await asyncio.sleep(6)  # it was cancelled at 5, and cleans up until 65
        outcomes.add(forever())
        ended = {outcome.index: now() async for outcome in outcomes}
    assert ended == {0: 65, 1: 11}


@virtual
async def test_no_timer_is_left() -> None:
    """Of several children with times of their own, some over and some not."""
    async with as_completed_scoped([forever()], child_timeout=5) as outcomes:
        for _ in range(3):
            await asyncio.sleep(1)
            outcomes.add(forever())
        await asyncio.sleep(2.5)  # the first was late at 5
    gc.collect()
    handles = [thing for thing in gc.get_objects() if type(thing) is asyncio.TimerHandle]
    assert [handle for handle in handles if "call_after_tick" in repr(handle)] == []


@virtual
async def test_what_has_no_time_at_all_never_starts() -> None:
    """With a `child_timeout` of 0, whenever it is added: it has taken no time."""
    async with as_completed_scoped([after(1, "a")], child_timeout=0) as outcomes:
        ended = [(await anext(outcomes)).elapsed]
        await asyncio.sleep(3)
        outcomes.add(after(1, "b"))
        outcome = await anext(outcomes)
        assert isinstance(outcome, TimedOut)
        assert [*ended, outcome.elapsed] == [0, 0]


@virtual
async def test_the_body_may_be_timed_out_and_go_on() -> None:
    """What it waited for goes on as well, and comes later."""
    async with as_completed_scoped([after(2, "a")]) as outcomes:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await anext(outcomes)
        assert (await (await anext(outcomes)), now()) == ("a", 2)


@virtual
@pytest.mark.parametrize("end", ["a", ValueError(), asyncio.CancelledError()], ids=repr)
async def test_how_long_a_child_has_taken(end: Any) -> None:
    """From its own start to its end, however it ended."""
    async with as_completed_scoped(NONE_YET) as outcomes:
        await asyncio.sleep(3)
        outcomes.add(after(2, end))
        assert (await anext(outcomes)).elapsed == 2


@virtual
async def test_a_task_that_is_added_counts_from_there() -> None:
    """Not from when the block was entered, nor from when the Task was made."""
    async with as_completed_scoped(NONE_YET) as outcomes:
        task = asyncio.create_task(after(4, "a"))
        await asyncio.sleep(3)
        outcomes.add(task)
        assert (await anext(outcomes)).elapsed == 1


@virtual
async def test_what_is_added_is_counted_on_from_the_input() -> None:
    """`index` is the place among all that the block was given, without a gap."""
    async with as_completed_scoped([after(1, "a")]) as outcomes:
        for value in "bc":
            outcomes.add(after(2, value))
        assert [outcome.index async for outcome in outcomes] == [0, 1, 2]
