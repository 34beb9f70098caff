"""The imports of a module: what it needs from now on, and what it no longer does."""

from __future__ import annotations

import ast
import itertools
import sys
from typing import TYPE_CHECKING

from structgather._migrate.module import FunctionDef
from structgather._migrate.text import Edit, cookie

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from structgather._migrate.module import Module

PACKAGE = "structgather"

# What a function is called where its own name is taken.
_OTHERWISE = {
    "gather_structured": "structgather_gather",
    "as_completed_scoped": "structgather_as_completed",
}


def local_name(module: Module, function: str, before: int, uses: list[ast.expr]) -> str:
    """Choose what one of structgather's functions is called in a module.

    Args:
        module: The module.
        function: Its name in structgather.
        before: The line at which it is first used.
        uses: What it takes the place of.
    """
    path = f"{PACKAGE}.{function}"
    scopes = module.scopes
    for alias in _aliases(module, before):
        name = alias.asname or alias.name
        bound = set(scopes.bindings(name))
        if alias.name == function and bound == {path} and _is_seen(module, name, uses):
            return name
    otherwise = _OTHERWISE[function]
    names = (f"{otherwise}_{number}" for number in itertools.count(2))
    read = {node.id for node in scopes.of}

    def is_free(name: str) -> bool:
        bound = set(scopes.bindings(name))
        return not (bound or name in read) or (bound == {path} and _is_seen(module, name, uses))

    return next(filter(is_free, itertools.chain((function, otherwise), names)))


def _is_seen(module: Module, name: str, uses: list[ast.expr]) -> bool:
    """Tell whether the module's own name is what each use would read: no function hides it."""
    scopes = module.scopes
    read = [node for use in uses for node in ast.walk(use) if isinstance(node, ast.Name)]
    return all(scopes.of[node].lookup(name) in {None, scopes.module} for node in read)


def added(module: Module, names: dict[str, str], before: int, gone: list[Edit]) -> Iterator[Edit]:
    """Yield the edit that imports functions, each under its local name, unless they are.

    Args:
        module: The module.
        names: Each function's local name.
        before: The line at which one is first used.
        gone: The edits that remove imports.
    """
    there = {(alias.name, alias.asname or alias.name) for alias in _aliases(module, before)}
    wanted = sorted(set(names.items()) - there)
    if not wanted:
        return
    imported = [name if name == local else f"{name} as {local}" for name, local in wanted]
    for statement in _imports_of_the_package(module, before):
        yield _merged(module, statement, imported)
        return
    yield _new(module, f"from {PACKAGE} import {', '.join(imported)}", gone)


def _imports_of_the_package(module: Module, before: int) -> Iterator[ast.ImportFrom]:
    """Yield what the module imports from structgather, whoever runs it, before a line."""
    for statement in module.tree.body:
        match statement:
            case ast.ImportFrom(module="structgather", level=0, names=[*names], lineno=line) if (
                line < before and names[0].name != "*"
            ):
                yield statement
            case _:
                pass


def _aliases(module: Module, before: int) -> Iterator[ast.alias]:
    for statement in _imports_of_the_package(module, before):
        yield from statement.names


def _merged(module: Module, statement: ast.ImportFrom, imported: list[str]) -> Edit:
    text = module.text
    last = statement.names[-1]
    bracketed = text.of(statement).endswith(")")
    if not bracketed or text.line(last.lineno)[: last.col_offset].strip():
        at = text.end(last)
        return Edit(at, at, "".join(f", {name}" for name in imported))
    at = text.start(last)
    margin = text.newline(last.lineno) + text.indent(last.lineno)
    return Edit(at, at, "".join(f"{name},{margin}" for name in imported))


def _new(module: Module, line: str, gone: list[Edit]) -> Edit:
    """Add an import behind the docstring, `__future__` and the first imports."""
    text, body = module.text, module.tree.body
    head = list(itertools.takewhile(_is_head, body))
    rest = body[len(head)] if len(head) < len(body) else None
    if not head and rest is not None:
        return _before(module, rest, line)
    last = head[-1]
    _, number = text.logical_line(last.end_lineno or 0)
    if rest is not None and rest.lineno <= number:  # import asyncio; asyncio.run(...)
        at = text.end(last)
        return Edit(at, at, f"; {line}")
    newline = text.newline(number)
    at = text.line_start(number + 1)
    start = "" if text.line(number).endswith(("\n", "\r")) else newline
    kept = [one for one in head if not any(e.start <= text.start(one) < e.end for e in gone)]
    after_blank = last not in kept and not text.line(last.lineno - 1).strip()
    apart = newline if kept and _stands_apart(kept[-1]) and not after_blank else ""
    end = newline if start == "" else ""
    following = text.line(number + 1).strip()
    if isinstance(last, ast.Expr) and following:
        end += newline
    return Edit(at, at, f"{start}{apart}{line}{end}")


def _is_head(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return True
        case _:
            return False


def _stands_apart(last: ast.stmt) -> bool:
    """Tell whether a blank line divides a statement from imports of other packages."""
    match last:
        case ast.Import(names=names):
            modules = [alias.name for alias in names]
        case ast.ImportFrom(module=str(name), level=0):
            modules = [name]
        case ast.ImportFrom():
            return False
        case _:
            return True
    return all(name.partition(".")[0] in sys.stdlib_module_names for name in modules)


def _before(module: Module, statement: ast.stmt, line: str) -> Edit:
    """Add an import before the first statement, and the comments that belong to it."""
    text = module.text
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    first = number = min([statement.lineno, *(node.lineno for node in decorators)])
    declared, _ = cookie(text.text)
    while text.line(number - 1).lstrip().startswith("#"):
        number -= 1
    if number <= declared + 1:  # these are the comments at the top of the file
        number = first
    at = text.line_start(number)
    newline = text.newline(number)
    blank = 2 if isinstance(statement, FunctionDef | ast.ClassDef) else 1
    return Edit(at, at, line + newline * (1 + blank))


# What is no longer needed.


def removed(
    module: Module, paths: Container[str], moved: Container[ast.AST], wanted: Container[str]
) -> Iterator[Edit]:
    """Yield the edits that remove `from asyncio import gather` where each use of it was moved.

    Args:
        module: The module.
        paths: What may be removed.
        moved: The uses that were moved.
        wanted: The names that other modules import from this one.
    """
    unused: dict[ast.ImportFrom, list[ast.alias]] = {}
    for statement in ast.walk(module.tree):
        if isinstance(statement, ast.ImportFrom) and not statement.level:
            unused[statement] = [
                alias
                for alias in statement.names
                if statement.module in {"asyncio", "asyncio.tasks"}
                and f"asyncio.{alias.name}" in paths
                and (alias.asname or alias.name) not in wanted
                and _is_unused(module, statement, alias, moved)
            ]
    whole = {statement for statement, gone in unused.items() if gone == statement.names}
    for statement, gone in unused.items():
        if statement not in whole:
            yield from _without_some(module, statement, gone)
        elif not whole.issuperset(module.block(statement)):
            yield from _without_all(module, statement)


def _is_unused(
    module: Module, statement: ast.ImportFrom, alias: ast.alias, moved: Container[ast.AST]
) -> bool:
    """Tell whether no use of the name is left. What says `x as x` is for others."""
    name = alias.asname or alias.name
    scope = module.scopes.scope_of_import(statement)
    uses = [node for node in module.scopes.of if node.id == name]
    mine = [node for node in uses if module.scopes.home(node) is scope]
    named = any(
        (isinstance(node, ast.Constant) and node.value == name)
        or (isinstance(node, ast.Global | ast.Nonlocal) and name in node.names)
        for node in ast.walk(module.tree)
    )
    return (
        bool(mine)
        and all(node in moved for node in mine)
        and len(scope.bindings[name]) == 1
        and alias.asname != alias.name
        and not named
    )


def _without_some(
    module: Module, statement: ast.ImportFrom, gone: list[ast.alias]
) -> Iterator[Edit]:
    """Yield the edits that take names out of an import, unless there is a comment."""
    text = module.text
    first, last = statement.lineno, statement.end_lineno or 0
    if not gone or text.has_comment(text.line_start(first), text.line_start(last + 1)):
        return
    names = statement.names
    last_kept = max(place for place, alias in enumerate(names) if alias not in gone)
    for place, alias in enumerate(names[:last_kept]):
        if alias in gone:
            yield Edit(text.start(alias), text.start(names[place + 1]), "")
    if names[-1] in gone:
        yield Edit(text.end(names[last_kept]), text.end(names[-1]), "")


def _without_all(module: Module, statement: ast.ImportFrom) -> Iterator[Edit]:
    """Yield the edit that deletes an import, and the blank lines that began its block with it."""
    text = module.text
    lines = text.whole_lines(statement)
    if lines is None:
        return
    _, last = lines
    block = module.block(statement)
    if block[0] is statement and block is not module.tree.body:
        last = text.last_blank(last)
    yield Edit(text.line_start(lines[0]), text.line_start(last + 1), "")
