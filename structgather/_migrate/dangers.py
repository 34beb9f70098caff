"""Where it matters how a gather ends: a failure would cancel what ought to go on, or is lost."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from structgather._migrate import owners
from structgather._migrate.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from structgather._migrate.module import Module

_TEARDOWN = re.compile(
    r"_*(async_)?(a?close|cleanup|clean_up|disconnect|dispose|shutdown|shut_down|stop|teardown"
    r"|tear_down|terminate)(_|$)"
)
_STARTERS = {"create_task", "ensure_future", "shield", "wait_for"}


def of_a_failure(module: Module, call: ast.Call) -> Rule | None:
    """Tell why a failure must not cancel the other children, as far as that can be seen."""
    if _returns_exceptions(call):
        return None
    if any(_is_teardown(child) for child in _children(module, call.args)):
        return Rule.TEARDOWN
    if owners.are_kept(module, call.args):
        return Rule.TASKS_OF_OTHERS
    return Rule.LOOKED_AT if _looked_at_afterwards(module, call) else None


def of_a_failure_in_a_loop(module: Module, call: ast.Call) -> Rule | None:
    """Tell the same of the inputs of a loop over asyncio.as_completed."""
    inputs = [ast.Starred(value=call.args[0])]
    if any(_is_teardown(child) for child in _children(module, inputs)):
        return Rule.TEARDOWN
    return Rule.LOOKED_AT if _looked_at_afterwards(module, call) else None


def of_silence(module: Module, call: ast.Call) -> Rule | None:
    """Tell whether nobody ever sees its failures: the result is dropped, and nothing cancelled."""
    awaited = module.parent(call)
    if not (_returns_exceptions(call) and isinstance(awaited, ast.Await)):
        return None
    if not isinstance(module.parent(awaited), ast.Expr):
        return None
    function = module.function(call)
    if function is None or any(_cancels(node) for node in ast.walk(function)):
        return None
    return Rule.SWALLOWED


def _returns_exceptions(call: ast.Call) -> bool:
    return any(
        keyword.arg == "return_exceptions"
        and isinstance(keyword.value, ast.Constant)
        and bool(keyword.value.value)
        for keyword in call.keywords
    )


def _cancels(node: ast.AST) -> bool:
    """Tell whether something is cancelled: `x.cancel()`, or `map(Task.cancel, xs)`."""
    return isinstance(node, ast.Attribute) and node.attr in {"cancel", "cancel_all"}


def _children(module: Module, arguments: Sequence[ast.expr]) -> Iterator[ast.expr]:
    """Yield the children's expressions, as far as they can be seen."""
    pending = list(arguments)
    seen: set[ast.expr] = set()  # a list may be appended what is made of it
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        match node:
            case ast.Starred(value=ast.Name() as name):
                pending += _elements(module, name)
            case ast.Starred(value=inner):
                pending.append(inner)
            case ast.ListComp(elt=inner) | ast.GeneratorExp(elt=inner) | ast.SetComp(elt=inner):
                pending.append(inner)
            case ast.List(elts=several) | ast.Tuple(elts=several) | ast.Set(elts=several):
                pending += several
            case ast.Call(args=[inner, *_]) if _name_called(node) in _STARTERS:
                pending.append(inner)
            case _:
                yield node


def _elements(module: Module, name: ast.Name) -> list[ast.expr]:
    """Return what a local list is made of: what it is assigned, and what is appended to it."""
    home = module.scopes.home(name)
    value = module.only_value(name)
    if home is None or value is None:
        return []
    found = [value]
    for node in ast.walk(home.node):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=appended), attr="append"), args=[element]
            ) if appended == name.id:
                found.append(element)
            case _:
                pass
    return found


def _name_called(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def _is_teardown(child: ast.expr) -> bool:
    return isinstance(child, ast.Call) and _TEARDOWN.match(_name_called(child)) is not None


def _looked_at_afterwards(module: Module, call: ast.Call) -> bool:
    """Tell whether the Tasks that a name holds are used once more after a failure."""
    names: set[str] = set()
    for argument in call.args:
        value = argument.value if isinstance(argument, ast.Starred) else argument
        if isinstance(value, ast.Name):
            names.add(value.id)
    return bool(names) and any(
        _used(module, block, set(names)) for block in _reached_by_failure(module, call)
    )


def _reached_by_failure(module: Module, call: ast.Call) -> Iterator[list[ast.stmt]]:
    """Yield what runs when the call has failed, in the same function: statements in order."""
    inside: ast.AST = call
    for above in module.around_in_function(call):
        caught = False
        if isinstance(above, ast.Try | ast.TryStar) and inside in above.body:
            yield from (handler.body for handler in above.handlers)
            yield above.finalbody
            caught = any(
                not isinstance(handler.body[-1], ast.Raise | ast.Return)
                for handler in above.handlers
            )
        elif isinstance(above, ast.With):
            caught = any("suppress" in ast.unparse(item.context_expr) for item in above.items)
        if caught and isinstance(above, ast.stmt):
            yield list(_after(module, above))
        inside = above


def _after(module: Module, statement: ast.stmt) -> Iterator[ast.stmt]:
    """Yield what runs after a statement in its function."""
    for above in [statement, *module.around_in_function(statement)]:
        if isinstance(above, ast.stmt):
            block = module.block(above)
            yield from block[block.index(above) + 1 :]


def _used(module: Module, statements: list[ast.stmt], names: set[str]) -> bool:
    """Tell whether Tasks are used for more than to end them, before the names get new ones."""
    for statement in statements:
        uses = [load for name in names for load in module.loads(name, statement)]
        if any(_cancels(node) for node in ast.walk(statement)) and uses:
            return False  # whatever comes now, they were cancelled before already
        if any(not _only_waits(module, use) for use in uses):
            return True
        if isinstance(statement, ast.Assign):
            names -= {node.id for node in statement.targets if isinstance(node, ast.Name)}
    return False


def _only_waits(module: Module, name: ast.Name) -> bool:
    """Tell whether a use awaits that the Tasks are over, whatever became of them, or counts."""
    for above in module.around(name):
        if isinstance(above, ast.Call) and _name_called(above) != "cast":
            called = _name_called(above)
            dropped = isinstance(module.parent(module.parent(above)), ast.Expr)
            return called == "len" or (dropped and (called == "wait" or _returns_exceptions(above)))
    return False
