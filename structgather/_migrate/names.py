"""What the names of a module stand for: scopes, imports, and the values that flow into names.

One pass over the tree finds, for each scope, what every name is bound to, as the compiler sees it,
and which expressions may be in it: assigned to it, iterated over for it, or put into it by
`append`, `extend`, `+=` and the like. A container and what it holds are not told apart.
"""

from __future__ import annotations

import ast
import itertools
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, final

if TYPE_CHECKING:
    from collections.abc import Iterator

FunctionDef: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Function: TypeAlias = FunctionDef | ast.Lambda
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

#: Stands for whatever is not an import.
SOMETHING = ""

# Where asyncio keeps what it exports.
_PARTS = {"base_events", "events", "futures", "locks", "runners", "taskgroups", "tasks", "timeouts"}
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

    def bind(self, name: str, path: str = SOMETHING) -> None:
        """Bind a name, here or in the scope that it was declared to belong to."""
        scope = self.declared.get(name, self)
        scope.bindings.setdefault(name, []).append(path)

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


class Value(NamedTuple):
    """An expression that may be what a variable stands for, or holds."""

    node: ast.expr
    #: Whether the variable is simply assigned it.
    assigned: bool


@final
class Names(ast.NodeVisitor):
    """All names of a module."""

    def __init__(self, tree: ast.Module) -> None:
        self.module = self._scope = Scope(tree, None)
        self.all = [self.module]
        self.parents: dict[ast.AST, ast.AST] = {}
        #: The scope in which each name stands.
        self.of: dict[ast.Name, Scope] = {}
        self.by_name: dict[str, list[ast.Name]] = {}
        self.imports: dict[ast.Import | ast.ImportFrom, Scope] = {}
        #: Modules of which everything is imported.
        self.stars: list[str] = []
        self.attributes: list[ast.Attribute] = []
        self.calls: list[ast.Call] = []
        self._values: list[tuple[ast.Name, Value]] = []
        self._later: list[tuple[Scope, list[ast.AST]]] = []
        for child in ast.iter_child_nodes(tree):
            self.visit(child)
        # A function is looked into when all that its surroundings bind is known.
        for scope, children in self._later:
            self._scope = scope
            for child in children:
                self.visit(child)
        #: All nodes, from the outside in.
        self.nodes: list[ast.AST] = [tree]
        for node in self.nodes:
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
                self.nodes.append(child)
        self._flows: dict[Variable, list[Value]] = {}
        for name, value in self._values:
            variable = self.variable(name)
            if variable is not None:
                self._flows.setdefault(variable, []).append(value)

    def bindings(self, name: str) -> list[str]:
        """Collect what a name is bound to anywhere in the module."""
        return [path for scope in self.all for path in scope.bindings.get(name, ())]

    def home(self, name: ast.Name) -> Scope | None:
        """Find the scope whose binding a name stands for."""
        return self.of[name].lookup(name.id) if name in self.of else None

    def variable(self, name: ast.Name) -> Variable | None:
        """Return the variable that a name stands for; None for builtins."""
        home = self.home(name)
        return None if home is None else Variable(home, name.id)

    def values(self, variable: Variable) -> list[Value]:
        """List what may be in a variable."""
        return self._flows.get(variable, [])

    def only_value(self, name: ast.Name) -> ast.expr | None:
        """Return what a variable is assigned, if it is assigned once and not bound otherwise."""
        variable = self.variable(name)
        if variable is None or len(variable.scope.bindings.get(name.id, ())) != 1:
            return None
        return next((node for node, assigned in self.values(variable) if assigned), None)

    def reads(self, variable: Variable) -> list[ast.Name]:
        """List where a variable is read."""
        return [
            node
            for node in self.by_name.get(variable.name, ())
            if isinstance(node.ctx, ast.Load) and self.home(node) is variable.scope
        ]

    def paths(self, node: ast.expr) -> set[str]:
        """Return the dotted paths that an expression may stand for, as asyncio documents them."""
        return {_documented(path) for path in self._paths(node)}

    def path(self, node: ast.expr) -> str:
        """Return the dotted path that an expression stands for; empty if that is not certain."""
        paths = self.paths(node)
        return paths.pop() if len(paths) == 1 else ""

    def _paths(self, node: ast.expr) -> set[str]:
        if isinstance(node, ast.Attribute):
            owners = self._paths(node.value)
            return {f"{path}.{node.attr}" if path else SOMETHING for path in owners}
        if not isinstance(node, ast.Name) or node not in self.of:
            return {SOMETHING}
        home = self.home(node)
        if home is not None:
            return set(home.bindings.get(node.id, [SOMETHING]))
        if self.stars and node.id == "asyncio":
            return {"asyncio", SOMETHING}  # most likely
        return {f"{star}.{node.id}" for star in self.stars} or {SOMETHING}

    # What opens a scope.

    def _open(self, node: ast.AST) -> Scope:
        scope = Scope(node, self._scope)
        self.all.append(scope)
        return scope

    def _inside(self, node: ast.AST, children: list[ast.AST]) -> None:
        around, self._scope = self._scope, self._open(node)
        for child in children:
            self.visit(child)
        self._scope = around

    def visit_FunctionDef(self, node: FunctionDef) -> None:
        """Decorators, defaults and annotations are evaluated outside."""
        self._scope.bind(node.name)
        outside = [*node.decorator_list, *_evaluated_outside(node.args)]
        if node.returns is not None:
            outside.append(node.returns)
        for child in outside:
            self.visit(child)
        parameters: list[ast.AST] = [*getattr(node, "type_params", ())]
        self._later.append((self._open(node), [*parameters, *arguments(node.args), *node.body]))

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Defaults are evaluated outside."""
        for child in _evaluated_outside(node.args):
            self.visit(child)
        self._later.append((self._open(node), [*arguments(node.args), node.body]))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Decorators and bases are evaluated outside."""
        self._scope.bind(node.name)
        for child in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(child)
        self._inside(node, [*getattr(node, "type_params", ()), *node.body])

    def visit_ListComp(self, node: Comprehension) -> None:
        """What the first `for` iterates over is evaluated outside."""
        first, *others = node.generators
        self.visit(first.iter)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._inside(node, [first.target, *first.ifs, *others, *results])
        self._flow(first.target, first.iter)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp  # noqa: N815

    # What binds a name.

    def visit_Name(self, node: ast.Name) -> None:
        """A name that is used, assigned or deleted."""
        self.of[node] = self._scope
        self.by_name.setdefault(node.id, []).append(node)
        if not isinstance(node.ctx, ast.Load):
            self._scope.bind(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        """In a comprehension it binds around it."""
        self.visit(node.value)
        inside, around = self._scope, self._scope
        while isinstance(around.node, Comprehension) and around.parent is not None:
            around = around.parent
        self._scope = around
        self.visit(node.target)
        self._scope = inside
        self._flow(node.target, node.value)

    def visit_arg(self, node: ast.arg) -> None:
        """A parameter; its annotation was visited before."""
        self._scope.bind(node.arg)

    def visit_Import(self, node: ast.Import) -> None:
        """`import a.b` binds a, `import a.b as c` binds c to a.b."""
        self.imports[node] = self._scope
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self._scope.bind(name, alias.name if alias.asname else name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """What a relative import finds begins with its dots."""
        self.imports[node] = self._scope
        for alias in node.names:
            if alias.name == "*":
                star = "." * node.level + (node.module or "")
                self.stars.append(star)
                self._hidden_by(star)
            else:
                package = "." * node.level + (f"{node.module}." if node.module else "")
                path = f"{package}{alias.name}"
                self._scope.bind(alias.asname or alias.name, path)

    def _hidden_by(self, star: str) -> None:
        """Note that `from x import *` may rebind what was imported from a module before."""
        for name, paths in self.module.bindings.items():
            if any("." in path for path in paths):
                paths.append(f"{star}.{name}")

    def visit_Global(self, node: ast.Global) -> None:
        """The names belong to the module."""
        self._scope.declared.update(dict.fromkeys(node.names, self.module))

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        """The names belong to a function around this one."""
        for name in node.names:
            home = self._scope.parent and self._scope.parent.lookup(name)
            self._scope.declared[name] = home or self.module

    def _bind_name_of(self, node: ast.AST) -> None:
        for field in ("name", "rest"):
            if isinstance(name := getattr(node, field, None), str):
                self._scope.bind(name)
        self.generic_visit(node)

    visit_ExceptHandler = visit_MatchAs = visit_MatchStar = visit_MatchMapping = _bind_name_of  # noqa: N815
    visit_TypeVar = visit_ParamSpec = visit_TypeVarTuple = _bind_name_of  # noqa: N815

    # What flows into a name.

    def visit_Assign(self, node: ast.Assign) -> None:
        """`tasks = ...`, `first, *rest = ...`, `tasks[key] = ...`."""
        self.generic_visit(node)
        for target in node.targets:
            self._flow(target, node.value, assigned=True)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """`tasks: list[Task] = ...`."""
        self.generic_visit(node)
        if node.value is not None:
            self._flow(node.target, node.value, assigned=True)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """`tasks += ...`."""
        self.generic_visit(node)
        self._flow(node.target, node.value)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        """`for task in tasks`."""
        self.generic_visit(node)
        self._flow(node.target, node.iter)

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """`for task in tasks`, behind another one."""
        self.generic_visit(node)
        self._flow(node.target, node.iter)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Kept, to be looked through."""
        self.attributes.append(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """`tasks.append(...)`, `tasks.extend(...)`."""
        self.calls.append(node)
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(value=ast.Name() as name, attr=method) if method in _ADDERS:
                self._values += [(name, Value(added, assigned=False)) for added in node.args]
            case ast.Attribute(value=ast.Name() as name, attr="setdefault"):
                self._values += [(name, Value(added, assigned=False)) for added in node.args[1:]]
            case _:
                pass

    def _flow(self, target: ast.expr, value: ast.expr, *, assigned: bool = False) -> None:
        match target, value:
            case ast.Name(), _:
                self._values.append((target, Value(value, assigned)))
            case ast.Tuple(elts=targets) | ast.List(elts=targets), _:
                for one, part in zip(targets, _parts(value, len(targets)), strict=False):
                    if part is not None:
                        self._flow(one, part)
            case ((ast.Starred(value=inner) | ast.Subscript(value=inner)), _):
                self._flow(inner, value)
            case _:
                pass


def arguments(found: ast.arguments) -> list[ast.arg]:
    """List the parameters of a function."""
    several = [*found.posonlyargs, *found.args, *found.kwonlyargs]
    return [*several, *(one for one in (found.vararg, found.kwarg) if one is not None)]


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
    match path.split("."):
        case ["asyncio", part, name] if part in _PARTS:
            return f"asyncio.{name}"
        case _:
            return path


def _evaluated_outside(found: ast.arguments) -> list[ast.expr]:
    defaults = [*found.defaults, *found.kw_defaults]
    annotations = [argument.annotation for argument in arguments(found)]
    return [node for node in (*defaults, *annotations) if node is not None]
