"""With `--integrations` a skipped test is a failure, unless pyproject.toml says why.

Its group `integrations` has markers for the packages that can't be had on some Python. Only for
those may a test be skipped, and at the end each such test is named.
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
# What pytest.importorskip says, and Python.
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
    """Name the packages that a group does not install, on this Python or another."""
    environment = {"python_version": python} if python else None
    return {
        requirement.name
        for requirement in group
        if requirement.marker is not None and not requirement.marker.evaluate(environment)
    }


def package_behind(reason: str) -> str | None:
    """Tell which package it is whose absence is the reason of a skip."""
    if (match := MISSING.search(reason)) is None:
        return None
    module: str = match[1] or match[2]
    return module.partition(".")[0].replace("_", "-")


def tests_in(node_id: str) -> list[str]:
    """Name the tests of a file that was skipped as a whole, or the one test that was skipped."""
    if "::" in node_id:
        return [node_id]
    return [
        f"{node_id}::{node.name}"
        for node in ast.walk(ast.parse((ROOT / node_id).read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_")
    ]


class NoSkips:
    """Judges each skip, and says at the end what was tested beside what, and what was not."""

    def __init__(self, python: str | None = None) -> None:
        self.group = requirements("integrations")
        self.excluded = excluded(self.group, python)
        self.skipped: defaultdict[str, list[str]] = defaultdict(list)

    def judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Make a failure of a skip, or remember for which package it is."""
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
            print_line(f"{package} cannot be had on this Python; tests skipped: {len(skipped)}")
            for test in skipped:
                print_line(f"  {test}")
