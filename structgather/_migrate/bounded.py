"""--simplify: a semaphore around each child becomes `limit=`.

    semaphore = asyncio.Semaphore(10)

    async def bounded(url):
        async with semaphore:
            return await fetch(url)

    pages = await gather_structured(*[bounded(url) for url in urls])

becomes

    pages = await gather_structured(*[fetch(url) for url in urls], limit=10)

Only where nothing else uses the semaphore and the wrapper, and where calling `fetch` does nothing
yet: it is an async def of this module. A function that returns a Future would begin at once. A
wrapper that is given what it awaits, and says `return await awaitable`, goes as well.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypeGuard

from structgather._migrate.module import FunctionDef
from structgather._migrate.scopes import Comprehension
from structgather._migrate.text import Edit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.module import Module

_SEMAPHORES = {"asyncio.Semaphore", "asyncio.BoundedSemaphore"}
_LAZY = {"asyncio.to_thread", "asyncio.sleep"}


def simplify(module: Module) -> Iterator[list[Edit]]:
    """Yield the edits for each such call, the one in the call itself first."""
    for use, _ in module.uses("structgather.gather_structured"):
        call = module.parent(use)
        match call:
            case ast.Call(args=[ast.Starred(value=ast.ListComp() | ast.GeneratorExp() as made)]):
                if call.func is use and isinstance(module.parent(call), ast.Await):
                    yield from _Fan(module, call, made).edits()
            case _:
                pass


class _Fan:
    """One call, and what has to be known about it."""

    def __init__(
        self, module: Module, call: ast.Call, made: ast.ListComp | ast.GeneratorExp
    ) -> None:
        self.module = module
        self.call = call
        self.made = made

    def edits(self) -> Iterator[list[Edit]]:
        """Yield the edits, if it is what it must be."""
        match self.made.elt:
            case ast.Call(func=ast.Name() as name, args=arguments, keywords=[]) as wrapped:
                wrapper = self._only_definition(name)
            case _:
                return
        match wrapper:
            case ast.AsyncFunctionDef(
                body=[
                    ast.AsyncWith(
                        items=[ast.withitem(context_expr=ast.Name() as guard, optional_vars=None)],
                        body=[
                            ast.Return(value=ast.Await(value=(ast.Call() | ast.Name()) as inner))
                        ],
                    )
                ]
            ):
                pass
            case _:
                return
        if {keyword.arg for keyword in self.call.keywords} - {"return_exceptions"}:
            return
        parameters = self._plain_parameters(wrapper)
        if parameters is None or len(parameters) != len(arguments):
            return
        limit, semaphore = self._limit(guard)
        values = dict(zip(parameters, arguments, strict=True))
        text = self._inlined(inner, values)
        removed = [self._without(one) for one in (semaphore, wrapper) if one is not None]
        here = len(self.module.scopes.same(name)) == 1 and self._always_run(semaphore, wrapper)
        if limit is None or text is None or not here or None in removed:
            return
        given: list[ast.expr] = [*self.call.args, *(one.value for one in self.call.keywords)]
        last = max(self.module.text.end(one) for one in given)
        start, end = self.module.text.start(wrapped), self.module.text.end(wrapped)
        # A bracket around the last argument, but not the call's own.
        last = self.module.text.behind_brackets(last, self.module.text.end(self.call) - 1)
        yield [
            Edit(start, end, text),
            Edit(last, last, f", limit={limit}"),
            *(edit for edit in removed if edit is not None),
        ]

    def _only_definition(self, name: ast.Name) -> ast.AsyncFunctionDef | None:
        """Return the undecorated async def that a name can only stand for."""
        home = self.module.scopes.home(name)
        if home is None or len(home.bindings.get(name.id, ())) != 1:
            return None
        for node in self.module.own(home.node):
            if isinstance(node, ast.AsyncFunctionDef) and node.name == name.id:
                return node if self._is_plain_coroutine(node) else None
        return None

    def _plain_parameters(self, wrapper: ast.AsyncFunctionDef) -> list[str] | None:
        if wrapper not in list(self.module.own(self.module.function(self.call) or wrapper)):
            return None
        match wrapper.args:
            case ast.arguments(
                posonlyargs=[], vararg=None, kwonlyargs=[], kwarg=None, defaults=[], args=plain
            ):
                return [parameter.arg for parameter in plain]
            case _:
                return None

    def _limit(self, guard: ast.Name) -> tuple[str | None, ast.stmt | None]:
        """Return how many may run, and the statement that makes the semaphore."""
        value = self.module.only_value(guard)
        match value:
            case ast.Call(args=[number], keywords=[]):
                statement = self.module.statement(value)
            case _:
                return None, None
        if self.module.path(value.func) not in _SEMAPHORES:
            return None, None
        if len(self.module.scopes.same(guard)) != 1:
            return None, None
        if self.module.function(statement) is not self.module.function(self.call):
            return None, None
        if isinstance(number, ast.Constant):
            fits = _is_number(number) and number.value != 0
        else:
            fits = self._is_plain(number)
        one = isinstance(statement, ast.Assign) and len(statement.targets) == 1
        return (self.module.text.of(number), statement) if fits and one else (None, None)

    def _is_plain(self, number: ast.expr) -> bool:
        """Tell whether an expression has the same value a few lines below."""
        parts = [node for node in ast.walk(number) if isinstance(node, ast.expr)]
        return all(
            self._stands_still(part)
            if isinstance(part, ast.Name)
            else _is_number(part)
            or isinstance(part, ast.BinOp | ast.BoolOp | ast.IfExp | ast.Compare)
            for part in parts
        )

    def _stands_still(self, name: ast.Name) -> bool:
        """Tell whether a name has one value, the same in the wrapper and in the comprehension."""
        home = self.module.scopes.home(name)
        if home is None or isinstance(home.node, Comprehension) or len(home.bindings[name.id]) != 1:
            return False
        inside = next(one for one in ast.walk(self.made.elt) if isinstance(one, ast.Name))
        return self.module.scopes.of[inside].lookup(name.id) is home

    def _always_run(self, *statements: ast.stmt | None) -> bool:
        """Tell whether statements are run wherever the call is, and no block holds nothing else."""
        above = list(self.module.around(self.call))
        return all(
            statement is None
            or (
                self.module.parent(statement) in above
                and any(one in above for one in self.module.block(statement))
            )
            for statement in statements
        )

    def _inlined(self, inner: ast.Call | ast.Name, values: dict[str, ast.expr]) -> str | None:
        """Return what is awaited, with the wrapper's arguments; None if it means something else."""
        if isinstance(inner, ast.Name):
            value = values.get(inner.id)
            alone = len(values) == 1 and isinstance(value, ast.Name | ast.Call)
            return self.module.text.of(value) if alone and value is not None else None
        if not self._starts_nothing(inner.func):
            return None
        text = self.module.text
        parts = [text.of(inner.func), "("]
        arguments = [(None, one) for one in inner.args] + [
            (keyword.arg or "**", keyword.value) for keyword in inner.keywords
        ]
        written: list[str] = []
        for name, argument in arguments:
            value = argument
            if isinstance(argument, ast.Name) and argument.id in values:
                value = values[argument.id]
                if not isinstance(value, ast.Name | ast.Constant):
                    return None
            elif not isinstance(argument, ast.Constant) and not (
                isinstance(argument, ast.Name) and self._stands_still(argument)
            ):
                return None
            if name == "**":
                return None
            written.append(f"{name}={text.of(value)}" if name else text.of(value))
        return "".join([*parts, ", ".join(written), ")"])

    def _starts_nothing(self, function: ast.expr) -> bool:
        """Tell whether it is an async def, so that a call of it starts nothing yet."""
        if self.module.path(function) in _LAZY:
            return True
        match function:
            case ast.Name():
                return self._stands_still(function) and self._only_definition(function) is not None
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                inside = self.module.around(self.call)
                made = next((one for one in inside if isinstance(one, ast.ClassDef)), None)
                own = [one for one in made.body if _defines(one, name)] if made else []
                return bool(own) and self._is_always_a_coroutine(name)
            case _:
                return False

    def _is_always_a_coroutine(self, method: str) -> bool:
        """Tell whether a method is an async def in every class of the module that has it."""
        for node in ast.walk(self.module.tree):
            if isinstance(node, ast.Attribute) and node.attr == method:
                if not isinstance(node.ctx, ast.Load):
                    return False
            elif isinstance(node, ast.ClassDef):
                for one in node.body:
                    if _defines(one, method) and not self._is_plain_coroutine(one):
                        return False
        return True

    def _is_plain_coroutine(self, statement: ast.stmt) -> bool:
        return (
            isinstance(statement, ast.AsyncFunctionDef)
            and not statement.decorator_list
            and not any(isinstance(one, ast.Yield) for one in self.module.own(statement))
        )

    def _without(self, statement: ast.stmt) -> Edit | None:
        """Return the edit that deletes a statement, with the blank lines behind it."""
        text = self.module.text
        lines = text.whole_lines(statement)
        if lines is None:
            return None
        first, last = lines
        return Edit(text.line_start(first), text.line_start(text.last_blank(last) + 1), "")


def _is_number(node: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and type(node.value) is int


def _defines(statement: ast.stmt, name: str) -> bool:
    """Tell whether a statement of a class's body binds a name, whatever it binds it to."""
    return any(
        (isinstance(node, FunctionDef | ast.ClassDef) and node.name == name)
        or (isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load))
        for node in ast.walk(statement)
    )
