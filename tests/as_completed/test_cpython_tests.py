"""CPython's own tests of as_completed, run over `as_completed_scoped`.

They use no block; an adapter has a task that holds one open. Intended differences are listed here,
each with its row of `differences.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from typing import Any

import pytest

from structgather import Outcome, as_completed_scoped
from support.cpython_tests import StandIn, failures_of, find_cases, over_cases
from support.differences import AS_COMPLETED

TASKS = "test.test_asyncio.test_tasks"

#: They call as_completed before a loop runs: the adapter would raise the error.
OTHERS = {"test_as_completed_invalid_args", "test_as_completed_coroutine_without_loop"}

#: Cases of intended differences, and the row of the table for each.
DIFFER = {
    "CTask_CFuture_Tests.test_as_completed_duplicate_coroutines": "duplicates",
    "CTask_CFuture_Tests.test_as_completed_same_tasks_in_as_out": "an item",
}

CASES = find_cases(TASKS, {"CTask_CFuture_Tests": "as_completed"}, OTHERS)


class Completed:
    """What as_completed returns, made of a block."""

    def __init__(self, aws: Collection[Awaitable[Any]], *, timeout: float | None = None) -> None:
        self._left = len(aws)
        self._error: Exception | None = None
        self._finished = asyncio.Queue[Outcome[Any] | None]()
        self._task = asyncio.create_task(self._take_all(aws, timeout))

    async def _take_all(self, aws: Collection[Awaitable[Any]], timeout: float | None) -> None:
        try:
            async with as_completed_scoped(aws, timeout=timeout) as outcomes:
                async for outcome in outcomes:
                    self._finished.put_nowait(outcome)
        except (TimeoutError, TypeError, ValueError) as error:
            self._error = error
            for _ in aws:
                self._finished.put_nowait(None)

    async def _take(self) -> Outcome[Any]:
        outcome = await self._finished.get()
        if outcome is None:
            assert self._error
            raise self._error
        return outcome

    async def _value(self) -> Any:
        return await (await self._take())

    def __iter__(self) -> Completed:
        return self

    def __next__(self) -> Awaitable[Any]:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return self._value()

    def __aiter__(self) -> Completed:
        return self

    async def __anext__(self) -> Outcome[Any]:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return await self._take()


@pytest.mark.skipif(not CASES, reason="this Python has no package `test`")
@over_cases(CASES, asyncio.as_completed, Completed, DIFFER)
def test_cpythons_tests_pass(
    monkeypatch: pytest.MonkeyPatch, case: str, stand_in: StandIn, *, passes: bool
) -> None:
    """CPython's cases pass with ours, except those excused by a row of the differences."""
    monkeypatch.setattr(asyncio, "as_completed", stand_in)
    failures = failures_of(TASKS, case)
    assert (not failures) == passes, failures


def test_each_excuse_is_a_row() -> None:
    """Every excuse names a row of the table."""
    assert set(DIFFER.values()) <= {row.what for row in AS_COMPLETED.rows}
