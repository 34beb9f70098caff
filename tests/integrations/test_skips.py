"""Which skips `--integrations` accepts."""

from __future__ import annotations

import pytest
from integrations.skips import NoSkips, requirements

EVERY = ["3.11", "3.12", "3.13", "3.14", "3.15"]
HERE = "tests/integrations/test_skips.py"


def collected(reason: str) -> pytest.CollectReport:
    """Represents this file, skipped as a whole."""
    return pytest.CollectReport(HERE, "skipped", (HERE, 1, reason), [])


@pytest.mark.parametrize(
    "reason",
    [
        "Skipped: could not import 'langchain_core.tools': No module named 'langchain_core'",
        "Skipped: needs it: No module named 'langchain_core.runnables'",
    ],
)
def test_a_package_that_is_not_available_may_be_missing(reason: str) -> None:
    """A skip is accepted, and its tests are listed, if pyproject.toml excludes the package."""
    no_skips, report = NoSkips("3.15"), collected(reason)
    no_skips.judge(report)
    assert report.outcome == "skipped"
    assert f"{HERE}::test_any_other_skip_is_a_failure" in no_skips.skipped["langchain-core"]


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("3.14", "Skipped: could not import 'langgraph': No module named 'langgraph'"),
        ("3.15", "Skipped: could not import 'httpx': No module named 'httpx'"),
        ("3.15", "Skipped: could not import 'langgraphs': No module named 'langgraphs'"),
        ("3.15", "Skipped: langgraph"),
        ("3.15", "Skipped: it is slow"),
    ],
)
def test_any_other_skip_is_a_failure(python: str, reason: str) -> None:
    """A missing package that is available, a misspelt one and any other reason are failures."""
    no_skips, report = NoSkips(python), collected(reason)
    no_skips.judge(report)
    assert report.outcome == "failed"
    assert reason in str(report.longrepr)
    assert not no_skips.skipped


def test_three_packages_are_not_available_on_the_newest_python() -> None:
    """The list of packages that a Python lacks does not grow unnoticed."""
    assert {python: NoSkips(python).excluded for python in EVERY} == {
        **{python: set() for python in EVERY},
        "3.15": {"distributed", "langchain-core", "langgraph"},
    }
    assert {"pytest", "uvloop"} < {requirement.name for requirement in requirements("integrations")}
