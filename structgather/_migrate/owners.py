"""Whose the awaitables are: what is kept in an attribute outlives the call that awaits it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from structgather._migrate.scopes import Comprehension

if TYPE_CHECKING:
    from structgather._migrate.module import Module

_COPIES = {"filter", "frozenset", "list", "reversed", "set", "sorted", "tuple"}


def are_kept(module: Module, arguments: list[ast.expr]) -> bool:
    """Tell whether any argument, or what is unpacked in one, comes out of an attribute.

    Names are followed to what they are assigned, or what a comprehension takes them from.
    """
    pending = list(arguments)
    seen: set[ast.expr] = set()  # a name may be assigned what is made of it
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Attribute):
            return True
        if node not in seen:
            seen.add(node)
            pending += _named(module, node) if isinstance(node, ast.Name) else _inside(module, node)
    return False


def _named(module: Module, name: ast.Name) -> list[ast.expr]:
    """Return where a local name's value comes from, as far as that is certain."""
    value = module.only_value(name)
    if value is not None:
        return [value]
    for above in module.around(name):
        if isinstance(above, Comprehension):
            for generator in above.generators:
                if isinstance(generator.target, ast.Name) and generator.target.id == name.id:
                    return [generator.iter]
    return []


def _inside(module: Module, node: ast.expr) -> list[ast.expr]:
    """Return the parts of an expression whose awaitables it hands on as they are."""
    match node:
        case ast.Starred(value=inner) | ast.Subscript(value=inner):
            return [inner]
        case ast.ListComp(elt=inner) | ast.GeneratorExp(elt=inner) | ast.SetComp(elt=inner):
            return [inner]
        case (
            ast.List(elts=several)
            | ast.Tuple(elts=several)
            | ast.Set(elts=several)
            | ast.BoolOp(values=several)
        ):
            return several
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
            return [one, other]
        case ast.Call():
            return _handed_on(module, node)
        case _:
            return []


def _handed_on(module: Module, call: ast.Call) -> list[ast.expr]:
    match call:
        case ast.Call(func=ast.Attribute(value=owner, attr="values" | "copy"), args=[]):
            return [owner]
        case ast.Call(func=ast.Name(id=called), args=arguments) if called in _COPIES:
            return arguments
        case ast.Call(args=[awaited, *_]) if module.path(call.func) == "asyncio.wait_for":
            return [awaited]
        case _:
            return []
