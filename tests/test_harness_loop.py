"""The deterministic loop keeps its own promises: virtual time, every schedule, nothing missed."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.behaviours import exits, nests, returns, three_children
from harness.choosers import (
    DepthFirst,
    Diverged,
    Drawn,
    First,
    Seeded,
    Steps,
    explore,
    replay,
    sample,
    sweep,
)
from harness.loop import Chooser, Deadlock, Mode, current, point
from harness.oracles import check_all
from harness.run import Run, run
from harness.worlds import world
from harness.wrong import right


async def at_points(name: str, count: int) -> None:
    for number in range(count):
        await point(f"{name}{number}")
        current().log(name, "passed", number)


async def two_by_two() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(at_points("a", 2))
        group.create_task(at_points("b", 2))


def order(result: Run) -> str:
    return " ".join(f"{event.who}{event.detail}" for event in result.events)


# -- schedules ----------------------------------------------------------------------------------


def test_every_order_of_the_outside_is_visited_once() -> None:
    """Two tasks of two points each: the six ways to interleave them, none twice."""
    orders = [order(result) for result in explore(two_by_two)]
    expected = set(itertools.permutations(["a", "a", "b", "b"]))
    assert len(orders) == len(set(orders)) == len(expected) == 6
    assert orders[0] == "a0 b0 a1 b1"  # choice 0: the oldest point first


def test_racing_events_make_the_same_orders_and_more_schedules() -> None:
    """Mode racy visits all that fifo does, each schedule once."""
    runs = list(explore(two_by_two, mode="racy"))
    schedules = {result.schedule for result in runs}
    assert {order(result) for result in runs} >= {order(result) for result in explore(two_by_two)}
    assert len(schedules) == len(runs) > 6


def test_racing_events_may_all_happen_before_anybody_sees_one() -> None:
    """In mode racy both points may be complete before the first task has been woken."""

    async def program() -> list[bool]:
        points = [point("a"), point("b")]
        await points[0]
        return [each.done() for each in points]

    assert [result.value for result in explore(program)] == [[True, False], [True, True]]
    assert [True, True] in [result.value for result in explore(program, mode="racy")]


def test_the_outer_task_may_be_cancelled_at_every_boundary() -> None:
    """From before its first step to the last boundary at which it isn't done."""

    async def program() -> None:
        await point("a")

    ends = [(result.cancel_steps, result.cancelled) for result in explore(program, cancels=1)]
    # Step 0 is the task's first step, step 1 completes the point, step 2 wakes the task.
    assert ends == [([], False), ([2], True), ([1], True), ([0], True)]


def test_two_cancellations_may_come_at_one_boundary() -> None:
    """The outer task can be cancelled again before it has seen the first one."""

    async def program() -> None:
        await asyncio.sleep(0)

    steps = [result.cancel_steps for result in explore(program, cancels=2)]
    assert steps == [[], [1], [1, 1], [0], [0, 0]]


@pytest.mark.parametrize("mode", ["fifo", "racy"])
def test_the_same_seed_gives_the_same_run(mode: Mode) -> None:
    """Two runs with one seed make the same choices and log the same; another seed does not."""

    def trace(seed: int) -> list[object]:
        runs = sample(three_children(right), 20, seed=seed, mode=mode, cancels=2)
        # Exceptions have another identity in each run; what they say is the same.
        return [(result.schedule, [event[:4] for event in result.events]) for result in runs]

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


def test_a_replayed_schedule_gives_the_same_run() -> None:
    """What `Run.schedule` says, `replay` repeats: choices, cancellations and events."""
    program = three_children(right)
    for mode in ("fifo", "racy"):
        for found in sample(program, 20, mode=mode, cancels=2):
            again = replay(program, found.schedule)
            assert again.schedule == found.schedule
            assert [event[:4] for event in again.events] == [event[:4] for event in found.events]


def test_a_schedule_may_be_written_by_hand() -> None:
    """The numbers of options may be left out, and so may the choices at the end."""
    assert order(replay(two_by_two, "fifo:1.1")) == "b0 b1 a0 a1"
    assert replay(two_by_two, "fifo:@c3").cancelled
    with pytest.raises(ValueError, match="not a schedule"):
        replay(two_by_two, "lifo:1")


def test_a_schedule_that_does_not_fit_is_refused() -> None:
    """Another number of options, a choice too many, or a cancellation too late: another run."""
    for schedule in ("fifo:0/3", "fifo:5", "fifo:0.0.0.0.0.0.0.0.0", "fifo:@c999"):
        with pytest.raises(Diverged):
            replay(two_by_two, schedule)


def test_a_program_that_is_not_deterministic_is_refused() -> None:
    """A search notices that a replayed prefix has other options than it had, or fewer choices."""
    runs = itertools.count()

    async def other_options() -> None:
        async with asyncio.TaskGroup() as group:
            for name in "abc"[: 2 + next(runs) % 2]:
                group.create_task(at_points(name, 1))

    async def fewer_choices() -> None:
        for _ in range(2 - next(runs) % 2):
            point("never")
            point("awaited")
            await point("a")

    with pytest.raises(Diverged, match="has 3 options, it had 2"):
        list(explore(other_options))
    runs = itertools.count()
    with pytest.raises(Diverged, match="ended after"):
        list(explore(fewer_choices))


def test_random_cancellations_are_spread_over_the_run() -> None:
    """They are drawn before the schedule, so late boundaries are hit as often as early ones."""
    runs = list(sample(three_children(right), 300, cancels=1))
    steps = [step for result in runs for step in result.cancel_steps]
    middle = max(steps) // 2
    assert 60 < sum(step > middle for step in steps) < 240


def test_a_sweep_cancels_at_every_step() -> None:
    """Step 0, 1, 2, ... until the program is over before its turn; and every pair of steps."""

    async def program() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    assert [result.cancel_steps for result in sweep(program)] == [[0], [1], [2], [3], []]
    twice = [result.cancel_steps for result in sweep(program, cancels=2)]
    assert [0, 0] in twice
    assert [2, 3] not in twice  # it is over at the first
    assert twice[-1] == []


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_hypothesis_can_choose(data: st.DataObject) -> None:
    """A schedule drawn by hypothesis is a schedule like any other."""
    mode: Mode = "racy" if data.draw(st.booleans()) else "fifo"
    result = run(three_children(right), Drawn(data), mode=mode, cancels=2)
    assert replay(three_children(right), result.schedule).schedule == result.schedule
    check_all(result)


# -- time ---------------------------------------------------------------------------------------


def test_time_is_virtual() -> None:
    """A day passes at once, and the clock shows it to the tick."""

    async def program() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    result = run(program, First())
    assert (result.value, result.time) == (86_400.0, 86_400.0)


def test_a_tick_is_a_choice_like_a_point() -> None:
    """A point and a timer may come in either order; the clock goes to the next timer only."""

    async def program() -> tuple[bool, float]:
        waited = point("a")
        try:
            async with asyncio.timeout(2):
                await asyncio.sleep(1)
                await waited
        except TimeoutError:
            pass
        return waited.cancelled(), asyncio.get_running_loop().time()

    values = [result.value for result in explore(program)]
    assert sorted(values) == [(False, 1.0), (False, 1.0), (True, 2.0)]


def test_timers_of_one_instant_fire_in_one_turn_and_in_order() -> None:
    """Of two timers for the same instant the one made first goes first."""

    async def program() -> list[str]:
        log: list[str] = []
        loop = asyncio.get_running_loop()
        for name in "abc":
            loop.call_at(1.0, log.append, name)
        await asyncio.sleep(1)
        return log

    assert run(program, First()).value == ["a", "b", "c"]


# -- what cannot go on --------------------------------------------------------------------------


async def wait_for_ever() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.Event().wait(), name="the one that waits")


def test_a_deadlock_is_an_error_at_once() -> None:
    """Nothing ready, timed or pending: the error names the tasks and the schedule."""
    with pytest.raises(Deadlock, match=r"outer at .*, the one that waits at Event.wait.*fifo:"):
        run(wait_for_ever, First())
    result = run(wait_for_ever, First(), deadlock_ok=True)
    assert result.deadlock is not None


def test_spinning_for_ever_is_a_deadlock() -> None:
    """A program that never ends though it always runs is stopped, too."""

    async def spin() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(Deadlock, match="still spinning after 500 steps"):
        run(spin, First(), max_steps=500)


def test_spinning_does_not_shut_the_outside_out() -> None:
    """While one task spins, events of the outside still happen, also in mode fifo."""

    async def program() -> object:
        waiting = asyncio.create_task(at_points("a", 2))
        for turn in itertools.count():
            if waiting.done():
                return f"done in {turn} turns"
            await asyncio.sleep(0)
        return "never"

    result = run(program, First())
    assert str(result.value).startswith("done in ")
    assert result.steps < 500


# -- nothing is missed --------------------------------------------------------------------------


def test_a_chooser_that_raises_leaves_no_task_behind() -> None:
    """All tasks are ended, their `finally` run, and the chooser's error comes out."""
    ended: list[str] = []

    class Raising(First):
        def choose(self, options: int) -> int:
            raise LookupError("no choice")

    async def child(name: str) -> None:
        try:
            await at_points(name, 2)
        finally:
            await asyncio.sleep(1)
            ended.append(name)

    async def program() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child("a"))
            group.create_task(child("b"))

    with pytest.raises(LookupError):
        run(program, Raising())
    assert ended == ["a", "b"]
    assert gc.isenabled()


async def leave_an_orphan() -> None:
    orphan = asyncio.create_task(at_points("orphan", 2), name="orphan")
    await asyncio.sleep(0)
    assert not orphan.done()


def test_what_happens_while_reaping_is_not_recorded() -> None:
    """Orphans are named, and ended without a trace in the log."""
    result = run(leave_an_orphan, First())
    assert result.pending == ["orphan"]
    assert (result.events, result.handler_calls, result.warnings) == ([], [], [])


def test_an_error_that_nobody_retrieves_is_seen() -> None:
    """Also where it would be reported only when the garbage is collected."""

    async def fail() -> None:
        raise ValueError("nobody looks")

    async def program() -> None:
        cycle: list[Any] = [asyncio.create_task(fail())]
        cycle.append(cycle)
        await asyncio.sleep(0)

    calls = run(program, First()).handler_calls
    assert len(calls) == 1
    assert "exception was never retrieved: ValueError('nobody looks')" in calls[0]


def test_no_collection_in_the_middle_of_a_run_hides_an_error() -> None:
    """What a program leaves in a cycle is young when the run is over, however much it allocates."""

    async def fail() -> None:
        raise ValueError("nobody looks")

    async def program() -> None:
        cycle: list[Any] = [asyncio.create_task(fail())]
        cycle.append(cycle)
        await asyncio.sleep(0)
        cycle.append([[] for _ in range(50_000)])

    assert len(run(program, First()).handler_calls) == 1


def test_an_unretrieved_error_held_by_the_outcome_is_seen_when_that_is_dropped() -> None:
    """The exception handler counts to the end of the last reference."""

    async def fail() -> None:
        raise ValueError("nobody looks")

    async def program() -> object:
        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
        return task

    result = run(program, First())
    assert not result.handler_calls
    result.release()
    assert len(result.handler_calls) == 1


def test_a_coroutine_that_nobody_awaits_is_seen() -> None:
    """Its warning is recorded, whatever the filters of the test run say."""

    async def program() -> None:
        _ = at_points("a", 1)

    assert run(program, First()).warnings == ["coroutine 'at_points' was never awaited"]


def test_a_destructor_that_fails_is_seen() -> None:
    """What goes to `sys.unraisablehook` is recorded, and the hook is put back."""
    hook = sys.unraisablehook

    class Bad:
        def __del__(self) -> None:
            raise ValueError("bad")

    async def program() -> None:
        Bad()

    assert len(run(program, First()).unraisable) == 1
    assert sys.unraisablehook is hook


def test_an_error_in_a_callback_is_seen() -> None:
    """It goes to the exception handler, as on the stock loop, and is recorded as text."""

    async def program() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    assert "ZeroDivisionError" in run(program, First()).handler_calls[0]


def test_what_outlives_the_outcome_is_seen() -> None:
    """A tracked object is missing from `alive()` only when it is really gone."""

    class Thing:
        pass

    kept: list[object] = []

    async def program() -> object:
        returned = Thing()
        for name in ("kept", "returned", "dropped", "in a cycle"):
            thing = returned if name == "returned" else Thing()
            current().track(name, thing)
            if name == "kept":
                kept.append(thing)
            elif name == "in a cycle":
                thing.__dict__["me"] = thing
        return returned

    result = run(program, First())
    assert result.in_cycles == ["in a cycle"]
    assert result.alive() == ["kept", "returned"]
    assert result.tracked("returned") is result.value
    result.release()
    assert result.alive() == ["kept"]


def test_interrupts_are_recorded_and_the_run_goes_on() -> None:
    """KeyboardInterrupt comes out of the loop and not out of `run`; the outer task ends."""
    for result in explore(world(right, a=exits(error=KeyboardInterrupt), b=returns())):
        assert result.interrupts
        assert isinstance(result.error, KeyboardInterrupt)


def test_tasks_stand_in_sets_in_the_order_of_their_birth() -> None:
    """The order of a set of tasks depends on no address, so a run can be repeated."""

    async def program() -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(0), name=str(number)) for number in range(30)}
        names = [task.get_name() for task in tasks]
        await asyncio.wait(tasks)
        return names

    first = run(program, First()).value
    hold = [object() for _ in range(1000)]
    assert run(program, First()).value == first
    assert len(hold) == 1000


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
def test_eager_runs_start_tasks_where_they_are_made() -> None:
    """With `eager=True` a task that awaits nothing is done at once; the schedule says so."""

    async def child() -> str:
        return "value"

    async def program() -> bool:
        return asyncio.create_task(child()).done()

    lazy, eager = run(program, First()), run(program, First(), eager=True)
    assert (lazy.value, eager.value) == (False, True)
    assert eager.schedule == "fifo-eager:"
    assert replay(program, eager.schedule).value is True
    assert run(leave_an_orphan, First(), eager=True).pending == ["orphan"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there are eager tasks")
def test_eager_runs_need_a_python_that_has_eager_tasks() -> None:
    """On 3.11 `eager=True` is refused, rather than ignored."""
    with pytest.raises(RuntimeError, match="no eager tasks"):
        run(two_by_two, First(), eager=True)


def test_scopes_nest() -> None:
    """A child may be a scope with children of its own; the oracles judge both."""
    program = world(
        right, a=nests(right, x=returns(), y=returns()), b=returns(), c=nests(right, z=returns())
    )
    runs = 0
    for result in explore(program, cancels=1):
        check_all(result)
        runs += 1
    assert runs > 100


def test_choosers_are_reusable() -> None:
    """A chooser that is used for a second run makes the same choices again."""
    choosers: list[Chooser] = [First(), Steps(3), DepthFirst()]
    for chooser in choosers:
        first = run(two_by_two, chooser, cancels=1).schedule
        assert run(two_by_two, chooser, cancels=1).schedule == first
    assert run(two_by_two, Seeded(7)).schedule == run(two_by_two, Seeded(7)).schedule
