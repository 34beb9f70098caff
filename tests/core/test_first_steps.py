"""First steps: a child that completes the call does not keep its batch from starting.

As under asyncio.gather and TaskGroup, each sibling makes its first step. Only the caller's
cancellation, or its leaving the block, comes before a first step.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from simloop.every_schedule import either_start
from structgather import Cancelled, Ok, as_completed_scoped, first_n_within, gather_structured
from support.virtual_tests import run_stock, virtual
from support.virtual_time import run

Log: TypeAlias = list[str]
#: A call that is complete as soon as its child `ends` has made its first step.
Ends: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


class FirstStepError(Exception):
    """Raised by a child in its first step."""


async def ends(log: Log) -> str:
    """Return, or fail where it is gathered, before the first await."""
    log.append("ends")
    return "ended"


async def fails(log: Log) -> None:
    log.append("ends")
    raise FirstStepError


async def starts(log: Log, name: str) -> None:
    """Wait from the first step on, until cancelled."""
    log.append(f"{name} starts")
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        log.append(f"{name} cancelled")


async def without_await(log: Log, name: str) -> str:
    log.append(f"{name} runs")
    return name


async def gather(log: Log, before: list[Any], after: list[Any], **options: Any) -> None:
    with pytest.raises(FirstStepError):
        await gather_structured(*before, fails(log), *after, **options)


async def gather_group(log: Log, before: list[Any], after: list[Any], **options: Any) -> None:
    with pytest.raises(ExceptionGroup):
        await gather_structured(*before, fails(log), *after, exception_group=True, **options)


async def first(log: Log, before: list[Any], after: list[Any], **options: Any) -> None:
    found = await first_n_within([*before, ends(log), *after], 1, **options)
    assert found.values == ["ended"]


each_end = pytest.mark.parametrize(
    "end", [gather, gather_group, first], ids=lambda end: end.__name__
)
each_place = pytest.mark.parametrize("place", [0, 1, 2, 3])


@each_end
@each_place
@either_start
def test_each_sibling_makes_its_first_step(end: Ends, place: int, *, eager: bool) -> None:
    """Each starts, in input order, and is cancelled afterwards, in input order."""
    log: Log = []

    async def main() -> None:
        siblings = [starts(log, name) for name in "abc"]
        await end(log, siblings[:place], siblings[place:])

    run_stock(main(), eager=eager)
    first_steps = [f"{name} starts" for name in "abc"]
    first_steps.insert(place, "ends")
    assert log == [*first_steps, *(f"{name} cancelled" for name in "abc")]


@each_place
@either_start
def test_a_sibling_without_any_await_runs_to_completion(place: int, *, eager: bool) -> None:
    """A manager that subscribes, registers or publishes in its only step does so."""
    log: Log = []

    async def main() -> None:
        siblings = [without_await(log, name) for name in "abc"]
        await gather(log, siblings[:place], siblings[place:])

    run_stock(main(), eager=eager)
    assert sorted(log) == ["a runs", "b runs", "c runs", "ends"]


async def asyncio_gather(*children: Coroutine[Any, Any, Any]) -> None:
    with contextlib.suppress(FirstStepError):
        await asyncio.gather(*children)


async def task_group(*children: Coroutine[Any, Any, Any]) -> None:
    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(child)


async def structured(*children: Coroutine[Any, Any, Any]) -> None:
    with contextlib.suppress(FirstStepError):
        await gather_structured(*children)


@pytest.mark.parametrize("call", [asyncio_gather, task_group, structured])
def test_asyncio_makes_the_same_first_steps(call: Ends) -> None:
    """In the same order."""
    log: Log = []

    async def main() -> None:
        await call(without_await(log, "a"), fails(log), without_await(log, "b"))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert log == ["a runs", "ends", "b runs"]


@either_start
def test_the_first_step_of_a_sibling_is_reported(*, eager: bool) -> None:
    """Its failure is in the notes, its value in the outcomes."""

    async def main() -> None:
        with pytest.raises(FirstStepError) as caught:
            await gather_structured(fails([]), also_fails())
        assert "KeyError: 'a sibling'" in caught.value.__notes__[-1]
        found = await first_n_within([ends([]), without_await([], "b")], 1)
        assert found.values == ["ended"]
        assert [outcome.result() for outcome in found.outcomes] == ["ended", "b"]

    async def also_fails() -> None:
        raise KeyError("a sibling")

    run_stock(main(), eager=eager)


class Bus:
    """A message bus that disconnects its subscribers only once they have subscribed."""

    def __init__(self) -> None:
        self.subscribed = asyncio.Event()

    async def serve(self) -> None:
        await self.subscribed.wait()

    async def subscriber(self) -> None:
        self.subscribed.set()
        await asyncio.get_running_loop().create_future()


@virtual
async def test_a_service_that_waits_for_a_sibling_to_start_is_not_stuck() -> None:
    """Its server, which is not a child, waits until the subscriber has made its first step."""
    bus = Bus()
    server = asyncio.create_task(bus.serve())
    with pytest.raises(FirstStepError):
        await gather_structured(fails([]), bus.subscriber())
    await server


# Duplicates and adopted Tasks


@either_start
def test_a_duplicate_makes_one_first_step(*, eager: bool) -> None:
    """It runs once, even if positions after the failure repeat it."""
    log: Log = []

    async def main() -> None:
        twice = starts(log, "a")
        with pytest.raises(FirstStepError):
            await gather_structured(twice, fails(log), twice)

    run_stock(main(), eager=eager)
    assert log == ["a starts", "ends", "a cancelled"]


@each_end
@virtual
async def test_an_adopted_task_makes_its_first_step(end: Ends) -> None:
    """A Task that was created right before the call is cancelled after its first step."""
    log: Log = []
    adopted = asyncio.create_task(starts(log, "adopted"))
    await end(log, [], [adopted, starts(log, "b")])
    assert log == ["adopted starts", "ends", "b starts", "adopted cancelled", "b cancelled"]
    assert adopted.cancelled()


@virtual
async def test_siblings_of_an_adopted_task_that_has_failed_make_their_first_step() -> None:
    """The call is complete at once, but returns only after they have started."""
    log: Log = []
    failed = asyncio.create_task(fails(log))
    await asyncio.wait([failed])
    with pytest.raises(FirstStepError):
        await gather_structured(starts(log, "a"), failed, starts(log, "b"))
    assert log == ["ends", "a starts", "b starts", "a cancelled", "b cancelled"]


@virtual
async def test_siblings_of_an_adopted_value_make_their_first_step() -> None:
    """The one value requested was there before the call."""
    log: Log = []
    done = asyncio.create_task(ends(log))
    await asyncio.wait([done])
    found = await first_n_within([starts(log, "a"), done, starts(log, "b")], 1)
    assert found.values == ["ended"]
    assert log == ["ends", "a starts", "b starts", "a cancelled", "b cancelled"]


# With a limit


@each_end
@pytest.mark.parametrize("limit", [1, 2, 3])
@either_start
def test_queued_children_are_not_started(end: Ends, limit: int, *, eager: bool) -> None:
    """Children for which there was room make their first step; the others are closed."""
    log: Log = []
    queued = [starts(log, name) for name in "abc"]

    async def main() -> None:
        await end(log, [], queued, limit=limit)

    run_stock(main(), eager=eager)
    # An eager child has completed the call before another is started.
    started = [] if eager else queued[: limit - 1]
    names = "abc"[: len(started)]
    if not (eager and end is not first):
        assert log == [
            "ends",
            *(f"{name} starts" for name in names),
            *(f"{name} cancelled" for name in names),
        ]
    assert {inspect.getcoroutinestate(child) for child in queued} == {inspect.CORO_CLOSED}


# What comes before a first step


@virtual
async def test_a_queued_child_does_not_delay_the_first_steps_of_others() -> None:
    """It starts in the last step of one child, before the first step of the next one."""
    log: Log = []

    async def returns_at_once() -> None:
        asyncio.get_running_loop().call_soon(log.append, "next loop iteration")

    await gather_structured(
        returns_at_once(), without_await(log, "second"), without_await(log, "queued"), limit=2
    )
    assert log == ["second runs", "next loop iteration", "queued runs"]


@pytest.mark.parametrize("limit", [None, 2])
@either_start
def test_a_child_that_cancels_the_children_in_its_first_step(
    limit: int | None, *, eager: bool
) -> None:
    """It is cancelled as well, even if it started eagerly while it was added."""
    log: Log = []

    async def main() -> None:
        async def cancels() -> None:
            outcomes.cancel()
            await starts(log, "it")

        async with as_completed_scoped([starts(log, "first")], limit=limit) as outcomes:
            await asyncio.sleep(0)
            outcomes.add(cancels())
            assert [type(outcome) async for outcome in outcomes] == [Cancelled, Cancelled]
        assert sorted(log) == ["first cancelled", "first starts", "it cancelled", "it starts"]

    run(main(), eager=eager)


async def never(log: Log) -> None:
    log.append("started")


@pytest.mark.parametrize("limit", [None, 1])
@virtual
async def test_the_callers_cancellation_comes_before_first_steps(limit: int | None) -> None:
    """A caller that is cancelled in the iteration in which it starts its children starts none."""
    log: Log = []
    children = [never(log) for _ in range(4)]
    calls: list[Awaitable[Any]] = [
        gather_structured(*children[:2], limit=limit),
        first_n_within(children[2:], limit=limit),
    ]
    for call in calls:
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert log == []
    assert {inspect.getcoroutinestate(child) for child in children} == {inspect.CORO_CLOSED}


@virtual
async def test_leaving_the_block_comes_before_first_steps() -> None:
    """A block that is left in the iteration in which it was entered starts no child."""
    log: Log = []
    async with as_completed_scoped([never(log), never(log)]) as outcomes:
        pass
    assert log == []
    assert [type(outcome) for outcome in outcomes.undelivered] == [Cancelled] * 2


@virtual
async def test_a_failure_in_a_first_step_does_not_stop_the_iteration() -> None:
    """In a block it is an item like any other; its siblings run on."""
    log: Log = []
    async with as_completed_scoped([fails(log), without_await(log, "b")]) as outcomes:
        found = [outcome async for outcome in outcomes]
    assert log == ["ends", "b runs"]
    assert isinstance(found[0].exception(), FirstStepError)
    assert found[1] == Ok("b", 1, 0.0)


# Interrupts


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_siblings_of_an_interrupt_make_their_first_step(
    kind: type[BaseException], place: int
) -> None:
    """The loop raises it after the first steps; if the loop runs on, the siblings are joined."""
    log: Log = []

    async def interrupts() -> None:
        log.append("ends")
        raise kind

    async def main() -> None:
        siblings = [starts(log, name) for name in "ab"]
        with pytest.raises(kind):
            await gather_structured(*siblings[:place], interrupts(), *siblings[place:])

    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        task = loop.create_task(main())
        with pytest.raises(kind):
            loop.run_until_complete(task)
        loop.run_until_complete(task)
    first_steps = ["a starts", "b starts"]
    first_steps.insert(place, "ends")
    assert log == [*first_steps, "a cancelled", "b cancelled"]


@either_start
def test_a_generator_exit_in_a_first_step_is_a_failure(*, eager: bool) -> None:
    """The child itself raises it, not the collector that closes its coroutine."""

    async def raises() -> None:
        raise GeneratorExit("own")

    async def main() -> None:
        (error,) = await gather_structured(raises(), return_exceptions=True)
        assert isinstance(error, GeneratorExit)
        assert error.args == ("own",)

    run(main(), eager=eager)
