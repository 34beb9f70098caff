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
from typing import TYPE_CHECKING, TypeAlias, cast

from structgather._migrate import flow
from structgather._migrate.module import parse
from structgather._migrate.text import Edit, edited
from structgather._migrate.uses import Use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.module import Module
    from structgather._migrate.names import Variable

AS_COMPLETED = "asyncio.as_completed"

For: TypeAlias = ast.For | ast.AsyncFor

# What catches a cancellation, or may; "" stands for no type at all, or one without a name.
_WIDE = {"", "BaseException", "CancelledError"}
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
        return not self._tries

    @property
    def arguments(self) -> bool:
        """Whether it has arguments that asyncio does not take."""
        inputs = [*self.call.args, *(one.value for one in self.call.keywords if one.arg == "fs")]
        one = len(inputs) == 1 and not isinstance(inputs[0], ast.Starred)
        return not one or not self.keywords <= {"timeout", "fs"}

    @functools.cached_property
    def fate(self) -> str:
        """Why it is no loop that can become a block, as a rule is named; empty if it can."""
        loop, names = self.module.parent(self.call), self.module.names
        function = self.module.function(self.call)
        is_loop = isinstance(loop, For) and loop.iter is self.call
        if not is_loop or not isinstance(function, ast.AsyncFunctionDef):
            return "not_a_loop"
        if any(isinstance(node, ast.Yield) for node in self.module.own(loop)):
            return "generator"
        target = self.loop.target
        variable = names.variable(target) if isinstance(target, ast.Name) else None
        if variable is None or variable.scope.node is not function:
            return "item"  # other functions may use it, or the module
        match [self.module.parent(name) for name in self._uses_of_item(variable)]:
            case [ast.Await() as awaited] if self.module.comes_first(awaited, self._first):
                return "try" if self._is_handled else ""
            case _:
                return "item"

    @property
    def layout(self) -> bool:
        """Whether its text can't be indented: what is in the loop would be read as another."""
        text, loop = self.module.text, self.loop
        after = edited(text.text, rewrite(self.module, [loop], "as_completed_scoped"))
        try:
            nodes = list(ast.walk(parse(after)))
        except (SyntaxError, ValueError):
            return True
        blocks = [node for node in nodes if isinstance(node, ast.AsyncWith)]
        moved = [one for block in blocks if block.lineno == loop.lineno for one in block.body]
        return [_content(loop)] != [_content(one) for one in moved if isinstance(one, For)]

    @property
    def in_finally(self) -> bool:
        """Whether the await stands in a `try` with a `finally`."""
        return any(one.finalbody for one in self._tries)

    @property
    def left_early(self) -> bool:
        """Whether cancelling the rest would stop what runs on today, though nothing failed."""
        if flow.belong_to_others(self.module, self.call, self.children):
            return True
        names = self.children.variables
        return not all(
            any(flow.cancelled(self.module, part, names) for part in self._on_the_way(node))
            for node in self.module.own(self.loop)
            if isinstance(node, ast.Return) or (isinstance(node, ast.Break) and self._is_left(node))
        )

    @functools.cached_property
    def _tries(self) -> list[ast.Try | ast.TryStar]:
        """The `try` statements with which the body begins, from the outside in."""
        found: list[ast.Try | ast.TryStar] = []
        statement = self.loop.body[0]
        while isinstance(statement, ast.Try | ast.TryStar):
            found.append(statement)
            statement = statement.body[0]
        return found

    @property
    def _first(self) -> ast.stmt:
        """The statement with which the body begins, in what it tries."""
        return self._tries[-1].body[0] if self._tries else self.loop.body[0]

    def _uses_of_item(self, variable: Variable) -> list[ast.Name]:
        """List where the item is used: not where its variable is bound to something else."""
        uses = [name for name in self.module.names.reads(variable) if self._is_item(name)]
        handlers = [handler for one in self._tries for handler in one.handlers]
        match self._first:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == variable.name:
                # `item = await item`
                if all(isinstance(handler.body[-1], _LEAVING) for handler in handlers):
                    aside = (
                        part for one in self._tries for part in (*one.handlers, *one.finalbody)
                    )
                    kept = {node for part in (value, *aside) for node in ast.walk(part)}
                    return [use for use in uses if use in kept]
            case _:
                pass
        return uses

    def _is_item(self, name: ast.Name) -> bool:
        """Tell whether a name may stand for the item of this loop, not for that of another."""
        for above in self.module.around(name):
            if isinstance(above, For) and name.id in _names(above.target):
                return above is self.loop and name not in set(ast.walk(self.loop.iter))
        return name.lineno > self.loop.lineno

    @property
    def _is_handled(self) -> bool:
        """Whether what the loop raises now is handled around the await."""
        handlers = [handler for one in self._tries for handler in one.handlers]
        return any("timeout" in self.keywords or _is_wide(handler) for handler in handlers)

    def _is_left(self, node: ast.Break) -> bool:
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


def _content(loop: For) -> list[str]:
    return [ast.dump(one) for one in (loop.target, *loop.body, *loop.orelse)]


def _names(target: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def _is_wide(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler may catch the caller's cancellation."""
    kinds = getattr(handler.type, "elts", [handler.type])
    return any(flow.name_of(kind) in _WIDE for kind in kinds)


# How it is rewritten.


def rewrite(module: Module, loops: list[For], function: str) -> list[Edit]:
    """Return the edits for all these loops, one of which may stand in another."""
    text, names = module.text, module.names
    several = itertools.chain(["outcomes"], (f"outcomes_{number}" for number in itertools.count(2)))
    free = (name for name in several if not (names.bindings(name) or name in names.by_name))
    variables = list(itertools.islice(free, len(loops)))
    edits: list[Edit] = []
    for loop in loops:
        call, first = cast("ast.Call", loop.iter), loop.iter.end_lineno or 0
        outer = text.indent(loop.lineno)
        unit = text.indent(loop.body[0].lineno).removeprefix(outer)
        depth = sum(above in loops for above in module.around(loop))
        line = f"async for {text.of(loop.target)} in {variables[depth]}"
        margin = text.newline(first) + outer + unit * (depth + 1)
        edits.append(Edit(text.start(loop), text.end(call.func), f"async with {function}"))
        fs = [text.start(keyword) for keyword in call.keywords if keyword.arg == "fs"]
        edits += [Edit(at, at + len("fs"), "aws") for at in fs]
        edits.append(Edit(text.end(call), text.end(call), f" as {variables[depth]}:{margin}{line}"))
        for number in range(first + 1, (loop.end_lineno or 0) + 1):
            if text.line(number).startswith(outer) and not text.is_blank(number):
                at = text.line_start(number) + len(outer)
                edits.append(Edit(at, at, unit))
    return edits
