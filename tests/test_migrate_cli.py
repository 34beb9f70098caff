"""`python -m structgather migrate`: what it reads, what it prints, what it writes and when not."""

import ast
import codecs
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import structgather
from structgather._migrate import cli, files, imports
from structgather._migrate.cli import main

BEFORE = "import asyncio\n\n\nasync def main(a):\n    return await asyncio.gather(*a)\n"
AFTER = (
    "import asyncio\n\nfrom structgather import gather_structured\n\n\n"
    "async def main(a):\n    return await gather_structured(*a)\n"
)
LEFT = "import asyncio\n\n\ndef main(a):\n    return asyncio.gather(*a)\n"

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with a file to move, one with a call that is left, and one with neither."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "moved.py").write_text(BEFORE)
    (tmp_path / "app" / "left.py").write_text(LEFT)
    (tmp_path / "app" / "other.py").write_text("x = 1\n")
    return tmp_path


def git(*arguments: str) -> None:
    """Run git in the current folder, or skip the test where there is none."""
    try:
        subprocess.run(["git", *arguments], check=True, capture_output=True)  # noqa: S603, S607
    except FileNotFoundError:
        pytest.skip("there is no git")


# What it prints, and its exit codes.


def test_without_options_it_prints_a_diff_and_touches_nothing(
    project: Path, capsys: Printed
) -> None:
    """A diff that git can apply, what is left with a recipe, a summary; no file is touched."""
    assert main(["migrate", "app"]) == 0
    printed = capsys.readouterr().out
    diff, _, rest = printed.partition("\nLeft as they are:\n")
    assert (project / "app" / "moved.py").read_text() == BEFORE
    assert "app/left.py:5:12: asyncio.gather\n" in rest
    assert "-> return await gather_structured(...)" in rest
    assert rest.endswith(
        "3 files; 2 uses of asyncio.gather and asyncio.as_completed; "
        "1 can be moved in 1 file; 1 left.\n"
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
    diff = printed[: printed.rindex("1 file;")].rstrip("\n") + "\n"
    (project / "change.diff").write_bytes(diff.encode())
    git("apply", "change.diff")
    assert path.read_bytes() == AFTER.replace("\n", "\r\n").rstrip().encode()


def test_write_changes_what_can_be_moved(project: Path, capsys: Printed) -> None:
    """With --write files are changed, and a second run has nothing to do."""
    assert main(["migrate", "--write", "app"]) == 0
    assert (project / "app" / "moved.py").read_text() == AFTER
    assert (project / "app" / "left.py").read_text() == LEFT
    assert "1 moved in 1 file; 1 left." in capsys.readouterr().out
    assert main(["migrate", "--check", "app"]) == 0


def test_check_fails_if_anything_can_be_moved(project: Path, capsys: Printed) -> None:
    """With --check the exit code is 1 where anything can be moved, 0 where all the rest is left."""
    assert main(["migrate", "--check", "app"]) == 1
    assert "---" not in capsys.readouterr().out
    assert (project / "app" / "moved.py").read_text() == BEFORE
    assert main(["migrate", "--check", "app/left.py"]) == 0


def test_check_sees_what_simplify_would_do(project: Path) -> None:
    """--simplify counts for --check as well."""
    handler = (
        "from structgather import gather_structured as gs\n\n\nasync def main(a):\n    try:\n"
        "        await gs(*a)\n    except OSError:\n        for x in a:\n            x.cancel()\n"
        "        await gs(*a, return_exceptions=True)\n        raise\n"
    )
    (project / "app" / "moved.py").write_text(handler)
    assert main(["migrate", "--check", "app"]) == 0
    assert main(["migrate", "--check", "--simplify", "app"]) == 1


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


def test_nothing_readable_is_exit_code_2(project: Path) -> None:
    """Where there is no Python file, or none that parses, the exit code is 2."""
    (project / "empty").mkdir()
    assert main(["migrate", "empty"]) == 2
    (project / "empty" / "broken.py").write_text("asyncio.gather(")
    assert main(["migrate", "empty"]) == 2


def test_a_file_that_does_not_parse_is_reported_and_left(project: Path, capsys: Printed) -> None:
    """One file that does not parse does not keep the others from being moved."""
    broken = project / "app" / "broken.py"
    broken.write_text("await asyncio.gather(\n")
    (project / "app" / "latin.py").write_bytes(b"# gather \xe9\n")
    (project / "app" / "null.py").write_bytes(b"gather\0\n")
    (project / "app" / "cookie.py").write_bytes(b"# coding: nonsense\n")
    assert main(["migrate", "--write", "app"]) == 0
    printed = capsys.readouterr().out
    for name in ("broken", "latin", "null", "cookie"):
        assert f"app/{name}.py: does not parse" in printed
    assert "4 files not readable" in printed
    assert broken.read_text() == "await asyncio.gather(\n"
    assert (project / "app" / "moved.py").read_text() == AFTER


def test_json_says_all_of_it(project: Path, capsys: Printed) -> None:
    """--json has each file, each finding with its place, rule and recipe, the diff, the counts."""
    (project / "app" / "broken.py").write_text("def\n")
    assert main(["migrate", "--json", "app"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["version"] == 1
    broken, left, moved, other = report["files"]
    assert broken["error"].startswith("does not parse on Python 3.")
    assert other == {
        "path": "app/other.py",
        "changes": False,
        "written": False,
        "error": None,
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
        "reason": finding["reason"],
        "recipe": finding["recipe"],
    }
    assert "Future is returned" in finding["reason"]
    assert "gather_structured" in finding["recipe"]
    assert moved["changes"]
    assert moved["findings"][0]["verdict"] == "moved"
    assert moved["diff"].startswith("--- a/app/moved.py\n+++ b/app/moved.py\n@@")
    assert report["summary"] == {
        "files": 4,
        "changed": 1,
        "errors": 1,
        "moved": 1,
        "simplified": 0,
        "left": 1,
        "rules": {"returned": 1},
    }


def test_help_and_version() -> None:
    """The command runs as a module, tells its version, and its help tells the exit codes."""

    def printed(*arguments: str) -> str:
        command = [sys.executable, "-m", "structgather", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603

    assert printed("--version") == f"structgather {structgather.__version__}\n"
    assert "exit codes:\n  0  all is well\n" in printed("migrate", "--help")


def test_importing_the_package_imports_none_of_it() -> None:
    """`import structgather` costs nothing for the migration."""
    code = "import sys, structgather; print([m for m in sys.modules if '_migrate' in m])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    assert done.stdout == "[]\n"


# Which files.


def migrated(folder: Path) -> set[str]:
    """Run it, and list the files that were moved."""
    main(["migrate", "--write", str(folder)])
    written = AFTER.encode()
    moved = (path for path in folder.rglob("*") if path.is_file() and path.read_bytes() == written)
    return {str(path.relative_to(folder)) for path in moved}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with all that is not to be touched."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.py",
        "sub/b.py",
        "sub/readme.md",
        ".hidden/c.py",
        "venv/lib/d.py",
        "venv/pyvenv.cfg",
        "sub/__pycache__/e.py",
        "build/f.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(BEFORE)
    return tmp_path


def test_git_says_what_is_the_users_own(tree: Path) -> None:
    """What git ignores is left alone; what it does not know yet is not."""
    git("init", "-q")
    (tree / ".gitignore").write_text("build/\nvenv/\n__pycache__/\n")
    git("add", "a.py")
    assert migrated(tree) == {"a.py", "sub/b.py", ".hidden/c.py"}


def test_without_git_environments_and_hidden_folders_are_left(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no git, hidden folders, caches and virtual environments are left alone."""
    monkeypatch.setenv("PATH", "")
    assert migrated(tree) == {"a.py", "sub/b.py", "build/f.py"}


def test_what_is_named_is_taken(tree: Path) -> None:
    """A file or a folder that is named is taken although git ignores it."""
    git("init", "-q")
    (tree / ".gitignore").write_text("build/\nvenv/\n")
    main(["migrate", "--write", "venv/lib/d.py", "sub/readme.md", "build"])
    for name in ("venv/lib/d.py", "sub/readme.md", "build/f.py"):
        assert (tree / name).read_text() == AFTER


def test_a_deleted_file_that_git_still_knows_is_no_error(tree: Path) -> None:
    """A file that is gone, but still in git's index, is passed over."""
    git("init", "-q")
    git("add", "a.py", "sub/b.py")
    (tree / "a.py").unlink()
    assert main(["migrate", "sub", "."]) == 0


# How it writes.


@pytest.mark.parametrize(
    ("cookie", "encoding", "bom"),
    [
        ("# -*- coding: latin-1 -*-\n", "latin-1", b""),
        ("#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n", "cp1252", b""),
        ("", "utf-8", codecs.BOM_UTF8),
        ("# coding: utf-8\n", "utf-8", codecs.BOM_UTF8),
        ("# coding: koi8-r\n", "koi8-r", b""),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_bytes_stay_as_they_are(
    project: Path, cookie: str, encoding: str, bom: bytes, newline: str
) -> None:
    """Encoding, byte order mark and line ends stay as they are."""
    character = "é" if encoding != "koi8-r" else "ж"
    line = f"    s = '{character}'; return await CALL(*a)  # {character}\n"
    source = cookie + BEFORE.replace("    return await asyncio.gather(*a)\n", line)
    wanted = cookie + AFTER.replace("    return await gather_structured(*a)\n", line)
    path = project / "app" / "moved.py"

    def encoded(text: str, called: str) -> bytes:
        return bom + text.replace("CALL", called).replace("\n", newline).encode(encoding)

    path.write_bytes(encoded(source, "asyncio.gather"))
    assert main(["migrate", "--write", "app"]) == 0
    assert path.read_bytes() == encoded(wanted, "gather_structured")
    ast.parse(path.read_bytes())


def test_permissions_and_symbolic_links_stay(project: Path) -> None:
    """A file keeps its permissions, and a link stays a link: its target is written, once."""
    target = project / "app" / "moved.py"
    target.chmod(0o755)
    link = project / "link.py"
    link.symlink_to(target)
    assert main(["migrate", "--write", "link.py", "app"]) == 0
    assert link.is_symlink()
    assert target.read_text() == AFTER
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_failure_half_way_leaves_the_file_whole(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    """Where the last step fails, the file is as it was, nothing lies beside it, the code is 2."""
    (project / "app" / "zebra.py").write_text(BEFORE)
    replace = os.replace

    def fails(source: Path, target: Path) -> None:
        if Path(target).name == "moved.py":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails)
    assert main(["migrate", "--write", "app"]) == 2
    assert "app/moved.py: can't be written: No space left on device" in capsys.readouterr().out
    assert (project / "app" / "moved.py").read_text() == BEFORE
    assert (project / "app" / "zebra.py").read_text() == AFTER
    names = {path.name for path in (project / "app").iterdir()}
    assert names == {"left.py", "moved.py", "other.py", "zebra.py"}


def test_a_file_that_changes_meanwhile_is_not_overwritten(project: Path) -> None:
    """What somebody writes between reading and writing is not lost."""
    path = project / "app" / "moved.py"
    source = files.read(path)
    path.write_text("# somebody was faster\n")
    with pytest.raises(OSError, match="changed since"):
        files.write(source, AFTER)
    assert path.read_text() == "# somebody was faster\n"


def test_what_would_not_compile_is_not_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    """If a mistake of the migration's own broke a file, the file would be left as it is."""
    monkeypatch.setattr(imports, "PACKAGE", "not a name")
    assert main(["migrate", "--write", "app"]) == 0
    assert "app/moved.py: does not parse" in capsys.readouterr().out
    assert (project / "app" / "moved.py").read_text() == BEFORE


def test_a_name_that_the_terminal_cannot_show_is_no_failure(project: Path) -> None:
    """Output in a narrow encoding shows escapes instead of failing."""
    (project / "app" / "moved.py").write_text(BEFORE.replace("(*a)", "(*é)"), "utf-8")
    command = [sys.executable, "-X", "utf8=0", "-m", "structgather", "migrate", "app"]
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "ascii",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(command, check=True, capture_output=True, env=environment)  # noqa: S603
    assert b"\\xe9" in done.stdout
    assert cli.parser().prog == "python -m structgather"
