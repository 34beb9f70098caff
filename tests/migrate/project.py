"""A small project to move, for the tests of the command."""

import subprocess
from pathlib import Path

import pytest

BEFORE = "import asyncio\n\n\nasync def main(a):\n    return await asyncio.gather(*a)\n"
AFTER = (
    "from structgather import gather_structured\n\n\n"
    "async def main(a):\n    return await gather_structured(*a)\n"
)
LEFT = "import asyncio\n\n\ndef main(a):\n    return asyncio.gather(*a)\n"


def make(folder: Path) -> Path:
    """Make a file to move, one with a call that is left, and one with neither."""
    (folder / "app").mkdir()
    (folder / "app" / "moved.py").write_text(BEFORE)
    (folder / "app" / "left.py").write_text(LEFT)
    (folder / "app" / "other.py").write_text("x = 1\n")
    return folder


def git(*arguments: str) -> None:
    """Run git in the current folder, or skip the test where there is none."""
    try:
        subprocess.run(["git", *arguments], check=True, capture_output=True)  # noqa: S603, S607
    except FileNotFoundError:
        pytest.skip("there is no git")
