"""CPython's own tests of asyncio, to be run over ours.

They come with most builds of Python, in the package `test`.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import unittest
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias
from unittest import mock

import pytest

from support.both_sides import SIDES

StandIn: TypeAlias = Callable[..., Any]


def find_cases(module: str, classes: Mapping[str, str], others: Collection[str] = ()) -> list[str]:
    """List the cases of some classes, those whose names have a text in them: "Class.case"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loaded = importlib.import_module(module)
        except (ImportError, unittest.SkipTest):
            return []
    return [
        f"{name}.{case}"
        for name, part in classes.items()
        for case in unittest.TestLoader().getTestCaseNames(getattr(loaded, name))
        if part in case and case not in others
    ]


def over_cases(
    cases: list[str], theirs: StandIn, ours: StandIn, differ: Collection[str]
) -> Callable[[Any], Any]:
    """Run a test with each case over asyncio's and over ours; `passes` says what is expected."""
    sides = [(theirs, frozenset[str]()), (ours, differ)]
    values = [
        pytest.param(case, stand_in, case not in fail, id=f"{side}-{case}")
        for side, (stand_in, fail) in zip(SIDES, sides, strict=True)
        for case in cases
    ]
    return pytest.mark.parametrize(("case", "stand_in", "passes"), values)


def failures_of(module: str, case: str) -> list[Any]:
    """Run one of the cases, and return its failures."""
    name, _, method = case.partition(".")
    result = unittest.TestResult()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # some cases ask for it outside of their own loop
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with mock.patch("asyncio.base_events.logger"):  # a failing case may leave tasks behind
                getattr(importlib.import_module(module), name)(method).run(result)
                gc.collect()
        finally:
            loop.close()
            asyncio.set_event_loop(None)
    assert result.testsRun == 1
    return [*result.failures, *result.errors]
