"""asyncio's timeouts and groups around calls, cleanups with calls, and the whole program."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from string import ascii_lowercase
from typing import Any, ClassVar

from simloop.calls import Coro
from simloop.loop import current
from simloop.random_programs.nodes import Node, settle
from simloop.random_programs.scopes import FUNCTIONS, Call, Functions, under_test
from simloop.run import Program
from simloop.worlds import SCOPE, Child, live, must_end, scope


class Timeout(Node):
    """`asyncio.timeout` around its part."""

    defaults: ClassVar = {"seconds": 1}

    async def run(self, child: Child) -> Any:
        seconds, before = self.options["seconds"], must_end.get()
        child.log("is a program")
        must_end.set(min(before, current().time() + seconds))
        timeout = asyncio.timeout(seconds)
        how = "returned"
        try:
            async with timeout:
                return await self.parts[0].run(inside(child))
        except BaseException as error:
            how = type(error).__name__
            raise
        finally:
            must_end.set(before)
            if timeout.expired():
                child.log("timeout expired", how)
            del timeout  # it refers to the task


class Group(Node):
    """`asyncio.TaskGroup`: the first part is its body, the others are its tasks."""

    def __init__(self, *parts: Node) -> None:
        super().__init__(*parts)
        if not parts or not isinstance(parts[0], Call):
            raise TypeError(
                "a body that ignores a cancellation keeps it from the tasks of the group"
            )

    async def run(self, child: Child) -> Any:
        child.log("is a program")
        body, *others = self.parts
        group = asyncio.TaskGroup()
        try:
            async with group:
                for letter, part in zip(ascii_lowercase, others, strict=False):
                    # Deadlines around the group do not apply: it cancels them when its body
                    # has finished, cleanups included.
                    start_in(group, live(f"{child.label}.{letter}", part.run))
                return await body.run(inside(child))
        except BaseException as error:
            child.log("group failed", type(error).__name__)
            raise
        finally:
            del group  # it refers to tasks


def start_in(group: asyncio.TaskGroup, coroutine: Coroutine[Any, Any, Any]) -> None:
    try:
        group.create_task(coroutine)
    except RuntimeError:  # on 3.12 a group refuses a task after an eager one has failed
        coroutine.close()


class Finally(Node):
    """The first part, with the second one, which must not fail, in its `finally`."""

    def __init__(self, first: Node, then: Node) -> None:
        super().__init__(first, then)
        if not then.is_quiet():
            raise TypeError("its failure would replace a cancellation")

    async def run(self, child: Child) -> Any:
        child.log("is a program")
        first, then = self.parts
        try:
            return await first.run(inside(child))
        finally:
            before = must_end.get()
            must_end.set(math.inf)  # a cleanup is not cancelled again
            try:
                await then.run(Child(f"{child.label}~", current()))
            finally:
                must_end.set(before)


def inside(child: Child) -> Child:
    # A cancellation that is handled in here is not the child's.
    return Child(f"{child.label}'", current())


# The program.


def program(tree: Node, functions: Functions | None = None) -> Program:
    """Make a program of the tree; `functions` replace those under test."""

    async def outermost(root: Coro) -> list[Any]:
        current().log("root", "in the outer task")
        try:
            return [await root]
        finally:
            await settle()

    async def whole() -> Any:
        under_test.set({**FUNCTIONS, **(functions or {})})
        return await scope(SCOPE, outermost, {"root": tree.run})

    return whole
