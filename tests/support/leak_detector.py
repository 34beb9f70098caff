"""Finds what keeps the tasks, frames and exceptions of children alive after a call."""

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
    """An object that lives as long as the frame or the context that refers to it."""


class ChildError(Exception):
    """The failure of a child. It supports weak references, as a ValueError does not."""


in_the_context: ContextVar[Thing] = ContextVar("in_the_context")


async def wait(seconds: float) -> None:
    """Sleep without a frame that refers to the timer and its context, as `asyncio.sleep` has."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(seconds, _finish, done)
    await done


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


class Witness:
    """Creates children, and keeps weak references to their parts."""

    def __init__(self) -> None:
        self.refs: list[tuple[str, weakref.ref[Any]]] = []

    def saw(self, what: str, thing: Any) -> Any:
        self.refs.append((what, weakref.ref(thing)))
        return thing

    def saw_task(self, what: str) -> None:
        """Keep weak references to the current task and its context."""
        task = asyncio.current_task()
        self.saw(f"the task of {what}", task)
        in_the_context.set(self.saw(f"what is in the context of {what}", Thing()))
        if sys.version_info >= (3, 12) and task is not None:
            self.saw(f"the context of {what}", task.get_context())

    def alive(self) -> list[str]:
        """Return the names of the objects that are alive."""
        return [what for what, ref in self.refs if ref() is not None]

    def check(self, *kept: str) -> None:
        """Fail if objects are alive, except those that start with one of `kept`; name referrers."""
        left = [what for what in self.alive() if not what.startswith(kept or ("nothing",))]
        if left:
            lines = (line for what, ref in self.refs if what in left for line in _keepers(ref))
            raise AssertionError("\n  ".join([f"still alive: {', '.join(left)}", *lines]))

    async def child(
        self, name: str, seconds: float = 0, *, fails: bool = False, iterations: int = 1
    ) -> Any:
        """Return or fail after some seconds or loop iterations."""
        frame = self.saw(f"the frame of {name}", Thing())
        self.saw_task(name)
        try:
            for _ in range(iterations):
                await (wait(seconds) if seconds else asyncio.sleep(0))
            if fails:
                raise self.saw(f"the error of {name}", ChildError(name))
        except asyncio.CancelledError as error:
            self.saw(f"the cancellation of {name}", error)
            raise
        del frame
        return self.saw(f"the value of {name}", Thing())

    def children(self) -> list[Coroutine[Any, Any, Any]]:
        """Return three children: one returns, one fails, one is late."""
        return [self.child("a", 1), self.child("b", 2, fails=True), self.child("c", 9)]


#: The loop keeps a cancelled timer, with its context, until it would have been due.
OF_CANCELLED_TIMERS = ("the context", "what is in the context")


# Referrers


def _keepers(ref: weakref.ref[Any]) -> Iterator[str]:
    thing = ref()
    if thing is not None:
        yield _name(thing)
        yield from _referrers(thing, 1, {id(thing)})


def _referrers(thing: object, depth: int, seen: set[int]) -> Iterator[str]:
    """Yield the referrers of an object, and theirs, up to four levels."""
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
