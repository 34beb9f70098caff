"""Which files there are; how they are read, why one does not parse, and how they are written."""

from __future__ import annotations

import ast
import codecs
import errno
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from structgather._migrate.module import parse
from structgather._migrate.text import BrokenError

if TYPE_CHECKING:
    from collections.abc import Iterator

# What git tells its hooks of the repository that they run in.
_REPOSITORY = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"}
# A line that does not parse, and the Python that would parse it: the last before a change, or the
# first with it.
_PYTHONS = (
    (r"\b(print|exec)\s+[^\s(=.,)]|\bexcept\s+[\w.]+\s*,\s*[a-z_]\w*\s*:", (2,)),
    (r"\braise\s+[\w.]+\s*,|`|<>|\bur['\"]|(?<![\w.])0\d+\b|(?<![\w.])\d+L\b", (2,)),
    (r"(?<!\w)(async|await)\s*=(?!=)|\basync\s*[,).]|\.async\b", (3, 6)),
    (r"^\s*type\s+\w+(\[.*\])?\s*=|\b(def|class)\s+\w+\[|\bf['\"]", (3, 12)),
    (r"\bexcept\s+[\w.]+\s*,|\b[rR]?t['\"]", (3, 14)),
    (r"^\s*lazy\s+(import|from)\b|[\[({]\s*\*{1,2}\w+\s+(async\s+)?for\b", (3, 15)),
)


@dataclass(frozen=True, slots=True)
class Source:
    """What a file holds."""

    #: Where it really is, behind symbolic links.
    target: Path
    raw: bytes
    bom: bytes
    encoding: str
    text: str

    def encode(self, text: str) -> bytes:
        """Encode another text as this one was."""
        return self.bom + text.encode(self.encoding)


def read(path: Path) -> Source:
    """Read a Python file in the encoding that it declares, its line endings as they are.

    Raises:
        OSError: It can't be read.
        SyntaxError, UnicodeError: It is not what it declares to be.
    """
    target = path.resolve(strict=True)
    raw = target.read_bytes()
    bom = codecs.BOM_UTF8 if raw.startswith(codecs.BOM_UTF8) else b""
    lines = io.BytesIO(raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    try:
        encoding = codecs.lookup(tokenize.detect_encoding(lines.readline)[0]).name
        if encoding == "utf-8-sig":  # the mark, if there is one, is kept apart
            encoding = "utf-8"
        text = raw[len(bom) :].decode(encoding)
    except LookupError as error:  # a codec, but not of a text
        raise SyntaxError(str(error)) from error
    return Source(target, raw, bom, encoding, text)


def explained(error: SyntaxError | ValueError, text: str) -> tuple[int, str]:
    """Return the line at which a file does not parse, and why."""
    running = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    number = (error.lineno if isinstance(error, SyntaxError) else None) or 1
    line = "".join(text.splitlines()[number - 1 : number])
    python = parsed_by(line)
    instead = f"; {python} would parse it" if python else ""
    return number, f"does not parse on {running}: {reason}{instead}"


def parsed_by(line: str) -> str:
    """Tell which Python would parse a line on which this one fails; empty if that is not known."""
    for pattern, version in _PYTHONS:
        is_other = version < (3, 7) or version > sys.version_info[:2]
        if is_other and re.search(pattern, line):
            return f"Python {'.'.join(map(str, version))}"
    return ""


def check(source: Source, text: str) -> None:
    """Check what is to be written: it compiles, and Python reads this text from its bytes.

    Some encodings write a character in several ways: what does not change must stay as it is.

    Raises:
        BrokenError: It must not be written.
    """
    if text == source.text:
        return
    try:
        content = source.encode(text)
        same = ast.dump(parse(content)) == ast.dump(parse(text))
        kept = source.encode(source.text) == source.raw
    except (SyntaxError, ValueError) as error:
        raise BrokenError from error
    if not (same and kept and (_compiles(content) or not _compiles(source.raw))):
        raise BrokenError


def _compiles(content: bytes) -> bool:
    """Tell whether a text is a whole module: more than its grammar must be right for that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(content, "<module>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def write(source: Source, text: str) -> None:
    """Replace the file's content in one step: whatever fails, the file is whole, old or new.

    Its owner, permissions and extended attributes stay; its time is that of the change.

    Raises:
        OSError: It can't be written, or has changed since it was read.
        UnicodeError: The text can't be written in the file's encoding.
    """
    content = source.encode(text)
    target = source.target
    if not os.access(target, os.W_OK):  # replacing it would need no leave
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if target.read_bytes() != source.raw:
        message = "it has changed since it was read"
        raise OSError(message)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".structgather-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as beside:
            beside.write(content)
            beside.flush()
            os.fsync(beside.fileno())
        there, here = target.stat(), Path(name).stat()
        if (there.st_uid, there.st_gid) != (here.st_uid, here.st_gid):
            os.chown(name, there.st_uid, there.st_gid)
        shutil.copystat(target, name)
        os.utime(name)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def find(paths: list[Path]) -> Iterator[Path]:
    """Yield the Python files of these paths, none twice.

    A file that is named is taken as it is. In a folder, symbolic links are passed over: what they
    point to is not there, or is there under its own name.
    """
    seen: set[Path] = set()
    for path in paths:
        for file in [path] if path.is_file() else _below(path):
            if (target := file.resolve()) not in seen:
                seen.add(target)
                yield file


def _below(folder: Path) -> list[Path]:
    listed = _listed_by_git(folder)
    files = list(_walked(folder)) if listed is None else listed
    return sorted(
        file for file in files if file.suffix == ".py" and file.is_file() and not file.is_symlink()
    )


def _listed_by_git(folder: Path) -> list[Path] | None:
    """List what git does not ignore; None where there is no git, or where all of it is ignored."""
    if _git(folder, "check-ignore", "--quiet", ".") is not None:
        return None
    listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is None:
        return None
    return [folder / os.fsdecode(name) for name in set(listed.split(b"\0")) - {b""}]


def _git(folder: Path, *arguments: str) -> bytes | None:
    environment = {name: value for name, value in os.environ.items() if name not in _REPOSITORY}
    try:
        done = subprocess.run(  # noqa: S603 - it lists names
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own
            capture_output=True,
            check=False,
            env=environment,
        )
    except OSError:
        return None
    return None if done.returncode else done.stdout


def _walked(folder: Path) -> Iterator[Path]:
    """Walk through folders, past hidden ones, caches, and environments with other people's code."""
    for name, folders, files in os.walk(folder):
        here = Path(name)
        folders[:] = [
            inner
            for inner in folders
            if not inner.startswith(".")
            and inner not in {"__pycache__", "node_modules", "site-packages"}
            and not (here / inner / "pyvenv.cfg").exists()
        ]
        yield from (here / file for file in files)
