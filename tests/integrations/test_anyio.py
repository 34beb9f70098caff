"""The three functions in cancel scopes and task groups of anyio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from simloop.choosers import First
from simloop.loop import DeterministicLoop
from support.each_call import Call, each_call
from support.virtual_tests import virtual
from support.virtual_time import after, now
from support.virtual_time import run as virtual_run

pytest.importorskip("anyio", exc_type=ImportError)

import anyio

Work = Callable[..., Coroutine[Any, Any, None]]
ITERATIONS = 10


class Record:
    """Children that are cancelled, and then clean up for some loop iterations."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.log: list[str] = []

    async def child(self, name: str) -> None:
        self.started.append(name)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for _ in range(ITERATIONS):
                await asyncio.sleep(0)
            self.log.append(name)

    def children(self) -> list[Any]:
        return [self.child(name) for name in "abc"]

    def assert_finished_once(self) -> None:
        """Fail unless each child has cleaned up once, and `cancelling()` is balanced."""
        assert sorted(self.log) == ["a", "b", "c"]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert len(asyncio.all_tasks()) == 1


async def by_move_on_after(work: Work) -> None:
    with anyio.move_on_after(1) as scope:
        await work()
    assert scope.cancelled_caught
    assert now() == 1


async def by_fail_after(work: Work) -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(1):
        await work()
    assert now() == 1


async def by_a_child(work: Work) -> None:
    async def cancels() -> None:
        scope.cancel()
        await asyncio.sleep(0)

    with anyio.CancelScope() as scope:
        await work(cancels())
    assert scope.cancelled_caught


async def by_its_group(work: Work) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await asyncio.sleep(1)
        group.cancel_scope.cancel()


async def by_a_failure_in_its_group(work: Work) -> None:
    async def in_a_group() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            group.start_soon(after, 1, LookupError())

    with pytest.raises(ExceptionGroup) as caught:
        await in_a_group()
    assert [*map(type, caught.value.exceptions)] == [LookupError]


async def by_two_scopes(work: Work) -> None:
    with anyio.move_on_after(1) as outer, anyio.CancelScope() as inner:
        asyncio.get_running_loop().call_at(1, inner.cancel)
        await work()
    assert inner.cancelled_caught or outer.cancelled_caught


async def by_a_timeout_and_a_scope(work: Work) -> None:
    with anyio.move_on_after(1) as scope:
        async with asyncio.timeout(1):
            await work()
    assert scope.cancelled_caught


WAYS = [
    by_move_on_after,
    by_fail_after,
    by_a_child,
    by_its_group,
    by_a_failure_in_its_group,
    by_two_scopes,
    by_a_timeout_and_a_scope,
]
each_way = pytest.mark.parametrize("cancelled", WAYS, ids=lambda way: way.__name__)


@each_way
@each_call
@virtual
async def test_inside_a_scope_that_is_cancelled(cancelled: Any, call: Call) -> None:
    """Whatever cancels the scope, it ends when each child has cleaned up, once, uninterrupted."""
    record = Record()

    async def work(*more: Awaitable[Any]) -> None:
        try:
            await call(*record.children(), *more)
        finally:
            assert len(record.log) == 3

    await cancelled(work)
    record.assert_finished_once()


@each_way
@virtual
async def test_gather_inside_a_scope_interrupts_cleanups(cancelled: Any) -> None:
    """In the same scopes gather forwards each cancellation, and no child's cleanup finishes."""
    record = Record()

    async def work(*more: Awaitable[Any]) -> None:
        await asyncio.gather(*record.children(), *more)

    await cancelled(work)
    assert record.log == []


@each_call
@virtual
async def test_in_a_scope_that_was_cancelled_before(call: Call) -> None:
    """In a scope that is cancelled already a child, if it starts at all, is not interrupted."""
    record = Record()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await call(*record.children())
    assert scope.cancelled_caught
    assert record.log == record.started
    assert len(asyncio.all_tasks()) == 1


@each_call
@virtual
async def test_in_a_shielded_scope(call: Call) -> None:
    """In a shielded scope it runs to completion, whatever happens outside."""
    with anyio.move_on_after(1) as outer:
        with anyio.CancelScope(shield=True):
            assert await call(after(2, "a"), after(3, "b")) == ["a", "b"]
        await anyio.lowlevel.checkpoint()
    assert outer.cancelled_caught
    assert now() == 3


def steps(work: Callable[[Record], Awaitable[Any]]) -> int:
    """Count the callbacks that a loop runs for a cancelled scope."""

    async def main() -> None:
        record = Record()
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_later(1, scope.cancel)
            await work(record)
        record.assert_finished_once()

    loop = DeterministicLoop(First())  # type: ignore[abstract]  # no I/O
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
        return loop.step


@each_call
def test_it_spins_no_more_than_a_task_group(call: Call) -> None:
    """While anyio cancels in every loop iteration, it takes one callback more than a TaskGroup."""

    async def in_a_group(record: Record) -> None:
        async with asyncio.TaskGroup() as group:
            for child in record.children():
                group.create_task(child)

    # The one after the first steps.
    assert steps(lambda record: call(*record.children())) <= steps(in_a_group) + 1


async def after_iterations(iterations: int, act: Callable[[], object]) -> None:
    for _ in range(iterations):
        await asyncio.sleep(0)
    act()


@pytest.mark.parametrize("outer", [None, 0, 1, 2, 5, 8, 13, 18])
@each_call
def test_a_scope_that_is_cancelled_in_any_iteration(call: Call, outer: int | None) -> None:
    """Whenever a scope, and also a task, is cancelled: children are joined, nothing is lost."""

    async def brief(record: Record, iterations: int, *, fails: bool = False) -> str:
        record.started.append("brief")
        try:
            for _ in range(iterations):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            record.log.append("cleaned up, not cancelled again")
            raise
        record.log.append("over")
        if fails:
            raise LookupError
        return "value"

    async def fan_out(record: Record, scope: Any) -> str:
        with scope:
            await call(brief(record, 3), brief(record, 5, fails=True), brief(record, 8))
            assert len(record.log) == 3
        assert len(record.log) == len(record.started)
        task = asyncio.current_task()
        assert task is not None
        # If the cancellation of the task came in time, it is raised.
        assert task.cancelling() <= (outer is not None)
        await asyncio.sleep(0)
        return "went on"

    async def world(iterations: int) -> str:
        record, scope = Record(), anyio.CancelScope()
        task = asyncio.create_task(fan_out(record, scope))
        cancelled: list[bool] = []
        others = [asyncio.create_task(after_iterations(iterations, scope.cancel))]
        if outer is not None:
            cancel = lambda: cancelled.append(not task.done() and task.cancel())  # noqa: E731
            others.append(asyncio.create_task(after_iterations(outer, cancel)))
        await asyncio.wait([task, *others])
        assert len(record.log) == len(record.started)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert task.cancelled() == any(cancelled)
        assert task.cancelled() or task.result() == "went on"
        return "cancelled" if scope.cancelled_caught else "not cancelled"

    ends = [virtual_run(world(iterations)) for iterations in range(25)]
    assert outer is not None or {*ends} == {"cancelled", "not cancelled"}
