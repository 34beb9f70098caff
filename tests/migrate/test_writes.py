"""`python -m structgather migrate`: how it writes files, and when not."""

import ast
import codecs
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from migrate.project import AFTER, BEFORE, make

from structgather._migrate import files, imports
from structgather._migrate.cli import main
from structgather._migrate.text import Edit

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the project, and go there."""
    monkeypatch.chdir(tmp_path)
    return make(tmp_path)


@pytest.mark.parametrize(
    ("cookie", "encoding", "bom"),
    [
        ("# -*- coding: latin-1 -*-\n", "latin-1", b""),
        ("#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n", "cp1252", b""),
        ("", "utf-8", codecs.BOM_UTF8),
        ("# coding: utf-8\n", "utf-8", codecs.BOM_UTF8),
        ("# coding: koi8-r\n", "koi8-r", b""),
        ("# coding: utf-8-sig\n", "utf-8", codecs.BOM_UTF8),
        ("# coding: utf-8-sig\n", "utf-8", b""),
        ("# coding: utf_8_sig\n", "utf-8", b""),
        ("# coding: utf--8-sig\n", "utf-8", b""),
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


def test_what_describes_a_file_stays(project: Path) -> None:
    """Its owner and extended attributes stay; the time is new, but not that of other files."""
    path, other = project / "app" / "moved.py", project / "app" / "left.py"
    for one in (path, other):
        os.utime(one, (1, 1))
    kept = hasattr(os, "setxattr")
    if kept:
        try:
            os.setxattr(path, "user.note", b"kept")
        except OSError:  # not on this file system
            kept = False
    if os.getuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    assert main(["migrate", "--write", "app"]) == 0
    after = path.stat()
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_mode == before.st_mode
    assert after.st_mtime > 1
    assert other.stat().st_mtime == 1
    assert not kept or os.getxattr(path, "user.note") == b"kept"


def test_a_file_whose_owner_cannot_be_kept_is_left(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    """The owner of a file stays the same."""
    path = project / "app" / "moved.py"
    if os.getuid() != 0:
        pytest.skip("needs a file of another owner")
    os.chown(path, 12345, 54321)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refused)
    assert main(["migrate", "--write", "app"]) == 2
    assert "app/moved.py: can't be written: Operation not permitted" in capsys.readouterr().out
    assert path.read_text() == BEFORE
    assert len(list(path.parent.iterdir())) == 3


def test_a_file_that_is_read_only_is_left(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    """What is not to be written is not replaced either."""
    path = project / "app" / "moved.py"
    path.chmod(0o444)
    if os.access(path, os.W_OK):  # root may write it

        def access(name: object, mode: int) -> bool:
            return name != path or mode != os.W_OK

        monkeypatch.setattr(os, "access", access)
    assert main(["migrate", "--write", "app"]) == 2
    assert "app/moved.py: can't be written: Permission denied" in capsys.readouterr().out
    assert path.read_text() == BEFORE


@pytest.mark.parametrize("call", ["fsync", "utime", "fdopen"])
def test_wherever_writing_fails_the_file_is_whole(
    project: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """At each step that a full disk may break, the file stays, and nothing lies beside it."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    assert main(["migrate", "--write", "app"]) == 2
    monkeypatch.undo()
    assert (project / "app" / "moved.py").read_text() == BEFORE
    assert {path.name for path in (project / "app").iterdir()} == {
        "left.py",
        "moved.py",
        "other.py",
    }


def test_all_of_it_is_on_the_disk_before_it_takes_the_place(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content is synchronised before it replaces the file: a power failure does no harm."""
    path = project / "app" / "moved.py"
    sizes: list[int] = []

    def synchronised(handle: int) -> None:
        sizes.append(os.fstat(handle).st_size)
        assert path.read_text() == BEFORE

    monkeypatch.setattr(os, "fsync", synchronised)
    assert main(["migrate", "--write", "app"]) == 0
    assert sizes == [len(AFTER)]
    assert path.read_text() == AFTER


def test_a_copy_that_has_gone_does_not_hide_what_failed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    """Where another program deletes what is written beside, the first failure is reported."""

    def gone(_: int) -> None:
        next((project / "app").glob(".structgather-*")).unlink()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", gone)
    assert main(["migrate", "--write", "app"]) == 2
    assert "app/moved.py: can't be written: No space left on device" in capsys.readouterr().out
    assert (project / "app" / "moved.py").read_text() == BEFORE


def test_a_name_of_the_greatest_length_is_written(project: Path) -> None:
    """The file that is written beside needs no longer a name."""
    path = project / "app" / ("n" * 252 + ".py")
    path.write_text(BEFORE)
    assert main(["migrate", "--write", "app"]) == 0
    assert path.read_text() == AFTER


def test_bytes_that_could_not_be_written_again_are_left(project: Path, capsys: Printed) -> None:
    """Where an encoding has two spellings of a character, a file with the rarer one is left."""
    path = project / "app" / "moved.py"
    for spelling, kept in ((b"\x87\x90", True), (b"\x81\xe0", False)):
        source = b"# coding: cp932\nX = '" + spelling + b"'\n" + BEFORE.encode()
        path.write_bytes(source)
        assert main(["migrate", "--write", "app"]) == (2 if kept else 0)
        assert (path.read_bytes() == source) is kept
        assert ("left alone" in capsys.readouterr().out) is kept


@pytest.mark.parametrize(
    "cookie", ["rot13", "hex", "ascii", "utf-16", "undefined", "utf8_nonsense"]
)
def test_what_is_not_in_its_encoding_is_said_not_to_parse(
    project: Path, capsys: Printed, cookie: str
) -> None:
    """A codec that is none for texts, or does not know the bytes, is reported as Python does."""
    path = project / "app" / "moved.py"
    source = f"# coding: {cookie}\nX = 'é'\n{BEFORE}".encode()
    path.write_bytes(source)
    assert main(["migrate", "--write", "app"]) == 0
    assert main(["migrate", "--write", "--strict", "app"]) == 2
    assert "app/moved.py:1: does not parse on Python 3" in capsys.readouterr().out
    assert path.read_bytes() == source


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
    """What another program writes between reading and writing is not lost."""
    path = project / "app" / "moved.py"
    source = files.read(path)
    path.write_text("# another was faster\n")
    with pytest.raises(OSError, match="changed since"):
        files.write(source, AFTER)
    assert path.read_text() == "# another was faster\n"


@pytest.mark.parametrize(
    "package",
    ["not a name", "__future__", "os import path\nx: [i async for i in x]\nfrom os"],
    ids=["parse", "compile", "annotation"],
)
def test_what_would_not_compile_is_not_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed, package: str
) -> None:
    """If a mistake of the migration's own broke a file, the file would be left as it is."""
    monkeypatch.setattr(imports, "PACKAGE", package)
    assert main(["migrate", "--write", "app"]) == 2
    assert "app/moved.py: left alone: moved, it would not compile" in capsys.readouterr().out
    assert (project / "app" / "moved.py").read_text() == BEFORE


def test_what_would_not_parse_is_not_written_in_half_of_a_template_either(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What parses, though it does not compile, parses afterwards, or is left as it is."""
    path = project / "app" / "moved.py"
    path.write_text(f"{BEFORE}\nreturn\n")
    monkeypatch.setattr(imports, "PACKAGE", "not a name")
    assert main(["migrate", "--write", "app"]) == 2
    assert path.read_text() == f"{BEFORE}\nreturn\n"


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


@pytest.mark.parametrize(
    "source",
    [
        "\n# coding: latin-1\nif a:\n    import asyncio\nX = 'é'\n",
        "\n# coding: latin-1\n# What follows.\nif a:\n    import asyncio\nX = 'é'\n",
        "# coding: latin-1\nif a:\n    import asyncio\nX = 'é'\n",
    ],
)
def test_what_declares_the_encoding_stays_where_it_does(project: Path, source: str) -> None:
    """No comment stops declaring the encoding, and none begins to."""
    source += "async def f(a):\n    await asyncio.gather(a())\n"
    path = project / "app" / "moved.py"
    path.write_bytes(source.encode("latin-1"))
    assert main(["migrate", "--write", "app"]) == 0
    assert "gather_structured(a())" in path.read_text("latin-1")
    strings = [
        node.value
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant)
    ]
    assert "é" in strings


def test_edits_that_overlap_are_the_tools_own_mistake(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    """Where edits overlap, it is not said that the file does not parse; the code is 2."""

    def overlapping(*_: object, **__: object) -> list[Edit]:
        return [Edit(0, 2, ""), Edit(1, 3, "")]

    monkeypatch.setattr(imports, "rewrite", overlapping)
    assert main(["migrate", "--check", "app"]) == 2
    assert "app/moved.py: left alone: moved, it would not" in capsys.readouterr().out
    assert project.exists()


def test_what_would_be_read_otherwise_is_not_written(project: Path, capsys: Printed) -> None:
    """Where a comment would come to declare the encoding, the file is left as it is."""
    path = project / "app" / "moved.py"
    source = "from asyncio import gather\n# coding: latin-1\nimport os\nX = 'é'\n"
    source += "async def f(a):\n    await gather(a())\n"
    path.write_text(source, "utf-8")
    assert main(["migrate", "--write", "app/moved.py"]) == 2
    assert "app/moved.py: left alone" in capsys.readouterr().out
    assert path.read_text("utf-8") == source
