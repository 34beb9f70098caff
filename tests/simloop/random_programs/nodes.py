"""Nodes of a tree, whose repr is the Python that builds it: leaves, and kinds of arguments."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, ClassVar

from simloop import behaviours, calls
from simloop.base_loop import born_in
from simloop.calls import Coro, log
from simloop.loop import current
from simloop.worlds import SCOPE, Child, Ending, describe, live

# Tasks of the running program. No frame may refer to them, as their exceptions refer to frames.
_shared: dict[str, asyncio.Task[Any]] = {}
_shielded: list[asyncio.Task[Any]] = []

WIDTH = 80


class Node:
    """A part of a program. Two with the same repr are the same."""

    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, *parts: Node, **options: Any) -> None:
        if unknown := options.keys() - self.defaults.keys():
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        self.parts = parts
        self.options = {**self.defaults, **options}

    async def run(self, child: Child) -> Any:
        """Run it in the current task, as `child`."""
        raise NotImplementedError

    def is_quiet(self) -> bool:
        """Whether it raises nothing but the cancellation of its task."""
        return False

    def arguments(self) -> list[str]:
        """The options that do not have their defaults, as Python."""
        return [
            f"{name}={value!r}"
            for name, value in self.options.items()
            if value != self.defaults[name]
        ]

    def __repr__(self) -> str:
        items = [*map(repr, self.parts), *self.arguments()]
        name = type(self).__name__
        line = f"{name}({', '.join(items)})"
        if len(line) <= WIDTH and "\n" not in line:
            return line
        inside = "".join(f"{item},\n" for item in items).replace("\n", "\n    ").rstrip()
        return f"{name}(\n    {inside}\n)"


QUIET = ("returns", "sleeps", "cleans_up_slowly", "returns_while_cancelled")


class Leaf(Node):
    """The behaviour of that name in `simloop.behaviours`, with so many points (or seconds)."""

    defaults: ClassVar = {"points": 1}

    def __init__(self, does: str, **options: Any) -> None:
        super().__init__(**options)
        self.does = does

    def arguments(self) -> list[str]:
        return [repr(self.does), *super().arguments()]

    def is_quiet(self) -> bool:
        return self.does in QUIET

    async def run(self, child: Child) -> Any:
        make = getattr(behaviours, self.does, None) or getattr(calls, self.does)
        return await make(self.options["points"])(child)


# Arguments of a call that are not coroutines.


class Wrapped(Node):
    """As anything but an argument of a call, it is what it wraps."""

    async def run(self, child: Child) -> Any:
        return await self.parts[0].run(child)


class Adopted(Wrapped):
    """A Task of the caller."""


class Shared(Wrapped):
    """A Task that other calls have as well: those whose children have the same `name`."""

    defaults: ClassVar = {"name": "shared"}


class Shielded(Wrapped):
    """A Task in an `asyncio.shield`; the program joins it at its end."""

    def __init__(self, part: Node) -> None:
        super().__init__(part)
        if not part.is_quiet():
            raise TypeError("its exception would never be retrieved")


def is_adopted(part: Node) -> bool:
    return isinstance(part, Wrapped)


def argument(part: Node, label: str, coroutine: Coro) -> Any:
    """Return what the call gets for the coroutine of a child."""
    match part:
        case Adopted():
            log("caller", "adopted", label)
            return asyncio.create_task(coroutine)
        case Shared():
            log("caller", "adopted", label)
            if label in _shared:
                coroutine.close()
            else:
                _shared[label] = asyncio.create_task(coroutine)
            return _shared[label]
        case Shielded():
            log("caller", "adopted", label)
            coroutine.close()
            return shield(part, label)
        case _:
            return coroutine


def shield(part: Node, label: str) -> asyncio.Future[Any]:
    here = born_in.set(f"/{SCOPE}")  # it outlives the call
    inner = asyncio.create_task(live(f"{label}'", part.run))
    born_in.reset(here)
    _shielded.append(inner)
    outer = asyncio.shield(inner)
    del inner
    loop = current()
    loop.log(label, "started")
    loop.log(label, "is a Future")
    if outer.done():
        shield_finished(label, outer)
    else:
        outer.add_done_callback(partial(shield_finished, label))
    return outer


def shield_finished(label: str, outer: asyncio.Future[Any]) -> None:
    loop = current()
    if outer.cancelled():
        loop.log(label, "cancelled")
        loop.log(label, "finished", Ending("cancelled", cancels=1))
    else:
        loop.log(label, "finished", describe(outer.result()))


# The end of a program.


async def settle() -> None:
    """Join the shielded Tasks, also when cancelled."""
    cancelled: asyncio.CancelledError | None = None
    try:
        while not all(task.done() for task in _shielded):
            try:
                await one_of([task for task in _shielded if not task.done()])
            except asyncio.CancelledError as error:
                cancelled = error.with_traceback(None)
        if cancelled is not None:
            raise cancelled
    finally:
        _shielded.clear()
        _shared.clear()
        del cancelled


async def one_of(tasks: list[asyncio.Task[Any]]) -> None:
    # `asyncio.wait` leaves its caller in a cycle if it is cancelled, on 3.14 and later.
    done = current().create_future()

    def wake(_: object) -> None:
        if not done.done():
            done.set_result(None)

    for task in tasks:
        task.add_done_callback(wake)
    try:
        await done
    finally:
        for task in tasks:
            task.remove_done_callback(wake)
        del tasks
