"""One source text: what was found in it, and how it reads afterwards."""

from __future__ import annotations

import ast
import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from structgather._migrate import imports, loops
from structgather._migrate.gathers import GATHER, Gather
from structgather._migrate.loops import AS_COMPLETED, Loop
from structgather._migrate.module import Module, compiles, parse
from structgather._migrate.project import Outside, replaced_in
from structgather._migrate.rules import AS_COMPLETED as AS_COMPLETED_RULES
from structgather._migrate.rules import GATHER as GATHER_RULES
from structgather._migrate.rules import LOOKS_INSIDE, PATCHED, Finding, Rule, Verdict, judge
from structgather._migrate.text import Edit, Text, cookie, edited, shifted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.uses import Use

_NEW = {GATHER: "gather_structured", AS_COMPLETED: "as_completed_scoped"}


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
    text: str, outside: Outside | None = None, style: imports.Style | None = None
) -> Rewritten:
    """Move what can be moved.

    Args:
        text: The text of a module.
        outside: What other modules take from it, and replace in it.
        style: How its imports are written.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: The text can't be parsed.
        BrokenError: A mistake was made.
    """
    if "gather" not in text and "as_completed" not in text:
        parse(text)
        return Rewritten(text, text, [], [])
    module = Module(text)
    outside = outside or Outside()
    findings: list[Finding] = []
    moved: list[Use] = []
    for node, path, named in _named(module):
        findings.append(_finding(module, node, path, named))
    for use, path in _uses(module, outside):
        rule = judge(use, GATHER_RULES if path == GATHER else AS_COMPLETED_RULES)
        findings.append(_finding(module, use.node, path, rule))
        if findings[-1].verdict is Verdict.MOVED:
            moved.append(use)
    findings.sort(key=lambda finding: (finding.line, finding.column))
    edits = _edits(module, moved, outside, style or imports.Style())
    after = _applied(text, edits)
    if after != text and not _is_still_python(text, after):
        raise BrokenError
    return Rewritten(text, after, findings, _displaced(module, findings, edits, after))


def _uses(module: Module, outside: Outside) -> Iterator[tuple[Use, str]]:
    own = {".".join(dotted[-2:]) for dotted in replaced_in(module)}
    for node, path in module.uses(GATHER, AS_COMPLETED):
        root = next(one for one in ast.walk(node) if isinstance(one, ast.Name))
        through_module = isinstance(node, ast.Attribute) and path in outside.replaced
        replaced = path in own or through_module or root.id in outside.replaced
        yield (Gather if path == GATHER else Loop)(module, node, is_replaced=replaced), path


def _named(module: Module) -> Iterator[tuple[ast.expr, str, Rule]]:
    """Yield where a function is named in a string, or its Future is looked into."""
    for node in module.names.nodes:
        match node:
            case ast.Constant(value=str(value)) if " " not in value:
                for function in (GATHER, AS_COMPLETED):
                    if f".{value}".endswith(f".{function}") or (
                        function == f"asyncio.{value}" and _is_second(module, node)
                    ):
                        yield node, function, PATCHED
            case ast.Attribute(attr="_GatheringFuture"):
                yield node, GATHER, LOOKS_INSIDE
            case ast.Attribute(value=owner, attr="_children") if _is_future(module, owner):
                yield node, GATHER, LOOKS_INSIDE
            case _:
                pass


def _is_second(module: Module, name: ast.Constant) -> bool:
    """Tell whether it is the name in `patch.object(asyncio, "gather")`, or another such call."""
    match module.parent(name):
        case ast.Call(args=[owner, second, *_]) as call if second is name:
            theirs = isinstance(owner, ast.Attribute) and owner.attr == "asyncio"
            replaces = getattr(call.func, "id", "") not in {"getattr", "hasattr"}
            return replaces and (
                theirs or bool(module.names.paths(owner) & {"asyncio", "asyncio.tasks"})
            )
        case _:
            return False


def _is_future(module: Module, owner: ast.expr) -> bool:
    """Tell whether an expression is the Future of a gather, by its origin or its name."""
    if isinstance(owner, ast.Name):
        value = module.names.only_value(owner)
        if isinstance(value, ast.Call) and module.path(value.func) == GATHER:
            return True
    name = getattr(owner, "attr", getattr(owner, "id", "")).lower()
    return any(part in name for part in ("fut", "gather", "waiter"))


def _finding(module: Module, node: ast.expr, path: str, rule: Rule | None) -> Finding:
    line, column = module.text.place(module.text.start(node))
    return Finding(line, column, path, Verdict.MOVED if rule is None else rule.verdict, rule)


def _edits(module: Module, moved: list[Use], outside: Outside, style: imports.Style) -> list[Edit]:
    if not moved:
        return []
    text = module.text
    nodes = {
        path: [use.node for use in moved if isinstance(use, kind)]
        for path, kind in ((GATHER, Gather), (AS_COMPLETED, Loop))
    }
    first = min(use.node.lineno for use in moved)
    local = {
        path: imports.local_name(module, _NEW[path], first, uses)
        for path, uses in nodes.items()
        if uses
    }
    edits = [
        edit
        for use in moved
        if isinstance(use, Gather)
        for edit in _renamed(module, use, local[GATHER], style.width)
    ]
    over = [use.loop for use in moved if isinstance(use, Loop)]
    if over:
        edits += loops.rewrite(module, over, local[AS_COMPLETED])
    names = {_NEW[path]: name for path, name in local.items()}
    uses = list(itertools.chain(*nodes.values()))
    every = [*edits, *imports.rewrite(module, names, uses, outside, style)]
    if cookie(_applied(text.text, every))[1] != cookie(text.text)[1]:
        # A comment would come to declare the encoding: what is above it stays.
        every = [*edits, *imports.rewrite(module, names, uses, Outside(frozenset("*")), style)]
    return every


def _renamed(module: Module, use: Gather, name: str, width: int) -> Iterator[Edit]:
    """Yield the edits that call another function; a line that gets too long is split."""
    text, call = module.text, use.call
    line = text.line(call.lineno).rstrip()
    length = len(line) + len(name) - len(text.of(use.node))
    statement = module.statement(call)
    alone = statement.lineno == statement.end_lineno and statement.end_col_offset == (
        call.end_col_offset
    )
    given: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    arguments = sorted(map(text.start, given))
    if len(line) <= width < length and alone and arguments and line.endswith(")"):
        margin = text.newline(call.lineno) + text.indent(call.lineno)
        unit = "\t" if margin.endswith("\t") else "    "
        yield Edit(text.start(use.node), arguments[0], f"{name}({margin}{unit}")
        yield Edit(text.end(call) - 1, text.end(call) - 1, margin)
    else:
        yield Edit(text.start(use.node), text.end(use.node), name)


def _applied(text: str, edits: list[Edit]) -> str:
    try:
        return edited(text, edits)
    except ValueError as error:
        raise BrokenError from error


def _is_still_python(before: str, after: str) -> bool:
    try:
        parse(after)
    except (SyntaxError, ValueError):
        return False
    return compiles(after) or not compiles(before)


def _displaced(
    module: Module, findings: list[Finding], edits: list[Edit], after: str
) -> list[Finding]:
    """Return the findings with the places that they have afterwards."""
    text = Text(after)
    displaced: list[Finding] = []
    for finding in findings:
        position = module.text.line_start(finding.line) + finding.column - 1
        line, column = text.place(shifted(edits, position))
        displaced.append(dataclasses.replace(finding, line=line, column=column))
    return displaced
