"""CPython's own tests of gather, run over `gather_structured`.

They call gather outside of tasks; an adapter wraps ours in a task. Intended differences are listed
here, each with its row of `differences.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from structgather import gather_structured
from support.cpython_tests import StandIn, failures_of, find_cases, over_cases
from support.differences import GATHER

TASKS = "test.test_asyncio.test_tasks"

CLASSES = {
    "FutureGatherTests": "",
    "CoroutineGatherTests": "",
    "CTask_CFuture_Tests": "gather",  # the classes with tests of gather, among all tests of tasks
}

#: Not tests of gather.
OTHERS = {"test_env_var_debug"}

#: Cases of intended differences, and the row of the table for each.
DIFFER = {
    # They complete or fail a sibling after the failure: ours has cancelled it by then.
    "FutureGatherTests.test_one_exception": "a child raises",
    "FutureGatherTests.test_one_cancellation": "a child cancels itself",
    "CoroutineGatherTests.test_one_exception": "a child raises",
    "CoroutineGatherTests.test_exception_marking": "a child raises",
    # They expect the call itself to raise: a coroutine raises when it is awaited.
    "FutureGatherTests.test_constructor_heterogenous_futures": "without `await`",
    "CoroutineGatherTests.test_issue46672": "without `await`",
    # They cancel the Future itself; ours is awaited by a task.
    "CTask_CFuture_Tests.test_cancel_gather_1": "without `await`",
    "CTask_CFuture_Tests.test_gather_shield": "without `await`",
}


CASES = find_cases(TASKS, CLASSES, OTHERS)


def as_a_future(*children: Any, **options: Any) -> Awaitable[Any]:
    """Call `gather_structured` where gather is called: before or while the loop runs."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        given = [child.get_loop() for child in children if asyncio.isfuture(child)]
        loop = given[0] if given else asyncio.get_event_loop()
    return asyncio.ensure_future(gather_structured(*children, **options), loop=loop)


@pytest.mark.skipif(not CASES, reason="this Python has no package `test`")
@over_cases(CASES, asyncio.gather, as_a_future, DIFFER)
def test_cpythons_tests_pass(
    monkeypatch: pytest.MonkeyPatch, case: str, stand_in: StandIn, *, passes: bool
) -> None:
    """CPython's cases pass with ours, except those excused by a row of the differences."""
    monkeypatch.setattr(asyncio, "gather", stand_in)
    failures = failures_of(TASKS, case)
    assert (not failures) == passes, failures


@pytest.mark.skipif(not CASES, reason="this Python has no package `test`")
def test_each_excuse_is_a_row_and_a_case() -> None:
    """Every excuse names a row of the table, and a case that exists."""
    assert set(DIFFER.values()) <= {row.what for row in GATHER.rows}
    assert set(DIFFER) <= set(CASES)
