"""`as_completed_scoped` while its block is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Generator
from typing import Any

import pytest

from structgather import Cancelled, Failed, Ok, Outcome, TimedOut, as_completed_scoped
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now

NONE: list[Awaitable[Any]] = []
BROKEN = ValueError("broken")


async def taken(outcomes: Any) -> list[Outcome[Any]]:
    """Return all outcomes that are still to be yielded."""
    return [outcome async for outcome in outcomes]


# Iterating.


@virtual
async def test_outcomes_are_yielded_as_children_finish() -> None:
    """Each outcome is yielded at the moment when its child finishes, whatever its index."""
    async with as_completed_scoped([after(3, "c"), after(1, "a"), after(2, "b")]) as outcomes:
        times = [(now(), await outcome) async for outcome in outcomes]
    assert times == [(1, "a"), (2, "b"), (3, "c")]


@virtual
async def test_a_failing_child_is_an_item() -> None:
    """A failure, or a child that cancels itself, does not stop the iteration."""

    async def gives_up() -> None:
        raise asyncio.CancelledError("enough")

    async with as_completed_scoped([after(1, BROKEN), gives_up(), after(2, "b")]) as outcomes:
        given_up, broken, value = await taken(outcomes)
    assert isinstance(given_up, Cancelled)
    assert (str(given_up.error), given_up.index) == ("enough", 1)
    assert (broken, value) == (Failed(BROKEN, 0, 1.0), Ok("b", 2, 2.0))


@virtual
async def test_outcomes_are_queued_while_the_body_is_busy() -> None:
    """Children that finished meanwhile are yielded in the order in which they finished."""
    async with as_completed_scoped([after(2, "b"), after(1, "a"), after(4, "c")]) as outcomes:
        await asyncio.sleep(3)
        assert [await outcome async for outcome in outcomes] == ["a", "b", "c"]
    assert now() == 4


@virtual
async def test_iterating_twice_resumes() -> None:
    """A second loop resumes where the first one left off; an exhausted stream stays exhausted."""
    async with as_completed_scoped([after(1, "a"), after(2, "b"), after(3, "c")]) as outcomes:
        async for outcome in outcomes:
            assert await outcome == "a"
            break
        assert await anext(outcomes) == Ok("b", 1, 2.0)
        assert await taken(outcomes) == [Ok("c", 2, 3.0)]
        assert await taken(outcomes) == []


@virtual
async def test_every_kind_of_child() -> None:
    """Coroutines, Tasks, Futures and objects with `__await__`: everything that `await` takes."""

    class Answer:
        def __await__(self) -> Generator[Any, None, str]:
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
async def test_an_empty_input_yields_nothing() -> None:
    """The loop stops immediately."""
    async with as_completed_scoped(NONE) as outcomes:
        assert len(outcomes) == 0
        assert outcomes  # an empty stream is true
        assert await taken(outcomes) == []


@virtual
async def test_child_timeout_counts_from_the_start_of_each_child() -> None:
    """Each child is timed from its own start; one that exceeds it is cancelled and joined."""
    log: list[str] = []
    children = [after(2, "a"), stops_slowly(log), after(2, "b")]
    async with as_completed_scoped(children, limit=1, child_timeout=3) as outcomes:
        got = [(type(outcome), outcome.elapsed) async for outcome in outcomes]
    assert got == [(Ok, 2), (TimedOut, 4), (Ok, 2)]
    assert log == ["cleaned up"]


# len


@virtual
async def test_len_counts_down() -> None:
    """`len()` is the number of outcomes to come, those of unstarted children included."""
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
async def test_len_is_unknown_before_a_generator_is_exhausted() -> None:
    """Until then `len()` is a TypeError."""

    async def two() -> AsyncIterator[Any]:
        yield after(1, "a")
        await asyncio.sleep(0)
        yield after(1, "b")

    async with as_completed_scoped((after(1, name) for name in "ab"), limit=1) as outcomes:
        with pytest.raises(TypeError, match="the number of outcomes to come is not known"):
            len(outcomes)
        assert len(await taken(outcomes)) == 2
        assert len(outcomes) == 0
    async with as_completed_scoped(two()) as outcomes:
        with pytest.raises(TypeError, match="the number of outcomes to come is not known"):
            len(outcomes)
        await asyncio.sleep(0.5)
        assert len(outcomes) == 2


# cancel


@virtual
async def test_cancel_cancels_every_child_and_the_iteration_continues() -> None:
    """After `cancel()` every child is an item nevertheless, also one that never started."""
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
async def test_cancel_makes_the_length_known() -> None:
    """After `cancel()` a generator is not pulled again, so `len()` is known."""
    async with as_completed_scoped((forever() for _ in range(9)), limit=2) as outcomes:
        outcomes.cancel()
        assert len(outcomes) == 2
        assert len(await taken(outcomes)) == 2


@virtual
async def test_a_child_can_call_cancel() -> None:
    """A child that calls `cancel()` is cancelled like its siblings."""

    async def finds_it() -> str:
        outcomes.cancel()
        return "found"

    async with as_completed_scoped([finds_it(), forever()]) as outcomes:
        found, other = await taken(outcomes)
    assert (found, type(other)) == (Ok("found", 0, 0.0), Cancelled)


# timeout


@virtual
async def test_at_the_timeout_the_iteration_raises() -> None:
    """Outcomes in time are yielded; TimeoutError is raised when all children are joined."""
    log: list[str] = []
    children = [after(1, "a"), after(2, "b"), stops_slowly(log, 5)]
    async with as_completed_scoped(children, timeout=2) as outcomes:
        assert [await anext(outcomes), await anext(outcomes)] == [Ok("a", 0, 1.0), Ok("b", 1, 2.0)]
        with pytest.raises(TimeoutError, match=r"1 child had not finished after 2 s$"):
            await anext(outcomes)
        assert (log, now()) == (["cleaned up"], 7)
    assert [type(outcome) for outcome in outcomes.undelivered] == [TimedOut]


@virtual
async def test_a_slow_consumer_gets_every_outcome_that_was_in_time() -> None:
    """Outcomes in time are yielded after the timeout as well, before the TimeoutError."""
    async with as_completed_scoped([after(1, "a"), forever()], timeout=2) as outcomes:
        await asyncio.sleep(9)
        assert await anext(outcomes) == Ok("a", 0, 1.0)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await anext(outcomes)


@virtual
async def test_len_after_the_timeout() -> None:
    """It counts what was in time, and children that are being cancelled."""
    async with as_completed_scoped([after(1, "a"), stops_slowly([], 5)], timeout=2) as outcomes:
        await asyncio.sleep(3)
        assert len(outcomes) == 2


@virtual
async def test_a_timeout_after_cancel_raises_nothing() -> None:
    """Children that clean up beyond the timeout are cancelled already: their outcomes are items."""
    log: list[str] = []
    async with as_completed_scoped([stops_slowly(log, 5)], timeout=2) as outcomes:
        await asyncio.sleep(1)
        outcomes.cancel()
        assert [type(outcome) async for outcome in outcomes] == [Cancelled]
    assert (log, now(), outcomes.undelivered) == (["cleaned up"], 6, [])


@virtual
async def test_a_timeout_after_all_children_have_finished_raises_nothing() -> None:
    """If all finished in time, a slow consumer gets every outcome and no TimeoutError."""
    async with as_completed_scoped([after(1, "a"), after(2, "b")], timeout=2) as outcomes:
        await asyncio.sleep(9)
        assert [await outcome async for outcome in outcomes] == ["a", "b"]
        with pytest.raises(RuntimeError, match="can't add a child"):
            outcomes.add(forever())


@virtual
async def test_timeout_0_starts_nothing() -> None:
    """With `timeout=0` done Tasks are yielded, and everything else is TimedOut."""
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


@pytest.mark.parametrize("seconds", [0, 1.5])
@virtual
async def test_timed_out_outcomes_name_the_child_and_the_timeout(seconds: float) -> None:
    """The outcome is TimedOut, and names the child and the timeout of the iteration."""
    running = asyncio.create_task(forever(), name="the search")
    async with as_completed_scoped([running], timeout=seconds) as outcomes:
        with pytest.raises(TimeoutError):
            await anext(outcomes)
    (late,) = outcomes.undelivered
    told = f"child 0, forever (the search), had not finished after {seconds:g} s"
    assert str(late.exception()) == f"as_completed_scoped(): {told}"


@pytest.mark.parametrize(("count", "told"), [(1, "1 child"), (2, "2 children")])
@virtual
async def test_the_timeout_error_counts_the_children(count: int, told: str) -> None:
    """The message of the TimeoutError says how many children were still running."""
    async with as_completed_scoped([forever() for _ in range(count)], timeout=1) as outcomes:
        with pytest.raises(TimeoutError, match=f"{told} had not finished after 1 s"):
            await anext(outcomes)
