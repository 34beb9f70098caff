"""`python -m structgather migrate`: what it reads, what it prints, what it writes and when not."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from migrate.project import AFTER, BEFORE, LEFT, git, make

import structgather
from structgather._migrate.cli import main
from structgather._migrate.report import File, Report
from structgather._migrate.rewrite import Rewritten
from structgather._migrate.rules import RULES, Finding

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the project, and go there."""
    monkeypatch.chdir(tmp_path)
    return make(tmp_path)


# What it prints, and its exit codes.


def test_without_options_it_prints_a_diff_and_touches_nothing(
    project: Path, capsys: Printed
) -> None:
    """A diff that git can apply, what is left with a recipe, a summary; no file is touched."""
    assert main(["migrate", "app"]) == 0
    printed = capsys.readouterr().out
    diff, _, rest = printed.partition("\nNot moved:\n")
    assert (project / "app" / "moved.py").read_text() == BEFORE
    assert diff.startswith("What changes: when a child (one of the awaitables) fails,")
    assert "Can be moved:" not in diff
    assert "    app/left.py:5:12: return asyncio.gather(*a)\n" in rest
    assert "What to do: make this an async def that returns await" in rest
    assert rest.endswith(
        "3 files, 2 uses of asyncio.gather and asyncio.as_completed: "
        "1 can be moved in 1 file, 0 to decide, 1 not moved.\n"
        "No file was changed: --write does that.\n"
        "Add structgather to the project's dependencies.\n"
    )
    git("init", "-q")
    (project / "change.diff").write_text(diff)
    git("apply", "change.diff")
    assert (project / "app" / "moved.py").read_text() == AFTER


def test_the_diff_of_a_file_without_a_last_newline_can_be_applied(
    project: Path, capsys: Printed
) -> None:
    """Also where the last line has no end, or lines end in a carriage return and a newline."""
    path = project / "app" / "moved.py"
    path.write_bytes(BEFORE.replace("\n", "\r\n").rstrip().encode())
    main(["migrate", str(path.relative_to(project))])
    printed = capsys.readouterr().out
    git("init", "-q")
    diff = printed[: printed.rindex("1 file, ")].rstrip("\n") + "\n"
    (project / "change.diff").write_bytes(diff.encode())
    git("apply", "change.diff")
    assert path.read_bytes() == AFTER.replace("\n", "\r\n").rstrip().encode()


def test_the_diff_of_a_file_with_bare_carriage_returns_can_be_applied(
    project: Path, capsys: Printed
) -> None:
    """A carriage return alone ends no line for git: there the file has one line, and so it says."""
    path = project / "app" / "moved.py"
    source = "x = 1\r\ny = 2\n" + BEFORE.replace("\n", "\r")
    path.write_bytes(source.encode())
    main(["migrate", str(path.relative_to(project))])
    printed = capsys.readouterr().out
    git("init", "-q")
    diff = printed[: printed.rindex("1 file, ")].rstrip("\n") + "\n"
    (project / "change.diff").write_bytes(diff.encode())
    git("apply", "change.diff")
    assert main(["migrate", "--check", "app/moved.py"]) == 0
    assert path.read_bytes().endswith(b"\r    return await gather_structured(*a)\r")
    ast.parse(path.read_bytes())


def test_write_changes_what_can_be_moved(project: Path, capsys: Printed) -> None:
    """With --write files are changed, and a second run has nothing to do."""
    assert main(["migrate", "--write", "app"]) == 0
    assert (project / "app" / "moved.py").read_text() == AFTER
    assert (project / "app" / "left.py").read_text() == LEFT
    printed = capsys.readouterr().out
    assert "1 moved in 1 file, 0 to decide, 1 not moved." in printed
    assert "can be moved" not in printed.lower()
    assert main(["migrate", "--check", "app"]) == 0


def test_check_fails_if_anything_can_be_moved(project: Path, capsys: Printed) -> None:
    """With --check the exit code is 1 where anything can be moved, 0 where all the rest is left."""
    assert main(["migrate", "--check", "app"]) == 1
    printed = capsys.readouterr().out
    assert "---" not in printed
    place = "app/moved.py:5:18: return await asyncio.gather(*a)"
    assert f"\nCan be moved:\n\n    {place}\n\nNot moved:\n" in printed
    assert (project / "app" / "moved.py").read_text() == BEFORE
    assert main(["migrate", "--check", "app/left.py"]) == 0


def test_a_call_of_several_lines_is_shown_up_to_its_first_argument(
    project: Path, capsys: Printed
) -> None:
    """A line that ends in an opening bracket is shown with the next one."""
    path = project / "app" / "moved.py"
    path.write_text(
        BEFORE.replace("gather(*a)", "gather(\n        *[\n  one(x) for x in a\n], one(),\n    )")
    )
    assert main(["migrate", "--check", str(path.relative_to(project))]) == 1
    place = "    app/moved.py:5:18: return await asyncio.gather(*[one(x) for x in a\n"
    assert place in capsys.readouterr().out


def test_what_is_to_decide_is_printed_with_its_reason(project: Path, capsys: Printed) -> None:
    """What is left to its author has a title of its own, before what is left for other reasons."""
    path = project / "app" / "moved.py"
    path.write_text(BEFORE.replace("main", "close"))
    assert main(["migrate", "app"]) == 0
    printed = capsys.readouterr().out
    title = "To decide: not moved, as the program may behave differently after a failure:"
    _, _, section = printed.partition("\nNot moved:\n")[0].partition(f"{title}\n\n")
    assert section.startswith("  This is cleanup (close, stop, `finally`, ...):")
    assert "\n    app/moved.py:5:18: return await asyncio.gather(*a)\n" in section


@pytest.mark.parametrize("length", [80, 81])
def test_a_long_line_is_shown_in_part(project: Path, capsys: Printed, length: int) -> None:
    """Of a source line, 80 characters are shown; a longer one ends in three dots."""
    line = f"return await asyncio.gather(*{'a' * (length - 30)})"
    path = project / "app" / "moved.py"
    path.write_text(BEFORE.replace("return await asyncio.gather(*a)", line))
    assert main(["migrate", "--check", "app/moved.py"]) == 1
    shown = line if length == 80 else f"{line[:77]}..."
    assert f"    app/moved.py:5:18: {shown}\n" in capsys.readouterr().out


def test_reasons_and_recipes_are_wrapped() -> None:
    """No line of them is wider than 98 columns."""
    findings = [Finding(1, 1, "asyncio.gather", rule.verdict, rule) for rule in RULES.values()]
    file = File("a.py", depends=True, rewritten=Rewritten("x\n", "x\n", findings, []))
    lines = "".join(Report([file]).human(diff=True, written=False)).splitlines()
    assert max(len(line) for line in lines if line.startswith("  ")) <= 98


@pytest.mark.parametrize(
    "arguments",
    [[], ["migrate"], ["migrate", "--check", "--write", "app"], ["migrate", "--what", "app"]],
)
def test_wrong_usage_is_exit_code_2(project: Path, arguments: list[str]) -> None:
    """Wrong usage ends with 2 and says how it is used."""
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    assert project.exists()


def test_a_path_that_is_not_there_is_exit_code_2(project: Path, capsys: Printed) -> None:
    """A path that is not there is named, the others are done, and the exit code is 2."""
    assert main(["migrate", "--write", "nowhere", "app"]) == 2
    assert "nowhere: there is no such file or folder" in capsys.readouterr().err
    assert (project / "app" / "moved.py").read_text() == AFTER


def test_no_python_file_is_exit_code_2(project: Path) -> None:
    """Where there is no Python file, the exit code is 2."""
    (project / "empty").mkdir()
    assert main(["migrate", "empty"]) == 2
    (project / "empty" / "readme.md").write_text("No Python.")
    assert main(["migrate", "empty"]) == 2


def test_a_file_that_does_not_parse_is_reported_and_left(project: Path, capsys: Printed) -> None:
    """One file that does not parse does not keep the others from being moved."""
    broken = project / "app" / "broken.py"
    broken.write_text("await asyncio.gather(\n")
    (project / "app" / "latin.py").write_bytes(b"# gather \xe9\n")
    (project / "app" / "null.py").write_bytes(b"gather\0\n")
    (project / "app" / "cookie.py").write_bytes(b"# coding: nonsense\n")
    assert main(["migrate", "app"]) == 0
    assert main(["migrate", "--strict", "app"]) == 2
    assert main(["migrate", "--check", "app"]) == 1
    assert main(["migrate", "--check", "--strict", "app"]) == 2
    capsys.readouterr()
    assert main(["migrate", "--write", "app"]) == 0
    printed = capsys.readouterr().out
    for name in ("broken", "latin", "null", "cookie"):
        assert f"app/{name}.py:1: does not parse on Python 3" in printed
    assert "4 files could not be handled" in printed
    assert broken.read_text() == "await asyncio.gather(\n"
    assert (project / "app" / "moved.py").read_text() == AFTER


def test_json_says_all_of_it(project: Path, capsys: Printed) -> None:
    """--json has each file, each finding with its place, rule and recipe, the diff, the counts."""
    (project / "app" / "broken.py").write_text("def\n")
    assert main(["migrate", "--json", "app"]) == 0
    printed = capsys.readouterr().out
    report: dict[str, Any] = json.loads(printed)
    assert printed == json.dumps(report, indent=2) + "\n"
    assert report["version"] == 2
    broken, left, moved, other = report["files"]
    assert broken["error"].startswith("does not parse on Python 3.")
    assert broken["error_line"] == 1
    assert other == {
        "path": "app/other.py",
        "changes": False,
        "written": False,
        "error": None,
        "error_line": None,
        "findings": [],
        "diff": "",
    }
    (finding,) = left["findings"]
    assert finding == {
        "line": 5,
        "column": 12,
        "function": "asyncio.gather",
        "verdict": "left",
        "rule": "returned",
        "hint": False,
        "reason": finding["reason"],
        "recipe": finding["recipe"],
    }
    assert "is returned, not awaited" in finding["reason"]
    assert "gather_structured" in finding["recipe"]
    assert moved["changes"]
    assert moved["findings"][0]["verdict"] == "moved"
    assert moved["diff"].startswith("--- a/app/moved.py\n+++ b/app/moved.py\n@@")
    assert report["summary"] == {
        "files": 4,
        "changed": 1,
        "errors": 1,
        "moved": 1,
        "decide": 0,
        "left": 1,
        "rules": {"returned": 1},
    }


def test_the_commonest_reason_comes_first(project: Path, capsys: Printed) -> None:
    """What is left is told reason by reason, the one with the most places first."""
    (project / "app" / "values.py").write_text(
        "from asyncio import gather\na = gather\nb = gather\n"
    )
    assert main(["migrate", "--check", "app/left.py", "app/values.py"]) == 0
    places = [line for line in capsys.readouterr().out.splitlines() if line.startswith("    app")]
    assert places == [
        "    app/values.py:2:5: a = gather",
        "    app/values.py:3:5: b = gather",
        "    app/left.py:5:12: return asyncio.gather(*a)",
    ]


def test_help_and_version() -> None:
    """The command runs as a module, tells its version, and its help tells the exit codes."""

    def printed(*arguments: str) -> str:
        command = [sys.executable, "-m", "structgather", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603

    assert printed("--version") == f"structgather {structgather.__version__}\n"
    assert "exit codes:\n  0  all is well\n" in printed("migrate", "--help")


def test_long_chains_are_no_trouble(project: Path, capsys: Printed) -> None:
    """A chain of a thousand calls is moved; where Python's stack is too short, the file is left."""
    chain = f"    x = a{'.b()' * 1000}\n    return"
    path = project / "app" / "moved.py"
    path.write_text(BEFORE.replace("    return", chain))
    assert main(["migrate", "--write", "app"]) == 2
    assert "app/moved.py: left alone: it is nested too deeply" in capsys.readouterr().out
    command = [sys.executable, "-m", "structgather", "migrate", "--write", "app"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=project)  # noqa: S603
    assert path.read_text() == AFTER.replace("    return", chain)


def test_importing_the_package_imports_none_of_it() -> None:
    """`import structgather` costs nothing for the migration."""
    code = "import sys, structgather; print([m for m in sys.modules if '_migrate' in m])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    assert done.stdout == "[]\n"


def test_a_reader_that_goes_is_no_error_of_the_migration(project: Path) -> None:
    """If its output is closed, it ends without a traceback, and not with 1."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "structgather", "migrate", "--check", "app"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(  # noqa: S603
        command, check=False, stdout=writer, stderr=subprocess.PIPE, env=environment, cwd=project
    )
    os.close(writer)
    assert done.returncode == 2
    assert done.stderr == b""
