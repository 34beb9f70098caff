"""With `--integrations` a skipped test is a failure, unless pyproject.toml excludes its package.

The group `integrations` there has markers for packages that are not available on some Python. Only
their tests may be skipped; each one is listed at the end.
"""

from __future__ import annotations

import ast
import platform
import re
import tomllib
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
# The messages of pytest.importorskip and of Python.
MISSING = re.compile(r"could not import '([\w.]+)'|No module named '([\w.]+)'")


def requirements(group: str) -> list[Requirement]:
    """Read a dependency group, and those that it includes."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    found: list[Requirement] = []
    for entry in groups[group]:
        if isinstance(entry, str):
            found.append(Requirement(entry))
        else:
            found += requirements(entry["include-group"])
    return found


def excluded(group: list[Requirement], python: str | None = None) -> set[str]:
    """Return the packages that a group excludes, on this Python or another."""
    environment = {"python_version": python} if python else None
    return {
        requirement.name
        for requirement in group
        if requirement.marker is not None and not requirement.marker.evaluate(environment)
    }


def package_behind(reason: str) -> str | None:
    """Return the package whose absence is the reason of a skip."""
    if (match := MISSING.search(reason)) is None:
        return None
    module: str = match[1] or match[2]
    return module.partition(".")[0].replace("_", "-")


def tests_in(node_id: str) -> list[str]:
    """Return the tests of a file that was skipped as a whole, or the one test that was skipped."""
    if "::" in node_id:
        return [node_id]
    return [
        f"{node_id}::{node.name}"
        for node in ast.walk(ast.parse((ROOT / node_id).read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_")
    ]


class NoSkips:
    """Judges each skip, and prints at the end which packages were tested, and what was skipped."""

    def __init__(self, python: str | None = None) -> None:
        self.group = requirements("integrations")
        self.excluded = excluded(self.group, python)
        self.skipped: defaultdict[str, list[str]] = defaultdict(list)

    def judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Turn a skip into a failure, or remember its package."""
        if report.outcome != "skipped" or hasattr(report, "wasxfail"):
            return
        reason = str(report.longrepr)
        package = package_behind(reason)
        if package in self.excluded:
            self.skipped[package] += tests_in(report.nodeid)
        else:
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid} may not be skipped on this Python: {reason}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the versions of all packages, and each test that was skipped."""
        beside: list[str] = []
        for requirement in self.group:
            try:
                beside.append(f"{requirement.name} {version(requirement.name)}")
            except PackageNotFoundError:
                continue
        print_line = terminalreporter.write_line
        terminalreporter.section("integrations")
        print_line(f"Python {platform.python_version()} with {', '.join(beside)}")
        for package in sorted(self.excluded):
            skipped = self.skipped[package]
            print_line(f"{package} is not available on this Python; tests skipped: {len(skipped)}")
            for test in skipped:
                print_line(f"  {test}")
