"""The command `structgather`, also `python -m structgather`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structgather
from structgather._migrate import config, files
from structgather._migrate.project import Project
from structgather._migrate.report import File, Report
from structgather._migrate.rewrite import rewrite
from structgather._migrate.text import BrokenError

if TYPE_CHECKING:
    from collections.abc import Iterator

DESCRIPTION = """\
Move a code base from asyncio.gather to gather_structured, and loops over asyncio.as_completed to
as_completed_scoped. What can be moved as it stands is moved; the rest is shown with the reason and
with what to do. Without --write no file is touched: a diff is printed.
"""
EXIT_CODES = """\
pyproject.toml:
  [tool.structgather]
  exclude = ["vendored", "tests/data/*.py"]

exit codes:
  0  all is well
  1  --check was given, and something can be moved
  2  wrong usage; a path that does not exist; no Python file; a file, or the report, that could not
     be written; with --check or --write a file that could not be handled; with --strict also one
     that does not parse
"""
# What Python itself compiles may be a chain of some thousand calls, additions or branches.
RECURSION = 20_000


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="structgather", description="asyncio.gather without orphans."
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
        "--exclude",
        metavar="GLOB",
        action="append",
        default=[],
        help="leave out these files and folders; may be given several times",
    )
    migrate.add_argument(
        "--strict", action="store_true", help="exit with 2 if a file does not parse"
    )
    migrate.add_argument("--json", action="store_true", help="print JSON, for machines")
    return top


def run() -> int:
    """Run the command with room for what is nested deeply."""
    sys.setrecursionlimit(max(RECURSION, sys.getrecursionlimit()))
    return main()


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    options = parser().parse_args(arguments)
    if (reconfigure := getattr(sys.stdout, "reconfigure", None)) is not None:
        reconfigure(errors="backslashreplace")  # a source may say what the terminal can't
    missing = [path for path in options.paths if not path.exists()]
    for path in missing:
        sys.stderr.write(f"{path}: there is no such file or folder\n")
    config.of.cache_clear()
    found = list(files.find([path for path in options.paths if path not in missing]))
    try:
        included = [path for path in found if not _is_excluded(path, options.exclude)]
    except config.ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    project = Project(_readable(included))
    report = Report([migrate(path, project, write=options.write) for path in included])
    diff = not (options.write or options.check)
    if options.json:
        pieces = iter([json.dumps(report.json(diff=diff), indent=2), "\n"])
    else:
        pieces = report.human(diff=diff, written=options.write)
    failed = not _printed(pieces) or bool(missing) or not found
    for file in report.files:
        unparsed = file.line > 0
        unwritten = options.write and file.changes and not file.written
        failed = failed or unwritten or (unparsed and options.strict)
        failed = failed or (file.error is not None and not unparsed and not diff)
    if failed:
        return 2
    return 1 if options.check and any(file.changes for file in report.files) else 0


def migrate(path: Path, project: Project, *, write: bool) -> File:
    """Move one file."""
    about = config.of(path.resolve().parent)
    file = File(path.as_posix(), about.depends)
    try:
        source = files.read(path)
        rewritten = rewrite(source.text, project.around(path), about)
        files.check(source, rewritten.after)
        file.rewritten = rewritten
        if write and file.changes:
            files.write(source, rewritten.after)
            file.written = True
    except OSError as error:
        done = "written" if file.changes else "read"
        file.error = f"can't be {done}: {error.strerror or error}"
    except (SyntaxError, ValueError) as error:
        text = path.read_text("utf-8", "replace")
        file.line, file.error = files.explained(error, text)
    except (RecursionError, MemoryError):
        file.error = "left alone: it is nested too deeply"
    except BrokenError:
        file.error = (
            "left alone: moved, it would not compile, or be read as another text;"
            " please report this as a bug"
        )
    return file


def _is_excluded(path: Path, globs: list[str]) -> bool:
    about = config.of(path.resolve().parent)
    return about.excludes(path) or config.is_excluded(path, Path.cwd(), globs)


def _printed(pieces: Iterator[str]) -> bool:
    """Print, unless the reader has gone: `| head` may have seen enough."""
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer would raise it again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _readable(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        with contextlib.suppress(OSError, SyntaxError, ValueError):
            yield files.read(path).text
