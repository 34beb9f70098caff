"""Faults of asyncio itself, each as a script that could be in a bug report.

Each test says which versions are affected and asserts, by version, what happens there. Where our
functions can do the same work, the test shows what they do. All run on asyncio's own loop, without
helpers; a test that would wait for an hour is cancelled at once.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from structgather import as_completed_scoped, first_n_within, gather_structured

SINCE_3_12 = sys.version_info >= (3, 12)
SINCE_3_13 = sys.version_info >= (3, 13)
SINCE_3_14 = sys.version_info >= (3, 14)

Group = Callable[..., Coroutine[Any, Any, Any]]


async def fails() -> None:
    raise ValueError


async def fails_in_cleanup() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        raise ValueError


async def task_group(*children: Coroutine[Any, Any, Any]) -> None:
    """A TaskGroup as it is used where some failures must not stop the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(child)
    except* ValueError:
        pass


async def structured(*children: Coroutine[Any, Any, Any]) -> None:
    """The same with our functions."""
    with suppress(ValueError):
        await gather_structured(*children)


async def some_iterations() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# TaskGroup.


def test_a_group_loses_the_callers_cancellation() -> None:
    """3.11 and 3.12: a child fails while its group is being cancelled, and the caller continues."""
    # Fixed in 3.13 (gh-116720).

    async def main(group: Group) -> bool:
        async def caller() -> None:
            await group(fails_in_cleanup())
            await asyncio.sleep(0)  # raised here at the latest

        task = asyncio.create_task(caller())
        await some_iterations()
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main(task_group)) is SINCE_3_13
    assert asyncio.run(main(structured)) is True


def test_a_group_loses_a_timeout_around_it() -> None:
    """3.11 and 3.12: the same with `asyncio.timeout`, which never raises its TimeoutError."""

    async def main(group: Group) -> str:
        try:
            async with asyncio.timeout(0):
                await group(fails_in_cleanup())
                await some_iterations()
        except TimeoutError:
            return "timed out"
        return "went on"

    assert asyncio.run(main(task_group)) == ("timed out" if SINCE_3_13 else "went on")
    assert asyncio.run(main(structured)) == "timed out"


def test_a_group_that_failed_leaves_a_cancellation_uncounted() -> None:
    """3.11 and 3.12: `cancelling()` stays one too high after a failure that was handled."""
    # Code that compares it with 0, as `asyncio.timeout` did until 3.12, sees a cancellation.

    async def main(group: Group) -> int:
        await group(fails())
        task = asyncio.current_task()
        return -1 if task is None else task.cancelling()

    assert asyncio.run(main(task_group)) == (0 if SINCE_3_13 else 1)
    assert asyncio.run(main(structured)) == 0


def test_a_group_that_fails_in_a_cleanup_cancels_the_cleanup() -> None:
    """3.13 to 3.15: a group that fails in the `finally` of a cancelled task cancels it again."""
    # It mistakes the cancellation that the task is cleaning up after for a new one.

    async def main(group: Group) -> str:
        log: list[str] = []

        async def cleans_up() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                await group(fails())
                log.append("closing")
                await asyncio.sleep(0)
                log.append("closed")

        task = asyncio.create_task(cleans_up())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return log[-1]

    assert asyncio.run(main(task_group)) == ("closing" if SINCE_3_13 else "closed")
    assert asyncio.run(main(structured)) == "closed"


def test_a_group_that_is_aborting_swallows_the_message_of_a_cancellation() -> None:
    """All: it arrives while a failed group waits for its other tasks, and its message is lost."""
    # On 3.11 and 3.12 all of it is lost; since 3.13 it is raised later, without its message.

    async def main(group: Group) -> Any:
        async def cleans_up() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                await some_iterations()

        async def caller() -> Any:
            try:
                await group(cleans_up(), fails())
                await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                return error.args
            return "went on"

        task = asyncio.create_task(caller())
        for _ in range(4):
            await asyncio.sleep(0)
        task.cancel("the user has left")
        return await task

    assert asyncio.run(main(task_group)) == (() if SINCE_3_13 else "went on")
    assert asyncio.run(main(structured)) == ("the user has left",)


def test_a_group_cancels_a_child_twice_where_every_task_is_cancelled() -> None:
    """All: cancelling child and caller in one loop iteration cancels the child twice."""
    # The group learns of its cancellation an iteration later, when the child is cleaning up.

    async def main(group: Group) -> list[str]:
        log: list[str] = []
        tasks: list[asyncio.Task[Any]] = []

        async def cleans_up() -> None:
            tasks.extend(task for task in (asyncio.current_task(),) if task)
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0)
                log.append("cleaned up")

        caller = asyncio.create_task(group(cleans_up()))
        await some_iterations()
        for task in (*tasks, caller):
            task.cancel()
        await asyncio.wait([caller])
        return log

    assert asyncio.run(main(task_group)) == []
    assert asyncio.run(main(structured)) == ["cleaned up"]


@pytest.mark.skipif(not SINCE_3_12, reason="there are no eager tasks before 3.12")
def test_an_eager_child_that_fails_at_once_makes_the_group_refuse_its_siblings() -> None:
    """3.12 and 3.13.0: the next `create_task` raises RuntimeError. Not so on 3.14."""

    async def main() -> tuple[int, int]:
        if sys.version_info >= (3, 12):
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        refused = 0
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
                group.create_task(asyncio.sleep(0))
        except ExceptionGroup as errors:
            refused = sum(isinstance(error, RuntimeError) for error in errors.exceptions)
        with suppress(asyncio.CancelledError):  # on 3.12 one was left running, too
            await asyncio.sleep(0)
        with suppress(ValueError):
            await gather_structured(fails(), asyncio.sleep(0))
        await asyncio.sleep(0)
        return refused, len(asyncio.all_tasks())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "never awaited", of the coroutine refused
        assert asyncio.run(main()) == (0 if SINCE_3_14 else 1, 1)
        gc.collect()


def test_a_group_that_refuses_a_coroutine_does_not_close_it() -> None:
    """3.11 and 3.12: `create_task` on a group that is aborting leaves it "never awaited"."""

    async def main() -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with suppress(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(fails())
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(3600)
                    with suppress(RuntimeError):
                        group.create_task(some_iterations())
        return [str(warning.message) for warning in caught]

    said = "coroutine 'some_iterations' was never awaited"
    assert asyncio.run(main()) == ([] if SINCE_3_13 else [said])


class OrderedTask(asyncio.Task[Any]):
    """A Task whose place in a set is known: the last one created comes first."""

    created = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        OrderedTask.created += 1
        self.place = 1_000 - OrderedTask.created
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self.place


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="3.12 crashes on Tasks with a `__hash__` in Python"
)
def test_a_group_cancels_its_children_in_the_order_of_a_set() -> None:
    """All: by their addresses, so in any order; ours in start order."""

    async def main(group: Group) -> list[int]:
        def factory(loop: Any, coroutine: Any, **options: Any) -> OrderedTask:
            return OrderedTask(coroutine, loop=loop, **options)

        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        log: list[int] = []

        async def cleans_up(number: int) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                log.append(number)

        async def fails_later() -> None:
            await some_iterations()
            raise ValueError

        await group(*[cleans_up(number) for number in range(5)], fails_later())
        loop.set_task_factory(None)
        return log

    assert asyncio.run(main(task_group)) == [4, 3, 2, 1, 0]
    assert asyncio.run(main(structured)) == [0, 1, 2, 3, 4]


def test_a_group_ignores_a_child_that_cancels_itself() -> None:
    """All: it returns as if all children had succeeded, although a value is missing."""

    async def main(group: Group) -> str:
        async def cancels_itself() -> None:
            raise asyncio.CancelledError

        try:
            await group(cancels_itself(), some_iterations())
        except asyncio.CancelledError:
            return "raised"
        return "ignored"

    assert asyncio.run(main(task_group)) == "ignored"
    assert asyncio.run(main(structured)) == "raised"


def test_a_group_does_not_cancel_its_children_when_its_coroutine_is_closed() -> None:
    """All: `close()` raises "coroutine ignored GeneratorExit", and the children run on."""

    async def in_the_body(child: Coroutine[Any, Any, Any]) -> None:
        async with asyncio.TaskGroup() as group:
            await group.create_task(child)

    async def main(group: Group) -> tuple[str, int]:
        coroutine = group(asyncio.sleep(3600))
        coroutine.send(None)
        await asyncio.sleep(0)
        try:
            coroutine.close()
            closed = "closed"
        except RuntimeError as error:
            closed = str(error)
        await some_iterations()
        return closed, len(asyncio.all_tasks()) - 1

    assert asyncio.run(main(in_the_body))[0] == "coroutine ignored GeneratorExit"
    assert asyncio.run(main(structured)) == ("closed", 0)
    # While it waits in `__aexit__`, its children run on.
    assert asyncio.run(main(task_group)) == ("closed", 1)


def test_a_group_that_is_interrupted_leaves_a_cancellation_uncounted() -> None:
    """Since 3.13 `cancelling()` stays one too high after a KeyboardInterrupt that was handled."""

    async def interrupts() -> None:
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    async def in_the_body() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(interrupts())
            await asyncio.sleep(3600)

    async def ours() -> None:
        async with as_completed_scoped([interrupts()]):
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def main(use: Callable[[], Coroutine[Any, Any, None]]) -> int:
        task = asyncio.current_task()
        assert task is not None
        with suppress(KeyboardInterrupt):
            await use()
        return task.cancelling()

    def interrupted(use: Callable[[], Coroutine[Any, Any, None]]) -> int:
        loop = asyncio.new_event_loop()
        try:
            task = loop.create_task(main(use))
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(task)
            return loop.run_until_complete(task)
        finally:
            loop.close()

    assert interrupted(in_the_body) == (1 if SINCE_3_13 else 0)
    assert interrupted(ours) == 0


# gather, wait_for, as_completed, shield.


def test_gather_leaves_orphans() -> None:
    """All: a failure is raised while the siblings keep running."""

    async def main(gather: Any) -> int:
        with suppress(ValueError):
            await gather(asyncio.sleep(3600), fails())
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(main(asyncio.gather)) == 1
    assert asyncio.run(main(gather_structured)) == 0


def test_gather_loses_a_cancellation_to_a_failure() -> None:
    """All: a cancelled gather raises a child's failure instead, and the caller continues."""

    async def main(gather: Any) -> bool:
        async def caller() -> None:
            with suppress(ValueError):
                await gather(fails_in_cleanup(), asyncio.sleep(3600))

        task = asyncio.create_task(caller())
        await some_iterations()
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main(asyncio.gather)) is False
    assert asyncio.run(main(gather_structured)) is True


def test_a_cancelled_gather_does_not_wait_for_its_children() -> None:
    """All: it returns when one child has finished, which may be long before the last."""

    async def main(gather: Any) -> int:
        async def cleans_up() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                await some_iterations()

        async def caller() -> None:
            await gather(asyncio.sleep(3600), cleans_up())

        task = asyncio.create_task(caller())
        await some_iterations()
        task.cancel()
        await asyncio.wait([task])
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(main(asyncio.gather)) == 1
    assert asyncio.run(main(gather_structured)) == 0


def test_gather_leaves_children_running_when_it_refuses_an_argument() -> None:
    """All: the children before the bad argument run, and nothing refers to them."""

    async def main(gather: Any) -> int:
        with suppress(TypeError):
            await gather(asyncio.sleep(3600), 3)
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(main(asyncio.gather)) == 1
    assert asyncio.run(main(gather_structured)) == 0


def test_wait_for_swallows_a_cancellation() -> None:
    """3.11: if the awaitable is done in the same loop iteration. Fixed in 3.12 (gh-86296)."""

    async def main(wait: Any) -> bool:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(wait(future))
        await some_iterations()
        future.set_result(None)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    def within(future: asyncio.Future[None]) -> Coroutine[Any, Any, Any]:
        return first_n_within([future], within=3600)

    def timed(future: asyncio.Future[None]) -> Coroutine[Any, Any, Any]:
        return gather_structured(future, child_timeout=3600)

    async def wait_for(future: asyncio.Future[None]) -> None:
        await asyncio.wait_for(future, 3600)

    assert asyncio.run(main(wait_for)) is SINCE_3_12
    assert asyncio.run(main(within)) is True
    assert asyncio.run(main(timed)) is True


def test_leaving_as_completed_leaves_orphans() -> None:
    """All: after a `break` the other children keep running."""

    async def main() -> int:
        for first in asyncio.as_completed([asyncio.sleep(0), asyncio.sleep(3600)]):
            await first
            break
        return len(asyncio.all_tasks()) - 1

    async def ours() -> int:
        async with as_completed_scoped([asyncio.sleep(0), asyncio.sleep(3600)]) as outcomes:
            async for _ in outcomes:
                break
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(main()) == 1
    assert asyncio.run(ours()) == 0


# Timeouts and cancellations


def test_a_timeout_and_a_simultaneous_cancellation_lose_the_message() -> None:
    """All: the CancelledError that is raised is the timeout's own."""

    async def main() -> Any:
        async def caller() -> Any:
            try:
                async with asyncio.timeout(0):
                    await asyncio.sleep(3600)
            except asyncio.CancelledError as error:
                return error.args

        task = asyncio.create_task(caller())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel("the user has left")
        return await task

    assert asyncio.run(main()) == ()


def is_freed(caller: Callable[[], Coroutine[Any, Any, Any]], *, cancel: bool = False) -> bool:
    """Tell whether a task is freed without the collector once nothing refers to it."""

    async def main() -> bool:
        task = asyncio.create_task(caller())
        await asyncio.sleep(0)
        if cancel:
            task.cancel()
        await asyncio.wait([task])
        task.exception()
        ref = weakref.ref(task)
        del task
        await asyncio.sleep(0)
        return ref() is None

    gc.collect()
    gc.disable()
    try:
        return asyncio.run(main())
    finally:
        gc.enable()


def test_a_timeout_leaves_a_cycle_with_the_task_that_it_cancels() -> None:
    """All: task, TimeoutError, the frame of `Timeout.__aexit__`, the task."""

    async def caller() -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(3600)

    async def ours() -> None:
        with suppress(ValueError):
            await gather_structured(asyncio.sleep(3600), child_timeout=0)

    assert not is_freed(caller)
    assert is_freed(ours)


def test_a_wait_that_is_cancelled_leaves_a_cycle() -> None:
    """3.14 and later: its frame refers to the waiting task, and the CancelledError to the frame."""

    async def caller() -> Any:
        try:
            await asyncio.wait([asyncio.get_running_loop().create_future()])
        except asyncio.CancelledError as error:
            return error

    async def ours() -> Any:
        try:
            await gather_structured(asyncio.get_running_loop().create_future())
        except asyncio.CancelledError as error:
            return error

    assert is_freed(caller, cancel=True) is not SINCE_3_14
    assert is_freed(ours, cancel=True)


def test_uncancel_does_not_take_back_what_was_not_delivered() -> None:
    """3.11 and 3.12: after `cancel()` and `uncancel()` the next await is cancelled all the same."""

    async def main() -> bool:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        task.uncancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return True
        return False

    assert asyncio.run(main()) is not SINCE_3_13


# Garbage collection and introspection


def test_an_async_generator_stays_running_when_its_consumer_is_collected() -> None:
    """3.11 and 3.12: a coroutine closed in `anext()` leaves a generator that can't be closed."""
    # Fixed in 3.13.

    async def generator() -> AsyncIterator[int]:
        await asyncio.sleep(3600)
        yield 1

    async def main() -> bool:
        items = generator()

        async def consumer() -> int:
            return await anext(items)

        waiting = consumer()
        waiting.send(None).cancel()
        waiting.close()
        try:
            await items.aclose()  # type: ignore[attr-defined]
        except RuntimeError:
            return True
        return False

    assert asyncio.run(main()) is not SINCE_3_13


@pytest.mark.skipif(not SINCE_3_14, reason="there are no call graphs before 3.14")
def test_the_call_graph_of_a_finished_task() -> None:
    """3.14: capturing it raised in the first releases; not on 3.14.10 and 3.15.2."""

    async def main() -> str:
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        return str(getattr(asyncio, "format_call_graph")(task))  # noqa: B009 - not before 3.14

    assert "Task(" in asyncio.run(main())
