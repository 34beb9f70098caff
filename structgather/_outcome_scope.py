"""A scope that pulls its inputs from an iterable, and whose children settle into outcomes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from structgather import _inputs
from structgather._outcome import Cancelled, Failed, Ok, TimedOut
from structgather._scope import SOURCE, Scope
from structgather._stuck import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from structgather._outcome import Outcome
    from structgather._source import Source


class OutcomeScope(Scope):
    """What `first_n_within` and `as_completed_scoped` have in common."""

    # What a policy says.

    def settled(self, outcome: Outcome[Any], *, by_us: bool) -> None:
        """Take the outcome of a child. Called once per child."""
        raise NotImplementedError

    def next_index(self) -> int:
        """Return the index of the input that is being taken."""
        raise NotImplementedError

    def has_room(self) -> bool:
        """Tell whether one more child may be started."""
        raise NotImplementedError

    def time_is_over(self, *, missing: bool) -> None:
        """Stop, since the time of the whole call is over; `missing` tells whether it was needed."""
        raise NotImplementedError

    # What a policy asks for.

    def pull_from(self, source: Source, *, start_nothing: bool) -> None:
        """Take the inputs from `source`. With `start_nothing`, the time is over already."""
        self.source = source
        self.source_error: BaseException | None = None
        self._start_nothing = start_nothing
        #: The children that ran when the time of the whole call was over; their names.
        self._overdue: dict[int, str] = {}
        #: Inputs that were taken or added, and wait for their turn; with their index.
        self.waiting: deque[tuple[int, Awaitable[Any]]] = deque()
        #: How many are making their first step just now, where tasks start eagerly.
        self.starting = 0

    def pull(self) -> None:
        """Start what there is room for. After `stop()`, account for what is left."""
        if self._start_nothing and not self.stopping:
            self._take_what_is_done()
            return
        waiting = self.waiting
        while self.stopping or self.has_room():
            if not waiting and not self._take_one():
                break
            if waiting and (self.stopping or self.has_room()):  # the iterable may have used it up
                self.start_or_not(*waiting.popleft())
        self.started_all()

    def _take_one(self) -> bool:
        """Let one more input wait for its turn, if there is one."""
        source = self.source
        if source.total is None and self.stopping:
            return False  # what a generator has not made yet need not be made
        try:
            awaitable = source.take()
        except BaseException as error:  # noqa: BLE001 - the policy raises it
            self.source_failed(error)
            return False
        if awaitable is None:
            return False
        self.waiting.append((self.next_index(), awaitable))
        return True

    def start_or_not(self, index: int, awaitable: Awaitable[Any]) -> None:
        """Make a child of an input; after `stop()` only if it runs already, and is to end."""
        if self.stopping and not asyncio.isfuture(awaitable):
            _inputs.close_unstarted((awaitable,))
            self.settled(Cancelled(asyncio.CancelledError("never started"), index, 0.0), by_us=True)
            return
        self.starting += 1
        self.start(index, awaitable)
        self.starting -= 1

    def stop(self, *message: object) -> None:
        if not self.stopping:
            super().stop(*message)
            self.pull()

    def stop_late(self, seconds: float) -> int:
        """Stop because the time of the whole call is over; return how many children still run."""
        self._overdue = {
            index: describe(child) for index, child in self.unsettled.items() if index != SOURCE
        }
        self._seconds = seconds
        self.stop()
        return len(self._overdue)

    def _take_what_is_done(self) -> None:
        """With no time at all, only what was done before the call counts."""
        source, late = self.source, []
        while source.total is not None and (awaitable := source.take()) is not None:
            index = self.next_index()
            if asyncio.isfuture(awaitable) and awaitable.done():
                self.start(index, awaitable)
            else:
                late.append((index, awaitable))
        self.time_is_over(missing=bool(late) or not source.exhausted)
        for index, awaitable in late:
            self.start_or_not(index, awaitable)

    def source_failed(self, error: BaseException) -> None:
        """Stop because the iterable has failed; the call raises its error."""
        if self.source_error is None:
            self.source_error = error
        self.stop()

    # How a child settles.

    def returned(self, index: int, value: Any) -> None:  # noqa: ANN401 - it is the child's
        self.settled(Ok(value, index, self._elapsed(index)), by_us=False)

    def raised(self, index: int, error: BaseException) -> None:
        self.settled(Failed(error, index, self._elapsed(index)), by_us=False)

    def timed_out(self, index: int, error: TimeoutError) -> None:
        self.settled(TimedOut(error, index, self._elapsed(index)), by_us=False)

    def cancelled(self, index: int, error: asyncio.CancelledError, *, by_us: bool) -> None:
        name = self._overdue.get(index)
        if name is None or not by_us:
            self.settled(Cancelled(error, index, self._elapsed(index)), by_us=by_us)
        else:
            late = TimeoutError(
                f"{self.function}(): child {index}, {name}, was not done within {self._seconds:g} s"
            )
            late.__cause__ = error
            self.timed_out(index, late)

    def _elapsed(self, index: int) -> float:
        return self.loop.time() - self.started_at(index)
