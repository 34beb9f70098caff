"""A parsed module: its text, its names, and what stands in what."""

from __future__ import annotations

import ast
import itertools
import warnings
from typing import TYPE_CHECKING, TypeAlias, final

from structgather._migrate.names import SOMETHING, Comprehension, Function, FunctionDef, Names
from structgather._migrate.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

Dotted: TypeAlias = tuple[str, ...]


def parse(text: str | bytes) -> ast.Module:
    """Parse a text, and keep to ourselves what its author may be warned of.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: It can't be parsed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


@final
class Module:
    """A parsed module."""

    def __init__(self, text: str) -> None:
        self.text = Text(text)
        self.tree = parse(text)
        self.names = Names(self.tree)

    def parent(self, node: ast.AST) -> ast.AST:
        """Return what a node stands in."""
        return self.names.parents[node]

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what a node stands in, from the inside out."""
        while (above := self.names.parents.get(node)) is not None:
            yield above
            node = above

    def around_in_function(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the same, as far as it is in the function that the node stands in, if in any."""
        return itertools.takewhile(lambda above: not isinstance(above, Function), self.around(node))

    def function(self, node: ast.AST) -> Function | None:
        """Return the function that a node stands in."""
        return next((above for above in self.around(node) if isinstance(above, Function)), None)

    def statement(self, node: ast.AST) -> ast.stmt:
        """Return the statement that a node stands in."""
        return next(above for above in (node, *self.around(node)) if isinstance(above, ast.stmt))

    def block(self, statement: ast.AST) -> list[ast.stmt]:
        """Return the statements among which one stands."""
        above = self.parent(statement)
        blocks: list[list[ast.stmt]] = [
            getattr(above, field, []) for field in ("body", "orelse", "finalbody")
        ]
        return next(block for block in blocks if statement in block)

    def after(self, statement: ast.AST) -> list[ast.stmt]:
        """Return what follows a statement in its block."""
        block = self.block(statement)
        return block[next(at for at, one in enumerate(block) if one is statement) + 1 :]

    def own(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what stands in a function, or any other node, but not in a function inside it."""
        for child in ast.iter_child_nodes(node):
            yield child
            if not isinstance(child, Function | ast.ClassDef):
                yield from self.own(child)

    def path(self, node: ast.expr) -> str:
        """Return the dotted path that an expression stands for; empty if that is not certain."""
        paths = self.names.paths(node)
        return paths.pop() if len(paths) == 1 else SOMETHING

    def dotted(self, node: ast.expr) -> Dotted:
        """Return the dotted name that an expression stands for, as far as it is known."""
        path = self.path(node)
        if path != SOMETHING:
            return tuple(path.strip(".").split("."))
        match node:
            case ast.Name(id=name):
                return (name,)
            case ast.Attribute(value=owner, attr=name):
                return (*self.dotted(owner), name)
            case _:
                return ()

    def uses(self, *functions: str) -> Iterator[tuple[ast.expr, str]]:
        """Yield each expression that stands for one of these paths, or may do so."""
        for node in itertools.chain(self.names.of, self.names.attributes):
            for path in self.names.paths(node) & set(functions):
                yield node, path

    def comes_first(self, node: ast.expr, statement: ast.stmt) -> bool:
        """Tell whether a statement always evaluates this, and calls and awaits nothing before."""
        if isinstance(statement, FunctionDef | ast.ClassDef | ast.With | ast.AsyncWith | ast.While):
            return False
        around = list(self.around(node))
        if statement not in around:
            return False
        # A statement between them: it stands in the block of an `if` or a `for`, or elsewhere.
        choices = ast.stmt | ast.IfExp | ast.BoolOp | ast.Lambda | Comprehension
        if any(isinstance(above, choices) for above in around[: around.index(statement)]):
            return False
        place = (node.lineno, node.col_offset)
        return not any(
            isinstance(other, ast.Call | ast.Await)
            and (other.end_lineno or 0, other.end_col_offset or 0) <= place
            for other in ast.walk(statement)
        )
