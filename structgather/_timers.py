"""Timers: the time of each child, the deadline of a call, and what not every event loop can do.

Temporal runs a workflow on a loop of its own. It is never closed, it writes each timer into the
workflow's history, and while it evicts a workflow it refuses to set timers and to cancel them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class ChildTimeouts:
    """Calls `expire` with the index of each child whose time is over. One timer serves them all.

    All children have the same time: they expire in the order in which they were started.
    """

    __slots__ = ("_deadlines", "_expire", "_generation", "_loop", "_timer", "seconds")

    def __init__(
        self, seconds: float, loop: asyncio.AbstractEventLoop, expire: Callable[[int], None]
    ) -> None:
        self.seconds = seconds
        self._loop = loop
        self._expire = expire
        self._deadlines: dict[int, float] = {}
        #: Counts the timers, since one that has fired can't be cancelled any more.
        self._generation = 0
        self._timer: asyncio.TimerHandle | None = None

    def started(self, index: int, now: float) -> None:
        """Limit the time of a child that was started `now`."""
        self._deadlines[index] = now + self.seconds
        if self._timer is None:
            self._set_timer()

    def settled(self, index: int) -> None:
        """Forget a child that has finished."""
        self._deadlines.pop(index, None)

    def end(self) -> None:
        """Forget all children: the call is over, or everything is being cancelled anyway."""
        self._deadlines.clear()
        self._generation += 1
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _set_timer(self) -> None:
        self._timer = None
        self._generation += 1
        for deadline in self._deadlines.values():
            expire = functools.partial(self._expire_due, self._generation)
            self._timer = call_after_tick(self._loop, deadline, expire)
            break

    def _expire_due(self, generation: int) -> None:
        if generation != self._generation:
            return  # it fired before `end()`, and another timer may have been set since
        now = self._loop.time()
        while self._deadlines:
            index, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                break
            del self._deadlines[index]
            self._expire(index)
        self._set_timer()


def call_after_tick(
    loop: asyncio.AbstractEventLoop, when: float, callback: Callable[[], None]
) -> asyncio.TimerHandle:
    """Call `callback` when all that happens in the tick `when` of the clock has happened.

    That is two loop iterations after the tick: one for the timers that are due in the same tick,
    one for the Tasks that they wake. A value that arrives in the tick of its deadline is in time:

        await gather_structured(asyncio.sleep(1, "value"), child_timeout=1)
    """

    def next_iteration() -> None:
        loop.call_soon(loop.call_soon, callback)

    return loop.call_at(when, next_iteration)


def is_closed(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether a loop is closed. One that can't be closed is not."""
    try:
        return loop.is_closed()
    except NotImplementedError:
        return False


def keeps_a_history(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether each timer is part of a program's history: none may be set for a log."""
    try:
        loop.is_closed()
    except NotImplementedError:
        return True
    return False
