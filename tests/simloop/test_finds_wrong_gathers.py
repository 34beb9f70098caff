"""The searches find known faults of wrong implementations, and of asyncio."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import pytest

from simloop import wrong
from simloop.behaviours import (
    cleans_up_slowly,
    fails,
    fails_in_cleanup,
    hangs,
    ignores_one_cancellation,
    nests,
    returns,
    sleeps,
    three_children,
)
from simloop.choosers import explore, replay, sample
from simloop.oracles import (
    ORACLES,
    Violation,
    check_all,
    no_child_pending,
    outer_cancel_surfaces,
    violated,
)
from simloop.run import Program
from simloop.worlds import Call, world

Coro = Coroutine[Any, Any, Any]

COUNTS = sys.version_info >= (3, 13)  # whether TaskGroup keeps `cancelling()` right


async def gather(*coroutines: Coro) -> list[Any]:
    return await asyncio.gather(*coroutines)


async def task_group(*coroutines: Coro) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
    return [task.result() for task in tasks]


# Worlds for faults that the three children do not show


def two_that_return(call: Call) -> Program:
    return world(call, a=returns(), b=returns())


def two_that_fail(call: Call) -> Program:
    return world(call, a=fails(), b=fails_in_cleanup())


def one_that_will_not_be_cancelled(call: Call) -> Program:
    return world(call, a=ignores_one_cancellation(), b=returns())


def one_that_never_ends(call: Call) -> Program:
    return world(call, a=hangs(), b=fails(), c=cleans_up_slowly())


def one_that_is_late(call: Call) -> Program:
    return world(call, deadline=wrong.WITHIN, a=sleeps(wrong.WITHIN / 2), b=sleeps(60))


def one_inside_the_other(call: Call) -> Program:
    return world(call, a=nests(call, x=fails(), y=cleans_up_slowly()), b=fails(points=2))


class Fault(NamedTuple):
    """A wrong call, and the search that must find it: `oracle` names what is violated."""

    call: Call
    oracle: str
    world: Callable[[Call], Program] = three_children
    cancels: int = 0


FAULTS = [
    Fault(wrong.cancels_without_joining, "no_child_pending"),
    Fault(wrong.cancels_without_joining, "every_cleanup_has_run"),
    Fault(wrong.joins_once, "no_child_pending", cancels=1),
    Fault(wrong.swallows_the_cancellation, "outer_cancel_surfaces", cancels=1),
    Fault(wrong.swallows_the_cancellation, "inner_cancel_surfaces", one_inside_the_other),
    Fault(wrong.uncancels_too_much, "cancelling_balanced", cancels=1),
    Fault(wrong.cancels_twice, "no_child_cancelled_twice", cancels=1),
    Fault(wrong.never_retrieves, "handler_never_called", cancels=1),
    # On 3.13 and later the group counts right, but then cancels its caller a second time.
    Fault(wrong.checks_cancelling_after_a_group, "no_cancel_invented", cancels=1 if COUNTS else 0),
    Fault(wrong.awaits_in_turn, "outer_cancel_surfaces", one_that_will_not_be_cancelled, cancels=1),
    Fault(wrong.drops_the_message, "cancel_message_kept", cancels=1),
    Fault(wrong.raises_the_last_failure, "first_failure_raised", two_that_fail),
    Fault(wrong.results_as_they_come, "outcomes_match", two_that_return),
    Fault(wrong.forgets_the_unstarted, "no_coroutine_never_awaited", cancels=1),
    Fault(wrong.leaves_a_cycle, "nothing_kept_alive"),
    Fault(wrong.leaves_garbage, "nothing_in_cycles"),
    Fault(wrong.keeps_its_tasks, "nothing_kept_alive"),
    Fault(wrong.ignores_its_deadline, "deadlines_hold", one_that_is_late),
    Fault(wrong.times_out_too_early, "no_timeout_too_early", one_that_is_late),
    Fault(wrong.waits_for_all_first, "no_deadlock", one_that_never_ends),
]


def name_of(fault: Fault) -> str:
    return f"{getattr(fault.call, '__name__', fault.call)}-{fault.oracle}"


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    yield
    wrong.KEPT.clear()


@functools.cache
def first_schedule(fault: Fault) -> str | None:
    """Search for the fault; return the first schedule that shows it."""
    search = explore(fault.world(fault.call), cancels=fault.cancels, deadlock_ok=True)
    return next((run.schedule for run in search if fault.oracle in violated(run)), None)


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_a_known_fault_is_found(fault: Fault) -> None:
    """The exhaustive search finds the fault, with the fewest outer cancellations that show it."""
    for cancels in range(fault.cancels):
        for run in explore(fault.world(fault.call), cancels=cancels, deadlock_ok=True):
            assert fault.oracle not in violated(run)
    assert first_schedule(fault) is not None


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_a_printed_schedule_repeats_the_violation(fault: Fault) -> None:
    """`replay` of a printed schedule has the same violation."""
    schedule = first_schedule(fault)
    assert schedule is not None
    program = fault.world(fault.call)
    assert fault.oracle in violated(replay(program, schedule, deadlock_ok=True))


def test_every_oracle_finds_a_fault() -> None:
    """Each oracle is violated by a known fault."""
    assert {fault.oracle for fault in FAULTS} == {oracle.__name__ for oracle in ORACLES}


def test_every_wrong_call_is_found() -> None:
    """Each wrong implementation is in the list of faults."""
    public = {
        name: call
        for name, call in vars(wrong).items()
        if inspect.iscoroutinefunction(call) and not name.startswith("_")
    }
    assert {fault.call for fault in FAULTS} == {*public.values()} - {wrong.right}


@pytest.mark.parametrize(
    "make",
    [
        three_children,
        two_that_return,
        two_that_fail,
        one_that_will_not_be_cancelled,
        one_that_never_ends,
    ],
)
def test_no_false_alarm(make: Callable[[Call], Program]) -> None:
    """The oracles find nothing in a right call, in every schedule with one cancellation."""
    for run in explore(make(wrong.right), cancels=1):
        check_all(run)


@pytest.mark.parametrize(
    "eager",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                sys.version_info < (3, 12), reason="there are no eager tasks before 3.12"
            ),
        ),
    ],
)
def test_no_false_alarm_in_racy_mode(eager: bool) -> None:  # noqa: FBT001
    """Nor in mode `racy` with two cancellations, with lazy and with eager tasks."""
    program = three_children(wrong.right)
    for run in sample(program, 500, mode="racy", cancels=2, eager=eager):
        check_all(run)


def test_orphans_of_gather() -> None:
    """In 95 of the 155 schedules of the three children, gather leaves a child running."""
    runs = list(explore(three_children(gather)))
    orphans = [run for run in runs if "no_child_pending" in violated(run)]
    assert (len(orphans), len(runs)) == (95, 155)


@pytest.mark.exhaustive
def test_cancellations_that_a_group_loses() -> None:
    """A TaskGroup of 3.11 or 3.12 loses the caller's cancellation in 854 of 1,650 schedules."""
    runs = list(explore(three_children(task_group), cancels=1))
    lost = [run for run in runs if "outer_cancel_surfaces" in violated(run)]
    assert (len(lost), len(runs)) == (0 if COUNTS else 854, 1650)


def test_a_violation_has_its_schedule() -> None:
    """The message names the oracle and has a schedule that `replay` takes."""
    program = three_children(gather)
    found = next(run for run in explore(program) if "no_child_pending" in violated(run))
    with pytest.raises(Violation, match=rf"^no_child_pending: .*{re.escape(found.schedule)}"):
        no_child_pending(replay(program, found.schedule))


def test_an_oracle_can_be_run_alone() -> None:
    """An oracle passes if its own promise holds, whatever else is wrong."""
    for run in explore(three_children(wrong.cancels_without_joining)):
        outer_cancel_surfaces(run)
