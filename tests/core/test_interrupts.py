"""An interrupt at every line of the package leaves no child running: the TaskGroup joins it.

KeyboardInterrupt or MemoryError is raised at line event 1, 2, 3, ... of the package. Whatever the
call then raises, every child is done when it returns. If the line that wakes the caller was
interrupted, the call waits until the caller is cancelled, joins every child and raises.
The same for Ctrl-C, which under `asyncio.run` cancels the main Task between any two lines.

No code of a context manager can protect one line: the first line of its `__aexit__`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from interrupts.__main__ import main

from simloop.interrupts import Interrupt, Start, interrupts, lines_of
from structgather import _adopt, _one, _scope, _stream, as_completed_scoped, gather_structured
from support.each_call import first, gather
from support.interrupt_scenarios import SCENARIOS, UNPROTECTED, Scenario, is_ours
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import now

#: Each scenario has at least as many line events, even where a call has a fast path.
LEAST = 40

#: The scenarios of the default run, each with one of the exceptions, every second one with a
#: cancellation; `-m exhaustive` has every scenario with every interrupt.
QUICK = [
    scenario
    for scenario in SCENARIOS
    if scenario.name
    in {
        "gather",
        "gather one child",
        "gather fails",
        "gather return_exceptions",
        "gather limit fails",
        "gather cancelled",
        "gather tasks fails",
        "first met",
        "first limit",
        "first within",
        "stream breaks",
        "stream adds",
        "stream source",
        "stream tasks",
    }
]
EAGER: Start = "lazy" if sys.version_info < (3, 12) else "eager"


def each(scenarios: list[Scenario]) -> pytest.MarkDecorator:
    """Run a test once for each of these scenarios."""
    return pytest.mark.parametrize("scenario", scenarios, ids=lambda scenario: scenario.name)


each_interrupt = pytest.mark.parametrize(
    "interrupt", ["KeyboardInterrupt", "MemoryError", "cancel"]
)


def check(scenario: Scenario, interrupt: Interrupt, start: Start = "lazy") -> None:
    """Interrupt every line of a scenario."""
    *runs, last = interrupts(scenario.program, interrupt, lines_of(is_ours), start)
    broken = [run for run in (*runs, last) if run.broken()]
    unprotected = [run for run in broken if run.place == UNPROTECTED]
    assert [run.broken() for run in broken if run not in unprotected] == []
    assert len(unprotected) == (scenario.left_early and interrupt != "cancel")
    if interrupt == "cancel":
        assert {run.ending for run in runs} == {last.ending, "cancelled"}
    assert len(runs) >= LEAST
    assert last.place is None
    assert last.ending  # else the end of the call was not interrupted


@each(QUICK[::2])
def test_a_keyboard_interrupt_at_every_line(scenario: Scenario) -> None:
    """Every child is done when the call returns, and the interrupt is raised somewhere."""
    check(scenario, "KeyboardInterrupt")


@each(QUICK[1::2])
def test_a_memory_error_at_every_line(scenario: Scenario) -> None:
    """Every child is done when the call returns, also with eager Tasks."""
    check(scenario, "MemoryError", EAGER)


@each(QUICK[::2])
def test_the_caller_is_cancelled_at_every_line(scenario: Scenario) -> None:
    """As by a signal handler: CancelledError is raised, and no child is cancelled twice."""
    check(scenario, "cancel")


@pytest.mark.exhaustive
@pytest.mark.parametrize("start", sorted({"lazy", EAGER, "plain"}))
@each_interrupt
@each(SCENARIOS)
def test_every_interrupt_at_every_line(
    scenario: Scenario, interrupt: Interrupt, start: Start
) -> None:
    """In all scenarios, with Tasks of every kind."""
    check(scenario, interrupt, start)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints figures of structgather and of asyncio."""
    assert main(["--match", "gather one"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    calls = {row[1]: row for row in rows[2:]}
    assert calls["structgather"][6:8] == ["0", "0"]
    assert calls["`asyncio.gather`"][6] != "0"


async def out_of_memory(_: object) -> None:
    raise MemoryError


@pytest.mark.parametrize("children", [1, 2])
@pytest.mark.parametrize("call", [gather_structured, gather, first])
@virtual
async def test_a_cancellation_while_an_interrupted_call_joins(
    call: Any, children: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adopted Tasks, which the group does not know, are joined; the interrupt is its cause."""
    monkeypatch.setattr(_one.One, "_join", out_of_memory)
    monkeypatch.setattr(_scope.Scope, "join", out_of_memory)
    log: list[str] = []
    tasks = [asyncio.create_task(stops_slowly(log, 5)) for _ in range(children)]
    await asyncio.sleep(1)
    task = asyncio.create_task(call(*tasks))
    await asyncio.sleep(1)
    task.cancel("the user left")
    with pytest.raises(asyncio.CancelledError, match="the user left") as caught:
        await task
    assert log == ["cleaned up"] * children
    assert now() == 6
    assert isinstance(caught.value.__cause__, MemoryError)


@virtual
async def test_a_block_that_was_interrupted_forgets_its_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its children do not wait for another Task to leave the block."""

    async def caller() -> None:
        async with as_completed_scoped([forever()]):
            await asyncio.sleep(1)

    def raises(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(_adopt, "settle_finished", raises)
    before = set(_stream._without_caller)
    task = asyncio.create_task(caller())
    await asyncio.wait([task])
    assert isinstance(task.exception(), MemoryError)
    await asyncio.sleep(1)
    assert _stream._without_caller == before
