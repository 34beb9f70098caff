"""Small worlds: a call under test, and children of which each behaves in one known way.

    program = world(call, a=returns(points=2), b=fails(points=2))
    for run in explore(program, cancels=1):
        check_all(run)

`call` is any `async def call(*coroutines)`. The children await points, which the outside completes.
A world logs what truly happened, in plain data, so that the oracles can compare it with what the
call reports. These are the events; the first word of each line is what logs them.

    scope  "entered"   the labels of its children
    scope  "exited"    an `Exited`: how the call ended, and what it left behind
    scope  "after"     an `After`: whether a cancellation was raised only after the call
    child  "started"
    child  "cancelled" a CancelledError was thrown into it
    child  "cancels itself"
    child  "finished"  an `Ending`; its outermost `finally` has run
    both   "deadline"  the time after which nothing may run without having been cancelled
    scope  "time of each child"   its `child_timeout`
    child  "must end by"          the earliest deadline of everything around it
    child  "is a Future"          nothing of it runs
    child  "is a program"         it awaits more than points: calls, groups, cleanups with calls
    child  "in the outer task"    it has no task of its own
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias, cast

from simloop.base_loop import born_in
from simloop.loop import DeterministicLoop, current
from simloop.run import Program

Call: TypeAlias = Callable[..., Awaitable[Any]]

SCOPE = "scope"  # the label of the outermost scope

# The earliest deadline of everything around the running task.
must_end: ContextVar[float] = ContextVar("must_end", default=math.inf)


class ChildError(Exception):
    """How a child fails. Its argument is the child's label."""


class Ending(NamedTuple):
    """How a child finished, or what the call reports about it."""

    how: str  # "returned", "raised", "cancelled", "closed" (its coroutine, before it finished)
    what: Any = None  # the value returned, or the exception as text
    identity: int = 0  # of the exception; of a cancellation's cause
    cancels: int = 0  # by how much `cancelling()` of its task rose while it ran
    place: int = -1  # the child's index in the call, if the piece has it


class Exited(NamedTuple):
    """What was true at the moment when the call under test returned or raised."""

    ending: Ending  # of the call
    pieces: tuple[Ending, ...]  # what the call returned or raised, piece by piece
    complete: bool  # whether it promises one piece for each child
    pending: tuple[str, ...]  # the tasks born inside the call that were not done
    cancels: int  # by how much `cancelling()` of the calling task had risen


class After(NamedTuple):
    """What was true one loop iteration later."""

    cancelled: bool  # whether it was cancelled there
    cancels: int  # by how much `cancelling()` had risen since the call started


class Arrived(list[Any]):
    """Values in the order in which they arrived, for a call that returns them in this order."""


class _Token:
    """A local variable of a child: alive as long as the child's frame is."""

    __slots__ = ("__weakref__",)


class Child:
    """The argument of a behaviour: the label of its child, and points to await."""

    __slots__ = ("_loop", "_points", "disturbed", "label")

    def __init__(self, label: str, loop: DeterministicLoop) -> None:
        self.label = label
        self.disturbed = False  # whether a CancelledError was logged
        self._loop = loop
        self._points = 0

    def log(self, what: str, detail: Any = None) -> None:
        """Record something about this child; `detail` must be plain data."""
        self._loop.log(self.label, what, detail)

    def was_cancelled(self) -> None:
        """Record that a CancelledError was thrown into the child."""
        self.disturbed = True
        self.log("cancelled")

    async def watch(self, awaitable: Awaitable[Any]) -> Any:
        """Await anything, and log a cancellation that arrives during the wait."""
        try:
            return await awaitable
        except asyncio.CancelledError:
            self.was_cancelled()
            raise

    async def point(self) -> None:
        """Await the child's next point."""
        self._points += 1
        try:
            await self._loop.point(f"{self.label}{self._points}")
        except asyncio.CancelledError:
            self.was_cancelled()
            raise

    async def points(self, count: int) -> None:
        """Await the child's next `count` points."""
        for _ in range(count):
            await self.point()


Behaviour: TypeAlias = Callable[[Child], Coroutine[Any, Any, Any]]


def _cancels_of_this_task() -> int:
    # A function of its own: no frame that an exception may keep alive has the task as a local.
    task = asyncio.current_task()
    if task is None:
        return 0
    # A cancellation that was requested, and that the task has not received yet, will arrive.
    return task.cancelling() - getattr(task, "_must_cancel", False)


async def live(
    label: str, behaviour: Behaviour, deadline: float | None = None, end: float = math.inf
) -> Any:
    """Run one child: run `behaviour` and log how it finishes.

    It has `deadline` seconds; the earliest deadline around it is at the time `end`.
    """
    loop = current()
    child = Child(label, loop)
    token = _Token()
    loop.track(f"the frame of {label}", token)
    loop.track(f"the task of {label}", asyncio.current_task())
    loop.log(label, "started")
    if deadline is not None:
        loop.log(label, "deadline", loop.time() + deadline)
        end = min(end, loop.time() + deadline)
    if end < math.inf:
        loop.log(label, "must end by", end)
    must_end.set(end)
    before = _cancels_of_this_task()
    ending = Ending("closed")
    try:
        value = await behaviour(child)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            if not child.disturbed:
                child.was_cancelled()
            # A cancelled call has the failures of its children as the cause of its CancelledError.
            ending = Ending("cancelled", identity=id(error.__cause__) if error.__cause__ else 0)
        elif not isinstance(error, GeneratorExit):
            ending = describe(error)
            loop.track(f"the error of {label}", error)
        raise
    else:
        ending = Ending("returned", value)
        return value
    finally:
        loop.log(label, "finished", ending._replace(cancels=_cancels_of_this_task() - before))


async def scope(
    name: str,
    call: Call,
    children: dict[str, Behaviour],
    deadline: float | None = None,
    child_deadline: float | None = None,
) -> Any:
    """Run `call` over the children, yield to the loop once more, and log what happened."""
    loop = current()
    before = _cancels_of_this_task()
    ending, complete = Ending("closed"), False
    pieces: tuple[Ending, ...] = ()
    loop.log(name, "entered", tuple(children))
    end = must_end.get()
    if deadline is not None:
        loop.log(name, "deadline", loop.time() + deadline)
        end = min(end, loop.time() + deadline)
    outside = born_in.set(f"{born_in.get()}/{name}")
    try:
        value = await call(
            *[live(label, do, child_deadline, end) for label, do in children.items()]
        )
    except BaseException as error:
        ending = describe(error)
        pieces = tuple(describe(piece) for piece in _pieces_of(error))
        raise
    else:
        ending = Ending("returned")
        pieces, complete = _pieces(value)
        return value
    finally:
        pending = tuple(task.get_name() for task in loop.live_tasks(born_in.get()))
        born_in.reset(outside)
        cancels = _cancels_of_this_task() - before
        loop.log(name, "exited", Exited(ending, pieces, complete, pending, cancels))
        cancelled = True
        try:
            # An accepted cancellation must have been raised by now.
            await asyncio.sleep(0)
            cancelled = False
        finally:
            loop.log(name, "after", After(cancelled, _cancels_of_this_task() - before))


def world(
    call: Call,
    *,
    deadline: float | None = None,
    child_deadline: float | None = None,
    **children: Behaviour,
) -> Program:
    """Make a program that awaits `call(*children)` in the outer task.

    `deadline` and `child_deadline` are promises of the call that `deadlines_hold` checks: seconds
    from the start of the call, or of the child.
    """

    def program() -> Coroutine[Any, Any, Any]:
        return scope(SCOPE, call, children, deadline, child_deadline)

    return program


def describe(thing: Any) -> Ending:
    """Describe in plain data what a value, an exception or an outcome reports about a child."""
    if isinstance(thing, asyncio.CancelledError):
        return Ending("cancelled", thing.args)
    if isinstance(thing, BaseException):
        return Ending("raised", repr(thing), id(thing))
    if _is_outcome(thing):
        if thing.cancelled():
            return Ending("cancelled")
        error = thing.exception()
        return Ending("returned", thing.result()) if error is None else describe(error)
    return Ending("returned", thing)


def _is_outcome(thing: Any) -> bool:
    return hasattr(thing, "cancelled") and hasattr(thing, "exception") and hasattr(thing, "result")


def _pieces(value: Any) -> tuple[tuple[Ending, ...], bool]:
    """Return what a call returned, piece by piece, and whether it promises one for each child.

    A plain list is in the order of the children, as gather's is. Outcomes have an `index`; only
    an object with `.outcomes` promises to be complete.
    """
    if isinstance(value, Arrived):
        return tuple(describe(piece) for piece in value), False
    pieces: Any = getattr(value, "outcomes", value)
    if not isinstance(pieces, list | tuple):
        return (), False
    found: list[Any] = list(cast("list[Any]", pieces))
    if any(_is_outcome(piece) for piece in found):
        indexed = [describe(piece)._replace(place=getattr(piece, "index", -1)) for piece in found]
        return tuple(indexed), pieces is not value
    return tuple(describe(piece)._replace(place=at) for at, piece in enumerate(found)), True


def _pieces_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return what a call raised: the failures in its group, each of which may be a group itself."""
    if not isinstance(error, BaseExceptionGroup):
        return (error,)
    return cast("BaseExceptionGroup[BaseException]", error).exceptions
