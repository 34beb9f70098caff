"""The oracles for the functions with outcomes find known faults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from simloop import outcome_oracles, wrong_outcomes
from simloop.behaviours import (
    cleans_up_slowly,
    fails,
    hangs,
    returns,
    returns_while_cancelled,
    sleeps,
)
from simloop.calls import (
    adds_a_child,
    breaks,
    first,
    generator,
    pauses,
    raises,
    slow,
    stream,
)
from simloop.choosers import explore
from simloop.every_schedule import SMALL, judge, world_of
from simloop.oracles import ORACLES, Violation
from simloop.run import Program, Run
from simloop.run_log import log_of
from simloop.worlds import SCOPE, Behaviour
from simloop.wrong_outcomes import (
    CountsFromTheEntry,
    DeliversByIndex,
    DropsTheTickOfTheDeadline,
    DropsTheUndelivered,
    ForgetsWhatIsAddedLate,
    InOrder,
    KeepsRunningAfterTheTimeout,
    LeavesTheSourceOpen,
    LeavesWithoutJoining,
    OrdersWhatIsReady,
    RunsAhead,
    Stream,
    TakesZeroForNone,
    race,
    race_that_counts_losers,
    race_that_forgets_why,
)

ADDS: dict[str, Behaviour] = {"a": adds_a_child(), "b": returns(), "x": cleans_up_slowly()}
CLOCK: dict[str, Behaviour] = {"a": sleeps(1), "b": sleeps(2), "c": hangs()}
SLEEP: dict[str, Behaviour] = {"a": sleeps(1), "b": sleeps(2)}
RACERS: dict[str, Behaviour] = {"a": returns(), "b": returns_while_cancelled(), "c": fails()}


def of_the_tick(run: Run) -> None:
    """The first child of `CLOCK` returns at 1, in time if that is the deadline."""
    scope = log_of(run).scopes[SCOPE]
    if scope.labels == tuple(CLOCK) and scope.deadline == 1 and scope.children[0].cancelled:
        raise Violation("of_the_tick", "cancelled in the tick of its value", run.schedule)


def violated(run: Run) -> set[str]:
    """Return the names of the oracles that `run` violates."""
    names: set[str] = set()
    for oracle in (of_the_tick, *outcome_oracles.ORACLES, *ORACLES):
        try:
            oracle(run)
        except Violation as violation:
            names.add(violation.oracle)
    return names


def streams(of: type[Stream], children: dict[str, Behaviour] = SMALL, **options: Any) -> Program:
    return world_of(partial(stream, of=of, **options), children, deadline=options.get("timeout"))


def races(
    of: Callable[..., object], children: dict[str, Behaviour] = RACERS, **options: Any
) -> Program:
    return world_of(partial(first, of=of, **options), children, deadline=options.get("within"))


class Fault(NamedTuple):
    """A wrong implementation, the oracle that must find the fault, and a world that shows it."""

    wrong: Callable[..., object]
    oracle: str
    program: Callable[..., Program] = streams


FAULTS = [
    Fault(
        ForgetsWhatIsAddedLate,
        "no_child_pending",
        partial(streams, children=ADDS, held_back=1, body=breaks),
    ),
    Fault(DropsTheTickOfTheDeadline, "of_the_tick", partial(streams, children=CLOCK, timeout=1)),
    Fault(RunsAhead, "limit_holds", partial(streams, body=pauses, feed=generator, limit=1)),
    Fault(LeavesWithoutJoining, "no_child_pending", partial(streams, body=breaks)),
    Fault(LeavesWithoutJoining, "every_cleanup_has_run", partial(streams, body=breaks)),
    Fault(DropsTheUndelivered, "nothing_dropped", partial(streams, body=raises)),
    Fault(
        KeepsRunningAfterTheTimeout, "deadlines_hold", partial(streams, children=CLOCK, timeout=1)
    ),
    Fault(TakesZeroForNone, "deadlines_hold", partial(streams, children=CLOCK, timeout=0)),
    Fault(DeliversByIndex, "in_completion_order", partial(streams, body=pauses)),
    Fault(OrdersWhatIsReady, "in_input_order", partial(streams, ordered=True)),
    Fault(CountsFromTheEntry, "elapsed_to_the_tick", partial(streams, children=SLEEP, limit=1)),
    Fault(LeavesTheSourceOpen, "source_closed", partial(streams, feed=slow, body=breaks)),
    Fault(race_that_counts_losers, "the_first_values", partial(races, n=1)),
    Fault(race_that_forgets_why, "losers_are_reported", partial(races, within=1)),
]


@pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda fault: f"{fault.wrong.__name__}-{fault.oracle}"
)
def test_a_known_fault_is_found(fault: Fault) -> None:
    """The search finds the fault, and no such violation in a right implementation."""
    search = explore(fault.program(fault.wrong), deadlock_ok=True)
    assert any(fault.oracle in violated(run) for run in search)
    right: Callable[..., object] = Stream if isinstance(fault.wrong, type) else race
    if fault.wrong is OrdersWhatIsReady:
        right = InOrder
    for run in explore(fault.program(right), deadlock_ok=True):
        assert fault.oracle not in violated(run)


def test_every_oracle_finds_a_fault() -> None:
    """Each oracle is violated by a known fault."""
    assert {oracle.__name__ for oracle in outcome_oracles.ORACLES} <= {
        fault.oracle for fault in FAULTS
    }


def test_every_fault_is_found() -> None:
    """Each wrong implementation is in the list of faults."""
    public = {
        thing
        for thing in vars(wrong_outcomes).values()
        if (inspect.isclass(thing) and issubclass(thing, Stream))
        or inspect.iscoroutinefunction(thing)
    }
    assert {fault.wrong for fault in FAULTS} == public - {Stream, InOrder, race}


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(streams(Stream), id="plain"),
        pytest.param(streams(Stream, body=breaks), id="breaks"),
        pytest.param(streams(Stream, feed=generator, limit=2), id="limit=2"),
        pytest.param(streams(Stream, timeout=1), id="timeout"),
        pytest.param(streams(InOrder, ordered=True), id="ordered"),
        pytest.param(races(race, SMALL, n=1), id="race"),
        pytest.param(races(race, within=1), id="race-within"),
    ],
)
def test_no_false_alarm(program: Program) -> None:
    """The oracles find nothing in a right call, in every schedule with one cancellation."""
    for run in explore(program, cancels=1):
        judge(run)
