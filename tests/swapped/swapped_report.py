"""A pytest plugin that writes what happens to each test, one line of JSON for each event."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

REPORT = Path(os.environ["SWAPPED_REPORT"])


def write(event: str, test: str = "", text: str = "") -> None:
    """Append a line: all is known of a run that is killed, and of each process of xdist's."""
    with REPORT.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps([event, test, text]) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    """Name the test that runs."""
    write("started", nodeid)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """It runs no more."""
    write("finished", nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write how setup, call and teardown went."""
    write(report.outcome, report.nodeid, first_line(report))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Write what could not be collected."""
    if report.failed:
        write("failed", report.nodeid, first_line(report))


def pytest_sessionfinish() -> None:
    """Write how often gather was called, if it is swapped."""
    if "swapped_gather" in sys.modules:
        for kind, count in sys.modules["swapped_gather"].calls.items():
            write(kind, text=str(count))


def first_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Get the first line of the error."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else report.longreprtext if report.failed else ""
    return text.strip().partition("\n")[0]
