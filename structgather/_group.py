"""What a call adds to asyncio: its TaskGroup, the future that its body awaits, minimal loops.

Temporal runs a workflow on a loop of its own. It is never closed, it writes each timer into the
workflow's history, and while it evicts a workflow it refuses to set timers and to cancel them.
"""

from __future__ import annotations

import asyncio
import sys
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from structgather._ancestors import Joins

if TYPE_CHECKING:
    from collections.abc import Callable

# As Any, so that type checkers do not narrow the type of an awaitable to one with unknown parts.
COROUTINE: Any = CoroutineType
TASK: Any = asyncio.Task

#: How many nested calls are cancelled in the same instant. Those deeper down are cancelled by the
#: one above, a loop iteration later each, so that no stack overflows.
_DEEPEST = 50
_depth = 0


class Group(asyncio.TaskGroup, Joins):
    """The TaskGroup of one call. It does not wait when the caller's coroutine is being closed."""

    def __aexit__(self, kind: Any, error: Any, traceback: Any) -> Any:  # noqa: ANN401 - as it is
        if kind is GeneratorExit:
            return _nothing()
        return super().__aexit__(kind, error, traceback)


async def _nothing() -> None:
    pass


class Waiter(asyncio.Future[None]):
    """The future that a call awaits. Cancelling it cancels the children synchronously.

    So each child sees one cancellation where everything is cancelled at once, as at the end of
    `asyncio.run`; a second one, an iteration later, would interrupt cleanups.
    """

    __slots__ = ("stop",)

    stop: Callable[..., None] | None

    def cancel(self, msg: Any = None) -> bool:  # noqa: ANN401 - asyncio's signature
        """Cancel the children, then the future."""
        global _depth  # noqa: PLW0603 - of the calls of this method on the stack
        stop, self.stop = self.stop, None
        try:
            if stop is not None and _depth < _DEEPEST:
                _depth += 1
                try:
                    stop() if msg is None else stop(msg)
                finally:
                    _depth -= 1
        finally:
            cancelled = super().cancel(msg)
        return cancelled


class BlockWaiter(Waiter):
    """The future that `__anext__` awaits. Cancelling it leaves the children running.

    The body may catch the cancellation:

    async with asyncio.timeout(1):
        outcome = await anext(outcomes)
    """

    __slots__ = ()

    def cancel(self, msg: Any = None) -> bool:  # noqa: ANN401 - asyncio's signature
        """Cancel the children only if the loop is not running, as when `asyncio.run` ends."""
        if self.get_loop().is_running():
            self.stop = None
        return super().cancel(msg)


def is_closed(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether a loop is closed. One that can't be closed is not."""
    try:
        return loop.is_closed()
    except NotImplementedError:
        return False


def replays_timers(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether the loop records its timers for replay, as Temporal's does.

    The warning must not set one there.
    """
    try:
        loop.is_closed()
    except NotImplementedError:
        return True
    return False


def coroutine_of(task: asyncio.Task[Any]) -> object:
    """Return the coroutine of a Task, or None if it finished eagerly.

    3.12 crashes where such a Task is asked for its coroutine; its repr distinguishes them.
    """
    if sys.version_info[:2] == (3, 12) and task.done() and " coro=" not in repr(task):
        return None
    return task.get_coro()
