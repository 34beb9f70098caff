"""Tests with real frameworks and systems. A test is skipped if a package is not installed.

`.ci/run` installs all of them, and passes the option `--integrations`: see `skips.py`.
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
    """Add the option, which exists if this folder is named on the command line."""
    parser.addoption(
        "--integrations",
        action="store_true",
        help="fail for each skipped test, save where pyproject.toml leaves its package out",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Ignore warnings about other packages, and apply the option."""
    for warning in FILTERS:
        config.addinivalue_line("filterwarnings", warning)
    if config.getoption("integrations", default=False):
        config.stash[no_skips] = NoSkips()
        config.pluginmanager.register(config.stash[no_skips])


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Import each file with those warnings ignored, and judge it if it is skipped as a whole."""
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
