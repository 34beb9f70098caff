"""Shared by `first_n_within` and `as_completed_scoped`: inputs, started as there is room."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Collection, Generator
from typing import TYPE_CHECKING, Any

from structgather import _arguments, _failures, _stuck
from structgather._errors import INTERRUPTS
from structgather._failures import INPUT, without_our_frame
from structgather._outcome import Cancelled
from structgather._queued import one_batch, start_queued
from structgather._timers import ChildTimeouts, call_after_tick
from structgather._unstarted import close_unstarted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator

    from structgather._outcome import Failed, TimedOut
    from structgather._policy import Unsuccessful
    from structgather._scope import Scope


class Source:
    """The inputs of one call, each validated: a collection as a whole, a generator item by item."""

    __slots__ = ("_caller", "_function", "_iterator", "_known", "exhausted", "taken", "total")

    def __init__(
        self, function: str, values: Iterable[Awaitable[Any]], caller: asyncio.Task[Any]
    ) -> None:
        self._function = function
        self._caller = caller
        self._known: list[Awaitable[Any]] | None = None
        if isinstance(values, Collection):
            values = self._known = _arguments.take_all(function, values, caller)
        self._iterator: Iterator[Awaitable[Any]] = iter(values)
        #: The number of inputs taken.
        self.taken = 0
        #: The number of all inputs, if known.
        self.total = None if self._known is None else len(self._known)
        self.exhausted = self.total == 0

    def take(self) -> Awaitable[Any] | None:
        """Return the next input, or None if there is none. Raises what the iterable raises."""
        if self.exhausted:
            return None
        try:
            value = next(self._iterator)
            if self._known is None:
                _arguments.check_awaitable(self._function, self.taken, value, self._caller)
        except StopIteration:
            self.exhausted = True
            self.total = self.taken
            return None
        except BaseException:
            self.exhausted = True
            raise
        self.taken += 1
        if self.taken == self.total:
            self.exhausted = True
        return value

    def close_known(self) -> None:
        """Close the coroutines of a collection that will not run."""
        self.exhausted = True
        if self._known is not None:
            close_unstarted(self._known)
            self._known = None

    def close(self) -> BaseException | None:
        """Close the generator, and the coroutines that will not run.

        Returns what the generator's cleanup raised, for the policy to raise when all are joined.
        """
        self.close_known()
        del self._caller
        iterator, self._iterator = self._iterator, iter(())
        if isinstance(iterator, Generator):
            try:
                iterator.close()
            except BaseException as error:  # noqa: BLE001 - the policy raises it
                return without_our_frame(error)
        return None


class Intake:
    """The common part of two policies: starting children, and the deadline of the call."""

    __slots__ = (
        "_context",
        "_deadline",
        "_overdue",
        "limit",
        "scope",
        "source",
        "source_error",
        "starting",
        "waiting",
    )

    scope: Scope
    limit: int | None
    #: Where inputs are taken one by one; None where all were taken at once.
    source: Source | None
    source_error: BaseException | None
    #: Inputs that were taken or added and wait for room: index, awaitable, context.
    waiting: deque[tuple[int, Awaitable[Any], contextvars.Context]]
    #: How many are making their first step just now, where Tasks start eagerly.
    starting: int
    #: The timer of the call's deadline, and the seconds that it had, once they are over.
    _deadline: asyncio.TimerHandle | None
    _overdue: float | None
    _context: contextvars.Context

    # Decided by the policy.

    def expect(self, count: int) -> None:
        """Note how many inputs there are, as far as that is known, before the first is started."""
        raise NotImplementedError

    def next_index(self) -> int:
        """Return the index of the input that is being taken, where they are taken one by one."""
        raise NotImplementedError

    def has_room(self) -> bool:
        """Tell whether one more child may be started."""
        raise NotImplementedError

    def is_missing(self) -> bool:
        """Tell whether anything is still to come when the time of the call is over."""
        raise NotImplementedError

    def time_is_over(self, *, missing: bool) -> None:
        """Stop, since the time of the whole call is over; `missing` tells whether it was needed."""
        raise NotImplementedError

    def record(self, outcome: Failed | TimedOut | Cancelled, *, by_us: bool) -> None:
        """Record a child without a value; for `by_us` see `Policy.on_error`."""
        raise NotImplementedError

    def on_value(self, index: int, value: Any) -> None:  # noqa: ANN401 - the child's
        """Record the value that a child returned."""
        raise NotImplementedError

    def on_abort(self) -> None:
        """Note that something other than a child's failure ends the call."""
        raise NotImplementedError

    def on_error(self, kind: Unsuccessful, index: int, error: Any, by_us: bool) -> None:  # noqa: ANN401, FBT001
        """Record a child without a value."""
        self.record(kind(error, index, self.scope.elapsed(index)), by_us=by_us)

    # What a policy asks for.

    def open(self, scope: Scope, limit: int | None, child_timeout: float | None) -> None:
        """Bind the policy to the scope of its call."""
        self.scope = scope
        self.limit = limit
        self.source = self.source_error = self._overdue = self._deadline = None
        self.starting = 0
        self.waiting = deque()
        self._context = contextvars.copy_context()
        if limit is not None or child_timeout is not None:
            scope.started_at = {}
        if child_timeout is not None:
            scope.timeouts = ChildTimeouts(scope, child_timeout)

    def take(self, inputs: Iterable[Awaitable[Any]], *, expired: bool) -> None:
        """Take the inputs, at once or with a limit one by one, and start what there is room for.

        With `expired` the deadline has passed: only Tasks that were done before the call count.
        """
        scope = self.scope
        if self.limit is not None and not (expired and isinstance(inputs, Collection)):
            self.source = Source(scope.function, inputs, scope.caller)
            self.expect(self.source.total or 0)
            if expired:
                self.time_is_over(missing=True)
            else:
                with one_batch(scope):
                    self.pull()
            return
        known = _arguments.take_all(scope.function, inputs, scope.caller)
        if not isinstance(inputs, (list, tuple)):
            scope.called_at = scope.loop.time()  # exhausting a generator may have taken time
        self.expect(len(known))
        if expired:
            self._take_what_is_done(known)
        elif scope.stopping:
            for index, awaitable in enumerate(known):
                self.start_unless_stopped(index, awaitable, self._context)
        else:
            scope.start(range(len(known)), known)

    def pull(self) -> None:
        """Start children while there is room. Once stopped, record that the rest never started."""
        waiting, scope = self.waiting, self.scope
        while scope.stopping or self.has_room():
            if not waiting and not self.take_one():
                break
            if waiting and (scope.stopping or self.has_room()):  # the iterable may have filled it
                self.start_unless_stopped(*waiting.popleft())

    def start_unless_stopped(
        self, index: int, awaitable: Awaitable[Any], context: contextvars.Context
    ) -> None:
        """Start an input.

        Once stopping, adopt Tasks and Futures so that they are joined, and record the others as
        never started.
        """
        if self.scope.stopping:
            if not asyncio.isfuture(awaitable):
                close_unstarted((awaitable,))
                error = asyncio.CancelledError("never started")
                self.record(Cancelled(error, index, 0.0), by_us=True)
                return
            if self._overdue is not None:
                self.scope.timeout_errors[index] = self._timeout_error(index, awaitable)
        self.starting += 1
        start_queued(self.scope, index, awaitable, context)
        self.starting -= 1

    def stop(self, *message: object) -> None:
        """Cancel every child, and record that queued ones never started."""
        self.scope.stop(*message)
        self.pull()

    def end_after(self, seconds: float) -> None:
        """Stop at the deadline of the call."""
        scope = self.scope
        self._deadline = call_after_tick(scope.loop, scope.called_at + seconds, self._at_deadline)

    def _at_deadline(self) -> None:
        if self._deadline is not None:  # otherwise the call finished in the tick of its deadline
            self.time_is_over(missing=self.is_missing())

    def time_out(self, seconds: float) -> int:
        """Stop because the deadline has passed; return how many children still run."""
        self._overdue = seconds
        scope = self.scope
        timeout_errors = {
            index: self._timeout_error(index, child)
            for index, child in scope.unfinished.items()
            if index != INPUT
        }
        scope.timeout_errors = {**timeout_errors, **scope.timeout_errors}
        scope.stop_after_first_steps()
        self.pull()
        return len(timeout_errors)

    def source_failed(self, error: BaseException) -> None:
        """Stop because the iterable raised; the call raises that exception."""
        self._keep_source_error(error)
        self.scope.stop_after_first_steps()

    def _keep_source_error(self, error: BaseException | None) -> None:
        if isinstance(error, INTERRUPTS):  # it takes precedence over a cancellation of the caller
            self.scope.errors.keep(error)
        elif self.source_error is None:
            self.source_error = error
        elif error is not None:
            _failures.note_others(self.source_error, self.scope.function, [(INPUT, error)])

    def close_source(self) -> None:
        """Cancel the timer and close the inputs."""
        self._cancel_deadline()
        self.waiting.clear()
        del self._context
        if self.source is not None:
            # No local variable: on some versions a traceback leads to the frames of all callers.
            self._keep_source_error(self.source.close())

    def on_abandon(self) -> None:
        """Close what has not started. What is left of a generator is collected with it."""
        self._cancel_deadline()
        close_unstarted([awaitable for _, awaitable, _ in self.waiting])
        self.waiting.clear()
        if self.source is not None:
            self.source.close_known()

    def _cancel_deadline(self) -> None:
        timer, self._deadline = self._deadline, None  # even a cancelled handle has a context
        if timer is not None:
            timer.cancel()

    def _timeout_error(self, index: int, child: Awaitable[Any]) -> TimeoutError:
        return TimeoutError(
            f"{self.scope.function}(): child {index}, {_stuck.describe(child)}, had not "
            f"finished after {self._overdue:g} s"
        )

    def take_one(self) -> bool:
        """Queue one more input, if there is one."""
        source = self.source
        if source is None or (source.total is None and self.scope.stopping):
            return False  # a generator is not pulled for children that would never start
        try:
            awaitable = source.take()
        except BaseException as error:  # noqa: BLE001 - the policy raises it
            self.source_failed(error)
            return False
        if awaitable is None:
            return False
        self.waiting.append((self.next_index(), awaitable, self._context))
        return True

    def _take_what_is_done(self, known: list[Awaitable[Any]]) -> None:
        unfinished: list[tuple[int, Awaitable[Any]]] = []
        for index, awaitable in enumerate(known):
            if asyncio.isfuture(awaitable) and awaitable.done():
                self.start_unless_stopped(index, awaitable, self._context)
            else:
                unfinished.append((index, awaitable))
        self.time_is_over(missing=bool(unfinished))
        for index, awaitable in unfinished:
            self.start_unless_stopped(index, awaitable, self._context)
