"""What is known of one use of asyncio's functions: its children, and what their failure does."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from typing import TYPE_CHECKING

from structgather._migrate import flow
from structgather._migrate.names import FunctionDef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.module import Module

_CLOSE = (
    r"(a?close|stop|shut_?down|unload|disconnect|dispose|clean_?up|tear_?down|terminate|a?exit)"
)
_CLOSES = re.compile(rf"_*(async_)?{_CLOSE}(_|$)")
_IS_FOR_CLOSING = re.compile(rf"(?!test|get_|is_|has_|fetch_|load_)(.*_)?{_CLOSE}(_|$)")
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Use:
    """One expression that stands for one of asyncio's functions, and what is known of it."""

    def __init__(self, module: Module, node: ast.expr, *, replaced: bool) -> None:
        above = module.parent(node)
        self.module = module
        self.node = node
        #: Whether a test replaces the name that is used.
        self.replaced = replaced
        #: Whether it is used as a value, not called.
        self.value = not isinstance(above, ast.Call) or above.func is not node
        self.call = above if isinstance(above, ast.Call) else ast.Call(node, [], [])
        self.keywords = {keyword.arg for keyword in self.call.keywords}

    @property
    def patched(self) -> bool:
        """Whether it is replaced by an assignment."""
        return not isinstance(getattr(self.node, "ctx", None), ast.Load)

    @property
    def ambiguous(self) -> bool:
        """Whether it may stand for something else, too."""
        return len(self.module.names.paths(self.node)) > 1

    @property
    def layout(self) -> bool:
        """Whether its text can't be edited: in an f-string, or where a comment would be lost."""
        kinds = {"JoinedStr", "TemplateStr"}
        in_string = any(type(one).__name__ in kinds for one in self.module.around(self.node))
        return in_string or "#" in self.module.text.of(self.node)

    @functools.cached_property
    def children(self) -> flow.Trace:
        """Where the children come from."""
        return flow.trace(self.module, self.call.args or [one.value for one in self.call.keywords])

    @property
    def arguments(self) -> bool:
        """Whether it has arguments that asyncio does not take."""
        raise NotImplementedError

    @functools.cached_property
    def fate(self) -> str:
        """How the result is used, by the name of a rule; empty if that is no obstacle."""
        raise NotImplementedError

    @functools.cached_property
    def awaited(self) -> ast.AST:
        """What raises a child's failure."""
        raise NotImplementedError

    @functools.cached_property
    def failure(self) -> flow.Failure:
        """How a child's failure is handled."""
        return flow.failure(self.module, self.awaited)

    @functools.cached_property
    def may_differ(self) -> bool:
        """Whether it makes a difference that siblings are cancelled."""
        raise NotImplementedError

    @property
    def teardown(self) -> bool:
        """Whether all of it ought to be done, whatever fails."""
        return self.may_differ and (
            any(_CLOSES.match(name) for name in self._called_children()) or self._is_in_cleanup()
        )

    @property
    def cancelled_before(self) -> bool:
        """Whether the Tasks are being cancelled already, so that they are cleaning up."""
        if not self.may_differ:
            return False
        module, variables = self.module, self.children.variables
        around = [self.module.statement(self.call), *module.around_in_function(self.call)]
        return any(
            flow.cancelled(module, before, variables)
            for above in around
            if isinstance(above, ast.stmt)
            for before in itertools.takewhile(lambda one: one is not above, module.block(above))  # noqa: B023
        )

    @property
    def tasks_of_others(self) -> bool:
        """Whether other code holds the Tasks."""
        return self.may_differ and flow.belong_to_others(self.module, self.call, self.children)

    @property
    def used_after(self) -> bool:
        """Whether the Tasks are used after a failure."""
        return self.may_differ and flow.used_after(
            self.module, self.call, self.children, self.failure
        )

    @property
    def swallowed(self) -> bool:
        """Whether the function, or a caller in its module, continues after a failure."""
        return self.may_differ and (
            self.failure.survived
            or flow.survived_by_callers(self.module, self.module.function(self.call), set())
        )

    def _called_children(self) -> Iterator[str]:
        for leaf in self.children.leaves:
            if isinstance(leaf, ast.Call):
                name = flow.called(leaf)
                first = leaf.args[0] if name == "map" and leaf.args else leaf.func
                yield flow.name_of(first)

    def _is_in_cleanup(self) -> bool:
        for inside, above in itertools.pairwise((self.call, *self.module.around(self.call))):
            if isinstance(above, ast.Try | ast.TryStar) and inside in above.finalbody:
                return True
            if isinstance(above, FunctionDef):
                name = _WORD.sub("_", above.name).lower()
                if _IS_FOR_CLOSING.match(name) or self._is_behind_yield(above):
                    return True
        return False

    def _is_behind_yield(self, function: FunctionDef) -> bool:
        """Whether it is the second half of a context manager or a fixture."""
        decorators = " ".join(ast.unparse(one) for one in function.decorator_list)
        return ("contextmanager" in decorators or "fixture" in decorators) and any(
            isinstance(one, ast.Yield) and one.lineno < self.call.lineno
            for one in self.module.own(function)
        )
