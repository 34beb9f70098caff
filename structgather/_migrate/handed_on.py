"""What the modules of a code base import from one another: it must not go."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, final

from structgather._migrate.module import parse

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path

    from structgather._migrate.files import Source


# What a text holds that takes one of these names from a module, or all.
_TELLS = re.compile(r"gather|as_completed|import[\s\\]*\*")


@final
class HandedOn:
    """Names, by the last part of the name of the module from which somebody takes them."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._names: dict[str, set[str]] = {}
        for source in sources:
            if _TELLS.search(source.text):
                self._read(source.text)

    def by(self, path: Path) -> Container[str]:
        """Return the names that a file must keep: a package's own file is there to hand on."""
        names = self._names.get(path.stem, set())
        return _Everything() if path.stem == "__init__" or "*" in names else names

    def _read(self, text: str) -> None:
        try:
            nodes = list(ast.walk(parse(text)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        called = {
            alias.asname: alias.name
            for node in nodes
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
            if alias.asname is not None
        }
        for node in nodes:
            match node:
                case ast.ImportFrom(module=str(module), names=names):
                    self._add(module, {alias.name for alias in names})
                case ast.Attribute(value=ast.Name(id=owner), attr=name):
                    self._add(called.get(owner, owner), {name})
                case ast.Attribute(value=ast.Attribute(attr=owner), attr=name):
                    self._add(owner, {name})
                case _:
                    pass

    def _add(self, module: str, names: set[str]) -> None:
        self._names.setdefault(module.rpartition(".")[2], set()).update(names)


@final
class _Everything:
    """Contains whatever it is asked for."""

    def __contains__(self, name: object) -> bool:
        return True
