"""A scope that pulls its inputs from an iterable, and whose children settle into outcomes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from structgather import _inputs
from structgather._child_timeout import call_after_tick
from structgather._outcome import Cancelled, Failed, Ok, TimedOut
from structgather._scope import SOURCE, Scope
from structgather._source import Source
from structgather._stuck import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from structgather._outcome import Outcome


#: Holds nothing: without a limit nothing waits.
_NOTHING_WAITS: deque[tuple[int, Awaitable[Any]]] = deque(maxlen=0)


class OutcomeScope(Scope):
    """What `first_n_within` and `as_completed_scoped` have in common."""

    __slots__ = (
        "_overdue",
        "_seconds",
        "deadline",
        "source",
        "source_error",
        "starting",
        "waiting",
    )

    #: Where inputs are pulled from one by one; None where all were taken at once.
    source: Source | None
    source_error: BaseException | None
    #: Inputs that were taken or added, and wait for their turn; with their index.
    waiting: deque[tuple[int, Awaitable[Any]]]
    #: How many are making their first step just now, where tasks start eagerly.
    starting: int
    #: The timer of the whole call, if it has one.
    deadline: asyncio.TimerHandle | None
    #: When the time of the whole call was over: how long it was, and what ran then.
    _seconds: float | None
    _overdue: dict[int, Awaitable[Any]]

    # What a policy says.

    def settled(self, outcome: Outcome[Any], by_us: bool) -> None:  # noqa: FBT001 - it is quicker
        """Take the outcome of a child. Called once per child."""
        raise NotImplementedError

    def expect(self, count: int) -> None:
        """Take note of how many inputs there are, before the first is started."""
        raise NotImplementedError

    def next_index(self) -> int:
        """Return the index of the input that is being taken, where they are taken one by one."""
        raise NotImplementedError

    def has_room(self) -> bool:
        """Tell whether one more child may be started."""
        raise NotImplementedError

    def time_is_over(self, *, missing: bool) -> None:
        """Stop, since the time of the whole call is over; `missing` tells whether it was needed."""
        raise NotImplementedError

    # What a policy asks for.

    def take(
        self, inputs: Iterable[Awaitable[Any]], caller: asyncio.Task[Any], *, late: bool
    ) -> None:
        """Take the inputs: all, or with a limit one by one; and start what may be started.

        With `late` the time is over already: only what was done before the call counts.
        """
        self.source = self.source_error = self._seconds = self.deadline = None
        self.starting = 0
        self.waiting = _NOTHING_WAITS
        if self.limit is not None:
            self.waiting = deque()
            if not late or not isinstance(inputs, Collection):
                self.source = Source(self.function, inputs, caller)
                self.expect(self.source.total or 0)
                if late:
                    self.time_is_over(missing=True)
                else:
                    self.pull()
                return
        known = _inputs.take_all(self.function, inputs, caller)
        if not isinstance(inputs, (list, tuple)):
            self.began = self.loop.time()  # a generator may have taken its time
        self.expect(len(known))
        if late:
            self._take_what_is_done(known)
            return
        for index, awaitable in enumerate(known):
            if self.stopping:
                self.start_or_not(index, awaitable)
            else:
                self.start(index, awaitable)

    def pull(self) -> None:
        """Start what there is room for. After `stop()`, account for what is left."""
        waiting = self.waiting
        while self.stopping or self.has_room():
            if not waiting and not self._take_one():
                break
            if waiting and (self.stopping or self.has_room()):  # the iterable may have used it up
                self.start_or_not(*waiting.popleft())

    def start_or_not(self, index: int, awaitable: Awaitable[Any]) -> None:
        """Make a child of an input; after `stop()` only if it runs already, and is to end."""
        if self.stopping:
            if not asyncio.isfuture(awaitable):
                _inputs.close_unstarted((awaitable,))
                error = asyncio.CancelledError("never started")
                self.settled(Cancelled(error, index, 0.0), True)  # noqa: FBT003
                return
            if self._seconds is not None:
                self._overdue[index] = awaitable
        self.starting += 1
        self.start(index, awaitable)
        self.starting -= 1

    def stop(self, *message: object) -> None:
        first = not self.stopping
        super().stop(*message)
        if first and self.source is not None:
            self.pull()

    def end_after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback` when the time of the whole call is over."""
        self.deadline = call_after_tick(self.loop, self.opened + seconds, callback)

    def stop_late(self, seconds: float) -> int:
        """Stop because the time of the whole call is over; return how many children still run."""
        self._overdue = {index: child for index, child in self.unsettled.items() if index != SOURCE}
        self._seconds = seconds
        self.stop()
        return len(self._overdue)

    def source_failed(self, error: BaseException) -> None:
        """Stop because the iterable has failed; the call raises its error."""
        self.source_error = error
        self.stop()

    def let_go(self) -> None:
        """Let go of the timer, of the inputs, and of what was late."""
        timer, self.deadline = self.deadline, None  # even a cancelled handle refers to its context
        if timer is not None:
            timer.cancel()
        if self._seconds is not None:
            self._overdue.clear()
        if self.source is not None:
            # No local variable: on some versions a traceback leads to the frames of all callers.
            self._source_closed(self.source.close())

    def _source_closed(self, error: BaseException | None) -> None:
        if error is not None:
            self.source_error = error

    def _take_one(self) -> bool:
        """Let one more input wait for its turn, if there is one."""
        source = self.source
        if source is None or (source.total is None and self.stopping):
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

    def _take_what_is_done(self, known: list[Awaitable[Any]]) -> None:
        late: list[tuple[int, Awaitable[Any]]] = []
        for index, awaitable in enumerate(known):
            if asyncio.isfuture(awaitable) and awaitable.done():
                self.start(index, awaitable)
            else:
                late.append((index, awaitable))
        self.time_is_over(missing=bool(late))
        for index, awaitable in late:
            self.start_or_not(index, awaitable)

    # How a child settles.

    def returned(self, index: int, value: Any) -> None:  # noqa: ANN401 - it is the child's
        now = self.loop.time()
        if self._extras:
            late = index in self._late
            self.settled(Ok(value, index, now - self.started_at(index)), late)
        else:
            self.settled(Ok(value, index, now - self.began), False)  # noqa: FBT003

    def raised(self, index: int, error: BaseException) -> None:
        self.settled(Failed(error, index, self._elapsed(index)), False)  # noqa: FBT003

    def timed_out(self, index: int, error: TimeoutError) -> None:
        self.settled(TimedOut(error, index, self._elapsed(index)), False)  # noqa: FBT003

    def cancelled(self, index: int, error: asyncio.CancelledError, *, by_us: bool) -> None:
        if self._seconds is None or not by_us or index not in self._overdue:
            self.settled(Cancelled(error, index, self._elapsed(index)), by_us)
            return
        child = describe(self._overdue[index])
        late = TimeoutError(
            f"{self.function}(): child {index}, {child}, was not done within {self._seconds:g} s"
        )
        late.__cause__ = error
        self.timed_out(index, late)

    def _elapsed(self, index: int) -> float:
        return self.loop.time() - self.started_at(index)
