"""Interrupts at every line find wrong implementations, and known faults of asyncio."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType

import pytest

from simloop import wrong_interrupts as wrong
from simloop.behaviours import cleans_up_slowly, returns
from simloop.every_schedule import world_of
from simloop.interrupts import Interrupt, Lines, Place, _TracedLines, interrupts, lines_of
from simloop.worlds import Call
from support.asyncio_interrupts import with_gather, with_group
from support.interrupt_scenarios import is_of_asyncio, is_of_task_group

TWO = {"a": returns(), "b": cleans_up_slowly()}


def is_wrong(code: CodeType) -> bool:
    return code.co_filename == wrong.__file__


def found(
    call: Call,
    interrupt: Interrupt,
    is_of_interest: Callable[[CodeType], bool] = is_wrong,
    lines: Callable[[Callable[[CodeType], bool]], Lines] = lines_of,
) -> set[str]:
    """Collect the violations over all interrupted lines."""
    program = world_of(call, TWO)
    runs = interrupts(program, interrupt, lines(is_of_interest))
    return {run.broken() for run in runs} - {""}


@pytest.mark.parametrize(
    ("call", "interrupt", "what"),
    [
        (wrong.leaves_without_finally, "KeyboardInterrupt", "orphans"),
        (wrong.leaves_without_finally, "MemoryError", "orphans"),
        (wrong.counts, "KeyboardInterrupt", "hangs"),
        (wrong.counts, "MemoryError", "hangs"),
        (wrong.records_anything, "KeyboardInterrupt", "swallowed"),
    ],
)
def test_a_known_fault_is_found(call: Call, interrupt: Interrupt, what: str) -> None:
    """Each wrong implementation has its own kind of violation."""
    assert what in " ".join(found(call, interrupt))


def test_a_signal_handler_that_cancels_between_two_lines() -> None:
    """An exception of the call's own code is raised."""
    program = world_of(wrong.checks_before_it_wakes, TWO)
    endings = {run.ending for run in interrupts(program, "cancel", lines_of(is_wrong))}
    assert any("InvalidStateError" in ending for ending in endings)


@pytest.mark.parametrize("interrupt", ["KeyboardInterrupt", "MemoryError"])
def test_orphans_of_gather_are_found(interrupt: Interrupt) -> None:
    """An interrupt in the lines of `asyncio.gather` leaves children running."""
    assert "orphans" in " ".join(found(with_gather, interrupt, is_of_asyncio))


def test_a_task_group_that_is_interrupted_is_found() -> None:
    """An exception raised in its own `__aexit__` leaves children running, too."""
    assert "orphans" in " ".join(found(with_group, "KeyboardInterrupt", is_of_task_group))


def test_tracing_and_monitoring_find_the_same() -> None:
    """Tracing has a few more events, for lines that jump back to themselves."""
    monitored = found(wrong.counts, "KeyboardInterrupt")
    assert monitored
    assert found(wrong.counts, "KeyboardInterrupt", lines=_TracedLines) >= monitored


def test_the_first_line_of_a_function() -> None:
    """It is the first line after `def`, also in a coroutine function."""
    first = Place.first_of(wrong.counts.__code__)
    assert first.line == wrong.counts.__code__.co_firstlineno + 2
