"""Each use of asyncio.gather: may gather_structured stand in its place?"""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

from structgather._migrate import dangers
from structgather._migrate.module import strings_inside
from structgather._migrate.rules import Rule

if TYPE_CHECKING:
    from structgather._migrate.module import Module

GATHER = "asyncio.gather"

# What takes a coroutine as well as a Future and starts it at once, whoever awaits it later: a
# coroutine must become a Task for that, whose children start a turn of the loop later.
_START = {"asyncio.ensure_future", "asyncio.shield"}
# The same, but a Future is refused: such a call has never worked.
_START_COROUTINES = {"asyncio.create_task", "asyncio.run_coroutine_threadsafe"}
# The same, and it runs the loop.
_RUN = {"asyncio.run"}
# What takes both, and starts nothing before it is awaited itself. Python 3.11 makes a Task, too.
_AWAIT = {"asyncio.wait_for"}
_AWAITS_A_TASK = sys.version_info < (3, 12)
# What these call the awaitable that they take.
_KEYWORDS = {"arg", "coro", "coro_or_future", "fut", "future", "main"}
# What takes any number of awaitables.
_SEVERAL = {
    GATHER,
    "asyncio.as_completed",
    "structgather.gather_structured",
    "structgather.as_completed_scoped",
    "structgather.first_n_within",
}
# What may be seen where it is moved.
_MOVED = {None, Rule.RAISED_SO_FAR, Rule.STARTS_LATER}
_LOOPS = {"asyncio.get_event_loop", "asyncio.get_running_loop", "asyncio.new_event_loop"}


def judge(module: Module, use: ast.expr) -> tuple[Rule | None, bool]:
    """Judge one expression that stands for asyncio.gather.

    Returns:
        A rule or None, and whether it may be moved. One that may be moved and has a rule should be
        looked at all the same.
    """
    call = module.parent(use)
    if not isinstance(call, ast.Call) or call.func is not use:
        stored = isinstance(use, ast.Name | ast.Attribute) and not isinstance(use.ctx, ast.Load)
        return (Rule.PATCHED if stored else Rule.VALUE), False
    rule = _refused(module, call)
    if rule is not None:
        return rule, False
    rule = _consumed(module, call)
    if rule not in _MOVED:
        return rule, False
    danger = dangers.of_a_failure(module, call)
    if danger is not None:
        return danger, False
    return rule or dangers.of_silence(module, call), True


def _refused(module: Module, call: ast.Call) -> Rule | None:
    """Tell what is wrong with the call itself."""
    if len(module.paths(call.func)) > 1:
        return Rule.AMBIGUOUS
    if any(strings_inside(above) for above in module.around(call)):
        return Rule.IN_STRING
    keywords = {keyword.arg for keyword in call.keywords}
    if "loop" in keywords:
        return Rule.LOOP_ARGUMENT
    if keywords - {"return_exceptions", None}:
        return Rule.ARGUMENTS
    start, end = module.text.start(call.func), module.text.end(call.func)
    return Rule.LAYOUT if module.text.has_comment(start, end) else None


def _consumed(module: Module, call: ast.Call) -> Rule | None:
    """Tell why what becomes of the call's Future can't become of a coroutine."""
    node: ast.AST = call
    later = None
    while True:
        above = module.parent(node)
        taker = _taker(module, node)
        if taker is not None and module.path(taker.func) in _AWAIT:
            node = taker
            later = Rule.STARTS_LATER if _AWAITS_A_TASK else None
        elif isinstance(above, ast.IfExp) and node is not above.test:
            node = above
        else:
            break
    in_function = module.function(call) is not None
    if isinstance(above, ast.Await):
        return later if in_function else Rule.MODULE_CODE
    if taker is not None:
        path = module.path(taker.func)
        if path in _RUN or getattr(taker.func, "attr", "") == "run_until_complete":
            return Rule.RAISED_SO_FAR if path in _RUN else None
        if path in _START | _START_COROUTINES or _makes_tasks(module, taker.func):
            works = Rule.STARTS_LATER if path in _START else Rule.RAISED_SO_FAR
            return works if in_function else Rule.MODULE_CODE
    return Rule.STARTS_LATER if _one_of_several(module, node) else _otherwise(module, node)


def _taker(module: Module, node: ast.AST) -> ast.Call | None:
    """Return the call whose first argument a node is, or the one that is named as it."""
    above = module.parent(node)
    match above:
        case ast.Call(args=[first, *_]) if first is node:
            return above
        case ast.keyword(arg=name) if name in _KEYWORDS:
            call = module.parent(above)
            return call if isinstance(call, ast.Call) and not call.args else None
        case _:
            return None


def _makes_tasks(module: Module, function: ast.expr) -> bool:
    """Tell whether it is the `create_task` of an event loop or a TaskGroup, for certain."""
    match function:
        case ast.Attribute(value=ast.Call(func=maker), attr="create_task"):
            return module.path(maker) in _LOOPS
        case ast.Attribute(value=ast.Name() as name, attr="create_task"):
            made = module.only_value(name) or _entered(module, name)
            return isinstance(made, ast.Call) and module.path(made.func) in (
                _LOOPS | {"asyncio.TaskGroup"}
            )
        case _:
            return False


def _entered(module: Module, name: ast.Name) -> ast.expr | None:
    """Return the expression of the `with` around a name that is its `as`."""
    for above in module.around(name):
        if isinstance(above, ast.With | ast.AsyncWith):
            for item in above.items:
                if isinstance(item.optional_vars, ast.Name) and item.optional_vars.id == name.id:
                    return item.context_expr
    return None


def _one_of_several(module: Module, node: ast.AST) -> bool:
    """Tell whether it is one of the awaitables of a call that takes several."""
    above = module.parent(node)
    if isinstance(above, ast.List | ast.Tuple | ast.ListComp | ast.GeneratorExp):
        node, above = above, module.parent(above)
    if isinstance(above, ast.Starred):
        node, above = above, module.parent(above)
    return (
        isinstance(above, ast.Call) and node in above.args and module.path(above.func) in _SEVERAL
    )


def _otherwise(module: Module, node: ast.AST) -> Rule:  # noqa: PLR0911 - one for each reason
    above = module.parent(node)
    inside = (above, *module.around(above))
    match above:
        case ast.Attribute():
            return Rule.ASKED
        case ast.Yield() | ast.YieldFrom():
            return Rule.YIELDED
        case ast.Return() | ast.Lambda():
            return Rule.RETURNED
        case ast.Expr():
            return Rule.NOT_AWAITED
        case ast.Call() | ast.keyword() | ast.List() | ast.Set() | ast.Tuple() | ast.Starred():
            calls = [one for one in inside[:3] if isinstance(one, ast.Call)]
            if any(module.path(one.func) == "asyncio.wait" for one in calls):
                return Rule.WAITED
            return Rule.HANDED_ON if calls else Rule.STORED
        case _:
            return Rule.STORED
