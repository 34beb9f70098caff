"""CPython's own tests of gather, run over `gather_structured`.

They come with most builds of Python, in the package `test`. They call gather outside of tasks; an
adapter wraps ours in a task. Intended differences are listed here, each with its row of
`differences.py`.
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


def cases() -> Iterator[str]:
    """Yield class and name of each case in this Python."""
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
    """Call `gather_structured` where gather is called: before or while the loop runs."""
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
        with mock.patch("asyncio.base_events.logger"):  # a failing case may leave tasks behind
            getattr(module, name)(method).run(result)
            gc.collect()
    return result


@pytest.mark.skipif(not CASES, reason="this Python came without its own tests")
@pytest.mark.parametrize("case", CASES)
@gathers_differ(set(), DIFFER)
def test_cpythons_tests_pass(case: str, gather: Gather, expected: Any) -> None:
    """CPython's cases pass with ours, except those excused by a row of the differences."""
    result = run_case(case, asyncio.gather if gather is asyncio.gather else as_a_future)
    assert result.testsRun == 1
    assert result.wasSuccessful() == (case not in expected), [*result.failures, *result.errors]


@pytest.mark.skipif(not CASES, reason="this Python came without its own tests")
def test_each_excuse_is_a_row_and_a_case() -> None:
    """Every excuse names a row of the table, and a case that exists."""
    assert set(DIFFER.values()) <= {row.what for row in GATHER.rows}
    assert set(DIFFER) <= set(CASES)
