"""`first_n_within`: the first values within a time, and the outcomes of all children."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from structgather import Cancelled, Failed, FirstN, Ok, TimedOut, first_n_within
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now

BROKEN = ValueError("broken")


def kinds(found: FirstN[Any]) -> list[str]:
    """Return the type of each outcome, in input order."""
    assert [outcome.index for outcome in found.outcomes] == [*range(len(found.outcomes))]
    return [type(outcome).__name__ for outcome in found.outcomes]


async def stubborn(value: Any) -> Any:
    """Return or raise `value` when cancelled."""
    try:
        await forever()
    except asyncio.CancelledError:
        return await after(0, value)


# n


@virtual
async def test_the_first_n_values_by_time() -> None:
    """`values` are the first n in time, in that order; the call returns after the n-th."""
    found = await first_n_within([after(3, "c"), after(1, "a"), after(2, "b"), after(9, "d")], 2)
    assert (found.values, found.reason, found.met, now()) == (["a", "b"], "met", True, 2)
    assert kinds(found) == ["Cancelled", "Ok", "Ok", "Cancelled"]


@virtual
async def test_without_n_all_values_are_awaited() -> None:
    """`n=None` stands for the number of inputs."""
    found = await first_n_within([after(2, "b"), after(1, "a")])
    assert (found.values, found.reason, now()) == (["a", "b"], "met", 2)


@virtual
async def test_n_without_inputs() -> None:
    """All values of no input have arrived; n=1 is never met."""
    assert (await first_n_within([])).reason == "met"
    assert (await first_n_within([], 0)).reason == "met"
    assert (await first_n_within([], 1)).reason == "exhausted"


@virtual
async def test_with_n_0_nothing_starts() -> None:
    """`n=0` is met at once: coroutines are closed, adopted Tasks are cancelled and joined."""
    log: list[str] = []
    task = asyncio.create_task(stops_slowly(log))
    await asyncio.sleep(0)
    found = await first_n_within([forever(log), task], 0)
    assert (found.values, found.reason, log) == ([], "met", ["cleaned up"])
    assert kinds(found) == ["Cancelled", "Cancelled"]


@virtual
async def test_n_larger_than_the_input() -> None:
    """If all children finish before n values have arrived, the reason is "exhausted"."""
    found = await first_n_within([after(1, "a"), after(2, BROKEN)], 3)
    assert (found.values, found.reason, found.met, now()) == (["a"], "exhausted", False, 2)


@virtual
async def test_ties_in_one_loop_iteration() -> None:
    """Of values that arrive in one iteration, only the first n are winners."""
    found = await first_n_within([after(1, "a"), after(1, "b"), after(1, "c")], 2)
    assert found.values == ["a", "b"]
    assert kinds(found) == ["Ok", "Ok", "Cancelled"]


@virtual
async def test_a_failure_does_not_end_the_call() -> None:
    """A child that fails, or cancels itself, does not count towards n."""

    async def gives_up() -> str:
        raise asyncio.CancelledError

    found = await first_n_within([after(0, BROKEN), gives_up(), after(1, "a")], 1)
    assert (found.values, found.reason) == (["a"], "met")
    assert kinds(found) == ["Failed", "Cancelled", "Ok"]


# within


@virtual
async def test_values_before_the_deadline_are_kept() -> None:
    """At the deadline the call has the values so far; late children are TimedOut."""
    found = await first_n_within([after(1, "a"), after(9, "b"), after(2, BROKEN)], within=3)
    assert (found.values, found.reason, found.met, now()) == (["a"], "deadline", False, 3)
    assert kinds(found) == ["Ok", "TimedOut", "Failed"]
    late = found.outcomes[1]
    assert isinstance(late, TimedOut)
    assert str(late.error).startswith("first_n_within(): child 1, after (Task-")
    assert str(late.error).endswith("had not finished after 3 s")
    assert late.elapsed == 3


@virtual
async def test_a_value_in_the_tick_of_the_deadline_is_in_time() -> None:
    """A value that arrives in the tick of the deadline is kept, whichever timer is older."""
    found = await first_n_within([after(2, "a"), after(2, "b")], within=2)
    assert (found.values, found.reason) == (["a", "b"], "met")
    one = asyncio.create_task(after(2, "a"))
    await asyncio.sleep(0)
    found = await first_n_within([one, after(2, "b")], within=2)
    assert (sorted(found.values), found.reason) == (["a", "b"], "met")


@virtual
async def test_the_deadline_waits_for_cleanups() -> None:
    """Children cancelled at the deadline are joined, however long their cleanup takes."""
    log: list[str] = []
    found = await first_n_within([stops_slowly(log, 5)], within=1)
    assert (found.reason, log, now()) == ("deadline", ["cleaned up"], 6)


@virtual
async def test_a_deadline_that_is_not_reached() -> None:
    """If all children finish in time, the call returns when they have finished."""
    found = await first_n_within([after(1, "a"), after(1, BROKEN)], within=9)
    assert (found.reason, now()) == ("exhausted", 1)


@virtual
async def test_within_0_only_done_tasks_count() -> None:
    """With `within=0` nothing starts; done Tasks count, running ones are cancelled."""
    log: list[str] = []
    done, runs = asyncio.create_task(after(0, "a")), asyncio.create_task(stops_slowly(log))
    await asyncio.sleep(0.5)
    found = await first_n_within([forever(log), done, runs], within=0)
    assert (found.values, found.reason, log) == (["a"], "deadline", ["cleaned up"])
    assert kinds(found) == ["Cancelled", "Ok", "TimedOut"]
    assert (await first_n_within([done], within=0)).reason == "met"
    assert (await first_n_within([done, forever(log)], 1, within=0)).reason == "met"
    assert kinds(await first_n_within([done, forever(log)], within=0, limit=1)) == [
        "Ok",
        "Cancelled",
    ]


# Losers


@virtual
async def test_losers_that_return_or_raise_are_in_outcomes() -> None:
    """A value or exception of a cancelled loser is kept in its outcome, and not a winner."""
    found = await first_n_within([stubborn("late"), stubborn(BROKEN), after(1, "a")], 1)
    assert found.values == ["a"]
    assert found.outcomes[:2] == [Ok("late", 0, 1.0), Failed(BROKEN, 1, 1.0)]
    group = found.exception_group()
    assert group is not None
    assert group.exceptions == (BROKEN,)


@virtual
async def test_losers_are_joined() -> None:
    """The call returns after the last loser's cleanup."""
    log: list[str] = []
    found = await first_n_within([stops_slowly(log, 5), after(1, "a")], 1)
    assert (found.values, log, now()) == (["a"], ["cleaned up"], 6)


@virtual
async def test_adopted_tasks_are_cancelled_and_joined() -> None:
    """An adopted Task is cancelled and joined like a child that the call created."""
    log: list[str] = []
    task = asyncio.create_task(stops_slowly(log))
    future = asyncio.get_running_loop().create_future()
    found = await first_n_within([task, future, after(1, "a")], 1)
    assert (log, task.cancelled(), future.cancelled()) == (["cleaned up"], True, True)
    assert kinds(found) == ["Cancelled", "Cancelled", "Ok"]


@virtual
async def test_child_timeout_starts_after_the_generator_is_exhausted() -> None:
    """The time that the generator takes does not count."""
    loop = asyncio.get_running_loop()
    clock, skipped = loop.time, 0.0

    def inputs() -> Iterator[Coroutine[Any, Any, str]]:
        nonlocal skipped
        for value in ("a", "b"):
            skipped += 5
            yield after(0, value)

    loop.time = lambda: clock() + skipped  # type: ignore[method-assign]
    found = await first_n_within(inputs())
    assert [outcome.elapsed for outcome in found.outcomes] == [0, 0]


@virtual
async def test_a_child_that_never_started_has_an_outcome() -> None:
    """A queued input is Cancelled, with `elapsed` 0, and closed."""
    log: list[str] = []
    found = await first_n_within([after(1, "a"), forever(log), forever(log)], 1, limit=1)
    assert log == []
    for outcome in found.outcomes[1:]:
        assert isinstance(outcome, Cancelled)
        assert (str(outcome.error), outcome.elapsed) == ("never started", 0)


# `limit`, and the input


class Pulled:
    """Creates children on demand, and counts them."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = seconds
        self.asked = self.running = self.most = 0

    def __iter__(self) -> Iterator[Any]:
        for seconds in self.seconds:
            self.asked += 1
            yield self.child(seconds, self.asked)

    async def child(self, seconds: float, number: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await after(seconds, number)  # type: ignore[no-any-return]
        finally:
            self.running -= 1


@virtual
async def test_a_generator_is_pulled_as_there_is_room() -> None:
    """With `limit`, at most that many run, and an input is pulled only when there is room."""
    pulled = Pulled(2, 1, 1.5, 9, 9, 9)
    found = await first_n_within(iter(pulled), 3, limit=2)
    assert found.values == [2, 1, 3]
    assert (pulled.asked, pulled.most) == (4, 2)
    assert kinds(found) == ["Ok", "Ok", "Ok", "Cancelled"]


@virtual
async def test_a_failure_makes_room() -> None:
    """The next input is pulled at once, not when a sibling finishes."""
    children = (after(*each) for each in [(1, LookupError()), (9, "b"), (1, "c")])
    found = await first_n_within(children, 1, limit=2)
    assert (found.values, now()) == (["c"], 2)


@virtual
async def test_an_endless_generator() -> None:
    """It is not pulled after n values."""
    found = await first_n_within((after(1, "a") for _ in iter(int, 1)), 3, limit=2)
    assert (found.values, len(found.outcomes)) == (["a", "a", "a"], 4)


@virtual
async def test_all_values_of_a_generator() -> None:
    """`n=None` waits for all children of a generator, also if it is pulled lazily."""
    found = await first_n_within(iter(Pulled(1, 1, 1)), limit=1)
    assert (found.values, found.reason, now()) == ([1, 2, 3], "met", 3)


@virtual
async def test_child_timeout_counts_from_the_start_of_each_child() -> None:
    """Each child is timed from its own start, and is TimedOut if it exceeds the time."""
    found = await first_n_within(
        [after(2, "a"), forever(), after(2, "b")], limit=1, child_timeout=3
    )
    assert (found.values, found.reason, now()) == (["a", "b"], "exhausted", 7)
    assert kinds(found) == ["Ok", "TimedOut", "Ok"]
    assert found.outcomes[1].elapsed == 3


@virtual
async def test_an_iterable_that_raises_half_way() -> None:
    """Its exception is raised; started children make their first step and are joined."""
    log: list[str] = []

    def makes_two() -> Iterator[Any]:
        yield stops_slowly(log)
        yield stops_slowly(log)
        raise BROKEN

    with pytest.raises(ValueError, match=r"^broken$") as caught:
        await first_n_within(makes_two(), limit=3)
    assert caught.value is BROKEN
    assert log == ["cleaned up"] * 2
    with pytest.raises(ValueError, match=r"^broken$"):
        await first_n_within(makes_two())
    assert len(log) == 2  # without a limit nothing is started before the input is exhausted


@virtual
async def test_an_iterable_that_raises_while_children_run() -> None:
    """Running children are cancelled and joined first."""
    log: list[str] = []

    def makes_two() -> Iterator[Any]:
        yield stops_slowly(log)
        yield after(1, "a")
        raise BROKEN

    with pytest.raises(ValueError, match=r"^broken$"):
        await first_n_within(makes_two(), limit=2)
    assert (log, now()) == (["cleaned up"], 2)


@virtual
async def test_the_value_of_a_late_child_is_in_its_outcome() -> None:
    """A child that ignores its timeout and returns is not a winner, but its value is kept."""

    async def will_not_stop() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
        return "late"

    found = await first_n_within([will_not_stop(), after(2, "in time")], child_timeout=3)
    assert found.values == ["in time"]
    assert found.reason == "exhausted"
    assert found.outcomes[0].result() == "late"


@virtual
async def test_no_timer_is_left_when_the_values_are_there() -> None:
    """A deadline of an hour keeps nothing alive for an hour."""
    assert (await first_n_within([after(1, "a")], within=3600)).met
    gc.collect()
    handles = [thing for thing in gc.get_objects() if type(thing) is asyncio.TimerHandle]
    assert [handle for handle in handles if "call_after_tick" in repr(handle)] == []


@virtual
async def test_with_within_0_the_timeout_of_0_is_reported() -> None:
    """With `within=0` the TimeoutError says that the child had 0 seconds."""
    found = await first_n_within([asyncio.ensure_future(forever())], within=0)
    assert "had not finished after 0 s" in str(found.outcomes[0].exception())


@virtual
async def test_within_0_a_generator_with_a_limit_is_not_pulled() -> None:
    """It could be infinite, and its children could not be done."""
    asked: list[int] = []

    def generator() -> Iterator[Any]:
        for number in range(10):
            asked.append(number)
            yield after(0, number)

    found = await first_n_within(generator(), within=0, limit=2)
    assert (found.outcomes, found.reason, asked) == ([], "deadline", [])


@virtual
async def test_within_0_with_a_limit_done_tasks_count() -> None:
    """At any position."""
    done = asyncio.get_running_loop().create_future()
    done.set_result("done")
    found = await first_n_within([after(0, "a"), after(0, "b"), done], within=0, limit=1)
    assert (found.values, [type(outcome) for outcome in found.outcomes]) == (
        ["done"],
        [Cancelled, Cancelled, Ok],
    )
