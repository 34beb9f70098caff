"""What the names of a module stand for: scopes, imports, and the values that flow into names.

One pass over the tree finds, for each scope, what every name is bound to, as the compiler sees it,
and which expressions may be in it: assigned to it, iterated over for it, or put into it by
`append`, `extend`, `+=` and the like. A container and what it holds are not distinguished.
"""

from __future__ import annotations

import ast
import itertools
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast, final

if TYPE_CHECKING:
    from collections.abc import Iterator

FunctionDef: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Function: TypeAlias = FunctionDef | ast.Lambda
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Import: TypeAlias = ast.Import | ast.ImportFrom

#: Stands for whatever is not an import.
SOMETHING = ""

# Parts of what opens a scope that are evaluated around it.
_OUTSIDE = {"args", "bases", "decorator_list", "keywords", "returns"}
# Methods that put their arguments into a container.
_ADDERS = {"add", "append", "appendleft", "extend", "insert", "put_nowait", "update"}


@final
class Scope:
    """What the names of one module, class, function or comprehension are bound to."""

    def __init__(self, node: ast.AST, parent: Scope | None) -> None:
        self.node = node
        self.parent = parent
        #: Each name with the dotted paths that are imported under it, or SOMETHING.
        self.bindings: dict[str, list[str]] = {}
        #: Names that `global` or `nonlocal` gives to another scope.
        self.declared: dict[str, Scope] = {}

    def bind(self, name: str, *paths: str) -> None:
        """Bind a name to what is imported from these paths, or to something else."""
        self.bindings.setdefault(name, []).extend(paths or (SOMETHING,))

    def lookup(self, name: str) -> Scope | None:
        """Find the scope whose binding a name stands for in this one."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.declared:
                return scope.declared[name]
            if name in scope.bindings and (
                scope is self or not isinstance(scope.node, ast.ClassDef)
            ):
                return scope
            scope = scope.parent
        return None


class Variable(NamedTuple):
    """A name in the scope that binds it."""

    scope: Scope
    name: str


@final
class Names:
    """All names of a module."""

    def __init__(self, tree: ast.Module) -> None:
        self.module = Scope(tree, None)
        self.all = [self.module]
        #: All nodes, and what each of them stands in.
        self.nodes: list[ast.AST] = []
        self.parents: dict[ast.AST, ast.AST] = {}
        #: The scope in which each name stands.
        self.of: dict[ast.Name, Scope] = {}
        self.by_name: dict[str, list[ast.Name]] = {}
        self.imports: dict[Import, Scope] = {}
        #: Modules of which everything is imported.
        self.stars: list[str] = []
        self._declarations: list[tuple[ast.Global | ast.Nonlocal, Scope]] = []
        self._values: list[tuple[ast.Name, ast.expr]] = []
        self._visit(tree, self.module)
        for declaration, scope in self._declarations:
            self._declare(declaration, scope)
        self._flows: dict[Variable, list[ast.expr]] = {}
        for name, value in self._values:
            variable = self.variable(name)
            if variable is not None:
                self._flows.setdefault(variable, []).append(value)
        self.calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        self.attributes = [node for node in self.nodes if isinstance(node, ast.Attribute)]

    def bindings(self, name: str) -> list[str]:
        """Collect what a name is bound to anywhere in the module."""
        return [path for scope in self.all for path in scope.bindings.get(name, ())]

    def home(self, name: ast.Name) -> Scope | None:
        """Find the scope whose binding a name stands for."""
        return self.of[name].lookup(name.id)

    def variable(self, name: ast.Name) -> Variable | None:
        """Return the variable that a name stands for; None for builtins."""
        home = self.home(name)
        return None if home is None else Variable(home, name.id)

    def values(self, variable: Variable) -> list[ast.expr]:
        """List the expressions that may be what a variable stands for, or holds."""
        return self._flows.get(variable, [])

    def only_value(self, name: ast.Name) -> ast.expr | None:
        """Return what a variable is assigned, if it is bound once."""
        variable = self.variable(name)
        if variable is None or len(variable.scope.bindings[name.id]) != 1:
            return None
        return next(iter(self.values(variable)), None)

    def reads(self, variable: Variable) -> list[ast.Name]:
        """List where a variable is read."""
        return [
            node
            for node in self.by_name.get(variable.name, ())
            if isinstance(node.ctx, ast.Load) and self.home(node) is variable.scope
        ]

    def paths(self, node: ast.expr) -> set[str]:
        """Return the dotted paths that an expression may stand for, as asyncio documents them."""
        match node:
            case ast.Attribute(value=owner, attr=name):
                found = {f"{path}.{name}" if path else SOMETHING for path in self.paths(owner)}
            case ast.Name(id=name):
                if (home := self.home(node)) is not None:
                    found = set(home.bindings.get(name, [SOMETHING]))
                elif self.stars and name == "asyncio":
                    found = {"asyncio", SOMETHING}  # most likely
                else:
                    found = {f"{star}.{name}" for star in self.stars}
            case _:
                found = set[str]()
        return {_documented(path) for path in found} or {SOMETHING}

    # The pass over the tree.

    def _visit(self, node: ast.AST, scope: Scope) -> None:
        self.nodes.append(node)
        inner = scope
        if isinstance(node, Function | ast.ClassDef | Comprehension):
            inner = Scope(node, scope)
            self.all.append(inner)
        if isinstance(node, Function):
            for argument in arguments(node.args):
                inner.bind(argument.arg)
        self._bind(node, scope)
        self._note_values(node)
        for field, child in children(node):
            self.parents[child] = node
            there = scope if field in _OUTSIDE else inner
            if field == "iter" and getattr(scope.node, "generators", [None])[0] is node:
                there = scope.parent or scope  # what a comprehension iterates over first
            elif isinstance(node, ast.NamedExpr) and field == "target":
                while isinstance(there.node, Comprehension) and there.parent is not None:
                    there = there.parent
            self._visit(child, there)

    def _bind(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.Name(id=name, ctx=context):
                self.of[node] = scope
                self.by_name.setdefault(name, []).append(node)
                if not isinstance(context, ast.Load):
                    scope.bind(name)
            case ast.Import() | ast.ImportFrom():
                self.imports[node] = scope
                for name, path in imported(node):
                    if name == "*":
                        self.stars.append(path)
                    else:
                        scope.bind(name, path)
            case ast.Global() | ast.Nonlocal():
                self._declarations.append((node, scope))
            case ast.alias():
                pass
            case _:  # functions, classes, handlers, patterns and type parameters
                for bound in (getattr(node, "name", None), getattr(node, "rest", None)):
                    if isinstance(bound, str):
                        scope.bind(bound)

    def _declare(self, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
        """Give names, and what they are bound to, to the scope that they are declared to be of."""
        for name in node.names:
            found = scope.parent and scope.parent.lookup(name)
            home = found if found and isinstance(node, ast.Nonlocal) else self.module
            scope.declared[name] = home
            if paths := scope.bindings.pop(name, None):
                home.bind(name, *paths)

    def _note_values(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._flow(target, value)
            case (
                ast.AnnAssign(target=target, value=ast.expr() as value)
                | ast.AugAssign(target=target, value=value)
                | ast.NamedExpr(target=target, value=value)
                | ast.For(target=target, iter=value)
                | ast.AsyncFor(target=target, iter=value)
                | ast.comprehension(target=target, iter=value)
            ):
                self._flow(target, value)
            case ast.Call(func=ast.Attribute(value=name, attr=method), args=added):
                if method in _ADDERS | {"setdefault"}:
                    for value in added[method == "setdefault" :]:
                        self._flow(name, value)
            case _:
                pass

    def _flow(self, target: ast.expr, value: ast.expr) -> None:
        match target:
            case ast.Name():
                self._values.append((target, value))
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                for one, part in zip(targets, _parts(value, len(targets)), strict=False):
                    if part is not None:
                        self._flow(one, part)
            case ast.Starred(value=inner) | ast.Subscript(value=inner):
                self._flow(inner, value)
            case _:
                pass


def arguments(found: ast.arguments) -> list[ast.arg]:
    """List the parameters of a function."""
    several = [*found.posonlyargs, *found.args, *found.kwonlyargs]
    return [*several, *(one for one in (found.vararg, found.kwarg) if one is not None)]


def children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what stands in a node, with the field that it is in."""
    for field, value in ast.iter_fields(node):
        for child in cast("list[object]", value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                yield field, child


def imported(node: Import) -> Iterator[tuple[str, str]]:
    """Yield the names that an import binds, with what they stand for."""
    package = ""
    if isinstance(node, ast.ImportFrom):
        package = "." * node.level + (f"{node.module}." if node.module else "")
    for alias in node.names:
        if alias.name == "*":
            yield "*", package.removesuffix(".")
        elif package or alias.asname:  # `import a.b` binds a, `import a.b as c` binds c to a.b
            yield alias.asname or alias.name, f"{package}{alias.name}"
        else:
            yield alias.name.partition(".")[0], alias.name.partition(".")[0]


def _parts(value: ast.expr, number: int) -> Iterator[ast.expr | None]:
    """Yield what each of several targets may be given out of a value, or an item of it."""
    match value:
        case ast.Tuple(elts=parts) | ast.List(elts=parts) if not any(
            isinstance(part, ast.Starred) for part in parts
        ):
            return iter(parts)
        case ast.Call(func=ast.Name(id="zip"), args=parts) if len(parts) == number:
            return iter(parts)
        case ast.Call(func=ast.Name(id="enumerate"), args=[part, *_]):
            return iter([None, part])
        case ast.Call(func=ast.Attribute(value=owner, attr="items"), args=[]):
            return iter([None, owner])
        case _:
            return itertools.repeat(value, number)


def _documented(path: str) -> str:
    """Return the path at which asyncio documents what it keeps in its modules."""
    match path.split("."):
        case ["asyncio", _, name]:
            return f"asyncio.{name}"
        case _:
            return path
