"""The warning about a child that ignores its cancellation.

It keeps its caller waiting, but not silently: while it runs, the logger `structgather` warns at
growing intervals, with the child's name and its current line.
"""

from __future__ import annotations

import asyncio
import logging
import os
from types import CoroutineType, FrameType
from typing import TYPE_CHECKING, Any, Protocol

from structgather._arguments import check_seconds
from structgather._group import coroutine_of, replays_timers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping

logger = logging.getLogger("structgather")

#: The default of `warn_stuck_after`, in seconds.
DEFAULT_AFTER = 5.0

#: The environment variable with the same setting: seconds, or "off".
VARIABLE = "STRUCTGATHER_WARN_STUCK_AFTER"

_GROWTH = 2

#: How many coroutines of a chain of awaits are inspected.
_DEEPEST = 1_000


def warn_stuck_after(seconds: float | None) -> None:
    """Set how long a cancelled child may run before the logger `structgather` logs a WARNING.

    Applies to calls of all event loops from now on. The interval doubles after each warning.

    Args:
        seconds: Time after the cancellation, 5 by default; None turns the warning off.
            The environment variable `STRUCTGATHER_WARN_STUCK_AFTER` (seconds, or `off`) sets it
            where no code can be changed.

    Raises:
        TypeError: `seconds` is not a number.
        ValueError: `seconds` is 0, negative or NaN.
    """
    global _after  # noqa: PLW0603 - one setting for the process, like that of a logger
    _after = _checked("warn_stuck_after", seconds)


def _checked(function: str, seconds: float | None) -> float | None:
    after = check_seconds(function, "seconds", seconds)
    if after == 0:
        message = f"{function}(): seconds must be more than 0; None, or 'off', turns warnings off"
        raise ValueError(message)
    return after


def _from_environment() -> float | None:
    text = os.environ.get(VARIABLE, "").strip()
    if text.lower() in {"off", "none"}:
        return None
    try:
        return _checked(VARIABLE, float(text)) if text else DEFAULT_AFTER
    except ValueError:
        logger.warning("%s=%r is neither a number of seconds nor 'off': ignored", VARIABLE, text)
        return DEFAULT_AFTER


_after = _from_environment()


class Watched(Protocol):
    """The part of a scope that is used here."""

    loop: asyncio.AbstractEventLoop
    function: str

    @property
    def unfinished(self) -> Mapping[int, asyncio.Future[Any]]: ...

    @property
    def cancelled_at(self) -> Mapping[int, float]: ...

    def elapsed(self, index: int, /) -> float: ...


class Watch:
    """Watches the cancelled children of one scope until the last has settled."""

    __slots__ = ("_after", "_intervals", "_scope", "_timer")

    def __init__(self, scope: Watched, after: float) -> None:
        self._scope = scope
        self._after = after
        #: For each child with a warning: the time until the next warning.
        self._intervals: dict[int, float] = {}
        self._timer = scope.loop.call_at(scope.loop.time() + after, self._look)

    def end(self) -> None:
        """Stop watching: no child is left."""
        self._timer.cancel()

    def _look(self) -> None:
        scope = self._scope
        now = scope.loop.time()
        next_look = now + self._after
        for index, child in scope.unfinished.items():
            cancelled = scope.cancelled_at.get(index)
            if cancelled is None:
                continue
            interval = self._intervals.get(index, self._after)
            # Compare with the sum for which the timer was set: a difference may round to less, and
            # a timer that fires exactly then, as in virtual time, would find nothing due.
            if now >= cancelled + interval:
                logger.warning(
                    "%s(): still waiting for child %d, %s, cancelled %.1f s ago, started %.1f s "
                    "ago; it is at %s",
                    scope.function,
                    index,
                    describe(child),
                    now - cancelled,
                    scope.elapsed(index),
                    where(child),
                )
                self._intervals[index] = interval = interval * _GROWTH
            next_look = min(next_look, cancelled + interval)
        self._timer = scope.loop.call_at(next_look, self._look)


def watch(scope: Watched) -> Watch | None:
    """Watch the cancelled children of `scope`, unless that was turned off."""
    if _after is None or replays_timers(scope.loop):
        return None
    return Watch(scope, _after)


def name_of(awaitable: object) -> str:
    """Name an awaitable as its author would: by its function, or else by its type."""
    try:
        name: object = getattr(awaitable, "__qualname__", None)
    except Exception:  # noqa: BLE001 - a proxy's `__getattr__` may raise anything, or ...
        name = None
    return name if type(name) is str else type(awaitable).__qualname__  # ... return a proxy


def names_of(awaitable: object) -> tuple[str, str]:
    """Return the `__name__` and the `__qualname__` of a coroutine that awaits `awaitable`."""
    if isinstance(awaitable, CoroutineType):
        return awaitable.__name__, awaitable.__qualname__
    name = name_of(awaitable)
    return name, name


def describe(child: Awaitable[Any]) -> str:
    """Name a child by its function and its Task."""
    if isinstance(child, asyncio.Task):
        task: asyncio.Task[Any] = child
        coroutine = coroutine_of(task)
        if coroutine is None:  # see `coroutine_of`
            return "a Task" if task.get_name() == "None" else task.get_name()
        return f"{name_of(coroutine)} ({task.get_name()})"
    return name_of(child)


def where(child: asyncio.Future[Any]) -> str:
    """Return the innermost line of the user's code in a child.

    If the child is itself a call of this package, that is a line of one of its children.
    """
    pending, seen = [child], set[int]()
    while pending:
        child = pending.pop()
        if id(child) in seen:
            continue
        seen.add(id(child))
        frames = list(_frames(child))
        users = [frame for frame in frames if not _is_of(frame, "asyncio", "structgather")]
        if users:
            code = users[-1].f_code
            return f"{code.co_filename}:{users[-1].f_lineno} in {code.co_name}"
        for frame in frames:
            children: dict[int, asyncio.Future[Any]]
            children = getattr(frame.f_locals.get("self"), "unfinished", {})
            # The frames of a child include one of the call that runs it.
            if all(other is not child for other in children.values()):
                pending += reversed(children.values())
    return "an unknown line"


def _frames(child: asyncio.Future[Any]) -> Iterator[FrameType]:
    awaited = coroutine_of(child) if isinstance(child, asyncio.Task) else None
    for _ in range(_DEEPEST):
        try:
            frame, awaited = _look_into(awaited)
        except Exception:  # noqa: BLE001 - a proxy's `__getattr__` may raise anything
            return
        if frame is not None:
            yield frame
        if awaited is None:
            return


def _look_into(awaited: object) -> tuple[FrameType | None, object]:
    for kind in ("cr", "gi", "ag"):
        frame = getattr(awaited, f"{kind}_frame", None)
        if isinstance(frame, FrameType):
            return frame, getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    return None, None


def _is_of(frame: FrameType, *packages: str) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in packages
