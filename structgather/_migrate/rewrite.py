"""One source text: what was found in it, and how it reads afterwards."""

from __future__ import annotations

import ast
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from structgather._migrate import bounded, cleanups, completed, gathers, imports, loops, patches
from structgather._migrate.module import Module, compiles, parse
from structgather._migrate.rules import Finding, Rule, Verdict
from structgather._migrate.text import Edit, Shifts, Text, cookie, edited

if TYPE_CHECKING:
    from collections.abc import Container

    from structgather._migrate.completed import Loop

GATHER = "gather_structured"
AS_COMPLETED = "as_completed_scoped"


class BrokenError(Exception):
    """What was moved would no longer be Python. It is a bug of this package; no file is written."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A text before and after, and each use of asyncio's functions in it."""

    before: str
    after: str
    findings: list[Finding]
    #: The same, with the places in the text as it is afterwards.
    findings_after: list[Finding]


def rewrite(
    text: str, *, simplify: bool = False, wanted: Container[str] = frozenset()
) -> Rewritten:
    """Move what can be moved.

    Args:
        text: The text of a module.
        simplify: Whether to shorten it as well.
        wanted: The names that other modules import from it.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: The text can't be parsed.
        BrokenError: A mistake was made.
    """
    if "gather" not in text and "as_completed" not in text:
        parse(text)
        return Rewritten(text, text, [], [])
    module = Module(text)
    findings, edits = _move(module, wanted)
    after = _applied(text, edits)
    moves = Shifts(edits)
    shorter: list[Edit] = []
    if simplify:
        for one in _simplified(Module(after)):
            line, column = module.text.place(moves.origin(one[0].start))
            findings.append(Finding(line, column, gathers.GATHER, Verdict.SIMPLIFIED, None))
            shorter += one
        after = _applied(after, shorter)
    if after != text and not _still_python(text, after):
        raise BrokenError
    return Rewritten(
        text, after, findings, _displaced(module, findings, [moves, Shifts(shorter)], after)
    )


def _applied(text: str, edits: list[Edit]) -> str:
    try:
        return edited(text, edits)
    except ValueError as error:
        raise BrokenError from error


def _still_python(before: str, after: str) -> bool:
    try:
        parse(after)
    except (SyntaxError, ValueError):
        return False
    return compiles(after) or not compiles(before)


def _displaced(
    module: Module, findings: list[Finding], steps: list[Shifts], after: str
) -> list[Finding]:
    """Return the findings with the places that they have afterwards."""
    text = Text(after)
    displaced: list[Finding] = []
    for finding in findings:
        position = module.text.line_start(finding.line) + finding.column - 1
        for shifts in steps:
            position = shifts.destination(position)
        line, column = text.place(position)
        displaced.append(dataclasses.replace(finding, line=line, column=column))
    return displaced


def _simplified(module: Module) -> list[list[Edit]]:
    return [*bounded.simplify(module), *cleanups.simplify(module)]


def _move(module: Module, wanted: Container[str]) -> tuple[list[Finding], list[Edit]]:
    findings: list[Finding] = []
    moved: dict[str, list[ast.expr]] = {GATHER: [], AS_COMPLETED: []}

    def found(use: ast.expr, path: str, rule: Rule | None, *, move: bool) -> None:
        verdict = Verdict.MOVED if move else Verdict.LEFT
        line, column = module.text.place(module.text.start(use))
        findings.append(Finding(line, column, path, verdict, rule))
        if move:
            moved[GATHER if path == gathers.GATHER else AS_COMPLETED].append(use)

    replaced = patches.assigned(module)
    for string, path, replaces in patches.named(module):
        found(string, path, Rule.PATCHED, move=False)
        if replaces:
            replaced.add(path)
    for use, path in module.uses(gathers.GATHER, completed.AS_COMPLETED):
        if path == gathers.GATHER:
            rule, move = gathers.judge(module, use)
        else:
            rule = completed.judge(module, use)
            move = rule is None
        if move and path in replaced:
            rule, move = Rule.REPLACED, False
        found(use, path, rule, move=move)
    findings.sort(key=lambda finding: (finding.line, finding.column))
    return findings, _edits(module, {name: uses for name, uses in moved.items() if uses}, wanted)


def _edits(module: Module, moved: dict[str, list[ast.expr]], wanted: Container[str]) -> list[Edit]:
    if not moved:
        return []
    first = min(use.lineno for uses in moved.values() for use in uses)
    names = {
        name: imports.local_name(module, name, first, replaced) for name, replaced in moved.items()
    }
    text = module.text
    edits = [Edit(text.start(use), text.end(use), names[GATHER]) for use in moved.get(GATHER, ())]
    over: list[Loop] = [
        loop
        for use in moved.get(AS_COMPLETED, ())
        if isinstance(loop := module.parent(module.parent(use)), ast.For | ast.AsyncFor)
    ]
    if over:
        edits += loops.rewrite(module, over, names[AS_COMPLETED])
    uses = {use for some in moved.values() for use in some}
    gone = list(imports.removed(module, {gathers.GATHER, completed.AS_COMPLETED}, uses, wanted))
    every = [*edits, *gone, *imports.added(module, names, first, gone)]
    if cookie(_applied(text.text, every))[1] == cookie(text.text)[1]:
        return every
    # A comment must not come to declare the encoding.
    return [*edits, *imports.added(module, names, first, [])]
