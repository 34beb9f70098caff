"""Runs the fenced blocks of code in the documentation, or checks those that do not run.

    python           runs in a namespace of its own. `await` may stand at the top. Time is virtual,
                     so that an example may sleep; `python real-time` runs on asyncio's own loop.
    text             after python: what the block prints, `...` stands for anything.
                     After sh: what a reader sees there, not checked.
    pycon, console   a doctest
    sh               bash understands it. The first two of README.md are the project's two commands.
    diff             both sides are Python
    toml             parses

A fence of any other language fails.
"""

import ast
import asyncio
import contextlib
import doctest
import gc
import inspect
import io
import re
import subprocess
import textwrap
import tomllib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simloop.choosers import First
from simloop.loop import DeterministicLoop

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r" *(?P<fence>`{3,}|~{3,}) *(?P<language>[^\s`]*) *(?P<options>[^`]*)")
STEPS = 1_000_000


@dataclass(frozen=True)
class Block:
    """A fenced block of a document, and the one before it in the same section."""

    document: str
    line: int
    language: str
    options: str
    source: str
    before: "Block | None"

    def __str__(self) -> str:
        """Return where the block begins, the id of its test."""
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


def run_virtually(main: Coroutine[Any, Any, object], **_: object) -> object:
    """Run `main` as `asyncio.run` does, in virtual time."""
    loop = DeterministicLoop(First(), max_steps=STEPS)  # type: ignore[abstract]  # no I/O
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)


def execute(block: Block, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a python block and return what it prints."""
    # Newlines in front, so that a traceback shows the line of the document.
    source = "\n" * block.line + block.source
    code = compile(source, str(ROOT / block.document), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    if "real-time" not in block.options.split():
        monkeypatch.setattr(asyncio, "run", run_virtually)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = eval(code, namespace)  # noqa: S307 - this project's own documentation
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(result)
    # What was never awaited or retrieved must show in this test, not in a later one.
    del result
    namespace.clear()
    gc.collect()
    return printed.getvalue()


def check_python(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if the block raises; what it prints is checked with the text that shows it."""
    execute(block, monkeypatch)


def check_text(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if this is not the output of the block before."""
    assert block.before is not None, "no block before it in this section"
    assert block.before.language in {"python", "sh"}, "not after a block that prints"
    if block.before.language == "python":
        printed = execute(block.before, monkeypatch)
        checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
        example = doctest.Example(block.before.source, block.source)
        difference = checker.output_difference(example, printed, flags)
        assert checker.check_output(block.source, printed, flags), difference


def check_session(block: Block, _: pytest.MonkeyPatch) -> None:
    """Fail if the interactive session differs."""
    parser = doctest.DocTestParser()
    test = parser.get_doctest(block.source, {}, str(block), block.document, block.line)
    assert test.examples, "shows no session"
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert results.failed == 0, "".join(report)


def check_shell(block: Block, _: pytest.MonkeyPatch) -> None:
    """Fail if bash cannot parse it."""
    command = ["bash", "-n"]
    subprocess.run(command, input=block.source, text=True, check=True)  # noqa: S603 - read only


def check_diff(block: Block, _: pytest.MonkeyPatch) -> None:
    """Fail if what the diff starts from or what it leads to is not Python."""
    for side in "-+":
        lines = [line[1:] for line in block.source.splitlines() if line[:1] in (side, " ")]
        source = textwrap.dedent("\n".join(lines))
        compile(source, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def check_toml(block: Block, _: pytest.MonkeyPatch) -> None:
    """Fail if it does not parse, or is empty."""
    assert tomllib.loads(block.source)


CHECKS: dict[str, Callable[[Block, pytest.MonkeyPatch], None]] = {
    "console": check_session,
    "diff": check_diff,
    "pycon": check_session,
    "python": check_python,
    "sh": check_shell,
    "text": check_text,
    "toml": check_toml,
}


def check(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check a block according to its language."""
    assert block.language in CHECKS, f"no check for blocks of {block.language or 'no language'}"
    CHECKS[block.language](block, monkeypatch)
