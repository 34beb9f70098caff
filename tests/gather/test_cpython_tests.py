"""CPython's own tests of gather, run over `gather_structured`.

They call gather where no task awaits it, so an adapter makes a Task of ours. Where ours is meant to
differ is named here, with the row of `differences.py` that says so.
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
    "CTask_CFuture_Tests": "gather",  # of all tests of tasks, those of gather
}

#: They are not of gather.
OTHERS = {"test_env_var_debug"}

#: Where ours is meant to differ, and the row that says so.
DIFFER = {
    # They complete or fail a sibling after the failure: ours has cancelled it by then.
    "FutureGatherTests.test_one_exception": "a child raises",
    "FutureGatherTests.test_one_cancellation": "a child cancels itself",
    "CoroutineGatherTests.test_one_exception": "a child raises",
    "CoroutineGatherTests.test_exception_marking": "a child raises",
    # They expect the call itself to raise: a coroutine does so when it is awaited.
    "FutureGatherTests.test_constructor_heterogenous_futures": "without `await`",
    "CoroutineGatherTests.test_issue46672": "without `await`",
    # They cancel the Future itself, where ours has a task that awaits.
    "CTask_CFuture_Tests.test_cancel_gather_1": "without `await`",
    "CTask_CFuture_Tests.test_gather_shield": "without `await`",
}


CASES = find_cases(TASKS, CLASSES, OTHERS)


def as_a_future(*children: Any, **options: Any) -> Awaitable[Any]:
    """Call `gather_structured` where gather is called: with a loop that runs, or doesn't yet."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        given = [child.get_loop() for child in children if asyncio.isfuture(child)]
        loop = given[0] if given else asyncio.get_event_loop()
    return asyncio.ensure_future(gather_structured(*children, **options), loop=loop)


@pytest.mark.skipif(not CASES, reason="this Python came without its own tests")
@over_cases(CASES, asyncio.gather, as_a_future, DIFFER)
def test_cpythons_own(
    monkeypatch: pytest.MonkeyPatch, case: str, stand_in: StandIn, *, passes: bool
) -> None:
    """CPython's cases pass with ours, those that a row of the differences excuses left aside."""
    monkeypatch.setattr(asyncio, "gather", stand_in)
    failures = failures_of(TASKS, case)
    assert (not failures) == passes, failures


@pytest.mark.skipif(not CASES, reason="this Python came without its own tests")
def test_each_excuse_is_a_row_and_needed() -> None:
    """What may fail is excused by a row of the table, and is one of the cases."""
    assert set(DIFFER.values()) <= {row.what for row in GATHER.rows}
    assert set(DIFFER) <= set(CASES)
