"""The loop is stopped, interrupted or closed between any two callbacks, in each scenario."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from simloop.every_schedule import (
    LEAKS,
    either_start,
)
from simloop.faults import (
    How,
    closings,
    strikes,
)
from simloop.run import Program, Run
from simloop.worlds import ChildError
from structgather import RateLimit, as_completed_scoped, first_n_within
from support.fault_scenarios import (
    EAGER,
    LAZY,
    Scenario,
    as_it_is,
    came_out,
    check,
    each_scenario,
    gather,
    of_tasks,
)

# asyncio itself cancels there, with its own message. A CancelledError that is raised while an
# interrupt propagates through `asyncio.run` refers to it, and so to the frames and tasks there.
OF_THE_SHUTDOWN = frozenset({"no_cancel_invented", "cancelling_balanced", "cancel_message_kept"})


def only_shutdown_reports(run: Run) -> None:
    """Check that `asyncio.run` alone called the handler, for failures in cleanups."""
    said = [*run.handler_calls]
    run.handler_calls.clear()
    for message in said:
        assert message.startswith("unhandled exception during asyncio.run() shutdown: ChildError")


@either_start
@pytest.mark.parametrize("how", ["stands", "interrupt", "Ctrl-C"])
@each_scenario
def test_the_loop_stops_at_every_boundary(scenario: Scenario, how: How, *, eager: bool) -> None:
    """Then it runs on; or `asyncio.run` is interrupted, and cancels and joins all tasks."""
    but = {"stands": frozenset[str](), "Ctrl-C": OF_THE_SHUTDOWN}.get(how, OF_THE_SHUTDOWN | LEAKS)
    *runs, (last, struck_last) = strikes(scenario.program(as_it_is), how, eager=eager)
    for run, _ in runs:
        if how == "interrupt":
            only_shutdown_reports(run)
        if how == "Ctrl-C":
            assert came_out(run)
        assert run.pending == []
        check(run, scenario, but, eager=eager)
    assert last.pending == []
    assert all(struck for _, struck in runs)
    assert not struck_last
    assert len(runs) >= scenario.boundaries * (EAGER if eager else LAZY)


# A loop that is closed


async def child(seconds: float, *, fails: bool = False) -> float:
    try:
        await asyncio.sleep(seconds)
        if fails:
            raise ChildError
    finally:
        ended.append(seconds)
    return seconds


ended: list[float] = []


def children() -> list[Coroutine[Any, Any, float]]:
    return [child(1), child(2, fails=True), child(3)]


async def a_gather() -> None:
    with suppress(ChildError):
        await gather(*children())


async def a_gather_with_all_options() -> None:
    await gather(*children(), return_exceptions=True, limit=2, child_timeout=2.5)


async def a_gather_of_tasks() -> None:
    with suppress(ChildError):
        await of_tasks(*children())


async def a_race() -> None:
    await first_n_within(iter(children()), 2, within=5, limit=3, child_timeout=9)


async def a_stream() -> None:
    async with as_completed_scoped(children(), timeout=5, child_timeout=9) as outcomes:
        async for outcome in outcomes:
            outcome.done()


async def a_stream_of_a_source() -> None:
    async def source() -> AsyncIterator[Any]:
        for number in range(4):
            await asyncio.sleep(number)
            yield child(number)

    async with as_completed_scoped(source(), limit=2) as outcomes:
        async for outcome in outcomes:
            outcome.done()


async def a_rate_limit() -> None:
    limit = RateLimit(concurrent=1, requests=2, per=5)

    async def call(seconds: float) -> None:
        async with limit():
            await child(seconds)

    await gather(call(1), call(2), call(3))


CALLS = [
    pytest.param(a_gather, 16, id="gather"),
    pytest.param(a_gather_with_all_options, 25, id="gather with all options"),
    pytest.param(a_gather_of_tasks, 17, id="gather of tasks"),
    pytest.param(a_race, 20, id="race"),
    pytest.param(a_stream, 20, id="stream"),
    pytest.param(a_stream_of_a_source, 38, id="stream of a source"),
    pytest.param(a_rate_limit, 21, id="rate limit"),
]

# A task that never made its first step has a coroutine that was never awaited; the exception of a
# child that failed in the last iteration of the loop was never retrieved.
OF_ASYNCIO = (
    r"Task was destroyed but it is pending!: None"
    r"|coroutine '.*' was never awaited"
    r"|LoopTask exception was never retrieved: ChildError\(\)"
)


@either_start
@pytest.mark.parametrize(("program", "boundaries"), CALLS)
def test_the_loop_is_closed_at_every_boundary(
    program: Program, boundaries: int, *, eager: bool
) -> None:
    """Everything is collected, each `finally` runs, and only asyncio reports its pending tasks."""
    *runs, (said_last, struck_last) = closings(program, eager=eager)
    for said, struck in runs:
        assert struck
        assert [message for message in said if not re.match(OF_ASYNCIO, message)] == []
    assert (said_last, struck_last) == ([], False)
    assert len(runs) >= boundaries * (EAGER if eager else LAZY)
