"""Scopes and task groups of anyio inside children, anyio's runner, and its threads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.each_call import Call, Leave, each_call, each_way_to_leave
from support.real_loops import Loop, run, stock, uvloop
from support.virtual_tests import virtual
from support.virtual_time import after, now

pytest.importorskip("anyio", exc_type=ImportError)

import anyio

from structgather import TimedOut, first_n_within, gather_structured


@each_way_to_leave
@virtual
async def test_a_child_that_is_an_anyio_task_group(leave: Leave) -> None:
    """It is cancelled, and joined with the whole group."""
    log: list[str] = []

    async def member(name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append(name)

    async def child() -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(member, "a")
                group.start_soon(member, "b")
        finally:
            log.append("the group")

    await leave(child())
    assert sorted(log) == ["a", "b", "the group"]
    assert log[-1] == "the group"
    assert len(asyncio.all_tasks()) == 1


@each_way_to_leave
@virtual
async def test_a_shielded_cleanup_of_a_child(leave: Leave) -> None:
    """A cleanup that a child shields with a scope of anyio is waited for."""
    log: list[str] = []

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
                log.append("cleaned up")

    await leave(child())
    assert log == ["cleaned up"]
    assert now() == 3


@each_call
@virtual
async def test_a_scope_of_a_child_affects_only_the_child(call: Call) -> None:
    """Its own scope cancels or fails the child, and no other."""

    async def moves_on() -> str:
        with anyio.move_on_after(1):
            await anyio.sleep_forever()
        return "moved on"

    async def fails() -> None:
        with anyio.fail_after(2):
            await anyio.sleep_forever()

    async def fails_in_a_group() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            raise LookupError

    moved, failed, in_group, value = await call(
        moves_on(), fails(), fails_in_a_group(), after(3, "value")
    )
    assert (moved, value) == ("moved on", "value")
    assert isinstance(failed, TimeoutError)
    assert isinstance(in_group, ExceptionGroup)
    assert now() == 3


@each_call
@virtual
async def test_a_child_timeout_inside_a_scope(call: Call) -> None:
    """`child_timeout` cancels a child that waits inside a scope of anyio."""

    async def patient() -> str:
        with anyio.move_on_after(60):
            await anyio.sleep_forever()
        return "moved on"

    late, value = await call(patient(), after(1, "value"), child_timeout=2)
    assert isinstance(late, TimeoutError)
    assert value == "value"
    assert now() == 2


# The results within 3 s


@virtual
async def test_results_in_time_without_a_shared_list() -> None:
    """`first_n_within(within=3)` returns the results, and which children were late."""

    async def ask(name: str, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return name

    by_hand: list[str] = []

    async def ask_into_the_list(name: str, seconds: float) -> None:
        by_hand.append(await ask(name, seconds))

    with anyio.move_on_after(3):
        async with anyio.create_task_group() as group:
            for name, seconds in [("a", 2), ("b", 1), ("c", 60)]:
                group.start_soon(ask_into_the_list, name, seconds)

    assert now() == 3
    found = await first_n_within([ask("a", 2), ask("b", 1), ask("c", 60)], within=3)
    assert found.values == by_hand == ["b", "a"]
    assert isinstance(found.outcomes[2], TimedOut)
    assert now() == 6


# On real loops


@pytest.mark.parametrize("loop", [stock, uvloop])
def test_a_cleanup_that_takes_time(loop: Loop) -> None:
    """On a real loop, too, a cancelled scope waits for cleanups that take time."""

    async def main() -> None:
        log: list[str] = []

        async def child(name: str) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                await asyncio.sleep(0.02)
                log.append(name)

        async def last() -> None:
            scope.deadline = anyio.current_time()  # not earlier: uvloop runs due timers first
            await child("b")

        with anyio.CancelScope() as scope:
            await gather_structured(child("a"), last())
        assert scope.cancelled_caught
        assert sorted(log) == ["a", "b"]

    run(main, loop)


@pytest.mark.parametrize("use_uvloop", [False, True])
@each_call
def test_under_anyios_own_runner(use_uvloop: bool, call: Call) -> None:  # noqa: FBT001
    """`anyio.run` runs it, on asyncio's loop and on uvloop, with children in anyio's threads."""
    if use_uvloop:
        pytest.importorskip("uvloop", exc_type=ImportError)

    async def main() -> list[Any]:
        in_threads = [anyio.to_thread.run_sync(pow, n, 2) for n in range(3)]
        return await call(*in_threads, limit=2)

    assert anyio.run(main, backend_options={"use_uvloop": use_uvloop}) == [0, 1, 4]


@each_call
def test_from_a_thread(call: Call) -> None:
    """A thread that anyio started may call it with `from_thread.run`."""

    async def value(n: int) -> int:
        await asyncio.sleep(0)
        return n

    async def main() -> Any:
        return await anyio.to_thread.run_sync(
            lambda: anyio.from_thread.run(lambda: call(value(1), value(2)))
        )

    assert anyio.run(main) == [1, 2]
