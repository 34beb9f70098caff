"""The types of the functions that return outcomes. Never run: mypy and pyright check it.

Each line with an `ignore` is a mistake that both must report; pyright honours mypy comments. Both
report a superfluous `ignore`.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Literal, NoReturn, assert_never, assert_type

from structgather import (
    Cancelled,
    ChildFailures,
    Failed,
    FirstN,
    Ok,
    Outcome,
    TimedOut,
    as_completed_scoped,
    first_n_within,
    gather_structured,
)


async def integer() -> int:
    return 1


async def text() -> str:
    return ""


async def several() -> AsyncIterator[Awaitable[bytes]]:
    yield asyncio.get_running_loop().create_future()


# Outcomes.


def a_match_is_exhaustive(outcome: Outcome[int]) -> str:
    match outcome:
        case Ok(value, index, elapsed):
            assert_type(value, int)
            assert_type(index, int)
            assert_type(elapsed, float)
        case Failed(error):
            assert_type(error, BaseException)
        case TimedOut(error):
            assert_type(error, TimeoutError)
        case Cancelled(error):
            assert_type(error, asyncio.CancelledError)
        case _:
            assert_never(outcome)
    return ""


def a_match_is_not_exhaustive(outcome: Outcome[int]) -> str:
    match outcome:
        case Ok() | Failed() | TimedOut():
            return ""
        case _:
            assert_never(outcome)  # type: ignore[arg-type]


async def an_outcome_speaks_as_a_future_does(outcome: Outcome[int]) -> None:
    assert_type(await outcome, int)
    assert_type(outcome.result(), int)
    error: BaseException | None = outcome.exception()
    assert_type((error is None), bool)
    assert_type(outcome.cancelled(), bool)
    assert_type(outcome.done(), bool)
    assert_type((outcome.index, outcome.elapsed), tuple[int, float])


def an_outcome_of_one_kind(ok: Ok[int], late: TimedOut) -> Ok[float]:
    assert_type(ok.exception(), None)
    assert_type(late.exception(), TimeoutError)
    return ok  # its type parameter is covariant: an outcome of int is an outcome of float


def a_failure_has_no_result(failed: Failed) -> NoReturn:
    failed.result()


def narrowing(outcomes: list[Outcome[str]]) -> None:
    assert_type([outcome.value for outcome in outcomes if isinstance(outcome, Ok)], list[str])
    [outcome.value for outcome in outcomes]  # type: ignore[union-attr]


def nothing_can_be_changed(ok: Ok[int]) -> None:
    ok.value = 2  # type: ignore[misc]


class OneMore(Ok[int]):  # type: ignore[misc]
    pass


# first_n_within


async def the_first_values(
    tasks: list[asyncio.Task[float]], futures: Iterator[asyncio.Future[bytes]]
) -> None:
    found = await first_n_within([integer(), integer()], 1, within=2.0)
    assert_type(found, FirstN[int])
    assert_type(found.values, list[int])
    assert_type(found.outcomes, list[Outcome[int]])
    assert_type(found.met, bool)
    assert_type(found.reason, Literal["met", "deadline", "exhausted"])
    assert_type(found.exception_group(), ChildFailures[BaseException] | None)
    assert_type(found.raise_if_short(), list[int])
    assert_type(await first_n_within(text() for _ in range(3)), FirstN[str])
    assert_type(await first_n_within(tasks, None, 1, limit=2, child_timeout=3), FirstN[float])
    assert_type(await first_n_within(futures), FirstN[bytes])


async def mistakes_in_first_n(found: FirstN[int]) -> None:
    await first_n_within(integer())  # type: ignore[arg-type]
    await first_n_within([1, 2])  # type: ignore[arg-type]
    await first_n_within([integer()], 1.5)  # type: ignore[arg-type]
    await first_n_within([integer()], within="1")  # type: ignore[arg-type]
    await first_n_within([integer()], 1, 2, 3)  # type: ignore[call-arg]
    await first_n_within(several())  # type: ignore[arg-type]
    found.met = True  # type: ignore[misc]


# ChildFailures


async def failures_have_outcomes() -> None:
    try:
        await gather_structured(integer(), text(), exception_group=True)
    except ChildFailures as failures:  # of what
        assert_type(failures.outcomes, tuple[Outcome[Any], ...])
        errors: tuple[BaseException, ...] = failures.exceptions
        assert_type(errors[0], BaseException)
    try:
        await gather_structured(integer(), text(), exception_group=True)
    except* ValueError as group:
        assert_type(group, ExceptionGroup[ValueError])


def failures_are_a_group(failures: ChildFailures[OSError]) -> None:
    group: BaseExceptionGroup[OSError] = failures
    assert_type(group.exceptions, tuple[OSError | BaseExceptionGroup[OSError], ...])
    assert_type(failures.derive([KeyError()]), ChildFailures[KeyError])


# as_completed_scoped


async def a_stream() -> None:
    async with as_completed_scoped([integer(), integer()], limit=2, timeout=1) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Outcome[int])
            assert_type(await outcome, int)
        assert_type(outcomes.add(integer()), int)
        assert_type(len(outcomes), int)
        outcomes.cancel()
        assert_type(await anext(outcomes), Outcome[int])
    assert_type(outcomes.undelivered, list[Outcome[int]])


async def streams_of_other_inputs() -> None:
    async with as_completed_scoped(several()) as of_async:
        assert_type([await outcome async for outcome in of_async], list[bytes])
    async with as_completed_scoped([integer()], ordered=True) as in_order:
        assert_type([await outcome async for outcome in in_order], list[int])
    async with as_completed_scoped((text() for _ in range(3)), child_timeout=1) as of_generator:
        assert_type([await outcome async for outcome in of_generator], list[str])


async def mistakes_in_streams() -> None:
    as_completed_scoped([integer()], 2)  # type: ignore[call-arg]
    as_completed_scoped(integer())  # type: ignore[arg-type]
    as_completed_scoped([integer()], ordered="yes")  # type: ignore[arg-type]
    async with as_completed_scoped([integer()]) as outcomes:
        outcomes.add(text())  # type: ignore[arg-type]
        for _ in outcomes:  # type: ignore[attr-defined]
            pass
