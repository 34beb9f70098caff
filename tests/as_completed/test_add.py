"""Children that are added to `as_completed_scoped` while its block is open."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import pytest

from simloop.every_schedule import either_start
from structgather import TimedOut, as_completed_scoped
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now, run

NONE_YET: list[Awaitable[Any]] = []


@virtual
async def test_the_body_adds_children() -> None:
    """`add` starts a child at once; its outcome is yielded like any other."""
    async with as_completed_scoped([after(1, 3)]) as outcomes:
        got: list[Any] = []
        async for outcome in outcomes:
            got.append((now(), await outcome))
            if await outcome:
                outcomes.add(after(1, await outcome - 1))
    assert got == [(1, 3), (2, 2), (3, 1), (4, 0)]


@virtual
async def test_children_add_children() -> None:
    """A crawler: children add the links they find; iteration stops when none is left."""
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
async def test_the_index_of_an_added_child() -> None:
    """Children added to a list are numbered from its length on; items keep their indices."""
    urls = ["a", "b", "c"]
    async with as_completed_scoped([after(1, url) for url in urls], limit=1) as outcomes:
        assert outcomes.add(after(1, "d")) == 3
        async for outcome in outcomes:
            assert await outcome == [*urls, "d"][outcome.index]


@virtual
async def test_added_children_start_before_the_rest_of_the_input() -> None:
    """With `limit`, an added child is queued ahead of inputs that have not been pulled."""
    inputs = (after(1, name) for name in "abc")
    async with as_completed_scoped(inputs, limit=1) as outcomes:
        assert outcomes.add(after(1, "x")) == 1
        assert [await outcome async for outcome in outcomes] == ["a", "x", "b", "c"]


@virtual
async def test_a_queued_added_coroutine_is_closed_on_exit() -> None:
    """If there was never room for it, it is closed, and its outcome is Cancelled."""
    late = after(1, "late")
    async with as_completed_scoped([after(9, "a")], limit=1) as outcomes:
        outcomes.add(late)
        await asyncio.sleep(1)
    assert inspect.getcoroutinestate(late) == inspect.CORO_CLOSED
    assert [outcome.elapsed for outcome in outcomes.undelivered] == [0, 1]


@pytest.mark.parametrize("ordered", [False, True])
@virtual
async def test_a_generator_that_is_exhausted_on_entry_adds_nothing(*, ordered: bool) -> None:
    """How many children it has is not known yet; with a limit it is pulled while it is open."""

    def inputs() -> Iterator[Any]:
        yield after(1, "a")
        outcomes.add(after(1, "b"))

    outcomes = as_completed_scoped(inputs(), ordered=ordered)
    with pytest.raises(RuntimeError, match="add a child: the input is still being taken"):
        async with outcomes:
            pass
    outcomes = as_completed_scoped(inputs(), ordered=ordered, limit=2)
    async with outcomes:
        assert [await outcome async for outcome in outcomes] == ["a", "b"]


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
def test_the_limit_includes_added_children(limit: int | None, *, eager: bool) -> None:
    """At most `limit` children run at a time, even if a child adds one in its first step."""
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
def test_an_eager_child_may_add_while_the_block_is_entered() -> None:
    """An eager child runs its first step inside `__aenter__`, and may already call `add`."""

    async def child() -> str:
        stream.add(after(1, "added"))
        return "first"

    async def main() -> list[Any]:
        async with stream as outcomes:
            return [await outcome async for outcome in outcomes]

    stream = as_completed_scoped([child()])
    assert run(main(), eager=True) == ["first", "added"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
def test_an_eager_child_of_an_async_source_may_add_on_entry() -> None:
    """The same if the input is an async generator whose first step is eager, too."""

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
async def test_an_added_child_has_a_child_timeout_of_its_own() -> None:
    """It is timed from its own start, although every other child has timed out."""
    async with as_completed_scoped([stops_slowly([], 60)], child_timeout=5) as outcomes:
        await asyncio.sleep(6)  # it was cancelled at 5, and cleans up until 65
        outcomes.add(forever())
        ended = {outcome.index: now() async for outcome in outcomes}
    assert ended == {0: 65, 1: 11}


@virtual
async def test_no_timer_is_left_after_child_timeouts() -> None:
    """Of several children with a `child_timeout`, some time out and some do not."""
    async with as_completed_scoped([forever()], child_timeout=5) as outcomes:
        for _ in range(3):
            await asyncio.sleep(1)
            outcomes.add(forever())
        await asyncio.sleep(2.5)  # the first child timed out at 5
    gc.collect()
    handles = [thing for thing in gc.get_objects() if type(thing) is asyncio.TimerHandle]
    assert [handle for handle in handles if "call_after_tick" in repr(handle)] == []


@virtual
async def test_with_child_timeout_0_an_added_child_never_starts() -> None:
    """Its outcome is TimedOut with `elapsed` 0, whenever it is added."""
    async with as_completed_scoped([after(1, "a")], child_timeout=0) as outcomes:
        ended = [(await anext(outcomes)).elapsed]
        await asyncio.sleep(3)
        outcomes.add(after(1, "b"))
        outcome = await anext(outcomes)
        assert isinstance(outcome, TimedOut)
        assert [*ended, outcome.elapsed] == [0, 0]


@virtual
async def test_a_timeout_in_the_body_keeps_the_child_running() -> None:
    """A timeout around `anext` does not cancel the child; its outcome is yielded later."""
    async with as_completed_scoped([after(2, "a")]) as outcomes:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await anext(outcomes)
        assert (await (await anext(outcomes)), now()) == ("a", 2)


@virtual
@pytest.mark.parametrize("end", ["a", ValueError(), asyncio.CancelledError()], ids=repr)
async def test_elapsed_of_added_children(end: Any) -> None:
    """`elapsed` runs from the child's own start to its finish, however it finished."""
    async with as_completed_scoped(NONE_YET) as outcomes:
        await asyncio.sleep(3)
        outcomes.add(after(2, end))
        assert (await anext(outcomes)).elapsed == 2


@virtual
async def test_elapsed_of_an_added_task_counts_from_the_add() -> None:
    """Not from the entry of the block, nor from the creation of the Task."""
    async with as_completed_scoped(NONE_YET) as outcomes:
        task = asyncio.create_task(after(4, "a"))
        await asyncio.sleep(3)
        outcomes.add(task)
        assert (await anext(outcomes)).elapsed == 1


@virtual
async def test_indices_of_added_children_continue_those_of_a_generator() -> None:
    """`index` numbers all children, pulled or added, without a gap."""
    async with as_completed_scoped([after(1, "a")]) as outcomes:
        for value in "bc":
            outcomes.add(after(2, value))
        assert [outcome.index async for outcome in outcomes] == [0, 1, 2]
