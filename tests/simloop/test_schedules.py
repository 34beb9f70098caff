"""Every schedule is visited once, and can be repeated."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simloop.asyncio_programs import at_points, two_by_two
from simloop.behaviours import three_children
from simloop.choosers import (
    DepthFirst,
    Diverged,
    First,
    Seeded,
    Steps,
    explore,
    replay,
    sample,
    sweep,
)
from simloop.loop import Chooser, Mode, point
from simloop.oracles import check_all
from simloop.run import Run, run
from simloop.wrong import right


def order(result: Run) -> str:
    return " ".join(f"{event.who}{event.detail}" for event in result.events)


def test_every_order_of_the_outside_is_visited_once() -> None:
    """Two tasks of two points each: the six ways to interleave them, none twice."""
    orders = [order(result) for result in explore(two_by_two)]
    expected = set(itertools.permutations(["a", "a", "b", "b"]))
    assert len(orders) == len(set(orders)) == len(expected) == 6
    assert orders[0] == "a0 b0 a1 b1"  # choice 0: the oldest point first


def test_racy_mode_has_the_same_orders_and_more_schedules() -> None:
    """Mode racy visits all that fifo does, each schedule once."""
    runs = list(explore(two_by_two, mode="racy"))
    schedules = {result.schedule for result in runs}
    assert {order(result) for result in runs} >= {order(result) for result in explore(two_by_two)}
    assert len(schedules) == len(runs) > 6


def test_racy_mode_completes_points_before_a_task_wakes() -> None:
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


def test_two_cancellations_at_one_boundary() -> None:
    """The outer task can be cancelled again before it receives the first one."""

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
    """`replay` repeats the choices, cancellations and events of `Run.schedule`."""
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
    """Another number of options, a choice too many or a cancellation too late raises."""
    for schedule in ("fifo:0/3", "fifo:5", "fifo:0.0.0.0.0.0.0.0.0", "fifo:@c999"):
        with pytest.raises(Diverged):
            replay(two_by_two, schedule)


def test_a_program_that_is_not_deterministic_is_refused() -> None:
    """A search raises if a repeated prefix has other options, or fewer choices."""
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
    with pytest.raises(Diverged, match="finished after"):
        list(explore(fewer_choices))


def test_random_cancellations_are_spread_over_the_run() -> None:
    """They are drawn before the schedule, so late boundaries are hit as often as early ones."""
    runs = list(sample(three_children(right), 300, cancels=1))
    steps = [step for result in runs for step in result.cancel_steps]
    middle = max(steps) // 2
    assert 60 < sum(step > middle for step in steps) < 240


def test_a_sweep_cancels_at_every_step() -> None:
    """Step 0, 1, 2, ... until the program finishes before that step; and every pair of steps."""

    async def program() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    assert [result.cancel_steps for result in sweep(program)] == [[0], [1], [2], [3], []]
    twice = [result.cancel_steps for result in sweep(program, cancels=2)]
    assert [0, 0] in twice
    assert [2, 3] not in twice  # it is cancelled at the first
    assert twice[-1] == []


class Drawn(Steps):
    """Draws from hypothesis' `data()`, so that hypothesis can shrink the schedule."""

    def __init__(self, data: st.DataObject, horizon: int = 40) -> None:
        super().__init__()
        self._data = data
        self._horizon = horizon

    def begin(self, cancels: int) -> None:
        steps = st.lists(st.integers(0, self._horizon - 1), max_size=cancels)
        self._left = sorted(self._data.draw(steps, label="cancel before steps"))

    def choose(self, options: int) -> int:
        return self._data.draw(st.integers(0, options - 1))


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_hypothesis_can_choose(data: st.DataObject) -> None:
    """Hypothesis can draw a schedule."""
    mode: Mode = "racy" if data.draw(st.booleans()) else "fifo"
    result = run(three_children(right), Drawn(data), mode=mode, cancels=2)
    assert replay(three_children(right), result.schedule).schedule == result.schedule
    check_all(result)


def test_choosers_are_reusable() -> None:
    """A chooser that is used for a second run makes the same choices again."""
    choosers: list[Chooser] = [First(), Steps(3), DepthFirst()]
    for chooser in choosers:
        first = run(two_by_two, chooser, cancels=1).schedule
        assert run(two_by_two, chooser, cancels=1).schedule == first
    assert run(two_by_two, Seeded(7)).schedule == run(two_by_two, Seeded(7)).schedule
