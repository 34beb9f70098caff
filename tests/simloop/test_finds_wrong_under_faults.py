"""The tests of faults find wrong implementations, each by the named oracle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

import pytest

from simloop import wrong
from simloop.choosers import sweep
from simloop.faults import (
    a_failure,
    an_interrupt,
    child_faults,
    child_faults_and_cancellations,
    closings,
    no_memory,
    strikes,
    too_deep,
)
from simloop.oracles import violated
from simloop.run import Run
from simloop.worlds import Call
from support.fault_scenarios import Scenario, came_out, three

Coro = Coroutine[Any, Any, Any]


async def catches_exceptions_only(*coroutines: Coro) -> list[Any]:
    """Does not join its children when an interrupt propagates."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        return [task.result() for task in tasks if task.done()]
    except Exception:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    finally:
        del tasks


def of_children(fault: Any) -> Callable[[Scenario], Iterator[Run]]:
    return lambda scenario: (run for run, fired in child_faults(scenario.program, fault) if fired)


def with_cancellations(fault: Any) -> Callable[[Scenario], Iterator[Run]]:
    return lambda scenario: (
        run for run, _ in child_faults_and_cancellations(scenario.program, fault)
    )


def cancelled(scenario: Scenario) -> Iterator[Run]:
    return sweep(scenario.program(lambda behaviour: behaviour))


def struck(how: Any) -> Callable[[Scenario], Iterator[Run]]:
    return lambda scenario: (run for run, _ in strikes(scenario.program(lambda plain: plain), how))


@pytest.mark.parametrize(
    ("call", "search", "oracle"),
    [
        (wrong.cancels_without_joining, of_children(a_failure), "no_child_pending"),
        (wrong.cancels_without_joining, of_children(no_memory), "every_cleanup_has_run"),
        (wrong.raises_the_last_failure, of_children(too_deep), "first_failure_raised"),
        (wrong.joins_once, cancelled, "no_child_pending"),
        (wrong.swallows_the_cancellation, cancelled, "outer_cancel_surfaces"),
        (wrong.never_retrieves, with_cancellations(a_failure), "handler_never_called"),
        (wrong.awaits_in_turn, with_cancellations(None), "outer_cancel_surfaces"),
        (wrong.forgets_the_unstarted, cancelled, "no_coroutine_never_awaited"),
        (wrong.cancels_twice, struck("Ctrl-C"), "no_child_cancelled_twice"),
        (catches_exceptions_only, of_children(an_interrupt), "no_child_pending"),
    ],
)
def test_a_fault_finds_it(
    call: Call, search: Callable[[Scenario], Iterable[Run]], oracle: str
) -> None:
    """The named oracle finds the fault in one of the runs."""
    scenario = Scenario("wrong", call, three, 0, 0, 0)
    assert oracle in {name for run in search(scenario) for name in violated(run)}


def test_a_lost_interrupt_is_found() -> None:
    """A call that swallows its cancellation swallows Ctrl-C."""
    runs = struck("Ctrl-C")(Scenario("wrong", wrong.swallows_the_cancellation, three, 0, 0, 0))
    assert not all(came_out(run) for run in runs)


def test_cleanups_that_a_closed_loop_breaks_are_found() -> None:
    """A cleanup that needs the loop when its coroutine is collected is reported."""

    async def program() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            asyncio.get_running_loop()

    assert any("no running event loop" in str(said) for said, _ in closings(program))
