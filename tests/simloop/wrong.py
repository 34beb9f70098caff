"""Wrong implementations of `gather_structured`, each with one fault, and one that is right.

A search proves nothing until it has found a known fault. Each function here is called as
`gather_structured(*coroutines)` is; its docstring is its fault, and `test_finds_wrong_gathers.py`
names the oracle that must find it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeAlias

from simloop.worlds import Arrived, ChildError

Coro: TypeAlias = Coroutine[Any, Any, Any]
Task: TypeAlias = asyncio.Task[Any]

WITHIN = 2.0  # seconds, for the calls that have a deadline
KEPT: list[Task] = []  # what `keeps_its_tasks` keeps; to be cleared by the test


async def right(*coroutines: Coro) -> list[Any]:
    """No fault: failures are kept in a list, children are cancelled once and always joined."""
    return await _gather(coroutines)


async def _gather(
    coroutines: tuple[Coro, ...], *, to_failure: bool = True, raised: int = 0
) -> list[Any]:
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    cancellation = None
    try:
        cancellation = await _wait_once(tasks, to_failure=to_failure)
        _cancel(tasks)
        cancellation = await _join(tasks) or cancellation
        if cancellation is not None:
            raise cancellation
        return _results(tasks, failures, raised)
    finally:
        # A frame that refers to an exception that refers to the frame is a cycle.
        del cancellation, tasks, failures


async def cancels_without_joining(*coroutines: Coro) -> list[Any]:
    """Cancels the siblings and does not join them."""
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        return _results(tasks, failures)
    finally:
        _cancel(tasks)
        del tasks, failures


async def joins_once(*coroutines: Coro) -> list[Any]:
    """Stops joining when it is cancelled."""
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        return _results(tasks, failures)
    finally:
        _cancel(tasks)
        await asyncio.wait(tasks)
        del tasks, failures


async def swallows_the_cancellation(*coroutines: Coro) -> list[Any]:
    """Joins although it is cancelled, and then does not raise the cancellation."""
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        _cancel(tasks)
        await _join(tasks)
        return _results(tasks, failures)
    finally:
        _cancel(tasks)
        await _join(tasks)
        del tasks, failures


async def uncancels_too_much(*coroutines: Coro) -> list[Any]:
    """Raises the caller's CancelledError, but calls `uncancel()` as if it had handled it."""
    try:
        return await right(*coroutines)
    except asyncio.CancelledError:
        _me().uncancel()
        raise


async def cancels_twice(*coroutines: Coro) -> list[Any]:
    """Passes each cancellation of the caller on, also to a child that is already cleaning up."""
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    cancellation = None
    try:
        cancellation = await _wait_once(tasks, to_failure=True)
        while not all(task.done() for task in tasks):
            _cancel(tasks)
            cancellation = await _wait_once(tasks) or cancellation
        if cancellation is not None:
            raise cancellation
        return _results(tasks, failures)
    finally:
        del cancellation, tasks, failures


async def never_retrieves(*coroutines: Coro) -> list[Any]:
    """Does not retrieve the children's exceptions when the caller is cancelled."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    cancellation = None
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        return _results(tasks, [task for task in tasks if task.done() and _failed(task)])
    finally:
        _cancel(tasks)
        cancellation = await _join(tasks)
        del tasks
        if cancellation is not None:
            raise cancellation


async def checks_cancelling_after_a_group(*coroutines: Coro) -> list[Any]:
    """Children raise into a TaskGroup, which on 3.11 and 3.12 leaves `cancelling()` too high."""
    before = _me().cancelling()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
        return [task.result() for task in tasks]
    except BaseExceptionGroup as failures:
        if _me().cancelling() > before:
            raise asyncio.CancelledError from None
        raise failures.exceptions[0] from None


async def awaits_in_turn(*coroutines: Coro) -> list[Any]:
    """Awaits one task after the other: a cancellation goes to that child, which may ignore it."""
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    try:
        return [await task for task in tasks]
    finally:
        _cancel(tasks)
        await _join(tasks)
        del tasks, failures


async def drops_the_message(*coroutines: Coro) -> list[Any]:
    """Raises a new CancelledError in place of the one that was sent."""
    try:
        return await right(*coroutines)
    except asyncio.CancelledError:
        raise asyncio.CancelledError from None


async def raises_the_last_failure(*coroutines: Coro) -> list[Any]:
    """Raises the last failure."""
    return await _gather(coroutines, raised=-1)


async def results_as_they_come(*coroutines: Coro) -> list[Any]:
    """Returns the results in completion order."""
    results: list[Any] = []

    async def keep(coroutine: Coro) -> None:
        results.append(await coroutine)

    await right(*[keep(coroutine) for coroutine in coroutines])
    return results


async def forgets_the_unstarted(*coroutines: Coro) -> list[Any]:
    """Runs one at a time; a queued child that is cancelled never closes its coroutine."""
    turn = asyncio.Semaphore(1)

    async def wrap(coroutine: Coro) -> Any:
        async with turn:
            return await coroutine

    return await right(*[wrap(coroutine) for coroutine in coroutines])


async def leaves_a_cycle(*coroutines: Coro) -> list[Any]:
    """Keeps the exception in a local variable of a frame that the exception refers to."""
    failure = None
    try:
        return await right(*coroutines)
    except ChildError as error:
        failure = error
        raise failure from None


async def leaves_garbage(*coroutines: Coro) -> Arrived:
    """Swallows the failure, and leaves it in a reference cycle."""
    failures: list[BaseException] = []
    try:
        return Arrived(await right(*coroutines))
    except ChildError as error:
        failures.append(error)
        return Arrived()


async def keeps_its_tasks(*coroutines: Coro) -> list[Any]:
    """Keeps the tasks, and all that they refer to, in a global list."""
    KEPT.extend(tasks := [asyncio.create_task(coroutine) for coroutine in coroutines])
    return await right(*[_result_of(task) for task in tasks])


async def ignores_its_deadline(*coroutines: Coro) -> list[Any]:
    """Runs on after the `WITHIN` seconds of its deadline."""
    return await right(*coroutines)


async def times_out_too_early(*coroutines: Coro) -> list[Any]:
    """Times out after half of the `WITHIN` seconds."""
    async with asyncio.timeout(WITHIN / 2):
        return await right(*coroutines)


async def waits_for_all_first(*coroutines: Coro) -> list[Any]:
    """Looks for failures only when all children are done, and waits forever for one that hangs."""
    return await _gather(coroutines, to_failure=False)


def _me() -> Task:
    task = asyncio.current_task()
    assert task is not None
    return task


def _failed(task: Task) -> bool:
    return not task.cancelled() and task.exception() is not None


def _start(coroutines: tuple[Coro, ...], failures: list[Task]) -> list[Task]:
    """Create a task for each; `failures` gets those that fail, in time order."""

    def settled(task: Task) -> None:
        if _failed(task):
            failures.append(task)

    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    for task in tasks:
        task.add_done_callback(settled)
    return tasks


def _cancel(tasks: list[Task]) -> None:
    for task in tasks:
        if not task.done():
            task.cancel()


async def _wait_once(
    tasks: list[Task], *, to_failure: bool = False
) -> asyncio.CancelledError | None:
    """Wait for all, or for a failure; return the cancellation that interrupted the wait.

    `asyncio.wait` would leave the calling task in a cycle with the CancelledError on 3.14+.
    """
    done = asyncio.get_running_loop().create_future()

    def look(_task: Task | None = None) -> None:
        failed = to_failure and any(task.done() and _failed(task) for task in tasks)
        if (failed or all(task.done() for task in tasks)) and not done.done():
            done.set_result(None)

    for task in tasks:
        task.add_done_callback(look)
    try:
        look()
        await done
    except asyncio.CancelledError as cancellation:
        return cancellation
    finally:
        for task in tasks:
            task.remove_done_callback(look)
    return None


async def _join(tasks: list[Task]) -> asyncio.CancelledError | None:
    """Wait until all are done, although the caller is cancelled; return the last cancellation."""
    cancellation = None
    try:
        while not all(task.done() for task in tasks):
            cancellation = await _wait_once(tasks) or cancellation
        return cancellation
    finally:
        del cancellation


async def _result_of(task: Task) -> Any:
    return await task


def _results(tasks: list[Task], failures: list[Task], raised: int = 0) -> list[Any]:
    if failures:
        error = failures[raised].exception()
        assert error is not None
        try:
            raise error
        finally:
            del error, failures, tasks
    return [task.result() for task in tasks]
