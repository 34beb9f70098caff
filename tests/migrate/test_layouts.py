"""The migration, however the source is laid out: drawn from pieces, edited where it must be."""

import ast
import re
import tokenize
from dataclasses import dataclass
from io import StringIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from structgather._migrate.rewrite import rewrite
from structgather._migrate.rules import Verdict
from structgather._migrate.text import Text, split_lines

# How asyncio.gather is imported and called.
STYLES = [
    ("import asyncio", "asyncio.gather"),
    ("import asyncio as aio, os", "aio.gather"),
    ("import asyncio.tasks", "asyncio.tasks.gather"),
    ("from asyncio import tasks as t", "t.gather"),
    ("from asyncio import sleep, gather", "gather"),
    ("from asyncio import (\n    gather as äh,\n    sleep,\n)", "äh"),
    ("from asyncio.tasks import gather as g", "g"),
    ("from asyncio import \\\n  sleep, \\\n gather", "gather"),
    ("\x0cimport asyncio\n\x0c", "asyncio.gather"),
    ("from structgather import \\\n  Ok\nimport asyncio", "asyncio.gather"),
    ("if True:\n    from asyncio import gather\n    from asyncio import as_completed", "gather"),
]
# CALL stands for what is called; a line ends where it says so, and INDENT is one level.
STATEMENTS = [
    "x = await CALL(a(), b())",
    's = "äöü😀"; x = await CALL(a("日本"), *b)  # 😀 comment',
    'return [await CALL(*row) for row in rows], """\n  kept ä\n""", await CALL()',
    "await asyncio_wait_for(\n    x, (await CALL(\n  # here\n  a(),\n\n      )))",
    "if await CALL():\nINDENTpass\nINDENTy = await CALL(await CALL())",
    "x = 1 + \\\n (await CALL(\\\n a()))[0]",
    "async with a() as b, c(await CALL()): pass; pass",
    "y = {'k': f'é{1}', 'l': await CALL(r'\\d', b'\\x00', return_exceptions=True)}",
    "\x0c",
    "await CALL(lambda: (yield), x) if False else await CALL()",
    "é = await CALL(é)",
    "",
    "# a comment, é",
]
INDENTS = ["    ", "  ", "\t", " \t"]
HEADS = [
    "",
    '"""What it does: é."""\n',
    "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\n\n",
    "'''Two\nlines.'''\nfrom __future__ import annotations\n",
]


@dataclass(frozen=True)
class Drawn:
    """A source, and how its body must read afterwards."""

    text: str
    body: str


@st.composite
def sources(draw: st.DrawFn) -> Drawn:
    """Draw a source."""
    statement, called = draw(st.sampled_from(STYLES))
    indent = draw(st.sampled_from(INDENTS))
    chosen = draw(st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=6))
    lines = "\n".join(chosen).split("\n")
    inside_string = False
    body = "\nasync def main(rows, a, b, c, x, é):\n"
    for line in lines:
        body += line if inside_string else (indent + line if line else "")
        inside_string ^= line.count('"""') % 2 == 1
        body += "\n"
    body = body.replace("INDENT", indent) + f"{indent}return None"
    body += draw(st.sampled_from(["", "\n", "\n\n\n"]))
    head = draw(st.sampled_from(HEADS)) + statement + "\n"
    ends = draw(st.sampled_from([["\n"], ["\r\n"], ["\r"], ["\n", "\r\n"]]))
    drawn_ends: dict[int, str] = {}

    def ended(text: str, first: int) -> str:
        parts = text.split("\n")
        for number in range(first, first + len(parts) - 1):
            drawn_ends.setdefault(number, draw(st.sampled_from(ends)))
        return "".join(
            part + (drawn_ends[first + number] if number < len(parts) - 1 else "")
            for number, part in enumerate(parts)
        )

    first = head.count("\n")
    return Drawn(
        ended(head, 0) + ended(body, first).replace("CALL", called),
        ended(body, first).replace("CALL", "gather_structured"),
    )


def parses(text: str) -> bool:
    try:
        compile(text, "drawn", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


@given(sources())
def test_only_the_calls_and_the_imports_are_edited(drawn: Drawn) -> None:
    """To the last character, the body stays as it is, save what is called; so do line ends."""
    rewritten = rewrite(drawn.text)
    moved = [one for one in rewritten.findings if one.verdict is Verdict.MOVED]
    if moved:
        assert rewritten.after.endswith(drawn.body)
        head = rewritten.after.removesuffix(drawn.body)
        (imported,) = re.findall(r"(?:, |import )gather_structured", head)
        assert imported
    else:
        assert rewritten.after == drawn.text
    assert len(moved) == drawn.body.count("gather_structured(")


@given(sources())
def test_what_is_written_parses_and_holds_nothing_more_to_move(drawn: Drawn) -> None:
    """What is written compiles if the source did, and a second run changes nothing."""
    after = rewrite(drawn.text).after
    ast.parse(after)
    assert parses(after) or not parses(drawn.text)
    again = rewrite(after)
    assert again.after == after
    assert again.findings == []


# Loops: what an independent transformation of the syntax tree makes of them.

LOOP_BODIES = [
    "await one",
    "x = await one  # é",
    "if await one:\n@continue\nelse:\n@y = [\n1,\n   2]",
    "try:\n@print('ä', await one)\nexcept (OSError, ValueError):\n@# hm\n@pass",
    "for y in await one:\n@if y:\n@@break\n\n\n@z = y; w = z \\\n+ 1",
    "z = (await one,\n\n# in between\n1)",
]


@st.composite
def loops(draw: st.DrawFn) -> str:
    """Draw a coroutine with loops, one inside the other maybe."""
    unit = draw(st.sampled_from(INDENTS[:3]))

    def loop(depth: int) -> list[str]:
        name = f"one{depth or ''}"
        options = draw(st.sampled_from(["", ", timeout=None", ",\n timeout = 3.0  # s\n"]))
        body = draw(st.sampled_from(LOOP_BODIES))
        if "timeout" in options and body.startswith("try"):
            options = ""
        lines = f"for {name} in asyncio.as_completed(aws{options}):  # loop".split("\n")
        lines += [f"@{line}" for line in body.replace("one", name).split("\n")]
        if depth < 2 and draw(st.booleans()):
            lines += [f"@{line}" for line in loop(depth + 1)]
        if draw(st.booleans()):
            lines += ["# between", "else:", "@x = 1"]
        return lines

    lines = ["import asyncio", "async def main(aws):"]
    for _ in range(draw(st.integers(1, 3))):
        lines += [f"@{line}" for line in loop(0)]
    return "\n".join(lines).replace("@", unit) + draw(st.sampled_from(["", "\n"]))


class Moved(ast.NodeTransformer):
    """The same move, made on the tree."""

    depth = 0

    def visit_For(self, node: ast.For) -> Any:
        if not isinstance(node.iter, ast.Call) or not isinstance(node.iter.func, ast.Attribute):
            return self.generic_visit(node)
        name = f"outcomes_{self.depth + 1}" if self.depth else "outcomes"
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1
        call = ast.Call(
            ast.Name("as_completed_scoped", ast.Load()), node.iter.args, node.iter.keywords
        )
        inner = ast.AsyncFor(node.target, ast.Name(name, ast.Load()), node.body, node.orelse)
        return ast.AsyncWith([ast.withitem(call, ast.Name(name, ast.Store()))], [inner])


def spelled(text: str) -> list[str]:
    """List strings, numbers and comments in order."""
    kinds = {tokenize.STRING, tokenize.NUMBER, tokenize.COMMENT}
    tokens = tokenize.generate_tokens(StringIO(text).readline)
    return [token.string for token in tokens if token.type in kinds]


@given(loops())
def test_loops_mean_what_they_meant(source: str) -> None:
    """The tree is that of the block by hand, with each string and comment in its place."""
    rewritten = rewrite(source)
    assert [one.verdict for one in rewritten.findings] == [Verdict.MOVED] * source.count(
        "asyncio.as_completed"
    )
    wanted = Moved().visit(ast.parse(source))
    wanted.body[0] = ast.parse("from structgather import as_completed_scoped").body[0]
    assert ast.dump(ast.parse(rewritten.after)) == ast.dump(wanted)
    assert spelled(rewritten.after) == spelled(source)
    assert rewrite(rewritten.after).after == rewritten.after


# Positions.


@given(st.text(st.sampled_from("aé😀 \n\r\x0c\x0b\x1c\u2028#"), max_size=30))
def test_lines_end_where_pythons_do(text: str) -> None:
    """A text has the lines that the parser counts, whatever else looks like an end of line."""
    source = f"'''{text}'''\nx"
    (_, name) = ast.parse(source).body
    assert Text(source).of(name) == "x"
    assert "".join(split_lines(source)) == source
