"""What the migration meets rarely: odd terminals, odd files, texts without a last newline."""

from __future__ import annotations

import importlib
import io
import json
import sys
import warnings
from pathlib import Path

import pytest

from structgather._migrate.cli import main
from structgather._migrate.rewrite import rewrite

CALL = "import asyncio\n\n\nasync def main(aws):\n    await asyncio.gather(*aws)\n"


def test_importing_the_command_runs_nothing() -> None:
    """Tools that import all modules of a package import this one too."""
    module = importlib.import_module("structgather.__main__")
    assert module.main is main


def test_json_for_a_check_has_no_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check --json` says what could be moved, not how it would read."""
    (tmp_path / "service.py").write_text(CALL)
    assert main(["migrate", "--check", "--json", str(tmp_path)]) == 1
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert [finding["verdict"] for finding in file["findings"]] == ["moved"]
    assert "diff" not in file


def test_an_output_that_is_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where something stands in for stdout, it is written to as it is."""
    (tmp_path / "service.py").write_text(CALL)
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    assert main(["migrate", str(tmp_path)]) == 0
    assert "+    await gather_structured(*aws)\n" in printed.getvalue()


def test_a_file_that_is_too_deep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that Python itself gives up on is reported and left; the others are moved."""
    deep = tmp_path / "deep.py"
    deep.write_text(f"{CALL}x = {'-' * 100_000}1\n")
    (tmp_path / "service.py").write_text(CALL)
    before = deep.read_bytes()
    assert main(["migrate", "--write", str(tmp_path)]) == 2
    assert "left alone: it is nested too deeply" in capsys.readouterr().out
    assert deep.read_bytes() == before
    assert "gather_structured" in (tmp_path / "service.py").read_text()


def test_a_file_that_parses_and_does_not_compile(tmp_path: Path) -> None:
    """What Python did not compile before is moved all the same: it may be half of a template."""
    file = tmp_path / "half.py"
    file.write_text(f"{CALL}\nreturn\n")
    assert main(["migrate", "--write", str(tmp_path)]) == 0
    assert "gather_structured(*aws)" in file.read_text()


@pytest.mark.parametrize("newline", ["", "\n", "\r\n"])
def test_a_text_of_one_line(newline: str) -> None:
    """A line that is added ends as the others do; where there are none, as Python writes it."""
    line = "async def main(aws): import asyncio; await asyncio.gather(*aws)"
    first = f"from structgather import gather_structured{newline or chr(10)}"
    after = rewrite(line + newline).after
    assert after.startswith(first)
    assert after.endswith(f"await gather_structured(*aws){newline}")


def test_a_last_line_without_an_end() -> None:
    """A line that is added before a last one without an end has the end that the first line has."""
    last = "async def main(aws): import asyncio; await asyncio.gather(*aws)"
    after = rewrite(f"# What it does.\r\n{last}").after
    imported = "from structgather import gather_structured\r\n\r\n\r\n"
    assert after.startswith(f"# What it does.\r\n{imported}async def main")


def test_a_line_that_is_added_ends_as_the_one_above() -> None:
    """Where lines end in several ways, the one behind which a line is added counts."""
    source = (
        "import asyncio\nimport os\r\n\n\nasync def main(aws):\n    await asyncio.gather(*aws)\n"
    )
    after = rewrite(source).after
    assert after.startswith("import os\r\n\r\nfrom structgather import gather_structured\r\n\n\n")


@pytest.mark.parametrize("line", ['x = "\\d"', "x = 1 is 1"], ids=["parser", "compiler"])
def test_what_python_warns_of_is_not_said_again(tmp_path: Path, line: str) -> None:
    """No warning that Python gives about a file, from its parser or compiler, is shown."""
    file = tmp_path / "service.py"
    file.write_text(f"{CALL}{line}\n")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert main(["migrate", "--write", str(file)]) == 0
    assert "gather_structured(*aws)" in file.read_text()
    assert warned == []
