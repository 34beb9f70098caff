"""Runs the fenced blocks of code in the documentation, or checks them statically.

    python           runs as pasted into a file, in a process of its own, on asyncio's own loop.
                     `python skip-idle-time`: the clock skips what the loop would sleep.
                     A block that defines a test runs under pytest.
    text             after python: what the block prints, `...` stands for anything.
                     After sh: an illustration, not checked.
    pycon, console   a doctest
    sh               bash can parse it. README.md starts with the project's two commands.
    diff             both sides are Python
    toml             parses

A fence of any other language fails.
"""

import ast
import doctest
import functools
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.third_party import FILTERS

ROOT = Path(__file__).resolve().parents[2]
#: Seconds of real time.
TIMEOUT = 60
SKIP_IDLE_TIME = Path(__file__).with_name("skip_idle_time.py")
FENCE = re.compile(r" *(?P<fence>`{3,}|~{3,}) *(?P<language>[^\s`]*) *(?P<options>[^`]*)")
PLAIN_PYTEST = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # loading plugins takes seconds
COMPLAINT = re.compile("Traceback|Warning|never (?:awaited|retrieved)|was destroyed")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document, and the previous one in the same section."""

    document: str
    line: int
    language: str
    options: str
    source: str
    before: "Block | None"

    def __str__(self) -> str:
        """Return the position of the block, as the name of its test."""
        return f"{self.document}:{self.line}"


def blocks(document: str, text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a Markdown text."""
    before: Block | None = None
    lines = enumerate(text.splitlines(), start=1)
    for number, line in lines:
        if line.startswith("#"):
            before = None
        opening = FENCE.fullmatch(line)
        if opening is None:
            continue
        body: list[str] = []
        for _, inner in lines:
            if inner.strip() == opening["fence"]:
                break
            body.append(inner)
        else:
            pytest.fail(f"{document}:{number}: this fence is never closed")
        source = textwrap.dedent("\n".join(body)) + "\n"
        before = Block(document, number, opening["language"], opening["options"], source, before)
        yield before


def blocks_of(document: str) -> list[Block]:
    """Read the blocks of a document."""
    return [*blocks(document, (ROOT / document).read_text("utf-8"))]


@functools.cache
def execute(block: Block) -> str:
    """Run a block of Python as pasted into a file, and return what it prints.

    Raises:
        ModuleNotFoundError: It imports a package that is not installed.
    """
    options = block.options.split()
    command = [sys.executable, "-W", "error"]
    for warning in FILTERS:
        command += ["-W", warning]
    if "def test_" in block.source:
        command += ["-m", "pytest", "-q", "-c", os.devnull, "--rootdir=."]
    elif "skip-idle-time" in options:
        command.append(str(SKIP_IDLE_TIME))
    paths = [ROOT] if block.document == "README.md" else [ROOT, ROOT / "tests"]
    with tempfile.TemporaryDirectory() as folder:
        # Newlines in front, so that a traceback shows the line of the document.
        script = Path(folder, "test_pasted.py")
        script.write_text("\n" * block.line + block.source, "utf-8")
        done = subprocess.run(  # noqa: S603 - this project's own documentation
            [*command, str(script)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **PLAIN_PYTEST},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=TIMEOUT,
        )
    missing = re.search("^ModuleNotFoundError: (.*)", done.stderr, re.MULTILINE)
    if missing:
        raise ModuleNotFoundError(missing[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert not COMPLAINT.search(done.stderr), done.stderr
    return done.stdout


def check_python(block: Block) -> None:
    """Fail if the block raises; a text block after it checks its output."""
    execute(block)


def check_text(block: Block) -> None:
    """Fail if this is not the output of the previous block."""
    assert block.before is not None, "no block before it in this section"
    assert block.before.language in {"python", "sh"}, "not after a block that prints"
    if block.before.language == "python":
        printed = execute(block.before)
        checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
        example = doctest.Example(block.before.source, block.source)
        difference = checker.output_difference(example, printed, flags)
        assert checker.check_output(block.source, printed, flags), difference


def check_session(block: Block) -> None:
    """Fail if the interactive session prints something else."""
    parser = doctest.DocTestParser()
    test = parser.get_doctest(block.source, {}, str(block), block.document, block.line)
    assert test.examples, "shows no session"
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert results.failed == 0, "".join(report)


def check_shell(block: Block) -> None:
    """Fail if bash cannot parse it."""
    command = ["bash", "-n"]
    subprocess.run(command, input=block.source, text=True, check=True)  # noqa: S603 - read only


def check_diff(block: Block) -> None:
    """Fail if either side of the diff is not Python."""
    for side in "-+":
        lines = [line[1:] for line in block.source.splitlines() if line[:1] in (side, " ")]
        source = textwrap.dedent("\n".join(lines))
        compile(source, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def check_toml(block: Block) -> None:
    """Fail if it does not parse, or is empty."""
    assert tomllib.loads(block.source)


CHECKS: dict[str, Callable[[Block], None]] = {
    "console": check_session,
    "diff": check_diff,
    "pycon": check_session,
    "python": check_python,
    "sh": check_shell,
    "text": check_text,
    "toml": check_toml,
}


def check(block: Block) -> None:
    """Check a block according to its language."""
    assert block.language in CHECKS, f"no check for blocks of {block.language or 'no language'}"
    CHECKS[block.language](block)
