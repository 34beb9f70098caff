"""Where children come from, and what runs when one of them fails."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from structgather._migrate.names import Comprehension, FunctionDef, Variable, children

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structgather._migrate.module import Module

GATHERS = {"asyncio.gather", "structgather.gather_structured"}

# Expressions that hold what their parts are, and the parts that they do not hold.
_HOLDERS = (
    *(ast.BinOp, ast.BoolOp, ast.Constant, ast.Dict, ast.DictComp, ast.GeneratorExp, ast.IfExp),
    *(ast.List, ast.ListComp, ast.NamedExpr, ast.Set, ast.SetComp, ast.Starred, ast.Subscript),
    ast.Tuple,
)
_NOT_HELD = {"slice", "target", "test"}
# Calls whose result holds what their arguments hold.
_COPIES = {
    *("chain", "dict", "enumerate", "from_iterable", "frozenset", "islice", "iter", "list"),
    *("next", "reversed", "set", "sorted", "tuple", "zip"),
}
# Methods whose result holds what their owner and their arguments hold.
_VIEWS = {"copy", "difference", "intersection", "items", "union", "values"}
# Calls that pass the cancellation of what they return on to their first argument.
_WRAPPERS = {"create_task", "ensure_future", "wait_for"}
_TIME_LIMITS = {"fail_after", "move_on_after", "timeout", "timeout_at"}
# What stops the failures of what it is given, or of what is in it.
_COLLECTS = {"asyncio.wait", "structgather.first_n_within"}
_EXPECTS = {"assertRaises", "assertRaisesRegex", "raises", "suppress"}
# What is not the failure of a child.
_OF_THE_CALLER = {"CancelledError", "GeneratorExit", "KeyboardInterrupt", "SystemExit"}
_ASKS_WHETHER_DONE = {"cancelled", "cancelling", "done"}


def called(node: ast.AST | None) -> str:
    """Return the last part of the name of what a call calls."""
    return name_of(node.func) if isinstance(node, ast.Call) else ""


def name_of(node: ast.AST) -> str:
    """Return the last part of a name; empty if it is none."""
    return getattr(node, "attr", getattr(node, "id", ""))


def collects(call: ast.Call) -> bool:
    """Tell whether a call is given `return_exceptions=True`."""
    return any(
        keyword.arg == "return_exceptions"
        and isinstance(keyword.value, ast.Constant)
        and bool(keyword.value.value)
        for keyword in call.keywords
    )


# Where children come from.


class Trace(NamedTuple):
    """Where the values of some expressions come from."""

    #: Expressions that make or find them.
    leaves: list[ast.expr]
    #: The variables that hold them on their way.
    variables: set[Variable]


def trace(module: Module, expressions: Iterable[ast.expr]) -> Trace:
    """Follow expressions to what they are made of, through names and containers."""
    found = Trace([], set())
    pending = list(expressions)
    seen: set[ast.expr] = set()  # a list may hold what is made of it
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, ast.Name):
            variable = module.names.variable(node)
            if variable is not None:
                found.variables.add(variable)
                pending += module.names.values(variable)
        elif (parts := _parts(module, node)) is not None:
            pending += parts
        else:
            found.leaves.append(node)
    return found


def _parts(module: Module, node: ast.expr) -> list[ast.expr] | None:
    """Return the parts whose values an expression holds as they are; None if it makes new ones."""
    name = called(node)
    match node:
        case ast.Await(value=ast.Call(args=[inner, *_], func=function)) if (
            module.path(function) == "asyncio.wait"
        ):
            return [inner]
        case ast.Call(func=ast.Attribute(value=owner), args=parts) if name in _VIEWS:
            return [owner, *parts]
        case ast.Call(args=parts) if name in _COPIES:
            return parts
        case ast.Call(args=[inner, *_]) if name in _WRAPPERS:
            return [inner]
        case _ if isinstance(node, _HOLDERS):
            held = (part for field, part in children(node) if field not in _NOT_HELD)
            return [part for part in held if isinstance(part, ast.expr)]
        case _:
            return None


def belong_to_others(module: Module, call: ast.Call, inputs: Trace) -> bool:
    """Tell whether a child outlives the call: other code holds it, and may want it afterwards."""
    function = module.function(call)
    return any(_is_found(module, leaf) for leaf in inputs.leaves) or any(
        _is_held_outside(module, function, variable) for variable in inputs.variables
    )


def _is_found(module: Module, leaf: ast.expr) -> bool:
    match leaf:
        case ast.Attribute():
            return True
        case ast.Call(func=function, args=[inner, *_]) if (
            module.path(function) == "asyncio.wrap_future"
        ):
            return not isinstance(inner, ast.Call)
        case ast.Call(func=function):
            return module.path(function) == "asyncio.all_tasks"
        case _:
            return False


def _is_held_outside(module: Module, function: ast.AST | None, variable: Variable) -> bool:
    home = variable.scope.node
    if function is None or home is function or isinstance(home, Comprehension):
        return False
    inside = set(ast.walk(function))
    reads = module.names.reads(variable)
    return isinstance(home, ast.Module) or any(read not in inside for read in reads)


# What runs when a child fails.


@dataclass(slots=True)
class Failure:
    """How the failure of an expression is handled in its function."""

    #: Whether a handler, `suppress` or another call stops it.
    survived: bool = False
    #: What runs afterwards: in handlers, in `finally`, behind them.
    blocks: list[list[ast.stmt]] = field(default_factory=list[list[ast.stmt]])


def failure(module: Module, node: ast.AST) -> Failure:
    """Follow the failure of an expression or a statement outwards."""
    found = Failure()
    limited = False  # by a time limit, whose TimeoutError is not a child's
    inside = node
    for above in module.around_in_function(node):
        if isinstance(above, ast.Call):
            limited = limited or called(above) == "wait_for"
            path = module.path(above.func)
            found.survived |= path in _COLLECTS or (path in GATHERS and collects(above))
        elif isinstance(above, ast.With | ast.AsyncWith) and inside in above.body:
            for item in above.items:
                limited = limited or called(item.context_expr) in _TIME_LIMITS
                if (
                    isinstance(item.context_expr, ast.Call)
                    and called(item.context_expr) in _EXPECTS
                ):
                    found.survived |= _are_of_children(item.context_expr.args, limited)
        elif isinstance(above, ast.Try | ast.TryStar):
            if inside in above.body and not found.survived:
                found.survived = _is_handled(above, found, limited)
            found.blocks.append(above.finalbody)
        if found.survived and isinstance(above, ast.stmt):
            found.blocks.append(module.after(above))
        inside = above
    return found


def _is_handled(tried: ast.Try | ast.TryStar, found: Failure, limited: bool) -> bool:  # noqa: FBT001
    """Note the handlers, and tell whether one of them stops a child's failure."""
    found.blocks += [handler.body for handler in tried.handlers]
    return any(
        _are_of_children([handler.type] if handler.type else [], limited)
        and not _always_raises(handler.body)
        for handler in tried.handlers
    )


def survived_by_callers(module: Module, function: ast.AST | None, seen: set[ast.AST]) -> bool:
    """Tell whether a caller of a function in its module survives its failure."""
    if not isinstance(function, FunctionDef) or function in seen:
        return False
    seen.add(function)
    return any(
        failure(module, call).survived or survived_by_callers(module, module.function(call), seen)
        for call in module.names.calls
        if called(call) == function.name
        and _calls(module, call, function)
        and any(isinstance(one, ast.Await) for one in module.around_in_function(call))
    )


def _calls(module: Module, call: ast.Call, function: FunctionDef) -> bool:
    """Tell whether a call of a function's name calls it: as a method of the same object, or not."""
    home = module.parent(function)
    match call.func:
        case ast.Name() as name if not isinstance(home, ast.ClassDef):
            scope = module.names.home(name)
            around = (function, *module.around(function))
            return scope is not None and scope.node in around
        case ast.Attribute(value=ast.Name(id="self" | "cls")):
            return home in module.around(call)
        case _:
            return False


def _are_of_children(kinds: list[ast.expr], limited: bool) -> bool:  # noqa: FBT001
    """Tell whether a child's failure may be one of these; all failures are if none is named."""
    each = [one for kind in kinds for one in getattr(kind, "elts", [kind])]
    others = _OF_THE_CALLER | ({"TimeoutError"} if limited else set[str]())
    return not kinds or not others.issuperset(map(name_of, each))


def _always_raises(block: list[ast.stmt]) -> bool:
    leaving = (ast.Return, ast.Break, ast.Continue)
    if any(isinstance(node, leaving) for statement in block for node in ast.walk(statement)):
        return False
    match block[-1:]:
        case [ast.Raise()]:
            return True
        case [ast.If(body=body, orelse=[_, *_] as orelse)]:
            return _always_raises(body) and _always_raises(orelse)
        case _:
            return False


# Whether children are used when one of them has failed.


def used_after(module: Module, call: ast.Call, inputs: Trace, found: Failure) -> bool:
    """Tell whether children are used after a failure, for more than to be cancelled or joined."""
    if not any(found.blocks):
        return False
    holders = _holders(module, call, inputs.variables)
    return any(_used(module, block, set(holders)) for block in found.blocks)


def _holders(module: Module, call: ast.Call, variables: set[Variable]) -> set[Variable]:
    """Return the variables of a function that hold some of the children."""
    scopes = {variable.scope for variable in variables}
    names = ast.walk(module.function(call) or module.tree)
    others = {module.names.variable(name) for name in names if isinstance(name, ast.Name)}
    return variables | {
        other
        for other in others - variables
        if other is not None
        and other.scope in scopes
        and trace(module, module.names.values(other)).variables & variables
    }


def _used(module: Module, block: list[ast.stmt], holders: set[Variable]) -> bool:
    for statement in block:
        holders -= cancelled(module, statement, holders)
        for node in ast.walk(statement):
            if (
                isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Load)
                and module.names.variable(node) in holders
                and not _only_waits(module, node)
            ):
                return True
    return False


def _only_waits(module: Module, name: ast.Name) -> bool:
    """Tell whether a use only waits until the Tasks have finished, or counts them."""
    for above in module.around(name):
        if isinstance(above, ast.Call):
            dropped = isinstance(module.parent(module.parent(above)), ast.Expr)
            return called(above) == "len" or (
                dropped and (called(above) == "wait" or collects(above))
            )
    return False


def cancelled(module: Module, statement: ast.AST, holders: set[Variable]) -> set[Variable]:
    """Return those whose Tasks a statement cancels in any case, unless they are done."""
    nodes = [statement, *module.own(statement)]
    loops = [one for one in nodes if isinstance(one, ast.For | ast.comprehension)]
    tests = [one.test for one in nodes if isinstance(one, ast.If | ast.While)]
    tests += [test for loop in loops for test in getattr(loop, "ifs", ())]
    if any(isinstance(one, ast.Subscript) for loop in loops for one in ast.walk(loop.iter)) or not (
        all(_asks_whether_done(module, test, holders) for test in tests)
    ):
        return set()
    items = {one.id for loop in loops for one in ast.walk(loop.target) if isinstance(one, ast.Name)}
    found: set[Variable | None] = set()
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name() as name, attr="cancel")):
                # In a loop, an item stands for all that it is taken from.
                is_item = name.id in items
                found |= (
                    trace(module, [name]).variables if is_item else {module.names.variable(name)}
                )
            case ast.Call(args=inputs) if "cancel" in called(node).lower():
                found |= trace(module, inputs).variables
            case _:
                pass
    return holders & found


def _asks_whether_done(module: Module, test: ast.expr, holders: set[Variable]) -> bool:
    """Tell whether a test is only about whether the Tasks are there, and done."""
    for node in ast.walk(test):
        if isinstance(node, ast.Call) and called(node) not in _ASKS_WHETHER_DONE:
            return False
        if isinstance(node, ast.Name) and not trace(module, [node]).variables & holders:
            return False
    return True
