"""The time that each child may take, counted from its own start."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class ChildTimeouts:
    """Calls `expire` with the index of each child whose time is over. One timer serves them all.

    All have the same time to live: the order in which they start is the order of their deadlines.
    """

    __slots__ = ("_deadlines", "_expire", "_loop", "_round", "_timer", "seconds")

    def __init__(
        self, seconds: float, loop: asyncio.AbstractEventLoop, expire: Callable[[int], None]
    ) -> None:
        self.seconds = seconds
        self._loop = loop
        self._expire = expire
        self._deadlines: dict[int, float] = {}
        #: Counts the timers: one that has rung can't be cancelled any more.
        self._round = 0
        self._timer: asyncio.TimerHandle | None = None

    def started(self, index: int, now: float) -> None:
        """Let the time of a child begin."""
        self._deadlines[index] = now + self.seconds
        if self._timer is None:
            self._set_timer()

    def settled(self, index: int) -> None:
        """Forget a child that has finished."""
        self._deadlines.pop(index, None)

    def end(self) -> None:
        """Forget all children: the call is over, or everything is being cancelled anyway."""
        self._deadlines.clear()
        self._round += 1
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _set_timer(self) -> None:
        self._timer = None
        self._round += 1
        for deadline in self._deadlines.values():
            look = functools.partial(self._look, self._round)
            self._timer = call_after_tick(self._loop, deadline, look)
            break

    def _look(self, of_round: int) -> None:
        if of_round != self._round:
            return  # it rang before `end()`, and another timer may have been set since
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
    """Call `callback` when all that arrives in the tick `when` of the clock has arrived.

    That is two turns of the loop after the tick: one for the timers that are due in the same tick,
    one for the tasks that they wake. A value that comes in the tick of its deadline is in time:

        await gather_structured(asyncio.sleep(1, "value"), child_timeout=1)
    """

    def next_turn() -> None:
        loop.call_soon(loop.call_soon, callback)

    return loop.call_at(when, next_turn)
