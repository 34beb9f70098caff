"""A source text: where in it a node of the syntax tree stands, and how it is edited."""

from __future__ import annotations

import ast
import bisect
import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What has a place in the text.
Placed: TypeAlias = ast.expr | ast.stmt | ast.alias | ast.keyword

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


class BrokenError(Exception):
    """What was moved would be another program. It is a bug of this package; no file is written."""


class Edit(NamedTuple):
    """Replace the characters from `start` to `end`."""

    start: int
    end: int
    text: str


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Apply edits.

    Raises:
        BrokenError: They overlap.
    """
    parts: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: edit[:2]):
        if edit.start < at:
            message = f"edits overlap at {edit.start}"
            raise BrokenError(message)
        parts += text[at : edit.start], edit.text
        at = edit.end
    return "".join([*parts, text[at:]])


def shifted(edits: Iterable[Edit], position: int) -> int:
    """Return where after the edits stands what was at a position."""
    by = 0
    for edit in edits:
        if edit.end <= position:
            by += len(edit.text) - (edit.end - edit.start)
        elif edit.start < position:
            by += edit.start - position
    return position + by


def split_lines(text: str) -> list[str]:
    """Split where Python's own parser does, which is not where `str.splitlines` does."""
    return _LINE.findall(text)


@final
class Text:
    """A source text with positions. Lines count from 1, as in `ast`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = split_lines(text)
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line))

    def line(self, number: int) -> str:
        """Return a line, with its newline; an empty one if there is none of that number."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def is_blank(self, number: int) -> bool:
        """Tell whether there is a line with nothing in it."""
        return bool(self.line(number)) and not self.line(number).strip()

    def line_start(self, number: int) -> int:
        """Return where a line starts; for the line behind the last, the end of the text."""
        return self._starts[number - 1]

    def indent(self, number: int) -> str:
        """Return the white space that a line starts with."""
        line = self.line(number)
        return line[: len(line) - len(line.lstrip(" \t"))]

    def newline(self, number: int) -> str:
        """Return how a line ends; if it is the last and does not, how the first line does."""
        for line in (self.line(number), self.line(1)):
            if ending := line[len(line.rstrip("\r\n")) :]:
                return ending
        return "\n"

    def offset(self, line: int, utf8_column: int) -> int:
        """Return the position for what `ast` gives: a line, and a column in UTF-8 bytes."""
        before = self.line(line).encode()[:utf8_column]
        return self.line_start(line) + len(before.decode())

    def start(self, node: Placed) -> int:
        """Return where a node starts."""
        return self.offset(node.lineno, node.col_offset)

    def end(self, node: Placed) -> int:
        """Return where a node ends."""
        return self.offset(node.end_lineno or 0, node.end_col_offset or 0)

    def of(self, node: Placed) -> str:
        """Return the text of a node."""
        return self.text[self.start(node) : self.end(node)]

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column of a position, from 1 and in characters, as editors count."""
        line = min(bisect.bisect_right(self._starts, offset), len(self.lines))
        return line, offset - self.line_start(line) + 1
