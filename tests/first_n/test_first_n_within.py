"""What `first_n_within` promises: the first values inside a time, and what became of the rest."""

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
    """How the children ended, in one word each, in the order of the input."""
    assert [outcome.index for outcome in found.outcomes] == [*range(len(found.outcomes))]
    return [type(outcome).__name__ for outcome in found.outcomes]


async def stubborn(value: Any) -> Any:
    """Return or raise `value` when it is cancelled."""
    try:
        await forever()
    except asyncio.CancelledError:
        return await after(0, value)


# n


@virtual
async def test_the_first_n_values_by_time() -> None:
    """`values` are the first n that arrived, in that order; the call is over with the n-th."""
    found = await first_n_within([after(3, "c"), after(1, "a"), after(2, "b"), after(9, "d")], 2)
    assert (found.values, found.reason, found.met, now()) == (["a", "b"], "met", True, 2)
    assert kinds(found) == ["Cancelled", "Ok", "Ok", "Cancelled"]


@virtual
async def test_without_n_all_values_are_waited_for() -> None:
    """`n=None` stands for the number of inputs."""
    found = await first_n_within([after(2, "b"), after(1, "a")])
    assert (found.values, found.reason, now()) == (["a", "b"], "met", 2)


@virtual
async def test_n_of_no_input() -> None:
    """Without inputs, all values of none have arrived; but one of none can't."""
    assert (await first_n_within([])).reason == "met"
    assert (await first_n_within([], 0)).reason == "met"
    assert (await first_n_within([], 1)).reason == "exhausted"


@virtual
async def test_with_n_0_nothing_starts() -> None:
    """`n=0` is met at once: coroutines are closed, what runs already is cancelled and joined."""
    log: list[str] = []
    task = asyncio.create_task(stops_slowly(log))
    await asyncio.sleep(0)
    found = await first_n_within([forever(log), task], 0)
    assert (found.values, found.reason, log) == ([], "met", ["cleaned up"])
    assert kinds(found) == ["Cancelled", "Cancelled"]


@virtual
async def test_n_larger_than_the_input() -> None:
    """When all children have ended and n values have not arrived, the reason is "exhausted"."""
    found = await first_n_within([after(1, "a"), after(2, BROKEN)], 3)
    assert (found.values, found.reason, found.met, now()) == (["a"], "exhausted", False, 2)


@virtual
async def test_ties_in_one_turn_of_the_loop() -> None:
    """Of values that arrive in one turn, only the first n count; the others are losers."""
    found = await first_n_within([after(1, "a"), after(1, "b"), after(1, "c")], 2)
    assert found.values == ["a", "b"]
    assert kinds(found) == ["Ok", "Ok", "Cancelled"]


@virtual
async def test_a_failure_does_not_end_the_call() -> None:
    """Only values count: a child that fails, or cancels itself, is passed over."""

    async def gives_up() -> str:
        raise asyncio.CancelledError

    found = await first_n_within([after(0, BROKEN), gives_up(), after(1, "a")], 1)
    assert (found.values, found.reason) == (["a"], "met")
    assert kinds(found) == ["Failed", "Cancelled", "Ok"]


# within


@virtual
async def test_what_has_arrived_at_the_deadline_is_kept() -> None:
    """At the deadline the call is over, with the values so far; late children are TimedOut."""
    found = await first_n_within([after(1, "a"), after(9, "b"), after(2, BROKEN)], within=3)
    assert (found.values, found.reason, found.met, now()) == (["a"], "deadline", False, 3)
    assert kinds(found) == ["Ok", "TimedOut", "Failed"]
    late = found.outcomes[1]
    assert isinstance(late, TimedOut)
    assert str(late.error).startswith("first_n_within(): child 1, after (Task-")
    assert str(late.error).endswith("was not done within 3 s")
    assert late.elapsed == 3


@virtual
async def test_a_value_in_the_tick_of_the_deadline_is_in_time() -> None:
    """What arrives in the very tick of the deadline counts, whichever timer was set first."""
    found = await first_n_within([after(2, "a"), after(2, "b")], within=2)
    assert (found.values, found.reason) == (["a", "b"], "met")
    one = asyncio.create_task(after(2, "a"))
    await asyncio.sleep(0)
    found = await first_n_within([one, after(2, "b")], within=2)
    assert (sorted(found.values), found.reason) == (["a", "b"], "met")


@virtual
async def test_the_deadline_waits_for_cleanups() -> None:
    """The children that the deadline cancels are joined, however long their cleanup takes."""
    log: list[str] = []
    found = await first_n_within([stops_slowly(log, 5)], within=1)
    assert (found.reason, log, now()) == ("deadline", ["cleaned up"], 6)


@virtual
async def test_a_deadline_that_nobody_needs_is_no_deadline() -> None:
    """A call whose children all end in time is over when they are."""
    found = await first_n_within([after(1, "a"), after(1, BROKEN)], within=9)
    assert (found.reason, now()) == ("exhausted", 1)


@virtual
async def test_within_0_only_what_is_done_counts() -> None:
    """`within=0`: nothing starts; Tasks that are done count, those that run are ended."""
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


# The losers.


@virtual
async def test_what_losers_do_is_in_outcomes() -> None:
    """A value or an error that comes while a loser is being cancelled is kept, and not a winner."""
    found = await first_n_within([stubborn("late"), stubborn(BROKEN), after(1, "a")], 1)
    assert found.values == ["a"]
    assert found.outcomes[:2] == [Ok("late", 0, 1.0), Failed(BROKEN, 1, 1.0)]
    group = found.exception_group()
    assert group is not None
    assert group.exceptions == (BROKEN,)


@virtual
async def test_losers_are_joined() -> None:
    """The call is over when the last loser's cleanup is."""
    log: list[str] = []
    found = await first_n_within([stops_slowly(log, 5), after(1, "a")], 1)
    assert (found.values, log, now()) == (["a"], ["cleaned up"], 6)


@virtual
async def test_adopted_tasks_lead_the_childrens_life() -> None:
    """A Task that is handed over is cancelled and joined as if the call had made it."""
    log: list[str] = []
    task = asyncio.create_task(stops_slowly(log))
    future = asyncio.get_running_loop().create_future()
    found = await first_n_within([task, future, after(1, "a")], 1)
    assert (log, task.cancelled(), future.cancelled()) == (["cleaned up"], True, True)
    assert kinds(found) == ["Cancelled", "Cancelled", "Ok"]


@virtual
async def test_the_time_of_a_child_begins_when_the_generator_is_at_its_end() -> None:
    """What the generator takes to make the inputs is not the children's."""
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
async def test_what_never_started_is_an_outcome_too() -> None:
    """An input whose turn never came is Cancelled, with `elapsed` 0, and closed."""
    log: list[str] = []
    found = await first_n_within([after(1, "a"), forever(log), forever(log)], 1, limit=1)
    assert log == []
    for outcome in found.outcomes[1:]:
        assert isinstance(outcome, Cancelled)
        assert (str(outcome.error), outcome.elapsed) == ("never started", 0)


# limit, and where the inputs come from


class Pulled:
    """Makes children when it is asked to, and counts."""

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
    """With `limit`, no more than that many run, and no more is pulled than runs or has ended."""
    pulled = Pulled(2, 1, 1.5, 9, 9, 9)
    found = await first_n_within(iter(pulled), 3, limit=2)
    assert found.values == [2, 1, 3]
    assert (pulled.asked, pulled.most) == (4, 2)
    assert kinds(found) == ["Ok", "Ok", "Ok", "Cancelled"]


@virtual
async def test_an_endless_generator() -> None:
    """What is never asked for need not end."""
    found = await first_n_within((after(1, "a") for _ in iter(int, 1)), 3, limit=2)
    assert (found.values, len(found.outcomes)) == (["a", "a", "a"], 4)


@virtual
async def test_all_values_of_a_generator() -> None:
    """`n=None` waits for all that a generator makes, also when it is pulled one by one."""
    found = await first_n_within(iter(Pulled(1, 1, 1)), limit=1)
    assert (found.values, found.reason, now()) == ([1, 2, 3], "met", 3)


@virtual
async def test_child_timeout_counts_from_the_start() -> None:
    """Each child has its own time, from its own start; a late one is TimedOut."""
    found = await first_n_within(
        [after(2, "a"), forever(), after(2, "b")], limit=1, child_timeout=3
    )
    assert (found.values, found.reason, now()) == (["a", "b"], "exhausted", 7)
    assert kinds(found) == ["Ok", "TimedOut", "Ok"]
    assert found.outcomes[1].elapsed == 3


@virtual
async def test_an_iterable_that_raises_half_way() -> None:
    """Its error is raised; children that were started make their first step and are joined."""
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
    assert len(log) == 2  # without a limit nothing is started before all inputs are taken


@virtual
async def test_an_iterable_that_raises_when_some_run() -> None:
    """The children that ran when it raised are cancelled and joined first."""
    log: list[str] = []

    def makes_two() -> Iterator[Any]:
        yield stops_slowly(log)
        yield after(1, "a")
        raise BROKEN

    with pytest.raises(ValueError, match=r"^broken$"):
        await first_n_within(makes_two(), limit=2)
    assert (log, now()) == (["cleaned up"], 2)


@virtual
async def test_what_a_late_child_returns_is_in_outcomes() -> None:
    """A child that will not stop at its own time, and returns then, is no winner; but kept."""

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
    """A deadline of an hour keeps nothing for an hour."""
    assert (await first_n_within([after(1, "a")], within=3600)).met
    gc.collect()
    handles = [thing for thing in gc.get_objects() if type(thing) is asyncio.TimerHandle]
    assert [handle for handle in handles if "call_after_tick" in repr(handle)] == []


@virtual
async def test_what_is_late_from_the_beginning_is_told_so() -> None:
    """With `within=0` a child that was not done has had 0 seconds."""
    found = await first_n_within([asyncio.ensure_future(forever())], within=0)
    assert "was not done within 0 s" in str(found.outcomes[0].exception())


@virtual
async def test_within_0_a_generator_with_a_limit_is_asked_for_nothing() -> None:
    """It could have no end; and what it makes could not be done."""
    asked: list[int] = []

    def generator() -> Iterator[Any]:
        for number in range(10):
            asked.append(number)
            yield after(0, number)

    found = await first_n_within(generator(), within=0, limit=2)
    assert (found.outcomes, found.reason, asked) == ([], "deadline", [])


@virtual
async def test_within_0_with_a_limit_what_is_done_counts() -> None:
    """Of what exists already, wherever it stands."""
    done = asyncio.get_running_loop().create_future()
    done.set_result("done")
    found = await first_n_within([after(0, "a"), after(0, "b"), done], within=0, limit=1)
    assert (found.values, [type(outcome) for outcome in found.outcomes]) == (
        ["done"],
        [Cancelled, Cancelled, Ok],
    )
