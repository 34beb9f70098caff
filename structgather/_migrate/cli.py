"""The command `python -m structgather`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structgather
from structgather._migrate import files
from structgather._migrate.handed_on import HandedOn
from structgather._migrate.report import File, Report
from structgather._migrate.rewrite import BrokenError, Rewritten, rewrite

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

DESCRIPTION = """\
Move a code base from asyncio.gather to gather_structured, and loops over asyncio.as_completed to
as_completed_scoped. What can be moved as it stands is moved; the rest is shown with the reason and
a recipe, and left alone. Without --write no file is touched: a diff is printed.
"""
EXIT_CODES = """\
exit codes:
  0  all is well
  1  --check was given, and something can be moved
  2  wrong usage; a path that is not there; no Python file that can be read; a file that could not
     be written, or the report; with --check or --write also a file that could not be handled
"""


class _SpelledTwiceError(Exception):
    """What does not change in a file can't be written as it was."""


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="python -m structgather", description="asyncio.gather without orphans."
    )
    top.add_argument(
        "--version", action="version", version=f"structgather {structgather.__version__}"
    )
    commands = top.add_subparsers(title="commands", dest="command", required=True)
    migrate = commands.add_parser(
        "migrate",
        help="move a code base from asyncio.gather to structgather",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    migrate.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        type=Path,
        help="a Python file, or a folder: all of its Python files that git does not ignore; without"
        " git, all but those in hidden folders and virtual environments",
    )
    how = migrate.add_mutually_exclusive_group()
    how.add_argument("--write", action="store_true", help="change the files")
    how.add_argument(
        "--check", action="store_true", help="only report; exit with 1 if anything can be moved"
    )
    migrate.add_argument(
        "--simplify",
        action="store_true",
        help="also turn a semaphore around each child into limit=, and take out the handler that"
        " cancels the rest, gathers again and raises",
    )
    migrate.add_argument("--json", action="store_true", help="print JSON, for machines")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    options = parser().parse_args(arguments)
    if (reconfigure := getattr(sys.stdout, "reconfigure", None)) is not None:
        reconfigure(errors="backslashreplace")  # a source may say what the terminal can't
    missing = [path for path in options.paths if not path.exists()]
    for path in missing:
        sys.stderr.write(f"{path}: there is no such file or folder\n")
    report = Report()
    failed = bool(missing)
    found = list(files.find([path for path in options.paths if path not in missing]))
    handed_on = HandedOn(_readable(found))
    for path in found:
        file, wrote = migrate(path, handed_on, simplify=options.simplify, write=options.write)
        report.files.append(file)
        failed = failed or not wrote
    diff = not (options.write or options.check)
    if options.json:
        pieces = iter([json.dumps(report.json(diff=diff), indent=2), "\n"])
    else:
        pieces = report.human(diff=diff, written=options.write)
    failed = not _printed(pieces) or failed
    if options.check or options.write:
        failed = failed or any(file.error is not None for file in report.files)
    if failed or all(file.rewritten is None for file in report.files):
        return 2
    return 1 if options.check and any(file.changes for file in report.files) else 0


def migrate(path: Path, handed_on: HandedOn, *, simplify: bool, write: bool) -> tuple[File, bool]:
    """Move one file. Also tells whether it was written, if that was to be."""
    file = File(path.as_posix())
    try:
        source = files.read(path)
        file.rewritten = _rewritten(source, handed_on.by(path), simplify=simplify)
        if write and file.changes:
            files.write(source, file.rewritten.after)
            file.written = True
    except OSError as error:
        done = "written" if file.changes else "read"
        file.error = f"can't be {done}: {error.strerror or error}"
    except SyntaxError as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        file.error = f"does not parse on Python {version}: {error}"
    except ValueError as error:
        file.error = f"does not parse: {error}"
    except (RecursionError, MemoryError):
        file.error = "left alone: it is nested too deeply"
    except _SpelledTwiceError:
        file.error = (
            "left alone: its encoding writes a character in several ways, and could not keep its"
            " bytes as they are"
        )
    except BrokenError:
        file.error = (
            "left alone: moved, it would not compile, or be read as another text;"
            " please report this as a bug"
        )
    return file, file.written or not (write and file.changes)


def _printed(pieces: Iterator[str]) -> bool:
    """Print, unless nobody reads on: `| head` may have seen enough."""
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer would raise it again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _readable(paths: list[Path]) -> Iterator[files.Source]:
    for path in paths:
        with contextlib.suppress(OSError, SyntaxError, ValueError):
            yield files.read(path)


def _rewritten(source: files.Source, wanted: Container[str], *, simplify: bool) -> Rewritten:
    rewritten = rewrite(source.text, simplify=simplify, wanted=wanted)
    if rewritten.after != rewritten.before:
        if not source.can_be_kept():
            raise _SpelledTwiceError
        if not files.reads_as(source, rewritten.after):
            raise BrokenError
    return rewritten
