"""What the files of a code base take from one another, and replace in one another."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple, final

from structgather._migrate.module import Dotted, Module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# What a text holds that takes one of these names from another module than asyncio, or replaces it.
_TELLS = re.compile(
    r"(?<!asyncio)\.(gather|as_completed)\b|\.asyncio\b|import[\s\\]*\*|\bpatch|\bsetattr|\bspy\b"
    r"|\basyncio\.\w+ *=[^=]"
    r"|from\s+(?!asyncio\b)\S+\s+import\s*(\([^()]*?|[^()\n]*?)\b(asyncio|gather|as_completed)\b"
)
_DOTTED = re.compile(r"\w+(\.\w+)+")
_REPLACERS = {"object", "patch", "setattr", "spy", "stub"}
_FUNCTIONS = {"as_completed", "gather"}


class Outside(NamedTuple):
    """What other files have to do with one."""

    #: Names that they take from it; `*` stands for all.
    kept: frozenset[str] = frozenset()
    #: Names that they replace in it: `gather`, `asyncio`, or `asyncio.gather`.
    replaced: frozenset[str] = frozenset()

    def keeps(self, name: str) -> bool:
        """Tell whether a name must stay."""
        return not self.kept.isdisjoint({name, "*"})


@final
class Project:
    """What is taken and replaced, by dotted names that end in the name of a module and a name."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._taken: set[Dotted] = set()
        self._replaced: set[Dotted] = set()
        #: Modules that are imported by a file that replaces asyncio's own function.
        self._exposed: dict[str, set[Dotted]] = {}
        for text in texts:
            if _TELLS.search(text):
                self._read(text)

    def around(self, path: Path) -> Outside:
        """Return what the other files have to do with one."""
        parts = path.resolve().with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        found = list(_of_module(self._replaced, parts))
        replaced = {".".join(rest) for rest in found if len(rest) == 1 or rest[-1] in _FUNCTIONS}
        for function, modules in self._exposed.items():
            if any(_is_module(parts, module) for module in modules):
                replaced.add(function)
        kept = {rest[0] for rest in (*_of_module(self._taken, parts), *found)}
        return Outside(frozenset(kept), frozenset(replaced))

    def _read(self, text: str) -> None:
        try:
            module = Module(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        imported: set[Dotted] = set()
        for statement in module.names.imports:
            base = getattr(statement, "module", None)
            start = tuple(base.split(".")) if base else ()
            imported |= {(*start, *alias.name.split(".")) for alias in statement.names} | {start}
            if isinstance(statement, ast.ImportFrom):
                self._taken.update((*start, alias.name) for alias in statement.names)
        loaded = (node for node in module.names.attributes if isinstance(node.ctx, ast.Load))
        self._taken.update(map(module.dotted, loaded))
        for _, dotted in replaced_in(module):
            self._replaced.add(dotted)
            if dotted[0] == "asyncio" and dotted[-1] in _FUNCTIONS:
                self._exposed.setdefault(f"asyncio.{dotted[-1]}", set()).update(imported)


def replaced_in(module: Module) -> Iterator[tuple[ast.expr, Dotted]]:
    """Yield the dotted name of everything that a file replaces, as tests do, and where it does."""
    for call in module.names.calls:
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        owner = call.args[0] if call.args else None
        is_asyncio = owner is not None and module.path(owner) == "asyncio"
        if name in _REPLACERS or (is_asyncio and name not in {"getattr", "hasattr"}):
            strings = [_string(module, argument) for argument in call.args[:2]]
            if strings and _DOTTED.fullmatch(strings[0]):
                yield call.args[0], tuple(strings[0].split("."))
            elif owner is not None and len(strings) > 1 and strings[1].isidentifier():
                yield call.args[1], (*module.dotted(owner), strings[1])
    for attribute in module.names.attributes:
        if isinstance(attribute.ctx, ast.Store) and (dotted := module.dotted(attribute)):
            yield attribute, dotted


def _string(module: Module, node: ast.expr, *around: str) -> str:
    """Return the text of a string, also of one that is put together of constants.

    Args:
        module: The module.
        node: What makes the string.
        around: Names that it is the value of: a string that is made of itself is not known.
    """
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.Name(id=name):
            made = module.names.only_value(node)
            return "" if made is None or name in around else _string(module, made, name, *around)
        case ast.JoinedStr(values=parts):
            return "".join(_string(module, part, *around) for part in parts)
        case ast.FormattedValue(value=inner):
            return _string(module, inner, *around)
        case _:
            return ""


def _is_module(parts: Dotted, dotted: Dotted) -> bool:
    return bool(dotted) and parts[-len(dotted) :] == dotted


def _of_module(dotted: Iterable[Dotted], parts: Dotted) -> Iterator[Dotted]:
    """Yield what is meant of a module: `gather`, or `asyncio.gather`, behind its own name."""
    for one in dotted:
        for at in range(max(1, len(one) - 2), len(one)):
            if _is_module(parts, one[:at]):
                yield one[at:]
