"""A Task that waits for the calling task can't be a child: RuntimeError, raised at once.

It may wait directly, or through any number of nested calls. Joining it would be a deadlock.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias

import pytest

import structgather
from simloop.every_schedule import either_start
from structgather import as_completed_scoped, first_n_within, gather_structured
from support.each_call import Call, each_call, with_and_without_limit
from support.virtual_tests import forever, virtual
from support.virtual_time import after, now, run

Coro: TypeAlias = Coroutine[Any, Any, Any]
#: How a Task waits for a child.
Waits: TypeAlias = Callable[[Coro], Coro]
#: How a call gets its children.
Joins: TypeAlias = Callable[..., Coro]


async def directly(child: Coro) -> None:
    await asyncio.create_task(child)


async def by_gather(child: Coro) -> None:
    await gather_structured(after(1, "a"), child)


async def by_gather_with_a_limit(child: Coro) -> None:
    await gather_structured(after(1, "a"), child, limit=1)


async def by_gather_of_a_task(child: Coro) -> None:
    await gather_structured(asyncio.create_task(child), after(1, "a"))


async def by_first(child: Coro) -> None:
    (await first_n_within([child, after(1, "a")])).raise_if_short()


async def by_iteration(child: Coro) -> None:
    async with as_completed_scoped([child]) as outcomes:
        async for outcome in outcomes:
            await outcome


async def by_iteration_over_a_task(child: Coro) -> None:
    async with as_completed_scoped([asyncio.create_task(child)]) as outcomes:
        async for outcome in outcomes:
            await outcome


async def by_a_block(child: Coro) -> None:
    """The body waits for something else; leaving the block joins the child."""
    async with as_completed_scoped([child]) as outcomes:
        await asyncio.sleep(5)
        await (await anext(outcomes))


async def by_adding(child: Coro) -> None:
    async with as_completed_scoped([after(1, "a")]) as outcomes:
        outcomes.add(child)
        async for outcome in outcomes:
            await outcome


async def by_two_calls(child: Coro) -> None:
    await gather_structured(by_iteration(by_first(child)))


async def by_two_tasks(child: Coro) -> None:
    await asyncio.create_task(by_gather_of_a_task(directly(child)))


async def by_a_timeout(child: Coro) -> None:
    async with asyncio.timeout(60):
        await gather_structured(child)


each_wait = pytest.mark.parametrize(
    "waits",
    [
        directly,
        by_gather,
        by_gather_with_a_limit,
        by_gather_of_a_task,
        by_first,
        by_iteration,
        by_iteration_over_a_task,
        by_a_block,
        by_adding,
        by_two_calls,
        by_two_tasks,
        by_a_timeout,
    ],
    ids=lambda waits: waits.__name__,
)


async def gather(*children: Any) -> None:
    await gather_structured(*children)


async def gather_with_options(*children: Any) -> None:
    await gather_structured(*children, limit=1, child_timeout=9, return_exceptions=True)


async def first(*children: Any) -> None:
    await first_n_within(children, 1)


async def stream(*children: Any) -> None:
    async with as_completed_scoped(children) as outcomes:
        async for outcome in outcomes:
            await outcome


async def first_of_a_generator(*children: Any) -> None:
    await first_n_within(iter(children), limit=9)


async def adding(*children: Any) -> None:
    async with as_completed_scoped([forever()]) as outcomes:
        for child in children:
            outcomes.add(child)


each_join = pytest.mark.parametrize(
    "joins",
    [gather, gather_with_options, first, stream, first_of_a_generator, adding],
    ids=lambda joins: joins.__name__,
)


@each_wait
@each_join
@either_start
def test_an_ancestor_is_refused(waits: Waits, joins: Joins, *, eager: bool) -> None:
    """The error names the ancestor, which is not cancelled, and runs on after its child failed."""

    async def descendant(ancestor: asyncio.Task[Any]) -> None:
        await asyncio.sleep(0)  # the ancestor waits by now
        with pytest.raises(RuntimeError, match="is an ancestor of the calling task") as caught:
            await joins(ancestor)
        assert "the ancestor" in str(caught.value)
        assert "child 0" in str(caught.value) or "the argument of add()" in str(caught.value)
        assert now() < 2
        raise LookupError

    async def ancestor() -> None:
        task = asyncio.current_task()
        assert task is not None
        with suppress(LookupError, ExceptionGroup):
            await waits(descendant(task))
        assert task.cancelling() == 0

    async def main() -> None:
        await asyncio.create_task(ancestor(), name="the ancestor")

    run(main(), eager=eager)


@each_join
@virtual
async def test_the_calling_task_is_refused(joins: Joins) -> None:
    """It would wait for itself."""
    me = asyncio.current_task()
    assert me is not None
    with pytest.raises(RuntimeError, match="is the calling task; waiting for it would deadlock"):
        await joins(me)
    assert me.cancelling() == 0


@each_call
@pytest.mark.parametrize("place", [0, 1, 2])
@with_and_without_limit
@virtual
async def test_nothing_starts_beside_an_ancestor(call: Call, place: int, limit: int | None) -> None:
    """The siblings' coroutines are closed, whatever the position of the ancestor."""
    siblings = [after(0, AssertionError("it has run")) for _ in range(2)]
    me = asyncio.current_task()

    async def descendant() -> None:
        children: list[Any] = [*siblings]
        children.insert(place, me)
        with pytest.raises(RuntimeError, match=f"child {place} is an ancestor of the calling task"):
            await call(*children, limit=limit)
        assert [*map(inspect.getcoroutinestate, siblings)] == [inspect.CORO_CLOSED] * 2

    await gather_structured(descendant())


@virtual
async def test_gathering_all_other_tasks_at_a_shutdown() -> None:
    """Cancelling and gathering `all_tasks()` includes an ancestor, and is refused."""
    log: list[str] = []

    async def watch() -> None:
        await asyncio.sleep(1)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        try:
            await gather_structured(*others, return_exceptions=True)
        except RuntimeError as error:
            log.append(str(error))

    async def service() -> None:
        await gather_structured(asyncio.sleep(60), watch())

    task = asyncio.create_task(service())
    await asyncio.sleep(0)
    with suppress(asyncio.CancelledError):
        await asyncio.shield(task)
    me = asyncio.current_task()
    assert me is not None
    me.uncancel()
    await asyncio.wait([task])
    assert len(log) == 1
    assert "is an ancestor of the calling task" in log[0]
    assert now() == 1


# Not an ancestor


@each_call
@virtual
async def test_a_task_that_waits_for_another_is_joined(call: Call) -> None:
    """A sibling, a nephew and a Task that waits for a third party are ordinary children."""
    other = asyncio.create_task(after(1, "other"))

    async def waits() -> Any:
        return await other

    nephew = asyncio.create_task(waits())
    await asyncio.sleep(0)
    assert await call(nephew, other, after(2, "c")) == ["other", "other", "c"]


@each_call
@virtual
async def test_a_done_task_is_no_ancestor(call: Call) -> None:
    """It waited for the caller once, and does not any more."""
    log: list[str] = []

    async def child() -> None:
        log.append("ran")

    async def parent() -> str:
        await gather_structured(child())
        return "parent"

    task = asyncio.create_task(parent())
    await task
    assert await call(task) == ["parent"]
    assert log == ["ran"]


@each_call
@virtual
async def test_two_calls_that_join_each_others_children(call: Call) -> None:
    """Neither call waits for the other's caller."""
    shared = asyncio.create_task(after(1, "shared"))
    assert await call(call(shared), call(shared)) == [["shared"], ["shared"]]


@virtual
async def test_an_ancestor_behind_asyncio_gather_is_in_the_stuck_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It can't be detected; but once the deadlock is cancelled, the warning names what waits."""
    structgather.warn_stuck_after(5)
    released = asyncio.get_running_loop().create_future()

    async def descendant(ancestor: asyncio.Task[Any]) -> None:
        await gather_structured(ancestor)

    async def ancestor() -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await asyncio.gather(descendant(task), forever())
        finally:
            await released  # or the two would wait for each other forever

    task = asyncio.create_task(ancestor(), name="the ancestor")
    await asyncio.sleep(1)
    task.cancel()
    with caplog.at_level(logging.WARNING, "structgather"):
        await asyncio.sleep(6)
    released.set_result(None)
    with suppress(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    (record,) = caplog.records
    text = record.getMessage()
    assert "gather_structured(): still waiting for child 0, " in text
    assert "ancestor (the ancestor)" in text
    assert f"{__file__}:" in text
    assert "in ancestor" in text
