"""One source text: what was found in it, and how it reads afterwards."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from structgather._migrate import imports, loops, rules
from structgather._migrate.config import Config
from structgather._migrate.gathers import GATHER, Gather
from structgather._migrate.loops import AS_COMPLETED, Loop
from structgather._migrate.module import Module, parse
from structgather._migrate.project import Outside, replaced_in
from structgather._migrate.rules import Finding, Rule, Verdict, judge
from structgather._migrate.text import Edit, Text, edited, shifted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.uses import Use


class Kind(NamedTuple):
    """What is known of one of asyncio's functions."""

    use: type[Use]
    rules: tuple[Rule, ...]
    #: The function that takes its place.
    new: str


KINDS = {
    GATHER: Kind(Gather, rules.GATHER, "gather_structured"),
    AS_COMPLETED: Kind(Loop, rules.AS_COMPLETED, "as_completed_scoped"),
}


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A text before and after, and each use of asyncio's functions in it."""

    before: str
    after: str
    findings: list[Finding]
    #: The same, with the places in the text as it is afterwards.
    findings_after: list[Finding]


def rewrite(text: str, outside: Outside | None = None, config: Config | None = None) -> Rewritten:
    """Move what can be moved.

    Args:
        text: The text of a module.
        outside: What other modules take from it, and replace in it.
        config: How its lines and imports are written.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: The text can't be parsed.
        BrokenError: Edits overlap, by a mistake.
    """
    if "gather" not in text and "as_completed" not in text:
        parse(text)
        return Rewritten(text, text, [], [])
    module = Module(text)
    outside, config = outside or Outside(), config or Config()
    found = [(module.text.start(node), path, rule) for node, path, rule in _others(module)]
    moved: dict[str, list[Use]] = {}
    for path, use in _uses(module, outside):
        rule = judge(use, KINDS[path].rules)
        found.append((module.text.start(use.node), path, rule))
        if rule is None or rule.verdict is Verdict.MOVED:
            moved.setdefault(path, []).append(use)
    edits = _edits(module, moved, outside, config) if moved else []
    after = edited(text, edits)
    found.sort(key=lambda one: one[0])
    return Rewritten(
        text,
        after,
        [_finding(module.text, *one) for one in found],
        [_finding(Text(after), shifted(edits, start), path, rule) for start, path, rule in found],
    )


def _uses(module: Module, outside: Outside) -> Iterator[tuple[str, Use]]:
    own = {".".join(dotted[-2:]) for _, dotted in replaced_in(module)}
    for node, path in module.uses(*KINDS):
        root = next(one for one in ast.walk(node) if isinstance(one, ast.Name))
        through_module = isinstance(node, ast.Attribute) and path in outside.replaced
        replaced = path in own or through_module or root.id in outside.replaced
        yield path, KINDS[path].use(module, node, replaced=replaced)


def _others(module: Module) -> Iterator[tuple[ast.expr, str, Rule | None]]:
    """Yield where a function is patched by its name, or its Future is looked into."""
    for node, dotted in replaced_in(module):
        path = ".".join(dotted[-2:])
        if path in KINDS and not isinstance(node, ast.Attribute):
            yield node, path, rules.PATCHED
    for node in module.names.attributes:
        is_future = node.attr == "_children" and _is_future(module, node.value)
        if is_future or node.attr == "_GatheringFuture":
            yield node, GATHER, rules.LOOKS_INSIDE


def _is_future(module: Module, owner: ast.expr) -> bool:
    """Tell whether an expression is the Future of a gather, by its origin or its name."""
    if isinstance(owner, ast.Name):
        value = module.names.only_value(owner)
        if isinstance(value, ast.Call) and module.path(value.func) == GATHER:
            return True
    name = getattr(owner, "attr", getattr(owner, "id", "")).lower()
    return any(part in name for part in ("fut", "gather", "waiter"))


def _finding(text: Text, start: int, path: str, rule: Rule | None) -> Finding:
    return Finding(*text.place(start), path, Verdict.MOVED if rule is None else rule.verdict, rule)


def _edits(
    module: Module, moved: dict[str, list[Use]], outside: Outside, config: Config
) -> list[Edit]:
    nodes = [use.node for uses in moved.values() for use in uses]
    before = min(node.lineno for node in nodes)
    names = {KINDS[path].new: imports.local_name(module, KINDS[path].new, before) for path in moved}
    edits = imports.rewrite(module, names, nodes, outside, config)
    for path, uses in moved.items():
        name = names[KINDS[path].new]
        if path == GATHER:
            for use in uses:
                edits += _renamed(module, use, name, config.width)
        else:
            edits += loops.rewrite(
                module, [use.loop for use in uses if isinstance(use, Loop)], name
            )
    return edits


def _renamed(module: Module, use: Use, name: str, width: int) -> Iterator[Edit]:
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
