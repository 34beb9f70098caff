"""CPython's own tests of gather, run over `gather_structured`.

They come with most builds of Python, in the package `test`. They call gather where no task awaits
it, so an adapter makes a task of ours. Where ours is meant to differ is named here, with the row of
`differences.py` that says so.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import unittest
import warnings
from collections.abc import Awaitable, Iterator
from typing import Any
from unittest import mock

import pytest

from structgather import gather_structured
from support.both_sides import Gather, gathers_differ
from support.differences import GATHER

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


def cases() -> Iterator[str]:
    """Yield class and name of each case that this Python has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = importlib.import_module("test.test_asyncio.test_tasks")
        except (ImportError, unittest.SkipTest):
            return
    for name, part in CLASSES.items():
        for case in unittest.TestLoader().getTestCaseNames(getattr(module, name)):
            if part in case and case not in OTHERS:
                yield f"{name}.{case}"


CASES = [*cases()]


def as_a_future(*children: Any, **options: Any) -> Awaitable[Any]:
    """Call `gather_structured` where gather is called: with a loop that runs, or doesn't yet."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        given = [child.get_loop() for child in children if asyncio.isfuture(child)]
        loop = given[0] if given else asyncio.get_event_loop()
    return asyncio.ensure_future(gather_structured(*children, **options), loop=loop)


def run_case(case: str, gather: Gather) -> unittest.TestResult:
    """Run one of CPython's cases with another gather."""
    name, _, method = case.partition(".")
    module = importlib.import_module("test.test_asyncio.test_tasks")
    result = unittest.TestResult()
    with warnings.catch_warnings(), mock.patch.object(asyncio, "gather", gather):
        warnings.simplefilter("ignore")
        with mock.patch("asyncio.base_events.logger"):  # a case that fails leaves things behind
            getattr(module, name)(method).run(result)
            gc.collect()
    return result


@pytest.mark.skipif(not CASES, reason="this Python came without its own tests")
@pytest.mark.parametrize("case", CASES)
@gathers_differ(set(), DIFFER)
def test_cpythons_own(case: str, gather: Gather, expected: Any) -> None:
    """CPython's cases pass with ours, those that a row of the differences excuses left aside."""
    result = run_case(case, asyncio.gather if gather is asyncio.gather else as_a_future)
    assert result.testsRun == 1
    assert result.wasSuccessful() == (case not in expected), [*result.failures, *result.errors]


@pytest.mark.skipif(not CASES, reason="this Python came without its own tests")
def test_each_excuse_is_a_row_and_needed() -> None:
    """What may fail is excused by a row of the table, and is one of the cases."""
    assert set(DIFFER.values()) <= {row.what for row in GATHER.rows}
    assert set(DIFFER) <= set(CASES)
