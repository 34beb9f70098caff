"""One use of asyncio.gather: how its Future is used."""

from __future__ import annotations

import ast
import functools
import sys

from structgather._migrate import flow
from structgather._migrate.names import FunctionDef
from structgather._migrate.uses import Use

GATHER = "asyncio.gather"

# What takes coroutines as well as Futures and makes Tasks of them: their children start one loop
# iteration later.
_START = {
    *flow.GATHERS,
    "asyncio.as_completed",
    "asyncio.ensure_future",
    "asyncio.shield",
    "structgather.as_completed_scoped",
    "structgather.first_n_within",
}
# Python 3.11 makes a Task of what wait_for is given, too.
_WAITS_FOR_A_TASK = sys.version_info < (3, 12)
# Where it stands among others.
_AMONG = (ast.GeneratorExp, ast.List, ast.ListComp, ast.Starred, ast.Tuple)


class Gather(Use):
    """One use of asyncio.gather."""

    @functools.cached_property
    def awaited(self) -> ast.AST:
        """What is awaited: the call, or the name under which its Future is stored until then."""
        return self._awaited_in_next_statement() or self.call

    @functools.cached_property
    def may_differ(self) -> bool:
        """Whether a failing child leaves siblings that are not cancelled today."""
        alone = len(self.call.args) == 1 and not isinstance(self.call.args[0], ast.Starred)
        return not alone and bool(self.call.args) and not flow.collects(self.call)

    @property
    def arguments(self) -> bool:
        """Whether it has arguments that asyncio does not take."""
        return bool(self.keywords - {"return_exceptions", None})

    @property
    def wrapper(self) -> bool:
        """Whether it stands in a function that does what gather does, for its callers."""
        function = self.module.function(self.call)
        if not isinstance(function, FunctionDef) or not self.may_differ:
            return False
        given = {function.args.vararg.arg} if function.args.vararg else set[str]()
        names = {one.name for one in self.children.variables if one.scope.node is function}
        return "gather" in function.name or bool(given & names)

    @property
    def unseen(self) -> bool:
        """Whether failures are collected and not looked at, though nothing was cancelled."""
        awaited = self.module.parent(self.call)
        if not (flow.collects(self.call) and isinstance(awaited, ast.Await)):
            return False
        if not isinstance(self.module.parent(awaited), ast.Expr):
            return False
        function = self.module.function(self.call)
        return function is not None and not any(
            isinstance(node, ast.Attribute) and node.attr in {"cancel", "cancel_all"}
            for node in ast.walk(function)
        )

    @functools.cached_property
    def fate(self) -> str:
        """How the Future is used, by the name of a rule; empty if it is awaited at once."""
        node, later = self.awaited, ""
        while (taker := self._taker(node)) is not None:
            path = self.module.path(taker.func)
            if getattr(taker.func, "attr", "") == "run_until_complete":
                return ""
            if path != "asyncio.wait_for":
                return "starts_later" if path in _START else "stored"
            node, later = taker, "starts_later" if _WAITS_FOR_A_TASK else ""
        match self.module.parent(node):
            case ast.Await():
                return later
            case ast.Return() | ast.Lambda():
                return "returned"
            case ast.Expr():
                return "not_awaited"
            case _:
                return "stored"

    def _awaited_in_next_statement(self) -> ast.Name | None:
        """Return the name in `future = gather(...)`, `await future`, if nothing else is done."""
        module = self.module
        match module.parent(self.call):
            case (
                ast.Assign(targets=[ast.Name() as target])
                | ast.AnnAssign(target=ast.Name() as target) as statement
            ):
                pass
            case _:
                return None
        variable, following = module.names.variable(target), module.after(statement)
        if variable is None or variable.scope.node is not module.function(target) or not following:
            return None
        reads = module.names.reads(variable)
        if len(reads) != 1 or len(variable.scope.bindings[variable.name]) != 1:
            return None
        first = following[0]
        while isinstance(first, ast.Try):
            first = first.body[0]
        return reads[0] if module.comes_first(reads[0], first) else None

    def _taker(self, node: ast.AST) -> ast.Call | None:
        """Return the call that is given a node, by itself or among others."""
        above = self.module.parent(node)
        while isinstance(above, _AMONG):
            node, above = above, self.module.parent(above)
        return above if isinstance(above, ast.Call) and node in above.args else None
