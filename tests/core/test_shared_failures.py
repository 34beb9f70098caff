"""One failure raised by many calls: its traceback does not grow, and keeps no caller alive.

A cached Task, or an outcome that is used repeatedly, raises the same object each time.
The child's own part of its traceback is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from structgather import Failed, as_completed_scoped, first_n_within, gather_structured
from support.virtual_tests import virtual
from support.virtual_time import after

#: A use of a shared Task that raises its failure, directly or in a group.
Use: TypeAlias = Callable[[asyncio.Task[Any]], Coroutine[Any, Any, Any]]


class Request:
    """Referred to by a caller's frame."""


async def connect() -> None:
    await asyncio.sleep(1)
    raise ConnectionError("the shared one")


async def load() -> None:
    await connect()


async def gathers(shared: asyncio.Task[Any]) -> None:
    await gather_structured(shared)


async def gathers_with_siblings(shared: asyncio.Task[Any]) -> None:
    await gather_structured(asyncio.sleep(60), shared, asyncio.sleep(60))


async def gathers_with_options(shared: asyncio.Task[Any]) -> None:
    await gather_structured(shared, limit=1, child_timeout=9)


async def gathers_a_group(shared: asyncio.Task[Any]) -> None:
    await gather_structured(shared, exception_group=True)


async def gathers_and_raises(shared: asyncio.Task[Any]) -> None:
    (await gather_structured(shared, return_exceptions=True)).raise_failures()


async def gathers_what_awaits_it(shared: asyncio.Task[Any]) -> None:
    async def child() -> None:
        await shared

    await gather_structured(child(), asyncio.sleep(60))


async def gathers_a_shield(shared: asyncio.Task[Any]) -> None:
    await gather_structured(asyncio.shield(shared))


async def nests(shared: asyncio.Task[Any]) -> None:
    await gather_structured(gathers(shared), asyncio.sleep(60))


async def first_is_short(shared: asyncio.Task[Any]) -> None:
    (await first_n_within([shared])).raise_if_short()


async def first_has_an_outcome(shared: asyncio.Task[Any]) -> None:
    (await first_n_within([shared, after(2, "a")], 1)).outcomes[0].result()


async def first_awaits_an_outcome(shared: asyncio.Task[Any]) -> None:
    await (await first_n_within([shared])).outcomes[0]


async def iterates(shared: asyncio.Task[Any]) -> None:
    async with as_completed_scoped([shared]) as outcomes:
        async for outcome in outcomes:
            await outcome


async def iterates_with_a_limit(shared: asyncio.Task[Any]) -> None:
    async with as_completed_scoped(iter([after(0, "a"), shared]), limit=1) as outcomes:
        async for outcome in outcomes:
            outcome.result()


async def iterates_in_order(shared: asyncio.Task[Any]) -> None:
    async with as_completed_scoped([after(2, "a"), shared], ordered=True) as outcomes:
        async for outcome in outcomes:
            await outcome


async def iterates_over_an_async_source(shared: asyncio.Task[Any]) -> None:
    async def inputs() -> AsyncIterator[asyncio.Task[Any]]:
        yield shared

    async with as_completed_scoped(inputs()) as outcomes:
        async for outcome in outcomes:
            await outcome


async def adds(shared: asyncio.Task[Any]) -> None:
    async with as_completed_scoped([after(0, "a")]) as outcomes:
        outcomes.add(shared)
        async for outcome in outcomes:
            await outcome


each_use = pytest.mark.parametrize(
    "use",
    [
        gathers,
        gathers_with_siblings,
        gathers_with_options,
        gathers_a_group,
        gathers_and_raises,
        gathers_what_awaits_it,
        gathers_a_shield,
        nests,
        first_is_short,
        first_has_an_outcome,
        first_awaits_an_outcome,
        iterates,
        iterates_with_a_limit,
        iterates_in_order,
        iterates_over_an_async_source,
        adds,
    ],
    ids=lambda use: use.__name__,
)


async def handler(use: Use, shared: asyncio.Task[Any], alive: list[weakref.ref[Request]]) -> None:
    """Use the shared Task in a frame that refers to a request, and handle the failure."""
    request = Request()
    alive.append(weakref.ref(request))
    with contextlib.suppress(ConnectionError, ExceptionGroup):
        await use(shared)


def frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@each_use
@virtual
async def test_a_shared_failure_does_not_grow(use: Use) -> None:
    """Its traceback is as long after a hundred calls as after two, and ends with the child's."""
    shared = asyncio.create_task(load())
    alive: list[weakref.ref[Request]] = []
    await handler(use, shared, alive)
    await handler(use, shared, alive)
    error = shared.exception()
    assert error is not None
    length, notes = len(frames(error)), len(getattr(error, "__notes__", ()))
    for _ in range(100):
        await handler(use, shared, alive)
    assert len(frames(error)) <= length
    if use is not gathers_what_awaits_it:  # asyncio's own Task drops its frames at a second `await`
        assert frames(error)[-2:] == ["load", "connect"]
    assert len(getattr(error, "__notes__", ())) == notes <= 2
    assert error.__context__ is None
    assert error.__cause__ is None


@each_use
@virtual
async def test_a_shared_failure_keeps_no_caller_alive(use: Use) -> None:
    """At most the last one of a hundred callers is alive."""
    shared = asyncio.create_task(load())
    alive: list[weakref.ref[Request]] = []
    for _ in range(100):
        await handler(use, shared, alive)
    gc.collect()
    assert sum(request() is not None for request in alive) <= 1


@each_use
@virtual
async def test_the_lines_of_an_awaiter_are_not_those_of_the_child(use: Use) -> None:
    """The same Task was awaited before, without a call."""
    shared = asyncio.create_task(load())

    async def awaits() -> None:
        await shared

    with pytest.raises(ConnectionError):
        await awaits()
    error = shared.exception()
    assert error is not None
    assert "awaits" in frames(error)
    await handler(use, shared, [])
    if use not in {gathers_what_awaits_it, gathers_a_shield}:  # these await it without a call
        assert frames(error)[-2:] == ["load", "connect"]
        assert "awaits" not in frames(error)


@each_use
@virtual
async def test_callers_that_share_a_failure_at_the_same_time(use: Use) -> None:
    """The failure is raised in each of them, and none is kept alive by the others."""
    shared = asyncio.create_task(load())
    alive: list[weakref.ref[Request]] = []
    handlers = [asyncio.create_task(handler(use, shared, alive)) for _ in range(20)]
    await asyncio.wait(handlers)
    assert [task.exception() for task in handlers] == [None] * 20
    del handlers
    error = shared.exception()
    assert error is not None
    if use is not gathers_what_awaits_it:
        assert frames(error).count("connect") == 1
    gc.collect()
    assert sum(request() is not None for request in alive) <= 1


async def looks_at(outcome: Failed, alive: list[weakref.ref[Request]], *, wait: bool) -> None:
    request = Request()
    alive.append(weakref.ref(request))
    with contextlib.suppress(ConnectionError):
        if wait:
            await outcome
        else:
            outcome.result()


@pytest.mark.parametrize("wait", [False, True])
@virtual
async def test_an_outcome_that_is_raised_again(*, wait: bool) -> None:
    """An outcome that many callers raise, for example from a cache, does not change."""
    (outcome,) = (await first_n_within([load()])).outcomes
    assert isinstance(outcome, Failed)
    alive: list[weakref.ref[Request]] = []
    await looks_at(outcome, alive, wait=wait)
    length = len(frames(outcome.error))
    for _ in range(100):
        await looks_at(outcome, alive, wait=wait)
    assert len(frames(outcome.error)) == length
    assert frames(outcome.error)[-2:] == ["load", "connect"]
    gc.collect()
    assert sum(request() is not None for request in alive) <= 1


@virtual
async def test_raise_if_short_that_is_called_again() -> None:
    """Each call raises a new group of the same failures, whose tracebacks do not grow."""
    found = await first_n_within([load(), load()])
    raised: list[ExceptionGroup[Any]] = []
    for _ in range(100):
        with pytest.raises(ExceptionGroup) as caught:
            found.raise_if_short()
        raised.append(caught.value)
    assert len({id(group) for group in raised}) == 100
    assert {group.exceptions for group in raised} == {raised[0].exceptions}
    assert {tuple(frames(error)) for error in raised[0].exceptions} == {("load", "connect")}
