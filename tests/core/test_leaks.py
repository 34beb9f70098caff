"""Nothing outlives a call, even with the garbage collector off: no task, frame or exception."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import structgather
from structgather import as_completed_scoped, gather_structured
from support.leak_detector import ChildError, Witness
from support.virtual_tests import virtual
from support.virtual_time import after

pytestmark = pytest.mark.usefixtures("no_collector")

PACKAGE = str(Path(structgather.__file__).parent / "*")
Case = Callable[[Witness], Coroutine[Any, Any, None]]


async def success(witness: Witness) -> None:
    await gather_structured(witness.child("a"), witness.child("b"))


async def limited(witness: Witness) -> None:
    children = [witness.child(name, iterations=2) for name in "abc"]
    await gather_structured(*children, limit=1, child_timeout=60)


async def failure(witness: Witness) -> None:
    with suppress(ChildError):
        await gather_structured(
            witness.child("a", iterations=99), witness.child("b", fails=True), witness.child("c")
        )


async def failures(witness: Witness) -> None:
    with suppress(ChildError):
        await gather_structured(witness.child("a", fails=True), witness.child("b", fails=True))


async def a_failure_at_once(witness: Witness) -> None:
    with suppress(ChildError):
        await gather_structured(
            witness.child("a", fails=True, iterations=0), witness.child("b"), limit=2
        )


async def group(witness: Witness) -> None:
    with suppress(ExceptionGroup):
        await gather_structured(
            witness.child("a", fails=True), witness.child("b", fails=True), exception_group=True
        )


async def return_exceptions(witness: Witness) -> None:
    values = await gather_structured(
        witness.child("a", fails=True), witness.child("b"), return_exceptions=True
    )
    assert isinstance(values[0], ChildError)


async def raised_failures(witness: Witness) -> None:
    children = [witness.child("a", fails=True), witness.child("b")]
    values = await gather_structured(*children, return_exceptions=True)
    del children
    with suppress(ExceptionGroup):
        values.raise_failures()


async def late(witness: Witness) -> None:
    with suppress(TimeoutError):
        await gather_structured(witness.child("a", iterations=10**9), child_timeout=1e-9)


async def cancelled(witness: Witness) -> None:
    call = asyncio.create_task(
        gather_structured(
            witness.child("a", iterations=99), witness.child("b", fails=True, iterations=5)
        )
    )
    witness.saw("the call", call)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call


async def adopted(witness: Witness) -> None:
    with suppress(ChildError):
        await gather_structured(
            asyncio.create_task(witness.child("a", iterations=99)),
            asyncio.create_task(witness.child("b", fails=True)),
        )


async def adopted_and_failed_last(witness: Witness) -> None:
    task = asyncio.create_task(witness.child("a", fails=True))
    await asyncio.wait([task])
    call = gather_structured(witness.child("b"), task)
    del task  # the Task's traceback refers to a frame that refers to the Task
    with suppress(ChildError):
        await call


async def nested(witness: Witness) -> None:
    with suppress(ChildError):
        await gather_structured(failure(witness), raises(witness), return_exceptions=False)


async def raises(witness: Witness) -> None:
    await gather_structured(witness.child("x", fails=True), witness.child("y", iterations=99))


async def refused(witness: Witness) -> None:
    call: Any = gather_structured
    with suppress(TypeError):
        await call(witness.child("a"), 3)


@pytest.mark.parametrize(
    "case",
    [
        success,
        limited,
        failure,
        failures,
        a_failure_at_once,
        group,
        return_exceptions,
        raised_failures,
        late,
        cancelled,
        adopted,
        adopted_and_failed_last,
        nested,
        refused,
    ],
)
def test_nothing_outlives_a_call(case: Case) -> None:
    """When the call has returned and its result is dropped, everything is freed at once."""
    witness = Witness()

    async def main() -> None:
        await case(witness)
        await asyncio.sleep(0)  # the tasks' last callbacks
        witness.check()

    asyncio.run(main())
    witness.check()


@pytest.mark.parametrize("adopt", [False, True])
def test_a_failure_that_is_kept_keeps_no_task_alive(*, adopt: bool) -> None:
    """A kept exception keeps the frames of its traceback, but no task and no sibling."""
    witness = Witness()
    kept: list[BaseException] = []

    async def main() -> None:
        await call_and_keep(witness.child("a", iterations=99), failing())
        await asyncio.sleep(0)
        witness.check()

    async def failing() -> None:
        witness.saw("the failing task", asyncio.current_task())
        await asyncio.sleep(0)
        raise ValueError

    async def call_and_keep(*children: Any) -> None:
        call = gather_structured(*(map(asyncio.create_task, children) if adopt else children))
        del children
        try:
            await call
        except ValueError as error:
            kept.append(error)

    asyncio.run(main())
    assert len(kept) == 1


def test_a_failure_that_is_kept_keeps_no_queued_sibling_alive() -> None:
    """With a limit, the siblings that never started are freed, and so is the caller's context."""
    witness = Witness()
    kept: list[BaseException] = []

    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError

    async def call_and_keep() -> None:
        witness.saw_task("the caller")
        children: list[Any] = [failing(), witness.child("a")]
        witness.saw("the queued sibling", children[1])
        call = gather_structured(*children, limit=1)
        del children
        try:
            await call
        except ValueError as error:
            kept.append(error)

    async def main() -> None:
        await asyncio.create_task(call_and_keep())
        await asyncio.sleep(0)
        witness.check()

    asyncio.run(main())
    assert len(kept) == 1


def lazily(count: int, sizes: list[int]) -> Iterator[Awaitable[Any]]:
    """Yield children that finish in each way, and note what the package has allocated so far."""

    def gives_up() -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        return future

    for number in range(count):
        if number % 60 == 30:
            gc.collect()  # the children's own cycles
            ours = tracemalloc.Filter(inclusive=True, filename_pattern=PACKAGE)
            found = tracemalloc.take_snapshot().filter_traces([ours])
            sizes.append(sum(trace.size for trace in found.traces))
        yield after(1, number)
        yield after(1, ChildError())
        yield after(9, "late")
        yield asyncio.create_task(after(1, number))
        yield asyncio.create_task(after(1, ChildError()))
        yield asyncio.create_task(after(9, "late"))
        yield gives_up()


@pytest.mark.parametrize("child_timeout", [None, 2])
@virtual
async def test_a_call_that_is_fed_lazily_does_not_grow(child_timeout: float | None) -> None:
    """Once a child has finished, the call forgets what it has noted of it."""
    sizes: list[int] = []
    tracemalloc.start()
    try:
        inputs = lazily(240, sizes)
        async with as_completed_scoped(inputs, limit=3, child_timeout=child_timeout) as outcomes:
            async for outcome in outcomes:
                del outcome
    finally:
        tracemalloc.stop()
    assert len(sizes) == 4
    assert sizes[-1] < sizes[0] + 2_000


def test_the_call_keeps_no_value_alive() -> None:
    """Only the caller refers to the values."""
    witness = Witness()

    async def main() -> None:
        values = await gather_structured(witness.child("a"), witness.child("b"))
        assert [what for what in witness.alive() if "value" in what] == [
            "the value of a",
            "the value of b",
        ]
        del values
        assert witness.alive() == []

    asyncio.run(main())
