"""The imports of a module: what it needs from now on, and what it no longer does.

A block of imports is written anew, statement by statement, sorted as isort and ruff sort it.
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from structgather._migrate.names import FunctionDef
from structgather._migrate.text import Edit, cookie, edited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from structgather._migrate.module import Module
    from structgather._migrate.names import Scope
    from structgather._migrate.project import Outside

PACKAGE = "structgather"

Import: TypeAlias = ast.Import | ast.ImportFrom

# What a function is called where its own name is taken.
_OTHERWISE = {
    "gather_structured": "structgather_gather",
    "as_completed_scoped": "structgather_as_completed",
}
_FUTURE, _STANDARD, _THIRD_PARTY, _FIRST_PARTY, _LOCAL = range(5)


@dataclass(frozen=True, slots=True)
class Style:
    """How a project writes its imports."""

    #: The length at which a line is wrapped.
    width: int = 88
    #: Whether a package is the project's own.
    is_own: Callable[[str], bool] = lambda _: False


def local_name(module: Module, function: str, before: int, uses: list[ast.expr]) -> str:
    """Choose what one of structgather's functions is called in a module.

    Args:
        module: The module.
        function: Its name in structgather.
        before: The line at which it is first used.
        uses: What it takes the place of.
    """
    path = f"{PACKAGE}.{function}"
    names = module.names
    roots = [_root(use) for use in uses]

    def is_seen(name: str) -> bool:
        """Tell whether each use would read the module's own name: no function hides it."""
        scopes = (names.of[root] for root in roots)
        return all(scope.lookup(name) in {None, names.module} for scope in scopes)

    def is_ours(name: str) -> bool:
        return set(names.bindings(name)) == {path} and is_seen(name)

    for statement in _of_package(module, before):
        for alias in statement.names:
            if alias.name == function and is_ours(alias.asname or alias.name):
                return alias.asname or alias.name
    otherwise = _OTHERWISE[function]
    return next(
        name
        for name in itertools.chain(
            (function, otherwise), (f"{otherwise}_{number}" for number in itertools.count(2))
        )
        if is_ours(name) or not (names.bindings(name) or name in names.by_name)
    )


def rewrite(
    module: Module,
    names: dict[str, str],
    uses: list[ast.expr],
    outside: Outside,
    style: Style,
) -> list[Edit]:
    """Return the edits that import functions, and remove the imports that only the uses needed.

    Args:
        module: The module.
        names: Each function's local name.
        uses: What was moved.
        outside: What other modules take from this one.
        style: How the project writes its imports.
    """
    before = min(use.lineno for use in uses)
    roots = [_root(use) for use in uses]
    gone = _unused(module, roots, outside)
    there = {
        (alias.name, alias.asname or alias.name)
        for statement in _of_package(module, before)
        for alias in statement.names
    }
    wanted = sorted(set(names.items()) - there)
    new = [name if name == local else f"{name} as {local}" for name, local in wanted]
    whole = {one for one, aliases in gone.items() if len(aliases) == len(one.names)}
    # What is changed in each statement; None stands for a statement that goes.
    changes: dict[ast.stmt, list[Edit] | None] = {
        statement: None if statement in whole else list(_without_some(module, statement, aliases))
        for statement, aliases in gone.items()
    }
    line, place, first = "", None, None
    merged = next(_of_package(module, before), None)
    if new and merged is not None:
        changes[merged] = [_merged(module, merged, new, style)]
    elif new:
        line = f"from {PACKAGE} import {', '.join(new)}"
        place, first = _place(module, roots, before)
    edits: list[Edit] = []
    for block in _blocks(module):
        if (place in block or not changes.keys().isdisjoint(block)) and _stand_alone(module, block):
            here = line if place in block else ""
            edits.append(_Block(module, block, style).rewritten(changes, here, first))
            changes = {one: change for one, change in changes.items() if one not in block}
            line = "" if place in block else line
    if line:
        edits.append(_beside(module, place, line))
    for statement, change in changes.items():
        if change is not None:
            edits += change
        elif not whole.issuperset(module.block(statement)):
            edits += _without_all(module, statement)
    return edits


def _root(use: ast.expr) -> ast.Name:
    return next(node for node in ast.walk(use) if isinstance(node, ast.Name))


def _of_package(module: Module, before: int) -> Iterator[ast.ImportFrom]:
    """Yield what the module imports from structgather, whoever runs it, before a line."""
    for statement in module.tree.body:
        match statement:
            case ast.ImportFrom(module="structgather", level=0, names=[*names], lineno=line) if (
                line < before and names[0].name != "*"
            ):
                yield statement
            case _:
                pass


def _blocks(module: Module) -> Iterator[list[Import]]:
    """Yield the runs of imports among a module's statements."""
    groups = itertools.groupby(module.tree.body, lambda one: isinstance(one, Import))
    for _, group in groups:
        block = [one for one in group if isinstance(one, Import)]
        if block:
            yield block


def _stand_alone(module: Module, block: list[Import]) -> bool:
    """Tell whether each statement of a block has its lines to itself."""
    text = module.text
    for statement in block:
        first, last = _lines(module, statement)
        behind = text.text[text.end(statement) : text.line_start(last + 1)].strip(" \t\f\\\r\n")
        before = text.text[text.line_start(first) : text.start(statement)].strip()
        if before or (behind and not behind.startswith("#")):
            return False
    return True


def _lines(module: Module, statement: ast.stmt) -> tuple[int, int]:
    first, _ = module.text.logical_line(statement.lineno)
    _, last = module.text.logical_line(statement.end_lineno or 0)
    return first, last


# Where a new import goes.


def _place(
    module: Module, roots: list[ast.Name], before: int
) -> tuple[ast.stmt | None, ast.stmt | None]:
    """Return a statement beside which an import may stand, and one that must come before it."""
    names = module.names
    needed = {root.id for root in roots if names.home(root) is names.module}
    found: ast.stmt | None = None
    for statement, scope in names.imports.items():
        bound = {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
        is_star = "*" in bound and getattr(statement, "module", "") == "asyncio"
        if scope is names.module and (bound & needed or (is_star and roots)):
            around = {statement, *module.around(statement)}
            top = next(one for one in module.tree.body if one in around)
            if (top.end_lineno or 0) < before:
                found = max(found or top, top, key=lambda one: one.lineno)
    if found is not None and not isinstance(found, Import):
        following = module.after(found)[:1]
        if following and isinstance(following[0], Import):
            return following[0], None
    if found is None:
        head = list(itertools.takewhile(_is_head, module.tree.body))
        return (head[-1] if head else None), None
    return found, found


def _is_head(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return True
        case _:
            return False


def _beside(module: Module, place: ast.stmt | None, line: str) -> Edit:
    """Add an import where there is no block of imports that could be written anew."""
    text = module.text
    if place is None:
        return _at_top(module, module.tree.body[0], line)
    _, last = _lines(module, place)
    behind = text.text[text.end(place) : text.line_start(last + 1)].strip()
    if isinstance(place, Import) and behind:
        block = next(block for block in _blocks(module) if place in block)
        same_line = [one for one in block if one.lineno <= last]
        at = text.end(same_line[-1])
        return Edit(at, at, f"; {line}")
    newline = text.newline(last)
    at = text.line_start(last + 1)
    start = "" if text.line(last).endswith(("\n", "\r")) else newline
    end = newline if text.line(last + 1).strip() else ""
    return Edit(at, at, f"{start}{newline}{line}{newline}{end}")


def _at_top(module: Module, statement: ast.stmt, line: str) -> Edit:
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


# How a block is written anew.


@dataclass(slots=True)
class _Part:
    """An import, with the blank lines and comments above it."""

    gap: str
    body: str
    #: Section, style and name, by which imports are sorted.
    key: tuple[int, bool, str]


class _Block:
    """A run of imports, each with its lines to itself."""

    def __init__(self, module: Module, block: list[Import], style: Style) -> None:
        self._text = module.text
        self._lines = {statement: _lines(module, statement) for statement in block}
        self._style = style
        self._newline = module.text.newline(block[0].lineno)
        # Whether `import a` and `from b import c` are sorted into one another.
        self._is_mixed, self._others_until = False, 0
        keys = [self._key(statement) for statement in block]
        # Parts of a namespace may be other people's: they stand among those.
        others = [
            one.lineno for one, key in zip(block, keys, strict=True) if key[0] == _THIRD_PARTY
        ]
        self._others_until = max(others, default=0)
        self._is_mixed = any(
            one[0] == other[0] and one[1] > other[1] for one, other in itertools.pairwise(keys)
        )

    def rewritten(
        self, changes: dict[ast.stmt, list[Edit] | None], line: str, first: ast.stmt | None
    ) -> Edit:
        """Return the edit that writes it anew.

        Args:
            changes: What is changed in each statement; None where it goes.
            line: A new import, or nothing.
            first: The statement behind which, at the earliest, it may stand.
        """
        text, newline = self._text, self._newline
        (number, _), *_ = self._lines.values()
        start = text.line_start(number)
        parts: list[_Part] = []
        earliest, gap = 0, ""
        for statement, (top, last) in self._lines.items():
            above = text.text[text.line_start(number) : text.line_start(top)]
            gap = gap + above if (gap + above).strip() else max(gap, above, key=len)
            number = last + 1
            change = changes.get(statement, [])
            if change is not None:
                at, end = text.line_start(top), text.line_start(number)
                moved = [Edit(one.start - at, one.end - at, one.text) for one in change]
                body = edited(text.text[at:end], moved)
                body += "" if body.endswith(("\n", "\r")) else newline
                parts.append(_Part(gap, body, self._key(statement)))
                gap = ""
            if statement is first:
                earliest = len(parts)
        if parts:
            parts[0].gap = parts[0].gap.lstrip()
        if line:
            key = (_THIRD_PARTY, not self._is_mixed, PACKAGE)
            self._insert(parts, _Part("", line + newline, key), earliest)
        written = "".join(part.gap + part.body for part in parts) + gap.strip()
        if not text.line(number - 1).endswith(("\n", "\r")):
            written = written.rstrip("\r\n")
        while not parts and number <= len(text.lines) and not text.line(number).strip():
            number += 1
        return Edit(start, text.line_start(number), written)

    def _insert(self, parts: list[_Part], new: _Part, earliest: int) -> None:
        smaller = [at for at, part in enumerate(parts) if part.key < new.key]
        at = max([earliest, *(one + 1 for one in smaller)])
        before = parts[at - 1] if at else None
        behind = parts[at] if at < len(parts) else None
        is_first = before is None or before.key[0] != new.key[0]
        if is_first and before is not None:
            new.gap = self._newline
        if behind is not None and behind.key[0] != new.key[0]:
            if not behind.gap.startswith(("\n", "\r")):
                behind.gap = self._newline + behind.gap
        elif behind is not None and is_first:
            behind.gap = behind.gap.lstrip()
        parts.insert(at, new)

    def _key(self, statement: Import) -> tuple[int, bool, str]:
        if isinstance(statement, ast.ImportFrom):
            name, comes_later = statement.module or "", not self._is_mixed
            if statement.level:
                return _LOCAL, comes_later, name.lower()
        else:
            name, comes_later = statement.names[0].name, False
        package = name.partition(".")[0]
        if package == "__future__":
            section = _FUTURE
        elif package in sys.stdlib_module_names:
            section = _STANDARD
        else:
            is_own = statement.lineno > self._others_until and self._style.is_own(package)
            section = _FIRST_PARTY if is_own else _THIRD_PARTY
        return section, comes_later, name.lower()


def _merged(module: Module, statement: ast.ImportFrom, new: list[str], style: Style) -> Edit:
    """Add names to an import of structgather, sorted if it is."""
    text = module.text
    start, end = text.start(statement), text.end(statement)
    written = text.text[start:end]
    if "#" in written or "\\" in written:
        at = text.end(statement.names[-1])
        return Edit(at, at, "".join(f", {name}" for name in new))
    old = [text.of(alias) for alias in statement.names]
    names = [*old, *new]
    if old == sorted(old, key=_name_key):
        names.sort(key=_name_key)
    line = f"from {PACKAGE} import {', '.join(names)}"
    if len(line) > style.width or len(written.splitlines()) > 1:
        newline = text.newline(statement.lineno)
        listed = "".join(f"    {name},{newline}" for name in names)
        line = f"from {PACKAGE} import ({newline}{listed})"
    return Edit(start, end, line)


def _name_key(name: str) -> tuple[int, str]:
    """Sort constants first, then classes, then functions, as isort does."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


# What is no longer needed.


def _unused(
    module: Module, roots: list[ast.Name], outside: Outside
) -> dict[Import, list[ast.alias]]:
    """Return the names, by statement, that nothing reads but the uses that were moved."""
    names = module.names
    unused: dict[Import, list[ast.alias]] = {}
    found: dict[tuple[Scope, str], list[tuple[Import, ast.alias]]] = {}
    for statement, scope in names.imports.items():
        for alias in statement.names:
            name = alias.asname or alias.name.partition(".")[0]
            found.setdefault((scope, name), []).append((statement, alias))
    for (scope, name), imported in found.items():
        paths = scope.bindings.get(name, [])
        mine = [one for one in names.by_name.get(name, ()) if names.home(one) is scope]
        plain = len(imported) == 1 or all(isinstance(one, ast.Import) for one, _ in imported)
        if (
            mine
            and set(roots).issuperset(mine)
            and (plain and len(imported) == len(paths))
            and {path.partition(".")[0] for path in paths} == {"asyncio"}
            and not outside.keeps(name)
            and not any(alias.asname == alias.name for _, alias in imported)
            and not any(_is_marked(module, statement) for statement, _ in imported)
            and not _is_named(module, name)
        ):
            for statement, alias in imported:
                unused.setdefault(statement, []).append(alias)
    return unused


def _is_named(module: Module, name: str) -> bool:
    """Tell whether a string or a declaration means the name."""
    attribute = re.compile(rf"(?<![\w.]){re.escape(name)}\.\w")
    for node in module.names.nodes:
        match node:
            case ast.Global(names=names) | ast.Nonlocal(names=names) if name in names:
                return True
            case ast.Constant(value=str(value)) if value == name:
                above = [one for one in module.around(node) if isinstance(one, ast.stmt)]
                if name != "asyncio" or "__all__" in ast.unparse(above[0]):
                    return True
            case ast.Constant(value=str(value)) if attribute.search(value):
                if ">>>" in value or _is_expression(value):
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


def _is_marked(module: Module, statement: Import) -> bool:
    """Tell whether a comment would go with an import."""
    text = module.text
    return text.has_comment(
        text.line_start(statement.lineno), text.line_start((statement.end_lineno or 0) + 1)
    )


def _without_some(module: Module, statement: Import, gone: Iterable[ast.alias]) -> Iterator[Edit]:
    """Yield the edits that take names out of an import."""
    text, names, gone = module.text, statement.names, list(gone)
    last_kept = max(place for place, alias in enumerate(names) if alias not in gone)
    for place, alias in enumerate(names[:last_kept]):
        if alias in gone:
            yield Edit(text.start(alias), text.start(names[place + 1]), "")
    if names[-1] in gone:
        yield Edit(text.end(names[last_kept]), text.end(names[-1]), "")


def _without_all(module: Module, statement: ast.stmt) -> Iterator[Edit]:
    """Yield the edit that deletes an import, and the blank lines that began its block with it."""
    text = module.text
    first, last = _lines(module, statement)
    start, end = text.line_start(first), text.line_start(last + 1)
    if text.text[start:end].strip() != text.of(statement):
        return
    block = module.block(statement)
    if block[0] is statement and block is not module.tree.body:
        while last < len(text.lines) and not text.line(last + 1).strip():
            last += 1
    yield Edit(start, text.line_start(last + 1), "")
