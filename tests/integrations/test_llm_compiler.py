"""LLMCompiler's task-fetching unit: each tool call of a plan starts when its inputs are there.

The published unit starts each call in a task that it keeps no reference to, and polls until all
calls have set a flag. A call that raises never sets it, so the unit polls forever.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from integrations.shown import shown

from simloop.choosers import First
from simloop.loop import Deadlock, DeterministicLoop
from structgather import as_completed_scoped
from support.virtual_tests import virtual
from support.virtual_time import now

# The README shows these functions.

Plan = Mapping[int, tuple[Callable[..., Awaitable[Any]], list[Any]]]


async def run_plan(plan: Plan, **options: Any) -> dict[int, Any]:
    results: dict[int, Any] = {}
    numbers: dict[int, int] = {}  # of the calls, by the index of the child
    waiting = {
        number: {int(needed) for needed in re.findall(r"\$(\d+)", str(arguments))}
        for number, (_, arguments) in plan.items()
    }

    def filled_in(argument: Any) -> Any:
        reference = re.fullmatch(r"\$(\d+)", str(argument))
        return results[int(reference[1])] if reference else argument

    nothing: list[Awaitable[Any]] = []
    async with as_completed_scoped(nothing, **options) as outcomes:

        def start_ready() -> None:
            for number in [n for n, needs in waiting.items() if needs <= results.keys()]:
                del waiting[number]
                tool, arguments = plan[number]
                numbers[outcomes.add(tool(*map(filled_in, arguments)))] = number

        start_ready()
        async for outcome in outcomes:
            results[numbers[outcome.index]] = await outcome
            start_ready()
    if waiting:
        raise ValueError(f"calls that wait for each other or do not exist: {sorted(waiting)}")
    return results


def test_the_page_shows_these_lines() -> None:
    """The README shows the code that is tested here."""
    assert shown(run_plan)


# What it is compared with, reduced


async def fetching_unit(plan: Plan) -> dict[int, Any]:
    """Do what the published unit does: poll, start calls that are ready, drop the tasks."""
    results: dict[int, Any] = {}
    done = {number: asyncio.Event() for number in plan}
    remaining = set(plan)

    async def run_task(number: int) -> None:
        tool, arguments = plan[number]
        values = [results[int(a[1:])] if str(a).startswith("$") else a for a in arguments]
        results[number] = await tool(*values)
        done[number].set()

    while not all(event.is_set() for event in done.values()):
        for number in sorted(remaining):
            needs = [int(a[1:]) for a in plan[number][1] if str(a).startswith("$")]
            if all(done[need].is_set() for need in needs):
                asyncio.create_task(run_task(number))  # noqa: RUF006 - as published
                remaining.remove(number)
        await asyncio.sleep(0.01)
    return results


def run_to_a_deadlock(main: Any) -> None:
    """Run a plan that can't finish, and leave no task."""
    loop = DeterministicLoop(First())  # type: ignore[abstract]  # no I/O
    loop.set_exception_handler(lambda _loop, _context: None)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main)


RUNNING: set[str] = set()


async def search(what: str, seconds: float = 1, error: Exception | None = None) -> str:
    RUNNING.add(what)
    try:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return what.upper()
    finally:
        RUNNING.remove(what)


async def compare(*values: str) -> str:
    await asyncio.sleep(2)
    return " < ".join(values)


#: Six searches, three comparisons of two each, and one of those.
PLAN: Plan = {
    1: (search, ["a", 1]),
    2: (search, ["b", 3]),
    3: (search, ["c", 2]),
    4: (search, ["d", 2]),
    5: (search, ["e", 1]),
    6: (search, ["f", 1]),
    7: (compare, ["$1", "$2"]),
    8: (compare, ["$3", "$4"]),
    9: (compare, ["$5", "$6"]),
    10: (compare, ["$7", "$8", "$9"]),
}


@virtual
async def test_each_call_starts_when_its_inputs_are_there() -> None:
    """The plan takes 7 s, the time of its longest path; in sequence it would take 18 s."""
    assert (await run_plan(PLAN))[10] == "A < B < C < D < E < F"
    assert now() == 7

    results: dict[int, Any] = {}
    for number, (tool, arguments) in PLAN.items():
        values = [results[int(a[1:])] if str(a).startswith("$") else a for a in arguments]
        results[number] = await tool(*values)
    assert now() == 7 + 18


@virtual
async def test_a_limit_holds_for_the_plan() -> None:
    """With two calls at a time the plan takes 11 s, and the result is the same."""
    assert (await run_plan(PLAN, limit=2))[10] == "A < B < C < D < E < F"
    assert now() == 11


@virtual
async def test_no_time_is_lost_by_polling() -> None:
    """The unit polls every 10 ms and notices each result late: the same plan takes 7.03 s."""
    await fetching_unit(PLAN)
    assert now() == pytest.approx(7.03)


@virtual
async def test_a_failing_tool_fails_the_plan() -> None:
    """The tool's exception is raised, bare, when the others have stopped."""
    error = ConnectionError("b is down")
    plan = {**PLAN, 2: (search, ["b", 1.5, error])}
    with pytest.raises(ConnectionError) as raised:
        await run_plan(plan)
    assert raised.value is error
    assert (now(), RUNNING, len(asyncio.all_tasks())) == (1.5, set(), 1)


def test_the_unit_that_polls_hangs() -> None:
    """After the same failure the unit polls on: the deterministic loop reports that it spins."""
    plan: Plan = {1: (search, ["a", 2, ConnectionError()]), 2: (compare, ["$1"])}
    with pytest.raises(Deadlock, match=r"still spinning after .*fetching_unit"):
        run_to_a_deadlock(fetching_unit(plan))


@virtual
async def test_a_late_tool_fails_the_plan() -> None:
    """The TimeoutError names the tool."""
    with pytest.raises(TimeoutError, match="child 1, search"):
        await run_plan({1: (search, ["a"]), 2: (search, ["b", 60])}, child_timeout=5)
    assert (now(), RUNNING) == (5, set())


@virtual
async def test_calls_that_wait_for_each_other_are_reported() -> None:
    """A plan that can't be completed raises an error with its state."""
    circle: Plan = {
        1: (search, ["a"]),
        2: (search, ["$3"]),
        3: (search, ["$2"]),
        4: (search, ["$9"]),
    }
    with pytest.raises(ValueError, match=r"\[2, 3, 4\]"):
        await run_plan(circle)


@virtual
async def test_a_plan_that_is_cancelled_leaves_no_tool_running() -> None:
    """When the turn is over all tools have stopped."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await run_plan(PLAN)
    assert (now(), RUNNING, len(asyncio.all_tasks())) == (1.5, set(), 1)
