"""Nothing outlives a call, even with the garbage collector off: no task, frame or exception."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from structgather import gather_structured
from support.leak_detector import ChildError, Witness

pytestmark = pytest.mark.usefixtures("no_collector")

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
