"""Tests beside the real systems. A test is skipped where what it needs isn't installed.

`.ci/run` has all of it installed, and gives the option `--integrations`: see `skips.py`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator

import pytest
from integrations.skips import NoSkips

from support.third_party import DEPRECATIONS, FILTERS

no_skips = pytest.StashKey[NoSkips]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option; it is there where this folder is named on the command line."""
    parser.addoption(
        "--integrations",
        action="store_true",
        help="fail for each skipped test, save where pyproject.toml leaves its package out",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let nothing fail for what others do wrong, and do what the option says."""
    for warning in FILTERS:
        config.addinivalue_line("filterwarnings", warning)
    if config.getoption("integrations", default=False):
        config.stash[no_skips] = NoSkips()
        config.pluginmanager.register(config.stash[no_skips])


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Import each file with those warnings off, and judge it if it is skipped as a whole."""
    with warnings.catch_warnings():
        for message, module in DEPRECATIONS:
            pattern = rf"{re.escape(module)}\Z"
            warnings.filterwarnings("ignore", re.escape(message), DeprecationWarning, pattern)
        report = yield
    if judge := collector.config.stash.get(no_skips, None):
        judge.judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge a test that is skipped."""
    report = yield
    if judge := item.config.stash.get(no_skips, None):
        judge.judge(report)
    return report
