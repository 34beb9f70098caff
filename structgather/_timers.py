"""Timers: the timeout of each child, and the deadline of a call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from structgather._errors import INTERRUPTS
from structgather._failures import INPUT
from structgather._outcome import TimedOut
from structgather._stuck import describe
from structgather._unstarted import close_unstarted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from structgather._scope import Scope


class ChildTimeouts:
    """Cancels each child of a scope whose timeout has expired. One timer serves them all.

    All children have the same timeout, so they expire in the order in which they were started.
    """

    __slots__ = ("_deadlines", "_scope", "_seconds", "_timer")

    def __init__(self, scope: Scope, seconds: float) -> None:
        self._scope = scope
        self._seconds = seconds
        self._deadlines: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(
        self, indices: Sequence[int], awaitables: Sequence[Awaitable[Any]]
    ) -> tuple[Sequence[int], Sequence[Awaitable[Any]]]:
        """Time the children that start now, and return those that may start.

        With 0 seconds these are the Tasks and Futures, which run already; the others time out.
        """
        if not self._seconds:
            indices, awaitables = self._running(indices, awaitables)
        if self._scope.stopping:
            return indices, awaitables  # adopted, to be cancelled at once
        deadline = self._scope.loop.time() + self._seconds
        self._deadlines.update((index, deadline) for index in indices if index != INPUT)
        if self._timer is None:
            self._set_timer()
        return indices, awaitables

    def _running(
        self, indices: Sequence[int], awaitables: Sequence[Awaitable[Any]]
    ) -> tuple[list[int], list[Awaitable[Any]]]:
        running: list[tuple[int, Awaitable[Any]]] = []
        for index, awaitable in zip(indices, awaitables, strict=True):
            if index == INPUT or asyncio.isfuture(awaitable):
                running.append((index, awaitable))
            else:
                close_unstarted((awaitable,))
                error = self._error(index, describe(awaitable))
                self._scope.settle_error(TimedOut, index, error)
        return [index for index, _ in running], [awaitable for _, awaitable in running]

    def discard(self, index: int) -> None:
        """Forget a child that has finished."""
        self._deadlines.pop(index, None)

    def clear(self) -> None:
        """Forget all children: the call has finished, or everything is being cancelled anyway."""
        self._deadlines.clear()  # the timer may have fired, and can't be cancelled any more
        timer, self._timer = self._timer, None
        try:
            if timer is not None:
                timer.cancel()
        except INTERRUPTS:
            raise
        except BaseException as error:  # noqa: BLE001 - of a loop that refuses, see `_group`
            self._scope.errors.keep(error)

    def _error(self, index: int, name: str) -> TimeoutError:
        return TimeoutError(
            f"{self._scope.function}(): child {index}, {name}, took longer than its child_timeout "
            f"of {self._seconds:g} s"
        )

    def _set_timer(self) -> None:
        self._timer = None
        deadline = next(iter(self._deadlines.values()), None)
        if deadline is not None:
            self._timer = call_after_tick(self._scope.loop, deadline, self._expire_due)

    def _expire_due(self) -> None:
        scope = self._scope
        now = scope.loop.time()
        while self._deadlines:
            index, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                break
            del self._deadlines[index]
            child = scope.unfinished.get(index)
            if child is not None and not child.done():
                scope.timeout_errors[index] = self._error(index, describe(child))
                scope.cancel((index,))
        self._set_timer()


def call_after_tick(
    loop: asyncio.AbstractEventLoop, when: float, callback: Callable[[], None]
) -> asyncio.TimerHandle:
    """Call `callback` after everything else in the tick `when` of the clock.

    That is two loop iterations after the tick: one for the timers that are due in the same tick,
    one for the Tasks that they wake. A value that arrives in the tick of its deadline is in time:

        await gather_structured(asyncio.sleep(1, "value"), child_timeout=1)
    """

    def next_iteration() -> None:
        loop.call_soon(loop.call_soon, callback)

    return loop.call_at(when, next_iteration)
