"""How loops over asyncio.as_completed become blocks of as_completed_scoped."""

from __future__ import annotations

import ast
import itertools
from typing import TYPE_CHECKING, NamedTuple

from structgather._migrate.text import Edit

if TYPE_CHECKING:
    from structgather._migrate.completed import Loop
    from structgather._migrate.module import Module


class _Deeper(NamedTuple):
    """Lines that get deeper: all that stands in the block of a `for`, and the `async for`."""

    first: int
    last: int
    #: Indentation of the `for`.
    outer: str
    #: What is added behind it.
    unit: str

    def holds(self, number: int) -> bool:
        return self.first <= number <= self.last


def rewrite(module: Module, loops: list[Loop], function: str) -> list[Edit]:
    """Return the edits for all these loops, one of which may stand in another."""
    ordered = sorted(loops, key=lambda loop: loop.lineno)
    deeper = [_deeper(module, loop) for loop in ordered]
    edits: list[Edit] = []
    for loop, lines in zip(ordered, deeper, strict=True):
        depth = sum(one.holds(loop.lineno) for one in deeper)
        edits += _header(module, loop, function, _fresh(module, depth), lines, deeper)
    edits += _indented(module, deeper)
    return edits


def _fresh(module: Module, depth: int) -> str:
    """Find a name that the module does not use; loops in loops get different ones."""
    used = {node.id for node in module.scopes.of}
    free = (
        name
        for number in itertools.count(1)
        if (name := f"outcomes_{number}" if number > 1 else "outcomes") not in used
        and not module.scopes.bindings(name)
    )
    return next(itertools.islice(free, depth, None))


def _deeper(module: Module, loop: Loop) -> _Deeper:
    text = module.text
    outer = text.indent(loop.lineno)
    header = loop.iter.end_lineno or 0
    inner = text.indent(loop.body[0].lineno)
    on_one_line = loop.body[0].lineno <= text.logical_line(header)[1]
    unit = ("\t" if "\t" in outer else "    ") if on_one_line else inner[len(outer) :]
    last = loop.end_lineno or 0
    # Comments that follow the block are still in it, as far as a reader is concerned.
    number = last + 1
    while (line := text.line(number)).strip() == "" or line.lstrip().startswith("#"):
        if not line:
            break
        if line.strip():
            if len(text.indent(number)) <= len(outer):
                break
            last = number
        number += 1
    return _Deeper(header + 1, last, outer, unit)


def _header(  # noqa: PLR0913, PLR0917 - all that a header is made of
    module: Module, loop: Loop, function: str, name: str, lines: _Deeper, deeper: list[_Deeper]
) -> list[Edit]:
    text, call = module.text, loop.iter
    assert isinstance(call, ast.Call)  # noqa: S101 - a loop that was judged
    margin = lines.outer
    for around in reversed(deeper):
        if around is not lines and around.holds(loop.lineno):
            margin = around.outer + around.unit + margin[len(around.outer) :]
    newline = text.newline(call.end_lineno or 0)
    again = f"{newline}{margin}{lines.unit}async for {text.of(loop.target)} in {name}"
    return [
        Edit(text.start(loop), text.end(call.func), f"async with {function}"),
        Edit(text.end(call), text.end(call), f" as {name}:{again}"),
    ]


def _indented(module: Module, deeper: list[_Deeper]) -> list[Edit]:
    text = module.text
    edits: list[Edit] = []
    for lines in deeper:
        for number in range(lines.first, lines.last + 1):
            if text.line(number).strip() and text.indent(number).startswith(lines.outer):
                at = text.indent_start(number) + len(lines.outer)
                edits.append(Edit(at, at, lines.unit))
    return edits
