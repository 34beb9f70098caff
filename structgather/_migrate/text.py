"""A source text: where in it a node of the syntax tree stands, and how it is edited."""

from __future__ import annotations

import ast
import bisect
import functools
import io
import re
import tokenize
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What has a place in the text.
Placed: TypeAlias = ast.expr | ast.stmt | ast.alias | ast.excepthandler | ast.keyword

# PEP 263: how a file declares its encoding, and what may stand on the line before.
_COOKIE = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.ASCII)
_NOTHING = re.compile(r"[ \t\f]*(?:[#\r\n]|\Z)")

# What may stand between two logical lines.
_BETWEEN = {tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


class Edit(NamedTuple):
    """Replace the characters from `start` to `end`."""

    start: int
    end: int
    text: str


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Apply edits that do not overlap."""
    parts: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: edit[:2]):
        if edit.start < at:
            message = f"edits overlap at {edit.start}"
            raise ValueError(message)
        parts += text[at : edit.start], edit.text
        at = edit.end
    return "".join([*parts, text[at:]])


def split_lines(text: str) -> list[str]:
    """Split where Python's own parser does, which is not where `str.splitlines` does."""
    return _LINE.findall(text)


def cookie(text: str) -> tuple[int, str]:
    """Return the line on which a text declares its encoding, and the encoding; 0 if it does not."""
    for number, line in enumerate(split_lines(text)[:2], 1):
        if found := _COOKIE.match(line):
            return number, found[1]
        if not _NOTHING.match(line):
            break
    return 0, ""


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
        """Return a line, with its end."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def line_start(self, number: int) -> int:
        """Return where a line starts; for the line behind the last, the end of the text."""
        return self._starts[number - 1]

    def indent(self, number: int) -> str:
        """Return the white space that a line starts with, as far as Python counts it."""
        line = self.line(number)
        return line[: len(line) - len(line.lstrip(" \t\f"))].rpartition("\f")[2]

    def indent_start(self, number: int) -> int:
        """Return where a line's indentation starts: behind the last form feed in it."""
        line = self.line(number)
        blank = line[: len(line) - len(line.lstrip(" \t\f"))]
        return self.line_start(number) + blank.rfind("\f") + 1

    def newline(self, number: int) -> str:
        """Return how a line ends, or how its file's first line does if it is the unended last."""
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

    @functools.cached_property
    def tokens(self) -> list[tokenize.TokenInfo]:
        """The tokens. A carriage return alone ends a line, as it does for the parser."""
        text = "".join(line.rstrip("\r\n") + "\n" for line in self.lines)
        return list(tokenize.generate_tokens(io.StringIO(text).readline))

    @functools.cached_property
    def _comments(self) -> dict[int, str]:
        """Each comment, by its position."""
        return {
            self.line_start(token.start[0]) + token.start[1]: token.string
            for token in self.tokens
            if token.type == tokenize.COMMENT
        }

    @functools.cached_property
    def _comment_places(self) -> list[int]:
        return list(self._comments)

    def comments(self, start: int, end: int) -> list[str]:
        """List the comments between two positions."""
        behind = bisect.bisect_left(self._comment_places, start)
        before = bisect.bisect_left(self._comment_places, end)
        return [self._comments[place] for place in self._comment_places[behind:before]]

    def has_comment(self, start: int, end: int) -> bool:
        """Tell whether there is a comment between two positions."""
        return bool(self.comments(start, end))

    @functools.cached_property
    def logical_lines(self) -> list[tuple[int, int]]:
        """The first and the last line of each logical line: brackets and backslashes join them."""
        found: list[tuple[int, int]] = []
        first = 0
        for token in self.tokens:
            if token.type == tokenize.NEWLINE:
                found.append((first, token.start[0]))
                first = 0
            elif token.type not in _BETWEEN:
                first = first or token.start[0]
        return found

    def logical_line(self, number: int) -> tuple[int, int]:
        """Return the first and the last line of the logical line that a line with code is in."""
        at = bisect.bisect_right(self.logical_lines, (number, len(self.lines) + 1))
        return self.logical_lines[at - 1]

    @functools.cached_property
    def strings_of_many_lines(self) -> list[tuple[int, int]]:
        """The first and last line of each string literal that goes over several."""
        found: list[tuple[int, int]] = []
        opened: list[int] = []
        for token in self.tokens:
            kind = tokenize.tok_name[token.type]
            first, last = token.start[0], token.end[0]
            if kind.endswith("STRING_START"):  # FSTRING, and TSTRING from 3.14 on
                opened.append(first)
            elif kind.endswith("STRING_END"):
                first = opened.pop()
            elif kind != "STRING":
                continue
            if first < last:
                found.append((first, last))
        return found


def shifted(edits: Iterable[Edit], position: int) -> int:
    """Return where after the edits stands what was at a position."""
    by = 0
    for edit in edits:
        if edit.end <= position:
            by += len(edit.text) - (edit.end - edit.start)
        elif edit.start < position:
            by += edit.start - position
    return position + by
