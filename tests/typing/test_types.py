"""Type checkers accept the files in `typing/`, if mypy and pyright are installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("checker", "arguments"),
    [
        ("mypy", ["--no-incremental", "--follow-imports=silent"]),
        ("pyright", ["--pythonpath", sys.executable]),
    ],
)
def test_types(checker: str, arguments: list[str]) -> None:
    """Each `assert_type` holds, each marked mistake is reported, and no mark is superfluous."""
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is of the group lint, not dev; `.ci/run` checks the same files")
    files = sorted(str(path) for path in (ROOT / "tests" / "typing").glob("*.py"))
    assert files
    done = subprocess.run(  # noqa: S603 - the checker that is installed
        [sys.executable, "-m", checker, *arguments, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
