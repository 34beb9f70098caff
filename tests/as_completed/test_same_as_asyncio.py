"""What the documentation of `asyncio.as_completed` promises, tested over both functions.

Each test runs over the standard library's function, iterated in each of its ways, and over ours,
through one adapter. Intended differences are in
`test_differences_from_asyncio.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import pytest

from structgather import as_completed_scoped
from support.both_sides import Awaited, Loop, of_both
from support.virtual_tests import forever, virtual
from support.virtual_time import after, now, run


async def values(as_completed: Loop, aws: Any, **options: Any) -> list[Any]:
    """The usual body of a loop."""
    got: list[Any] = []
    async with as_completed(aws, **options) as completed:
        async for earliest in completed:
            got.append(await earliest)  # noqa: PERF401
    return got


@of_both
@virtual
async def test_the_earliest_come_first(as_completed: Loop) -> None:
    """Results are yielded in the order in which they arrive, not in input order."""
    aws = [after(3, "c"), after(1, "a"), after(2, "b")]
    assert await values(as_completed, aws) == ["a", "b", "c"]
    assert now() == 3


@of_both
@virtual
async def test_children_run_concurrently(as_completed: Loop) -> None:
    """All are started before the first result is awaited."""
    assert len(await values(as_completed, [after(1, number) for number in range(50)])) == 50
    assert now() == 1


@of_both
@virtual
async def test_any_iterable_of_any_awaitables(as_completed: Loop) -> None:
    """Lists, sets and generators (asyncio's since 3.12) of coroutines, Tasks and Futures."""
    future = asyncio.get_running_loop().create_future()
    future.set_result("future")
    assert await values(as_completed, [future]) == ["future"]
    assert await values(as_completed, {asyncio.create_task(after(1, "task"))}) == ["task"]
    assert await values(as_completed, [after(1, "coroutine")]) == ["coroutine"]
    assert await values(as_completed, (Awaited(),)) == ["awaited"]
    if as_completed is as_completed_scoped or sys.version_info >= (3, 12):
        assert await values(as_completed, (after(1, name) for name in "a")) == ["a"]
    assert await values(as_completed, []) == []


@of_both
@virtual
async def test_an_exception_is_raised_where_the_item_is_awaited(as_completed: Loop) -> None:
    """The `await` raises the child's own exception, and the loop may continue."""
    error = ValueError("broken")
    got: list[Any] = []
    async with as_completed([after(1, error), after(2, "b")]) as completed:
        async for earliest in completed:
            try:
                got.append(await earliest)
            except ValueError as caught:
                got.append(caught)
    assert got == [error, "b"]


@of_both
@virtual
async def test_a_timeout_raises_timeout_error(as_completed: Loop) -> None:
    """Results in time are yielded, then TimeoutError is raised."""
    got: list[Any] = []

    async def loop() -> None:
        async with as_completed([after(1, "a"), forever()], timeout=2) as completed:
            async for earliest in completed:
                got.append(await earliest)  # noqa: PERF401

    with pytest.raises(TimeoutError):
        await loop()
    assert (got, now()) == (["a"], 2)


@of_both
@virtual
async def test_a_timeout_that_is_not_reached(as_completed: Loop) -> None:
    """Nothing changes if all children finish within the timeout."""
    assert await values(as_completed, [after(1, "a")], timeout=2) == ["a"]


@of_both
@virtual
async def test_a_single_awaitable_is_refused(as_completed: Loop) -> None:
    """One awaitable instead of an iterable is a TypeError."""
    child = forever()
    with pytest.raises(TypeError):
        await values(as_completed, child)
    child.close()


@of_both
@virtual
async def test_a_body_written_for_asyncio_runs_unchanged(as_completed: Loop) -> None:
    """Two lines change, the body does not: it awaits, catches, counts and breaks as before."""

    async def body(completed: Any, log: list[Any]) -> None:
        async for earliest in completed:
            try:
                log.append(await earliest)
            except ValueError as error:
                log.append(str(error))
            if len(log) == 3:
                break

    log: list[Any] = []
    async with as_completed(
        [after(1, "a"), after(2, ValueError("b")), after(3, "c"), forever()]
    ) as completed:
        await body(completed, log)
    assert log == ["a", "b", "c"]


@of_both
@virtual
async def test_a_child_that_cancels_itself(as_completed: Loop) -> None:
    """Its item raises CancelledError; the caller is not cancelled, and the loop may continue."""
    task = asyncio.create_task(after(3, "a"))
    asyncio.get_running_loop().call_later(1, task.cancel)
    got: list[Any] = []
    async with as_completed([task, after(2, "b")]) as completed:
        async for earliest in completed:
            try:
                got.append(await earliest)
            except asyncio.CancelledError:
                got.append("cancelled")
    assert got == ["cancelled", "b"]


@of_both
@virtual
async def test_no_item_is_lost_after_a_break(as_completed: Loop) -> None:
    """The iteration can be resumed where it was left."""
    got: list[Any] = []
    async with as_completed([after(number, number) for number in range(4)]) as completed:
        async for earliest in completed:
            got.append(await earliest)
            if len(got) == 2:
                break
        async for earliest in completed:
            got.append(await earliest)  # noqa: PERF401
    assert got == [0, 1, 2, 3]


@of_both
@virtual
async def test_an_item_is_not_the_coroutine_that_was_passed(as_completed: Loop) -> None:
    """Its value tells which child it belongs to."""
    given = [after(2, "b"), after(1, "a")]
    got: dict[str, Any] = {}
    async with as_completed(given) as completed:
        async for earliest in completed:
            got[await earliest] = earliest
    assert [*got] == ["a", "b"]
    assert not set(map(id, got.values())) & set(map(id, given))


@of_both
def test_an_interrupt_propagates(as_completed: Loop) -> None:
    """A child's KeyboardInterrupt is raised by the loop, and is not an item."""
    got: list[Any] = []

    async def main() -> None:
        got.extend(await values(as_completed, [after(1, KeyboardInterrupt()), after(1, "b")]))

    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert got == []


@of_both
def test_it_needs_a_running_loop(as_completed: Loop) -> None:
    """Without a running loop a coroutine is refused."""
    child = after(1, "a")
    with contextlib.closing(child), pytest.raises(RuntimeError):
        values(as_completed, [child]).send(None)
