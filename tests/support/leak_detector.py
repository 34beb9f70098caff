"""Refers weakly to all that the children of a call are made of, and tells who keeps it alive."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Coroutine, Iterable, Iterator
from contextvars import ContextVar
from types import CoroutineType, FrameType
from typing import Any, cast


class Thing:
    """Something that a frame or a context holds, and that is gone when that is."""


class ChildError(Exception):
    """How a child fails. It can be referred to weakly, which a ValueError cannot."""


in_the_context: ContextVar[Thing] = ContextVar("in_the_context")


async def wait(seconds: float) -> None:
    """Sleep; but no frame refers to the timer, as that of `asyncio.sleep` does, and its context."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(seconds, _end, over)
    await over


def _end(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


class Witness:
    """Makes children, and refers weakly to all that they are made of."""

    def __init__(self) -> None:
        self.refs: list[tuple[str, weakref.ref[Any]]] = []

    def saw(self, what: str, thing: Any) -> Any:
        self.refs.append((what, weakref.ref(thing)))
        return thing

    def saw_task(self, what: str) -> None:
        """Take note of the current task, and of its context."""
        task = asyncio.current_task()
        self.saw(f"the task of {what}", task)
        in_the_context.set(self.saw(f"what is in the context of {what}", Thing()))
        if sys.version_info >= (3, 12) and task is not None:
            self.saw(f"the context of {what}", task.get_context())

    def alive(self) -> list[str]:
        """What is still there."""
        return [what for what, ref in self.refs if ref() is not None]

    def check(self, *kept: str) -> None:
        """Fail if there is more than what may be kept, by its first words; say who keeps it."""
        left = [what for what in self.alive() if not what.startswith(kept or ("nothing",))]
        if left:
            lines = (line for what, ref in self.refs if what in left for line in _keepers(ref))
            raise AssertionError("\n  ".join([f"still alive: {', '.join(left)}", *lines]))

    async def child(
        self, name: str, seconds: float = 0, *, fails: bool = False, turns: int = 1
    ) -> Any:
        """Return or fail after a time."""
        frame = self.saw(f"the frame of {name}", Thing())
        self.saw_task(name)
        try:
            for _ in range(turns):
                await (wait(seconds) if seconds else asyncio.sleep(0))
            if fails:
                raise self.saw(f"the error of {name}", ChildError(name))
        except asyncio.CancelledError as error:
            self.saw(f"the cancellation of {name}", error)
            raise
        del frame
        return self.saw(f"the value of {name}", Thing())

    def children(self) -> list[Coroutine[Any, Any, Any]]:
        """One that returns, one that fails, one that is late."""
        return [self.child("a", 1), self.child("b", 2, fails=True), self.child("c", 9)]


#: A cancelled timer stays with the loop, and its context with it, until it would have been due.
OF_CANCELLED_TIMERS = ("the context", "what is in the context")


# Who keeps it.


def _keepers(ref: weakref.ref[Any]) -> Iterator[str]:
    thing = ref()
    if thing is not None:
        yield _name(thing)
        yield from _referrers(thing, 1, {id(thing)})


def _referrers(thing: object, depth: int, seen: set[int]) -> Iterator[str]:
    """What refers to a thing, and to that, four levels up."""
    found = gc.get_referrers(thing)
    seen.add(id(found))
    for referrer in found:
        if id(referrer) in seen or _is_ours(referrer):
            continue
        seen.add(id(referrer))
        yield f"{'  ' * depth}<- {_name(referrer)}"
        if depth < 4:
            yield from _referrers(referrer, depth + 1, seen)


def _is_ours(thing: object) -> bool:
    code = getattr(thing, "f_code", None) or getattr(thing, "gi_code", None)
    return code is not None and code.co_filename == __file__ and code.co_name != "child"


def _name(thing: object) -> str:
    if isinstance(thing, FrameType):
        return f"frame of {thing.f_code.co_qualname}, line {thing.f_lineno}"
    if isinstance(thing, CoroutineType):
        return f"coroutine {thing.__qualname__}"
    if isinstance(thing, asyncio.Task):
        return f"Task {thing.get_name()}"
    if isinstance(thing, dict):
        keys: list[Any] = list(cast("Iterable[Any]", thing))
        return f"dict of {', '.join(map(str, keys[:5]))}"
    if isinstance(thing, BaseException):
        return f"exception {thing!r:.60}"
    return type(thing).__qualname__
