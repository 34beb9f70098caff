"""The deterministic loop: virtual time, deadlocks are errors, nothing is missed."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import weakref
from typing import Any

import pytest

from simloop.asyncio_programs import at_points, two_by_two
from simloop.behaviours import exits, nests, returns
from simloop.choosers import (
    First,
    explore,
    replay,
)
from simloop.loop import Deadlock, current, point
from simloop.oracles import check_all
from simloop.run import run
from simloop.worlds import world
from simloop.wrong import right

# -- time ---------------------------------------------------------------------------------------


def test_time_is_virtual() -> None:
    """A day takes no time, and the clock is exact."""

    async def program() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    result = run(program, First())
    assert (result.value, result.time) == (86_400.0, 86_400.0)


def test_a_tick_is_a_choice_like_a_point() -> None:
    """A point and a timer may come in either order; the clock advances to the next timer only."""

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


def test_timers_of_one_instant_run_in_one_iteration_and_in_order() -> None:
    """Of two timers for the same instant the one created first runs first."""

    async def program() -> list[str]:
        log: list[str] = []
        loop = asyncio.get_running_loop()
        for name in "abc":
            loop.call_at(1.0, log.append, name)
        await asyncio.sleep(1)
        return log

    assert run(program, First()).value == ["a", "b", "c"]


# -- deadlocks ----------------------------------------------------------------------------------


async def wait_forever() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.Event().wait(), name="the one that waits")


def test_a_deadlock_raises_immediately() -> None:
    """Nothing ready, timed or pending: the error names the tasks and the schedule."""
    with pytest.raises(Deadlock, match=r"outer at .*, the one that waits at Event.wait.*fifo:"):
        run(wait_forever, First())
    result = run(wait_forever, First(), deadlock_ok=True)
    assert result.deadlock is not None


def test_spinning_forever_is_a_deadlock() -> None:
    """A program that runs without end is stopped, too."""

    async def spin() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(Deadlock, match="still spinning after 500 steps"):
        run(spin, First(), max_steps=500)


def test_spinning_does_not_starve_the_outside() -> None:
    """While one task spins, points are still completed, also in mode `fifo`."""

    async def program() -> object:
        waiting = asyncio.create_task(at_points("a", 2))
        for iteration in itertools.count():
            if waiting.done():
                return f"done in {iteration} iterations"
            await asyncio.sleep(0)
        return "never"

    result = run(program, First())
    assert str(result.value).startswith("done in ")
    assert result.steps < 500


# -- nothing is missed --------------------------------------------------------------------------


def test_a_chooser_that_raises_leaves_no_task_behind() -> None:
    """All tasks finish, their `finally` run, and the chooser's error propagates."""
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


def test_reaping_is_not_recorded() -> None:
    """Orphans are named, and cancelled without an entry in the log."""
    result = run(leave_an_orphan, First())
    assert result.pending == ["orphan"]
    assert (result.events, result.handler_calls, result.warnings) == ([], [], [])


def test_an_error_that_is_never_retrieved_is_recorded() -> None:
    """Also where asyncio would report it only after a garbage collection."""

    async def fail() -> None:
        raise ValueError("unretrieved")

    async def program() -> None:
        cycle: list[Any] = [asyncio.create_task(fail())]
        cycle.append(cycle)
        await asyncio.sleep(0)

    calls = run(program, First()).handler_calls
    assert len(calls) == 1
    assert "exception was never retrieved: ValueError('unretrieved')" in calls[0]


def test_no_collection_during_a_run_hides_an_error() -> None:
    """Cycles of a program are in the young generation when it finishes, whatever it allocates."""

    async def fail() -> None:
        raise ValueError("unretrieved")

    async def program() -> None:
        cycle: list[Any] = [asyncio.create_task(fail())]
        cycle.append(cycle)
        await asyncio.sleep(0)
        cycle.append([[] for _ in range(50_000)])

    assert len(run(program, First()).handler_calls) == 1


def test_an_unretrieved_error_in_the_outcome_is_recorded_when_that_is_dropped() -> None:
    """The exception handler is observed until the last reference is gone."""

    async def fail() -> None:
        raise ValueError("unretrieved")

    async def program() -> object:
        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
        return task

    result = run(program, First())
    assert not result.handler_calls
    result.release()
    assert len(result.handler_calls) == 1


def test_a_coroutine_that_is_never_awaited_is_recorded() -> None:
    """Its warning is recorded under any warning filters."""

    async def program() -> None:
        _ = at_points("a", 1)

    assert run(program, First()).warnings == ["coroutine 'at_points' was never awaited"]


def test_a_destructor_that_raises_is_recorded() -> None:
    """Calls of `sys.unraisablehook` are recorded, and the hook is restored."""
    hook = sys.unraisablehook

    class Bad:
        def __del__(self) -> None:
            raise ValueError("bad")

    async def program() -> None:
        Bad()

    assert len(run(program, First()).unraisable) == 1
    assert sys.unraisablehook is hook


def test_an_error_in_a_callback_is_recorded() -> None:
    """It is passed to the exception handler, as on the stock loop, and recorded as text."""

    async def program() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    assert "ZeroDivisionError" in run(program, First()).handler_calls[0]


def test_objects_that_outlive_the_outcome_are_reported() -> None:
    """A tracked object is in `alive()` until it is freed."""

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


def test_cycles_of_earlier_runs_do_not_accumulate() -> None:
    """What dropped outcomes referred to is collected from time to time."""

    class Thing:
        pass

    async def program() -> object:
        thing = Thing()
        thing.__dict__["me"] = thing
        alive.add(thing)
        return thing

    alive: weakref.WeakSet[Thing] = weakref.WeakSet()
    for _ in range(500):
        run(program, First())
    assert len(alive) <= 200


def test_interrupts_are_recorded_and_the_run_continues() -> None:
    """KeyboardInterrupt propagates from the loop but not from `run`; the outer task finishes."""
    for result in explore(world(right, a=exits(error=KeyboardInterrupt), b=returns())):
        assert result.interrupts
        assert isinstance(result.error, KeyboardInterrupt)


def test_sets_of_tasks_are_in_the_order_of_their_creation() -> None:
    """The order of a set of tasks does not depend on addresses, so a run can be repeated."""

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
def test_eager_runs_start_tasks_where_they_are_created() -> None:
    """With `eager=True` a task that awaits nothing is done immediately; so says the schedule."""

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
def test_eager_runs_need_eager_tasks() -> None:
    """On 3.11 `eager=True` raises."""
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
