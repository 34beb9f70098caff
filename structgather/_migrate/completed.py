"""Each use of asyncio.as_completed: may as_completed_scoped stand in its place?

    for future in asyncio.as_completed(aws):
        page = await future

becomes

    async with as_completed_scoped(aws) as outcomes:
        async for future in outcomes:
            page = await future

`for` hands out an item before anything is over, and the body waits in `await item`; `async for`
waits itself, and hands out what is over. So the body must begin with its `await item`, and what it
catches there must not be what the loop raises now. And where the loop is left by `break` or
`return`, what still runs goes on today: the code itself must cancel the rest.
"""

from __future__ import annotations

import ast
import itertools
import re
from typing import TYPE_CHECKING, TypeAlias

from structgather._migrate import dangers
from structgather._migrate.module import FunctionDef, strings_inside
from structgather._migrate.rules import Rule
from structgather._migrate.scopes import Comprehension

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.module import Module

AS_COMPLETED = "asyncio.as_completed"

Loop: TypeAlias = ast.For | ast.AsyncFor

# What the item of `async for`, a Future that is over, has in common with an outcome.
_COMMON = {"result", "exception", "cancelled", "done"}
_DIRECTIVE = re.compile(r"#\s*(type|noqa|nosec|pragma|pylint|pyright|mypy|fmt|ruff|isort)\b")
_WIDE = {"BaseException", "CancelledError"}


def judge(module: Module, use: ast.expr) -> Rule | None:
    """Judge one expression that stands for asyncio.as_completed; None if it may be moved."""
    call = module.parent(use)
    if not isinstance(call, ast.Call) or call.func is not use:
        stored = isinstance(use, ast.Name | ast.Attribute) and not isinstance(use.ctx, ast.Load)
        return Rule.PATCHED if stored else Rule.VALUE
    if len(module.paths(use)) > 1:
        return Rule.AMBIGUOUS
    if any(strings_inside(one) for one in module.around(call)):
        return Rule.IN_STRING
    loop = module.parent(call)
    if not isinstance(loop, Loop) or loop.iter is not call:
        return Rule.NOT_A_LOOP
    return _refused(call) or _judge_loop(module, loop, call) or _layout(module, loop, call)


def _refused(call: ast.Call) -> Rule | None:
    keywords = {keyword.arg for keyword in call.keywords}
    if "loop" in keywords:
        return Rule.LOOP_ARGUMENT
    fits = len(call.args) == 1 and not isinstance(call.args[0], ast.Starred)
    if not fits or not keywords <= {"timeout"}:
        return Rule.ARGUMENTS
    return Rule.TWICE if _has_one_twice(call.args[0]) else None


def _has_one_twice(inputs: ast.expr) -> bool:
    """Tell whether a name is listed twice, as far as that can be seen."""
    if not isinstance(inputs, ast.List | ast.Tuple):
        return False
    names = [node.id for node in inputs.elts if isinstance(node, ast.Name)]
    return len(names) > len(set(names))


def _judge_loop(module: Module, loop: Loop, call: ast.Call) -> Rule | None:
    function = module.function(loop)
    if not isinstance(function, ast.AsyncFunctionDef):
        return Rule.NOT_ASYNC
    if any(isinstance(node, ast.Yield) for node in module.own(loop)):
        return Rule.GENERATOR
    if not isinstance(loop.target, ast.Name) or not _is_local(module, loop.target, function):
        return Rule.ITEM_KEPT
    uses = [name for name in module.loads(loop.target.id, function) if _after(module, name, loop)]
    return _judge_item(module, loop, uses, call) or _judge_end(module, loop, call)


def _judge_item(module: Module, loop: Loop, uses: list[ast.Name], call: ast.Call) -> Rule | None:
    """Tell why an outcome can't be the item."""
    if isinstance(loop, ast.For):
        return _judge_awaits(module, loop, uses, call)
    fits = all(_fits_outcome(module, name, loop) for name in uses)
    return None if fits else Rule.ITEM_KEPT


def _judge_end(module: Module, loop: Loop, call: ast.Call) -> Rule | None:
    """Tell why what still runs when the loop is left must not be cancelled."""
    if _cancels_what_goes_on(module, loop, call):
        return Rule.LEFT_EARLY
    caught = isinstance(loop.body[0], ast.Try | ast.TryStar)
    return None if caught else dangers.of_a_failure_in_a_loop(module, call)


def _is_local(module: Module, target: ast.Name, function: FunctionDef) -> bool:
    """Tell whether nobody but a function reads a name: it is not `global`, nor `nonlocal`."""
    home = module.scopes.home(target)
    return home is not None and home.node is function


def _after(module: Module, name: ast.Name, loop: Loop) -> bool:
    """Tell whether a name may be read once the loop has begun: in it, below, or a round later."""
    around = list(module.around(name))
    rounds = [above for above in module.around(loop) if isinstance(above, Loop | ast.While)]
    return name.lineno >= loop.body[0].lineno or any(above in around for above in rounds)


def _fits_outcome(module: Module, name: ast.Name, loop: Loop) -> bool:
    match module.parent(name):
        case ast.Await():
            fits = True
        case ast.Attribute(attr=attribute):
            fits = attribute in _COMMON
        case _:
            fits = False
    return fits or not _bound_by(module, name, loop)


def _bound_by(module: Module, name: ast.Name, loop: Loop) -> bool:
    """Tell whether a name may stand for the loop's item: not where another loop binds it anew."""
    for above in module.around(name):
        if above is loop:
            return True
        if isinstance(above, Loop | ast.comprehension) and _binds(above.target, name.id):
            return False
        if isinstance(above, Comprehension) and any(
            _binds(generator.target, name.id) for generator in above.generators
        ):
            return False
    return True


def _binds(target: ast.expr, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(target))


def _judge_awaits(
    module: Module, loop: ast.For, uses: list[ast.Name], call: ast.Call
) -> Rule | None:
    """Judge a plain `for`: its item must be awaited once, first of all, and nothing else."""
    uses = [name for name in uses if _bound_by(module, name, loop)]
    awaits = [parent for name in uses if isinstance(parent := module.parent(name), ast.Await)]
    if len(uses) != 1 or len(awaits) != 1:
        return Rule.ORDER if len(awaits) == len(uses) else Rule.ITEM_KEPT
    timed = any(
        not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None)
        for keyword in call.keywords
    )
    statement = loop.body[0]
    while isinstance(statement, ast.Try | ast.TryStar):
        if awaits[0] in (node for part in statement.body for node in ast.walk(part)) and (
            timed or statement.finalbody or any(_is_wide(one) for one in statement.handlers)
        ):
            return Rule.TRY
        statement = statement.body[0]
    return None if _comes_first(module, awaits[0], statement) else Rule.ORDER


def _is_wide(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler may catch the caller's cancellation."""
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = [
        kind.attr if isinstance(kind, ast.Attribute) else getattr(kind, "id", "") for kind in kinds
    ]
    return not all(name and name not in _WIDE for name in names)


def _comes_first(module: Module, awaited: ast.Await, statement: ast.stmt) -> bool:
    """Tell whether a statement always evaluates this, and calls and awaits nothing before."""
    if isinstance(statement, FunctionDef | ast.ClassDef | ast.With | ast.AsyncWith | ast.While):
        return False
    between = itertools.takewhile(lambda above: above is not statement, module.around(awaited))
    # A statement between them: the await stands in the block of an `if` or a `for`, or elsewhere.
    choices = ast.stmt | ast.IfExp | ast.BoolOp | ast.Lambda | Comprehension
    if any(isinstance(above, choices) for above in between):
        return False
    place = (awaited.lineno, awaited.col_offset)
    return not any(
        isinstance(node, ast.Call | ast.Await)
        and (node.end_lineno or 0, node.end_col_offset or 0) <= place
        for node in ast.walk(statement)
    )


def _cancels_what_goes_on(module: Module, loop: Loop, call: ast.Call) -> bool:
    """Tell whether cancelling the rest would end what goes on today, though nothing failed."""
    inputs = call.args[0]
    while isinstance(inputs, ast.Call) and isinstance(inputs.func, ast.Attribute):
        inputs = inputs.func.value  # tasks.values()
    if isinstance(inputs, ast.Attribute):
        return True  # somebody else's
    name = inputs.id if isinstance(inputs, ast.Name) else ""
    leaving = [
        node
        for node in module.own(loop)
        if isinstance(node, ast.Return)
        or (isinstance(node, ast.Break) and _leaves(module, node, loop))
    ]
    return not all(
        any(_cancels(module, part, name) for part in _on_the_way(module, node, loop))
        for node in leaving
    )


def _leaves(module: Module, node: ast.Break, loop: Loop) -> bool:
    """Tell whether a `break` is the loop's own."""
    return next(one for one in module.around(node) if isinstance(one, Loop | ast.While)) is loop


def _on_the_way(module: Module, leaving: ast.stmt, loop: Loop) -> Iterator[ast.stmt]:
    """Yield what certainly runs where a loop is left: just before, behind it, in `finally`."""
    block = module.block(leaving)
    yield from block[: block.index(leaving)]
    if isinstance(leaving, ast.Break):
        block = module.block(loop)
        yield from block[block.index(loop) + 1 : block.index(loop) + 2]
    for above in module.around_in_function(leaving):
        if isinstance(above, ast.Try | ast.TryStar):
            yield from above.finalbody


def _cancels(module: Module, statement: ast.stmt, name: str) -> bool:
    """Tell whether a statement cancels what a name holds."""
    return bool(module.loads(name, statement)) and any(
        isinstance(node, ast.Attribute) and node.attr == "cancel" for node in ast.walk(statement)
    )


def _is_for_a_tool(module: Module, loop: Loop) -> bool:
    """Tell whether the comment on the loop's line is for a tool, which would look elsewhere."""
    text = module.text
    _, last = text.logical_line(loop.lineno)
    comments = text.comments(text.end(loop.iter), text.line_start(last + 1))
    return any(_DIRECTIVE.match(comment) for comment in comments)


def _layout(module: Module, loop: Loop, call: ast.Call) -> Rule | None:
    """Tell whether the text is in the way."""
    text = module.text
    header = text.text[text.start(loop) : text.start(call)]
    keyword = "async for" if isinstance(loop, ast.AsyncFor) else "for"
    plain = header.split() == [*keyword.split(), text.of(loop.target), "in"]
    if not plain or not text.text[text.end(call) :].lstrip(" \t").startswith(":"):
        return Rule.LAYOUT
    if text.has_comment(text.start(call.func), text.end(call.func)) or _is_for_a_tool(module, loop):
        return Rule.LAYOUT
    first, last = (call.end_lineno or 0) + 1, loop.end_lineno or 0
    changed = any(
        max(start + 1, first) <= min(end, last) for start, end in text.strings_of_many_lines
    )
    outer = text.indent(loop.lineno)
    # Tabs and spaces may be mixed so that two margins are as wide, but not the same.
    other = any(
        first <= start <= last and not text.indent(start).startswith(outer)
        for start, _ in text.logical_lines
    )
    return Rule.LAYOUT if changed or other else None
