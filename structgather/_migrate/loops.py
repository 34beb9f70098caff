"""What is known of one use of asyncio.as_completed, and how a loop over it becomes a block.

    for future in asyncio.as_completed(aws):
        page = await future

becomes

    async with as_completed_scoped(aws) as outcomes:
        async for future in outcomes:
            page = await future

`for` yields an item before anything has finished, and the body waits in `await item`; `async for`
waits itself, and yields what has finished. So the body must begin with its `await item`, and what
it catches there must not be what the loop raises now. And where the loop is left by `break` or
`return`, the rest runs on today: the code itself must cancel it.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from structgather._migrate import flow
from structgather._migrate.names import Comprehension
from structgather._migrate.text import Edit
from structgather._migrate.uses import Use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.module import Module

AS_COMPLETED = "asyncio.as_completed"

For: TypeAlias = ast.For | ast.AsyncFor

# What the item of `async for`, a Future that is done, has in common with an outcome.
_COMMON = {"result", "exception", "cancelled", "done"}
_DIRECTIVE = re.compile(r"#\s*(type|noqa|nosec|pragma|pylint|pyright|mypy|fmt|ruff|isort)\b")
_WIDE = {"BaseException", "CancelledError"}
_LEAVING = (ast.Return, ast.Raise, ast.Continue, ast.Break)


class Loop(Use):
    """One use of asyncio.as_completed."""

    @functools.cached_property
    def loop(self) -> For:
        """The loop whose iterable is the call, if `fate` does not say otherwise."""
        return cast("For", self.module.parent(self.call))

    @functools.cached_property
    def awaited(self) -> ast.AST:
        """The loop: it is what a failure leaves."""
        return self.loop

    @functools.cached_property
    def may_differ(self) -> bool:
        """Whether a failure leaves the loop."""
        return not isinstance(self.loop.body[0], ast.Try | ast.TryStar)

    @functools.cached_property
    def fate(self) -> str:  # noqa: PLR0911 - one for each reason
        """Why it is no loop that can become a block, as a rule is named; empty if it can."""
        loop = self.module.parent(self.call)
        if not isinstance(loop, For) or loop.iter is not self.call:
            return "not_a_loop"
        if not self._arguments_fit():
            return "arguments"
        if self._lists_one_twice():
            return "twice"
        function = self.module.function(loop)
        if not isinstance(function, ast.AsyncFunctionDef):
            return "not_async"
        if any(isinstance(node, ast.Yield) for node in self.module.own(loop)):
            return "generator"
        names = self.module.names
        variable = names.variable(loop.target) if isinstance(loop.target, ast.Name) else None
        if variable is None or variable.scope.node is not function:
            return "item_kept"  # by another function, or the module
        inside = set(ast.walk(function))
        uses = [
            name
            for name in names.by_name[variable.name]
            if isinstance(name.ctx, ast.Load)
            and name in inside
            and self._is_reached(name, loop)
            and self._is_item(name, loop)
        ]
        return self._fate_of_item(loop, uses)

    @property
    def has_finally(self) -> bool:
        """Whether the await stands in a `try` with a `finally`."""
        return any(one.finalbody for one in _tries(self.loop))

    @property
    def leaves_rest_running(self) -> bool:
        """Whether cancelling the rest would stop what runs on today, though nothing failed."""
        if flow.belong_to_others(self.module, self.call, self.children):
            return True
        names = self.children.variables
        return not all(
            any(flow.cancelled(self.module, part, names) for part in self._on_the_way(node))
            for node in self.module.own(self.loop)
            if isinstance(node, ast.Return) or (isinstance(node, ast.Break) and self._leaves(node))
        )

    @property
    def is_in_the_way(self) -> bool:
        """Whether the text can't be indented, or the loop's line can't be split."""
        loop, call, text = self.loop, self.call, self.module.text
        header = text.text[text.start(loop) : text.start(call)]
        keyword = "async for" if isinstance(loop, ast.AsyncFor) else "for"
        if header.split() != [*keyword.split(), text.of(loop.target), "in"]:
            return True
        if not text.text[text.end(call) :].lstrip(" \t").startswith(":"):
            return True
        _, line = text.logical_line(loop.lineno)
        comments = text.comments(text.end(call), text.line_start(line + 1))
        if any(_DIRECTIVE.match(comment) for comment in comments):
            return True  # the tool would look on another line
        first, last = (call.end_lineno or 0) + 1, loop.end_lineno or 0
        outer = text.indent(loop.lineno)
        return any(
            max(start + 1, first) <= min(end, last) for start, end in text.strings_of_many_lines
        ) or any(
            # Tabs and spaces may be mixed so that two margins are as wide, but not the same.
            first <= start <= last and not text.indent(start).startswith(outer)
            for start, _ in text.logical_lines
        )

    def _arguments_fit(self) -> bool:
        inputs = [*self.call.args, *(one.value for one in self.call.keywords if one.arg == "fs")]
        one = len(inputs) == 1 and not isinstance(inputs[0], ast.Starred)
        return one and self.keywords <= {"timeout", "fs"}

    def _lists_one_twice(self) -> bool:
        inputs = self.call.args[0] if self.call.args else self.call.keywords[0].value
        if not isinstance(inputs, ast.List | ast.Tuple):
            return False
        names = [node.id for node in inputs.elts if isinstance(node, ast.Name)]
        return len(names) > len(set(names))

    def _is_reached(self, name: ast.Name, loop: For) -> bool:
        """Tell whether a name may be read once the loop has begun, or an iteration later."""
        around = list(self.module.around(name))
        rounds = [one for one in self.module.around(loop) if isinstance(one, For | ast.While)]
        return name.lineno >= loop.body[0].lineno or any(above in around for above in rounds)

    def _is_item(self, name: ast.Name, loop: For) -> bool:
        """Tell whether a name may stand for the item: not where it is bound to something else."""
        around = list(self.module.around(name))
        for above in around:
            if above is loop:
                break
            targets = [above.target] if isinstance(above, For) else []
            if isinstance(above, Comprehension):
                targets = [generator.target for generator in above.generators]
            if any(_binds(target, name.id) for target in targets):
                return False
        return not self._is_rebound_before(name, loop, around)

    def _is_rebound_before(self, name: ast.Name, loop: For, around: list[ast.AST]) -> bool:
        """Tell whether `item = await item` comes first in the body, and the name is read later."""
        first = loop.body[0]
        for one in _tries(loop):
            first = one.body[0]
            aside = [*one.handlers, *one.finalbody]
            if any(above in aside for above in around) or not all(
                isinstance(handler.body[-1], _LEAVING) for handler in one.handlers
            ):
                return False
        match first:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name.id:
                return name not in set(ast.walk(value))
            case _:
                return False

    def _fate_of_item(self, loop: For, uses: list[ast.Name]) -> str:
        """Tell why an outcome can't be the item."""
        if isinstance(loop, ast.AsyncFor):
            return "" if all(self._fits_outcome(name) for name in uses) else "item_kept"
        awaits = [one for name in uses if isinstance(one := self.module.parent(name), ast.Await)]
        if len(uses) != 1 or len(awaits) != 1:
            return "order" if len(awaits) == len(uses) else "item_kept"
        timed = any(
            keyword.arg == "timeout"
            and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is None)
            for keyword in self.call.keywords
        )
        statement = loop.body[0]
        for one in _tries(loop):
            statement = one.body[0]
            guarded = awaits[0] in (node for part in one.body for node in ast.walk(part))
            if guarded and one.handlers and (timed or any(map(_is_wide, one.handlers))):
                return "try"
        return "" if self.module.comes_first(awaits[0], statement) else "order"

    def _fits_outcome(self, name: ast.Name) -> bool:
        match self.module.parent(name):
            case ast.Await():
                return True
            case ast.Attribute(attr=attribute):
                return attribute in _COMMON
            case _:
                return False

    def _leaves(self, node: ast.Break) -> bool:
        """Tell whether a `break` is the loop's own."""
        around = self.module.around(node)
        return next(one for one in around if isinstance(one, For | ast.While)) is self.loop

    def _on_the_way(self, leaving: ast.stmt) -> Iterator[ast.stmt]:
        """Yield what always runs where the loop is left: just before, behind it, in `finally`."""
        block = self.module.block(leaving)
        yield from block[: block.index(leaving)]
        if isinstance(leaving, ast.Break):
            yield from self.module.after(self.loop)[:1]
        for above in self.module.around_in_function(leaving):
            if isinstance(above, ast.Try | ast.TryStar):
                yield from above.finalbody


def _binds(target: ast.expr, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(target))


def _tries(loop: For) -> list[ast.Try | ast.TryStar]:
    """List the `try` statements with which the body of a loop begins, from the outside in."""
    found: list[ast.Try | ast.TryStar] = []
    statement = loop.body[0]
    while isinstance(statement, ast.Try | ast.TryStar):
        found.append(statement)
        statement = statement.body[0]
    return found


def _is_wide(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler may catch the caller's cancellation."""
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = [
        kind.attr if isinstance(kind, ast.Attribute) else getattr(kind, "id", "") for kind in kinds
    ]
    return not all(name and name not in _WIDE for name in names)


# How it is rewritten.


class _Deeper(NamedTuple):
    """Lines that get deeper: all that stands in the block of a `for`, and the `async for`."""

    first: int
    last: int
    #: Indentation of the `for`.
    outer: str
    #: What is added to it.
    unit: str

    def holds(self, number: int) -> bool:
        return self.first <= number <= self.last


def rewrite(module: Module, loops: list[For], function: str) -> list[Edit]:
    """Return the edits for all these loops, one of which may stand in another."""
    ordered = sorted(loops, key=lambda loop: loop.lineno)
    deeper = [_deeper(module, loop) for loop in ordered]
    edits: list[Edit] = []
    for loop, lines in zip(ordered, deeper, strict=True):
        around = [one for one in deeper if one is not lines and one.holds(loop.lineno)]
        edits += _header(module, loop, function, lines, around)
    text = module.text
    for lines in deeper:
        for number in range(lines.first, lines.last + 1):
            if text.line(number).strip() and text.indent(number).startswith(lines.outer):
                at = text.indent_start(number) + len(lines.outer)
                edits.append(Edit(at, at, lines.unit))
    return edits


def _fresh(module: Module, depth: int) -> str:
    """Find a name that the module does not use; loops in loops get different ones."""
    free = (
        name
        for number in itertools.count(1)
        if (name := f"outcomes_{number}" if number > 1 else "outcomes") not in module.names.by_name
        and not module.names.bindings(name)
    )
    return next(itertools.islice(free, depth, None))


def _deeper(module: Module, loop: For) -> _Deeper:
    text = module.text
    outer = text.indent(loop.lineno)
    header = loop.iter.end_lineno or 0
    inner = text.indent(loop.body[0].lineno)
    on_one_line = loop.body[0].lineno <= text.logical_line(header)[1]
    unit = ("\t" if "\t" in outer else "    ") if on_one_line else inner[len(outer) :]
    last = loop.end_lineno or 0
    # Comments that follow the block are still in it, as far as a reader is concerned.
    number = last + 1
    while (line := text.line(number)).strip() == "" or line.lstrip().startswith("#"):
        if not line:
            break
        if line.strip():
            if len(text.indent(number)) <= len(outer):
                break
            last = number
        number += 1
    return _Deeper(header + 1, last, outer, unit)


def _header(
    module: Module, loop: For, function: str, lines: _Deeper, around: list[_Deeper]
) -> Iterator[Edit]:
    text, call = module.text, loop.iter
    assert isinstance(call, ast.Call)  # noqa: S101 - a loop that was judged
    name = _fresh(module, len(around))
    margin = lines.outer
    for outside in reversed(around):
        margin = outside.outer + outside.unit + margin[len(outside.outer) :]
    newline = text.newline(call.end_lineno or 0)
    again = f"{newline}{margin}{lines.unit}async for {text.of(loop.target)} in {name}"
    yield Edit(text.start(loop), text.end(call.func), f"async with {function}")
    for keyword in call.keywords:
        if keyword.arg == "fs":
            yield Edit(text.start(keyword), text.start(keyword) + len("fs"), "aws")
    yield Edit(text.end(call), text.end(call), f" as {name}:{again}")
