"""--simplify: what goes without saying now is taken out.

    try:
        pages = await gather_structured(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await gather_structured(*tasks, return_exceptions=True)
        raise

becomes

    pages = await gather_structured(*tasks)
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from structgather._migrate.text import Edit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.module import Module

GATHER = "structgather.gather_structured"


def simplify(module: Module) -> Iterator[list[Edit]]:
    """Yield the edits for each such `try`."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Try(
                body=[statement],
                handlers=[
                    ast.ExceptHandler(body=[ast.For() as loop, ast.Expr() as joined, raised])
                ],
                orelse=[],
                finalbody=[],
            ):
                tasks = _gathered(module, getattr(statement, "value", None), keywords=[])
                if (
                    tasks
                    and _cancels(loop, tasks)
                    and _gathered(module, joined.value, ["return_exceptions"]) == tasks
                    and isinstance(raised, ast.Raise)
                    and raised.exc is None
                    and not _used_elsewhere(module, loop)
                ):
                    yield from _unwrapped(module, node, statement)
            case _:
                pass


def _gathered(module: Module, value: ast.expr | None, keywords: list[str]) -> str:
    """Return the name in `await gather_structured(*name)`; empty if it is something else."""
    match value:
        case ast.Await(value=ast.Call(args=[ast.Starred(value=ast.Name(id=name))]) as call):
            fits = module.path(call.func) == GATHER
            given = [keyword.arg for keyword in call.keywords]
            true = all(
                isinstance(one.value, ast.Constant) and one.value.value is True
                for one in call.keywords
            )
            return name if fits and given == keywords and true else ""
        case _:
            return ""


def _cancels(loop: ast.For, tasks: str) -> bool:
    """Tell whether it is `for task in tasks: task.cancel()`, maybe `if not task.done()`."""
    match loop:
        case ast.For(
            target=ast.Name(id=task), iter=ast.Name(id=found), body=[statement], orelse=[]
        ) if found == tasks:
            pass
        case _:
            return False
    match statement:
        case ast.If(
            test=ast.UnaryOp(
                op=ast.Not(),
                operand=ast.Call(
                    func=ast.Attribute(value=ast.Name(id=asked), attr="done"), args=[], keywords=[]
                ),
            ),
            body=[inner],
            orelse=[],
        ) if asked == task:
            statement = inner
        case _:
            pass
    match statement:
        case ast.Expr(
            value=ast.Call(
                func=ast.Attribute(value=ast.Name(id=cancelled), attr="cancel"),
                args=[],
                keywords=[],
            )
        ):
            return cancelled == task
        case _:
            return False


def _used_elsewhere(module: Module, loop: ast.For) -> bool:
    """Tell whether the loop's variable is read where the handler is over: in a `finally`, say."""
    assert isinstance(loop.target, ast.Name)  # noqa: S101 - a loop that was judged
    inside = set(ast.walk(loop))
    return any(name not in inside for name in module.scopes.same(loop.target))


def _unwrapped(module: Module, node: ast.Try, statement: ast.stmt) -> Iterator[list[Edit]]:
    text = module.text
    first, last = text.logical_line(statement.lineno)
    _, ended = text.logical_line(node.end_lineno or 0)
    start, end = text.line_start(node.lineno), text.line_start(ended + 1)
    if text.has_comment(start, end) or first == node.lineno:  # try: await ...
        return
    if any(one < last and behind > first for one, behind in text.strings_of_many_lines):
        return
    outer, inner = text.indent(node.lineno), text.indent(first)
    unit = len(inner) - len(outer)
    edits = [Edit(start, text.line_start(first), "")]
    for number in range(first, last + 1):
        if text.indent(number).startswith(inner):
            at = text.indent_start(number) + len(outer)
            edits.append(Edit(at, at + unit, ""))
    edits.append(Edit(text.line_start(last + 1), end, ""))
    yield edits
