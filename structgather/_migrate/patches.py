"""Where asyncio's functions are replaced, as tests do: whoever calls them there means that."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from structgather._migrate.completed import AS_COMPLETED
from structgather._migrate.gathers import GATHER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.module import Module

_MODULES = {"asyncio", "asyncio.tasks"}
_ONLY_READ = {"getattr", "hasattr"}


def named(module: Module) -> Iterator[tuple[ast.expr, str, bool]]:
    """Yield each string that names a function, which one, and whether it is replaced there."""
    for node in ast.walk(module.tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        call = module.parent(node)
        for function in (GATHER, AS_COMPLETED):
            if f".{node.value}".endswith(f".{function}") and " " not in node.value:
                yield node, function, _called(call) in {"patch", "setattr"}
            elif function == f"asyncio.{node.value}" and _is_second(module, node, call):
                yield node, function, True


def assigned(module: Module) -> set[str]:
    """Return the functions that are replaced by an assignment."""
    return {
        path
        for use, path in module.uses(GATHER, AS_COMPLETED)
        if isinstance(use, ast.Attribute) and not isinstance(use.ctx, ast.Load)
    }


def _called(call: ast.AST) -> str:
    match call:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name
        case _:
            return ""


def _is_second(module: Module, name: ast.Constant, call: ast.AST) -> bool:
    """Tell whether it is the name in `patch.object(asyncio, "gather")`, or another such call."""
    match call:
        case ast.Call(args=[owner, second, *_]) if second is name:
            known = bool(module.paths(owner) & _MODULES)
            theirs = isinstance(owner, ast.Attribute) and owner.attr == "asyncio"
            return (known or theirs) and _called(call) not in _ONLY_READ
        case _:
            return False
