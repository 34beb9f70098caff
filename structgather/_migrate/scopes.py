"""What each name of a module is bound to, scope by scope, as Python's compiler sees it."""

from __future__ import annotations

import ast
from typing import TypeAlias, final

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

#: Stands for whatever is not an import.
SOMETHING = ""


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
        """Find the scope whose binding a name stands for in this one; None if there is none."""
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


@final
class Scopes(ast.NodeVisitor):
    """All scopes of a module."""

    def __init__(self, tree: ast.Module) -> None:
        self.module = self._scope = Scope(tree, None)
        self.all = [self.module]
        #: The scope in which each name stands that is used, not bound.
        self.of: dict[ast.Name, Scope] = {}
        self._called: dict[str, list[ast.Name]] = {}
        self._imports: dict[ast.ImportFrom, Scope] = {}
        #: Modules of which everything is imported.
        self.stars: list[str] = []
        self._later: list[tuple[Scope, list[ast.AST]]] = []
        self.generic_visit(tree)
        # A function is looked into when all that its surroundings bind is known.
        for scope, children in self._later:
            self._scope = scope
            for child in children:
                self.visit(child)

    def bindings(self, name: str) -> list[str]:
        """Collect what a name is bound to anywhere in the module."""
        return [path for scope in self.all for path in scope.bindings.get(name, ())]

    def scope_of_import(self, node: ast.ImportFrom) -> Scope:
        """Return the scope in which an import binds its names."""
        return self._imports[node]

    def home(self, name: ast.Name) -> Scope | None:
        """Find the scope whose binding a name stands for."""
        return self.of[name].lookup(name.id)

    def same(self, name: ast.Name) -> list[ast.Name]:
        """List where what a name stands for is read."""
        home = self.home(name)
        return [
            node
            for node in self._called[name.id]
            if isinstance(node.ctx, ast.Load) and self.home(node) is home
        ]

    def paths(self, node: ast.expr) -> set[str]:
        """Return the dotted paths that an expression may stand for: `asyncio.gather`, say."""
        if isinstance(node, ast.Attribute):
            owners = self.paths(node.value)
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

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Decorators, defaults and annotations are evaluated outside."""
        self._scope.bind(node.name)
        outside = [*node.decorator_list, *_evaluated_outside(node.args)]
        if node.returns is not None:
            outside.append(node.returns)
        for child in outside:
            self.visit(child)
        parameters: list[ast.AST] = [*getattr(node, "type_params", ())]
        self._later.append((self._open(node), [*parameters, *_names(node.args), *node.body]))

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Defaults are evaluated outside."""
        for child in _evaluated_outside(node.args):
            self.visit(child)
        self._later.append((self._open(node), [*_names(node.args), node.body]))

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

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp  # noqa: N815

    # What binds a name.

    def visit_Name(self, node: ast.Name) -> None:
        """A name that is used, assigned or deleted."""
        self.of[node] = self._scope
        self._called.setdefault(node.id, []).append(node)
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

    def visit_arg(self, node: ast.arg) -> None:
        """A parameter; its annotation was visited before."""
        self._scope.bind(node.arg)

    def visit_Import(self, node: ast.Import) -> None:
        """`import a.b` binds a, `import a.b as c` binds c to a.b."""
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self._scope.bind(name, alias.name if alias.asname else name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """What a relative import finds is not known."""
        self._imports[node] = self._scope
        for alias in node.names:
            if alias.name == "*":
                star = "." * node.level + (node.module or "")
                self.stars.append(star)
                self._hidden_by(star)
            else:
                path = SOMETHING if node.level else f"{node.module}.{alias.name}"
                self._scope.bind(alias.asname or alias.name, path)

    def _hidden_by(self, star: str) -> None:
        """Note that `from x import *` may bind anew what was imported from a module before."""
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


def _names(arguments: ast.arguments) -> list[ast.arg]:
    several = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [*several, *(one for one in (arguments.vararg, arguments.kwarg) if one is not None)]


def _evaluated_outside(arguments: ast.arguments) -> list[ast.expr]:
    defaults = [*arguments.defaults, *arguments.kw_defaults]
    annotations = [argument.annotation for argument in _names(arguments)]
    return [node for node in (*defaults, *annotations) if node is not None]
