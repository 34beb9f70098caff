"""The imports of a module: what it needs from now on, and what it no longer does.

The new import stands behind the one of asyncio, in its block, where isort and ruff would sort it.
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
from typing import TYPE_CHECKING, TypeAlias

from structgather._migrate.names import FunctionDef, Import, imported
from structgather._migrate.text import Edit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.config import Config
    from structgather._migrate.module import Module
    from structgather._migrate.project import Outside

PACKAGE = "structgather"

_Key: TypeAlias = tuple[int, bool, str]

_OTHER, _FUTURE, _STANDARD, _THIRD_PARTY, _FIRST_PARTY, _LOCAL = range(6)


def local_name(module: Module, function: str, before: int) -> str:
    """Choose what one of structgather's functions is called in a module.

    Args:
        module: The module.
        function: Its name in structgather.
        before: The line at which it is first used.
    """
    names = module.names

    def is_free(name: str) -> bool:
        homes = [scope for scope in names.all if name in scope.bindings]
        if not homes:  # if it is used, it was to be imported, unless a star brings it
            return name not in names.by_name or not names.stars
        return homes == [names.module] and set(names.module.bindings[name]) == {
            f"{PACKAGE}.{function}"
        }

    present = (
        alias.asname or alias.name
        for statement in _of_package(module, before)
        for alias in statement.names
        if alias.name == function
    )
    others = (function + "_" * number for number in itertools.count())
    return next(filter(is_free, itertools.chain(present, others)))


def rewrite(
    module: Module, names: dict[str, str], uses: list[ast.expr], outside: Outside, config: Config
) -> list[Edit]:
    """Return the edits that import functions, and remove the imports that only the uses needed.

    Args:
        module: The module.
        names: Each function's local name.
        uses: What was moved.
        outside: What other modules take from this one.
        config: How the project writes its imports.
    """
    before = min(use.lineno for use in uses)
    roots = [next(node for node in ast.walk(use) if isinstance(node, ast.Name)) for use in uses]
    unused = _unused(module, roots, outside)
    whole = {one for one, aliases in unused.items() if len(aliases) == len(one.names)}
    gone = [one for one in whole if _can_go(module, one, whole)]
    lines = {line for one in gone for line in range(one.lineno, (one.end_lineno or 0) + 1)}
    edits = [
        edit
        for statement, aliases in unused.items()
        if statement not in whole
        for edit in _without(module, statement, aliases)
    ]
    ours = _of_package(module, before)
    there = {(one.name, one.asname or one.name) for statement in ours for one in statement.names}
    wanted = sorted(set(names.items()) - there)
    new = [name if name == local else f"{name} as {local}" for name, local in wanted]
    at = 0
    if new and ours:
        edits += _merged(module, ours[0], new)
    elif new:
        at, line = _placed(module, f"from {PACKAGE} import {', '.join(new)}", roots, lines, config)
        edits.append(Edit(module.text.line_start(at), module.text.line_start(at), line))
    return [*edits, *_without_lines(module, lines, at)]


def _of_package(module: Module, before: int) -> list[ast.ImportFrom]:
    """List what the module imports from structgather unconditionally before a line."""
    return [
        statement
        for statement in module.tree.body
        if isinstance(statement, ast.ImportFrom)
        and (statement.module, statement.level) == (PACKAGE, 0)
        and statement.lineno < before
    ]


# Where a new import goes.


def _placed(
    module: Module, line: str, roots: list[ast.Name], gone: set[int], config: Config
) -> tuple[int, str]:
    """Return the number of the line before which an import goes, and what is added there."""
    text, body = module.text, module.tree.body
    block = _block(module, roots)
    keys, new = _keys(block, config)
    kept = [one for one in block if one.lineno not in gone]
    smaller = [at for at, one in enumerate(kept, 1) if keys[one] < new]
    place = smaller[-1] if smaller else 0
    previous = kept[place - 1] if place else None
    following = kept[place] if place < len(kept) else None
    if previous is not None:
        at = (previous.end_lineno or 0) + 1
    else:
        first = (block or body)[0]
        at = min(one.lineno for one in (first, *getattr(first, "decorator_list", ())))
    newline = text.newline(at - 1 if previous is not None else at)

    def is_blank(number: int, step: int) -> bool:
        """Tell whether a line is blank; if it goes, whether the next one is."""
        while number in gone:
            number += step
        return text.is_blank(number)

    begins = previous is not None and keys[previous][0] != _THIRD_PARTY  # its section
    joins = following is not None and keys[following][0] == _THIRD_PARTY  # others of it
    while begins and joins and (text.is_blank(at) or at in gone):
        at += 1
    before = newline if begins and not is_blank(at - 1, -1) else ""
    behind = newline
    ends_block = following is None and block and isinstance(block[-1], Import)
    if not (joins or ends_block or is_blank(at, 1)):
        behind += newline
    if not block and isinstance(body[0], FunctionDef | ast.ClassDef):
        behind += newline
    return at, f"{before}{line}{behind}"


def _block(module: Module, roots: list[ast.Name]) -> list[ast.stmt]:
    """Return the statements among which an import is sorted.

    They are the imports around that of asyncio. If this is conditional, they are the statement
    that it is in, and the imports behind that.
    """
    names, body = module.names, module.tree.body
    before = min(root.lineno for root in roots)
    needed = {root.id for root in roots if names.home(root) is names.module}
    found = -1
    for statement, scope in names.imports.items():
        if scope is names.module and not needed.isdisjoint(dict(imported(statement))):
            around = {statement, *module.around(statement)}
            top = next(at for at, one in enumerate(body) if one in around)
            if (body[top].end_lineno or 0) < before:
                found = max(found, top)
    if found < 0:
        head = itertools.takewhile(_is_head, body)
        found = sum((one.end_lineno or 0) < before for one in head) - 1
    start, end = max(found, 0), found + 1
    while start and isinstance(body[start], Import) and isinstance(body[start - 1], Import):
        start -= 1
    while found >= 0 and isinstance(body[end], Import):
        end += 1
    return body[start:end]


def _is_head(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return True
        case _:
            return False


def _keys(block: list[ast.stmt], config: Config) -> tuple[dict[ast.stmt, _Key], _Key]:
    """Return the keys by which a block's statements are sorted, and that of the new one."""
    keys = [_key(statement, config) for statement in block]
    # Parts of a namespace may be other people's: they stand among those.
    last = max((at for at, key in enumerate(keys) if key[0] == _THIRD_PARTY), default=0)
    keys[:last] = [(min(key[0], _THIRD_PARTY), *key[1:]) for key in keys[:last]]
    # Whether `import a` and `from b import c` are sorted into one another.
    is_mixed = any(
        one[0] == other[0] and one[1] > other[1] for one, other in itertools.pairwise(keys)
    )
    if is_mixed:
        keys = [(section, False, name) for section, _, name in keys]
    return dict(zip(block, keys, strict=True)), (_THIRD_PARTY, not is_mixed, PACKAGE)


def _key(statement: ast.stmt, config: Config) -> _Key:
    """Return section, kind and name of an import."""
    section, name = _OTHER, ""
    match statement:
        case (
            ast.ImportFrom(module=str(name), level=0) | ast.Import(names=[ast.alias(name=name), *_])
        ):
            package = name.partition(".")[0]
            if package == "__future__":
                section = _FUTURE
            elif package in sys.stdlib_module_names:
                section = _STANDARD
            else:
                section = _FIRST_PARTY if config.is_own(package) else _THIRD_PARTY
        case ast.ImportFrom(module=module):
            section, name = _LOCAL, module or ""
        case _:
            pass
    return section, isinstance(statement, ast.ImportFrom), name.lower()


def _merged(module: Module, statement: ast.ImportFrom, new: list[str]) -> Iterator[Edit]:
    """Yield the edits that add names to an import of structgather, each where it is sorted."""
    text, names = module.text, statement.names
    separator = ", "
    if statement.lineno != names[-1].lineno and "(" in text.of(statement):
        separator = f",{text.newline(statement.lineno)}{text.indent(names[-1].lineno)}"
    for name in new:
        later = [alias for alias in names if alias.name > name]  # capitals first, as isort sorts
        if later:
            yield Edit(text.start(later[0]), text.start(later[0]), f"{name}{separator}")
        else:
            yield Edit(text.end(names[-1]), text.end(names[-1]), f"{separator}{name}")


# What is no longer needed.


def _unused(
    module: Module, roots: list[ast.Name], outside: Outside
) -> dict[Import, list[ast.alias]]:
    """Return the names, by statement, that nothing reads but the uses that were moved."""
    names = module.names
    unused: dict[Import, list[ast.alias]] = {}
    for statement, scope in names.imports.items():
        for alias in statement.names:
            name = alias.asname or alias.name.partition(".")[0]
            reads = [one for one in names.by_name.get(name, ()) if names.home(one) is scope]
            if (
                reads
                and set(roots).issuperset(reads)
                and {path.partition(".")[0] for path in scope.bindings[name]} == {"asyncio"}
                and alias.asname != alias.name
                and "#" not in _lines_of(module, statement)
                and not outside.keeps(name)
                and not _is_named(module, name)
            ):
                unused.setdefault(statement, []).append(alias)
    return unused


def _is_named(module: Module, name: str) -> bool:
    """Tell whether a declaration, an annotation in a string, or a doctest means the name."""
    pattern = re.compile(rf"(?<![\w.]){name}\b")
    for node in module.names.nodes:
        match node:
            case ast.Global(names=names) | ast.Nonlocal(names=names) if name in names:
                return True
            case ast.Constant(value=str(value)) if pattern.search(value):
                if "__all__" in ast.unparse(module.statement(node)) or ">>>" in value:
                    return True
                if value != "asyncio" and _is_expression(value):
                    return True
            case _:
                pass
    return False


def _is_expression(value: str) -> bool:
    try:
        ast.parse(value, mode="eval")
    except (SyntaxError, ValueError):
        return False
    return True


def _lines_of(module: Module, statement: ast.stmt) -> str:
    text = module.text
    last = statement.end_lineno or 0
    return text.text[text.line_start(statement.lineno) : text.line_start(last + 1)]


def _can_go(module: Module, statement: Import, gone: set[Import]) -> bool:
    """Tell whether an import has its lines to itself, and others stay in its block."""
    alone = _lines_of(module, statement).strip() == module.text.of(statement)
    return alone and not gone.issuperset(module.block(statement))


def _without(module: Module, statement: Import, gone: list[ast.alias]) -> Iterator[Edit]:
    """Yield the edits that take some names out of an import."""
    text, names = module.text, statement.names
    last_kept = max(place for place, alias in enumerate(names) if alias not in gone)
    for place, alias in enumerate(names[:last_kept]):
        if alias in gone:
            yield Edit(text.start(alias), text.start(names[place + 1]), "")
    if names[-1] in gone:
        yield Edit(text.end(names[last_kept]), text.end(names[-1]), "")


def _without_lines(module: Module, gone: set[int], at: int) -> Iterator[Edit]:
    """Yield the edits that delete lines, and where nothing takes their place, blank ones."""
    text = module.text
    for first in sorted(line for line in gone if line - 1 not in gone):
        last = first
        while last + 1 in gone:
            last += 1
        above = below = 0
        while text.is_blank(first - above - 1):
            above += 1
        while text.is_blank(last + below + 1):
            below += 1
        if first <= at <= last:
            below = 0  # the new import takes their place
        elif first > 1 and len(text.indent(first)) <= len(text.indent(first - above - 1)):
            below = min(above, below)
        yield Edit(text.line_start(first), text.line_start(last + below + 1), "")
