"""Calls that look right and are not, each with one fault, and one that has none.

A search is worth nothing until it has found a fault that is known to be there. Each function here
has the shape of `gather_structured(*coroutines)`; its docstring says what is wrong with it, and
`simloop/test_finds_wrong_gathers.py` names the oracle that must find it.
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
    """Nothing is wrong: children fail into a list, are cancelled once, and are always joined."""
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    cancellation = None
    try:
        cancellation = await _wait_once(tasks, to_failure=True)
        _cancel(tasks)
        cancellation = await _join(tasks) or cancellation
        if cancellation is not None:
            raise cancellation
        return _results(tasks, failures)
    finally:
        # A frame that holds an exception which holds the frame is a cycle.
        del cancellation, tasks, failures


async def cancels_without_joining(*coroutines: Coro) -> list[Any]:
    """Asks the others to stop, and does not wait until they have."""
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        return _results(tasks, failures)
    finally:
        _cancel(tasks)
        del tasks, failures


async def joins_once(*coroutines: Coro) -> list[Any]:
    """A cancellation that comes while it joins makes it leave."""
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
    """Joins through a cancellation, and then forgets that it came."""
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
    """Raises the caller's CancelledError, but calls `uncancel()`, as if it had dealt with it."""
    try:
        return await right(*coroutines)
    except asyncio.CancelledError:
        _me().uncancel()
        raise


async def cancels_twice(*coroutines: Coro) -> list[Any]:
    """Passes each outer cancellation on, also to a child that is cleaning up already."""
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
    """Does not look at the children's exceptions when the caller is cancelled."""
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
    """Awaits one task after the other: the cancellation goes to that child, which may ignore it."""
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    try:
        return [await task for task in tasks]
    finally:
        _cancel(tasks)
        await _join(tasks)
        del tasks, failures


async def drops_the_message(*coroutines: Coro) -> list[Any]:
    """Raises a CancelledError of its own in place of the one that came."""
    try:
        return await right(*coroutines)
    except asyncio.CancelledError:
        raise asyncio.CancelledError from None


async def raises_the_last_failure(*coroutines: Coro) -> list[Any]:
    """Of two failures it raises the later one."""
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    cancellation = None
    try:
        cancellation = await _wait_once(tasks, to_failure=True)
        _cancel(tasks)
        cancellation = await _join(tasks) or cancellation
        if cancellation is not None:
            raise cancellation
        return _results(tasks, failures[::-1])
    finally:
        del cancellation, tasks, failures


async def results_as_they_come(*coroutines: Coro) -> list[Any]:
    """The results stand in the order in which the children ended."""
    results: list[Any] = []

    async def keep(coroutine: Coro) -> None:
        results.append(await coroutine)

    await right(*[keep(coroutine) for coroutine in coroutines])
    return results


async def forgets_the_unstarted(*coroutines: Coro) -> list[Any]:
    """One at a time; who is cancelled while it waits for its turn never closes its coroutine."""
    turn = asyncio.Semaphore(1)

    async def wrap(coroutine: Coro) -> Any:
        async with turn:
            return await coroutine

    return await right(*[wrap(coroutine) for coroutine in coroutines])


async def leaves_a_cycle(*coroutines: Coro) -> list[Any]:
    """Keeps the exception in a local variable of the frame that the exception keeps."""
    failure = None
    try:
        return await right(*coroutines)
    except ChildError as error:
        failure = error
        raise failure from None


async def leaves_garbage(*coroutines: Coro) -> Arrived:
    """Swallows the failure, and leaves it in a cycle that only the collector can free."""
    failures: list[BaseException] = []
    try:
        return Arrived(await right(*coroutines))
    except ChildError as error:
        failures.append(error)
        return Arrived()


async def keeps_its_tasks(*coroutines: Coro) -> list[Any]:
    """A list outside the call holds the tasks, and all that they hold, for ever."""
    KEPT.extend(tasks := [asyncio.create_task(coroutine) for coroutine in coroutines])
    return await right(*[_result_of(task) for task in tasks])


async def ignores_its_deadline(*coroutines: Coro) -> list[Any]:
    """Meant to end all that still runs after `WITHIN` seconds, it goes on."""
    return await right(*coroutines)


async def times_out_too_early(*coroutines: Coro) -> list[Any]:
    """Gives the children half of the `WITHIN` seconds that they have."""
    async with asyncio.timeout(WITHIN / 2):
        return await right(*coroutines)


async def waits_for_all_first(*coroutines: Coro) -> list[Any]:
    """Looks for failures when all have ended, and so waits for ever for one that never does."""
    failures: list[Task] = []
    tasks = _start(coroutines, failures)
    cancellation = None
    try:
        cancellation = await _wait_once(tasks)
        _cancel(tasks)
        cancellation = await _join(tasks) or cancellation
        if cancellation is not None:
            raise cancellation
        return _results(tasks, failures)
    finally:
        del cancellation, tasks, failures


def _me() -> Task:
    task = asyncio.current_task()
    assert task is not None
    return task


def _failed(task: Task) -> bool:
    return not task.cancelled() and task.exception() is not None


def _start(coroutines: tuple[Coro, ...], failures: list[Task]) -> list[Task]:
    """One task for each; those that fail are in `failures`, first by time."""

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
    """Wait for all, or for a failure, or return the cancellation that ended the wait.

    Not by `asyncio.wait`: if that is cancelled, on 3.14 and later it leaves the task that called it
    in a cycle with the CancelledError.
    """
    over = asyncio.get_running_loop().create_future()

    def look(_task: Task | None = None) -> None:
        failed = to_failure and any(task.done() and _failed(task) for task in tasks)
        if (failed or all(task.done() for task in tasks)) and not over.done():
            over.set_result(None)

    for task in tasks:
        task.add_done_callback(look)
    try:
        look()
        await over
    except asyncio.CancelledError as cancellation:
        return cancellation
    finally:
        for task in tasks:
            task.remove_done_callback(look)
    return None


async def _join(tasks: list[Task]) -> asyncio.CancelledError | None:
    """Wait until all are done, however often the caller is cancelled; return the last time."""
    cancellation = None
    try:
        while not all(task.done() for task in tasks):
            cancellation = await _wait_once(tasks) or cancellation
        return cancellation
    finally:
        del cancellation


async def _result_of(task: Task) -> Any:
    return await task


def _results(tasks: list[Task], failures: list[Task]) -> list[Any]:
    if failures:
        error = failures[0].exception()
        assert error is not None
        try:
            raise error
        finally:
            del error, failures, tasks
    return [task.result() for task in tasks]
