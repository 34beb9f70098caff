"""A fault at step 1, 2, 3, ... of each scenario, until no step is left.

SQLite is tested against running out of memory in this way. Wherever the fault strikes, the oracles
of the searches judge the run. The scenarios assert how many steps their children take, how many
boundaries there are between two callbacks of the loop, and how many cancellations arrive in
children, so that the tests don't lose coverage unnoticed.
"""

from __future__ import annotations

import pytest

from simloop.choosers import sweep
from simloop.every_schedule import either_start, needs_eager_tasks
from simloop.faults import (
    Fault,
    a_failure,
    an_exit,
    an_interrupt,
    child_faults,
    child_faults_and_cancellations,
    no_memory,
    too_deep,
)
from simloop.run_log import log_of
from support.fault_scenarios import EAGER, LAZY, Scenario, as_it_is, check, each_scenario


@either_start
@each_scenario
def test_the_caller_is_cancelled_at_every_boundary(scenario: Scenario, *, eager: bool) -> None:
    """Between any two callbacks of the loop."""
    *runs, last = sweep(scenario.program(as_it_is), eager=eager)
    for run in (*runs, last):
        check(run, scenario, eager=eager)
    assert all(run.cancel_steps for run in runs)
    assert not last.cancel_steps
    assert len(runs) >= scenario.boundaries * (EAGER if eager else LAZY)


FAULTS = [a_failure, no_memory, too_deep]
INTERRUPTS = [an_interrupt, an_exit]


@either_start
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@each_scenario
def test_a_fault_in_every_step_of_a_child(scenario: Scenario, fault: Fault, *, eager: bool) -> None:
    """In its body or in its cleanup, in place of a value or of a cancellation."""
    count = 0
    for run, fired in child_faults(scenario.program, fault, eager=eager):
        count += fired
        check(run, scenario, eager=eager)
    assert count >= scenario.steps * (EAGER if eager else LAZY)


@pytest.mark.parametrize("fault", INTERRUPTS, ids=lambda fault: fault.__name__)
@each_scenario
def test_an_interrupt_in_every_step_of_a_child(scenario: Scenario, fault: Fault) -> None:
    """It propagates through the loop at once; if the loop runs on, every child is joined."""
    count = 0
    for run, fired in child_faults(scenario.program, fault):
        count += fired
        ends = [child.ending.what for child in log_of(run).children.values() if child.ending]
        of_children = [end for end in ends if str(end).startswith(("KeyboardI", "SystemExit"))]
        assert run.interrupts[: len(of_children)] == of_children
        check(run, scenario)
    assert count >= scenario.steps * LAZY


@pytest.mark.parametrize(
    "eager",
    [
        pytest.param(False, id="lazy"),
        pytest.param(True, id="eager", marks=[pytest.mark.exhaustive, needs_eager_tasks]),
    ],
)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(None, id="ignores"),
        pytest.param(no_memory, id="no_memory", marks=pytest.mark.exhaustive),
    ],
)
@each_scenario
def test_a_fault_and_a_cancellation(
    scenario: Scenario, fault: Fault | None, *, eager: bool
) -> None:
    """A child ignores one cancellation, or raises MemoryError, and the caller is cancelled."""
    count = 0
    for run, fired in child_faults_and_cancellations(scenario.program, fault, eager=eager):
        count += fired
        check(run, scenario, eager=eager)
    least = scenario.ignored if fault is None else scenario.steps * scenario.boundaries / 4
    assert count >= least * (EAGER if eager else LAZY)
