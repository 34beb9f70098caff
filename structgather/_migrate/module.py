"""A parsed module: who stands in what, what a name stands for, where asyncio's functions are."""

from __future__ import annotations

import ast
import itertools
import warnings
from typing import TYPE_CHECKING, TypeAlias, final

from structgather._migrate.scopes import Scopes
from structgather._migrate.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

FunctionDef: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

# Where asyncio itself keeps what it hands out.
_PARTS = {"base_events", "events", "futures", "locks", "runners", "taskgroups", "tasks", "timeouts"}


def parse(text: str | bytes) -> ast.Module:
    """Parse a text without a word about what its author may be warned of.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: It can't be parsed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def compiles(text: str | bytes) -> bool:
    """Tell whether a text is a whole module: more than its grammar must be right for that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "<module>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def strings_inside(node: ast.AST) -> bool:
    """Tell whether a node is a string that holds expressions."""
    return type(node).__name__ in {"JoinedStr", "TemplateStr"}


@final
class Module:
    """A parsed module."""

    def __init__(self, text: str) -> None:
        self.text = Text(text)
        self.tree = parse(text)
        self.scopes = Scopes(self.tree)
        self._parents = {
            child: parent
            for parent in ast.walk(self.tree)
            for child in ast.iter_child_nodes(parent)
        }

    def parent(self, node: ast.AST) -> ast.AST:
        """Return what a node stands in."""
        return self._parents[node]

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what a node stands in, from the inside out."""
        while (above := self._parents.get(node)) is not None:
            yield above
            node = above

    def around_in_function(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the same, as far as it is in the function that the node stands in, if in any."""
        return itertools.takewhile(
            lambda above: not isinstance(above, FunctionDef | ast.Lambda), self.around(node)
        )

    def function(self, node: ast.AST) -> FunctionDef | ast.Lambda | None:
        """Return the function that a node stands in."""
        return next(
            (above for above in self.around(node) if isinstance(above, FunctionDef | ast.Lambda)),
            None,
        )

    def statement(self, node: ast.AST) -> ast.stmt:
        """Return the statement that a node stands in."""
        return next(above for above in (node, *self.around(node)) if isinstance(above, ast.stmt))

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """Return the statements among which one stands."""
        above = self.parent(statement)
        blocks: list[list[ast.stmt]] = [
            getattr(above, field, []) for field in ("body", "orelse", "finalbody")
        ]
        return next(block for block in blocks if statement in block)

    def own(self, function: ast.AST) -> Iterator[ast.AST]:
        """Yield what stands in a function, or any other node, but not in a function inside it."""
        for child in ast.iter_child_nodes(function):
            yield child
            if not isinstance(child, FunctionDef | ast.Lambda | ast.ClassDef):
                yield from self.own(child)

    def paths(self, node: ast.expr) -> set[str]:
        """Return the dotted paths that an expression may stand for, as asyncio documents them."""
        return {_documented(path) for path in self.scopes.paths(node)}

    def path(self, node: ast.expr) -> str:
        """Return the dotted path that an expression stands for; empty if that is not certain."""
        paths = self.paths(node)
        return paths.pop() if len(paths) == 1 else ""

    def uses(self, *functions: str) -> Iterator[tuple[ast.expr, str]]:
        """Yield each expression that stands for one of these paths, or may do so."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name | ast.Attribute):
                for path in self.paths(node) & set(functions):
                    yield node, path

    def loads(self, name: str, inside: ast.AST) -> list[ast.Name]:
        """List where a name is read, also in functions and comprehensions inside."""
        return [
            node
            for node in ast.walk(inside)
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
        ]

    def only_value(self, name: ast.Name) -> ast.expr | None:
        """Return what a local variable is assigned, if it is assigned once and not otherwise."""
        home = self.scopes.home(name)
        if home is None or len(home.bindings.get(name.id, ())) != 1:
            return None
        for node in ast.walk(home.node):
            match node:
                case ast.Assign(targets=[ast.Name(id=found) as target], value=value) if (
                    found == name.id and self.scopes.home(target) is home
                ):
                    return value
                case _:
                    pass
        return None


def _documented(path: str) -> str:
    match path.split("."):
        case ["asyncio", part, name] if part in _PARTS:
            return f"asyncio.{name}"
        case _:
            return path
