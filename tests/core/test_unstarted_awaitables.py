"""Awaitables that a call does not start: coroutines are closed, everything else is left alone.

Closing an unstarted `anext(generator)` throws GeneratorExit into the generator itself on 3.13+.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeAlias

import pytest

from structgather import as_completed_scoped, first_n_within, gather_structured
from support.virtual_tests import forever, never, virtual
from support.virtual_time import after

Make: TypeAlias = Callable[[AsyncGenerator[int, None]], Any]
Use: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]


async def rows() -> AsyncGenerator[int, None]:
    for number in range(4):
        yield number


class Own(Coroutine[Any, Any, int]):
    """A coroutine of a class of its own, as compilers create them."""

    def __init__(self, generator: AsyncGenerator[int, None]) -> None:
        self._next: Any = generator.__anext__()

    def send(self, value: Any) -> Any:
        return self._next.send(value)

    def throw(self, error: Any, *_: Any) -> Any:
        return self._next.throw(error)

    def close(self) -> None:
        self._next.close()

    def __await__(self) -> Generator[Any, Any, int]:
        return self._next.__await__()  # type: ignore[no-any-return]


class Simple:
    """An object with `__await__`, and a `close()` that a call must not use."""

    def __init__(self, generator: AsyncGenerator[int, None]) -> None:
        self._generator = generator
        self.close = generator.aclose

    def __await__(self) -> Generator[Any, Any, int]:
        return self._generator.__anext__().__await__()


def by_anext(generator: AsyncGenerator[int, None]) -> Any:
    return anext(generator)


def by_anext_with_default(generator: AsyncGenerator[int, None]) -> Any:
    return anext(generator, None)


def by_asend(generator: AsyncGenerator[int, None]) -> Any:
    return generator.asend(None)


each_kind = pytest.mark.parametrize(
    "make",
    [by_anext, by_anext_with_default, by_asend, Own, Simple],
    ids=lambda make: make.__name__,
)


# Calls that are given one, and do not start it


async def fails() -> None:
    raise KeyError


async def gather_refuses(awaitable: Awaitable[Any]) -> None:
    bad: Any = 3
    with pytest.raises(TypeError):
        await gather_structured(awaitable, bad)


async def gather_refuses_an_option(awaitable: Awaitable[Any]) -> None:
    with pytest.raises(ValueError, match="limit"):
        await gather_structured(awaitable, limit=0)


async def gather_refuses_a_list(awaitable: Any) -> None:
    bad: Any = [awaitable, (awaitable, {"key": awaitable})]
    with pytest.raises(TypeError, match="forget the star"):
        await gather_structured(bad)


async def gather_fails(awaitable: Awaitable[Any]) -> None:
    with pytest.raises(KeyError):
        await gather_structured(fails(), awaitable, limit=1)


async def gather_is_cancelled(awaitable: Awaitable[Any]) -> None:
    await cancelled(gather_structured(forever(), awaitable, limit=1))


async def gather_is_cancelled_at_its_start(awaitable: Awaitable[Any]) -> None:
    await cancelled(gather_structured(forever(), awaitable))


async def gather_never_starts(awaitable: Awaitable[Any]) -> None:
    task = asyncio.create_task(gather_structured(awaitable))
    task.cancel()
    await asyncio.wait([task])


async def gather_is_never_awaited(awaitable: Awaitable[Any]) -> None:
    call: Any = gather_structured
    with pytest.warns(RuntimeWarning, match="'gather_structured' was never awaited") as warned:
        call(awaitable)
    warned.clear()


async def gather_without_time(awaitable: Awaitable[Any]) -> None:
    with pytest.raises(TimeoutError):
        await gather_structured(awaitable, child_timeout=0)


async def gather_without_tasks(awaitable: Awaitable[Any]) -> None:
    def factory(*_: Any, **__: Any) -> Any:
        raise MemoryError

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    with pytest.raises(MemoryError):
        await gather_structured(awaitable)
    loop.set_task_factory(None)


async def first_refuses(awaitable: Any) -> None:
    bad: Any = 3
    with pytest.raises(TypeError):
        await first_n_within([awaitable, bad])


async def first_refuses_an_option(awaitable: Any) -> None:
    with pytest.raises(ValueError, match="within"):
        await first_n_within([awaitable], within=-1)


async def first_meets(awaitable: Any) -> None:
    found = await first_n_within([after(0, "a"), awaitable], 1, limit=1)
    assert found.outcomes[1].cancelled()


async def first_of_none(awaitable: Any) -> None:
    assert (await first_n_within([awaitable], 0)).met


async def first_without_time(awaitable: Any) -> None:
    assert (await first_n_within([awaitable], within=0)).reason == "deadline"


async def first_is_never_awaited(awaitable: Any) -> None:
    call: Any = first_n_within
    with pytest.warns(RuntimeWarning, match="'first_n_within' was never awaited") as warned:
        call([awaitable])
    warned.clear()


async def stream_refuses(awaitable: Any) -> None:
    bad: Any = 3
    with pytest.raises(TypeError):
        await as_completed_scoped([awaitable, bad]).__aenter__()


async def stream_is_never_entered(awaitable: Any) -> None:
    as_completed_scoped([awaitable])


async def stream_is_left(awaitable: Any) -> None:
    async with as_completed_scoped([after(0, "a"), awaitable], limit=1):
        await asyncio.sleep(1)


async def stream_is_left_at_once(awaitable: Any) -> None:
    async with as_completed_scoped([awaitable]):
        pass


async def stream_without_time(awaitable: Any) -> None:
    with pytest.raises(TimeoutError):
        async with as_completed_scoped([awaitable], timeout=0) as outcomes:
            await anext(outcomes)


async def add_refuses(awaitable: Any) -> None:
    async with as_completed_scoped([forever()]) as outcomes:
        outcomes.cancel()
        with pytest.raises(RuntimeError, match="can't add a child"):
            outcomes.add(awaitable)


async def added_and_left(awaitable: Any) -> None:
    async with as_completed_scoped([forever()], limit=1) as outcomes:
        outcomes.add(awaitable)


async def pulled_without_room(awaitable: Any) -> None:
    async def inputs() -> AsyncIterator[Awaitable[Any]]:
        await asyncio.sleep(1)
        yield awaitable

    async with as_completed_scoped(inputs(), limit=1) as outcomes:
        await asyncio.sleep(0.5)
        outcomes.add(forever())
        await asyncio.sleep(1)


async def cancelled(call: Coroutine[Any, Any, Any]) -> None:
    """Cancel a call in the loop iteration in which it has started its children."""
    task = asyncio.create_task(call)
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


each_use = pytest.mark.parametrize(
    "use",
    [
        gather_refuses,
        gather_refuses_an_option,
        gather_refuses_a_list,
        gather_fails,
        gather_is_cancelled,
        gather_is_cancelled_at_its_start,
        gather_never_starts,
        gather_is_never_awaited,
        gather_without_time,
        gather_without_tasks,
        first_refuses,
        first_refuses_an_option,
        first_meets,
        first_of_none,
        first_without_time,
        first_is_never_awaited,
        stream_refuses,
        stream_is_never_entered,
        stream_is_left,
        stream_is_left_at_once,
        stream_without_time,
        add_refuses,
        added_and_left,
        pulled_without_room,
    ],
    ids=lambda use: use.__name__,
)


@each_use
@each_kind
@virtual
async def test_an_unstarted_awaitable_is_left_alone(use: Use, make: Make) -> None:
    """It can still be awaited, and its generator still yields every item."""
    generator = rows()
    assert await anext(generator) == 0
    awaitable = make(generator)
    await use(awaitable)
    assert await awaitable == 1
    assert [number async for number in generator] == [2, 3]


@each_use
@virtual
async def test_an_unstarted_coroutine_is_closed(use: Use) -> None:
    """It is not "never awaited", and has not run."""
    coroutine = after(0, AssertionError("it has run"))
    await use(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@each_kind
@virtual
async def test_a_started_awaitable_runs(make: Make) -> None:
    """A sibling that fails in its first step does not keep it from starting."""
    generator = rows()
    assert await anext(generator) == 0
    with pytest.raises(KeyError):
        await gather_structured(fails(), make(generator))
    assert [number async for number in generator] == [2, 3]


@virtual
async def test_a_child_that_is_cancelled_before_its_first_step_is_closed() -> None:
    """Also if a sibling fails before the call has taken note of the cancellation."""

    async def cancels_the_next() -> None:
        names = {task.get_coro().__name__: task for task in asyncio.all_tasks()}  # type: ignore[union-attr]
        assert names["never"].cancel("by a third party")

    async def fails_at_once() -> None:
        raise ValueError

    child = never()
    with pytest.raises(asyncio.CancelledError, match="by a third party"):
        await gather_structured(cancels_the_next(), child, fails_at_once())
    assert inspect.getcoroutinestate(child) == inspect.CORO_CLOSED


async def first_of(batch: list[Any], limit: int | None) -> None:
    await first_n_within(batch, limit=limit)


async def stream_of(batch: list[Any], limit: int | None) -> None:
    async with as_completed_scoped(batch, limit=limit) as outcomes:
        async for _ in outcomes:
            pass


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("call", [first_of, stream_of])
@virtual
async def test_what_the_list_holds_later_is_left_alone(call: Any, limit: int | None) -> None:
    """A call takes its inputs once: a coroutine that is put into the list later is not closed."""
    batch = [after(1, "a")]
    task = asyncio.create_task(call(batch, limit))
    await asyncio.sleep(0)
    batch[:] = [after(1, "next")]
    await task
    assert await batch[0] == "next"
