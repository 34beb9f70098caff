"""The stream behind `as_completed_scoped`: what is pulled, what has come, and where it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING, Any

from structgather import _failures, _inputs
from structgather._outcome import Cancelled, Failed, Ok, TimedOut
from structgather._outcome_scope import OutcomeScope
from structgather._scope import SOURCE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Iterable, Iterator

    from structgather._outcome import Outcome

FUNCTION = "as_completed_scoped"


class Stream(OutcomeScope):
    """The policy: every outcome is an item, and what is not taken holds back what is pulled."""

    __slots__ = (
        "_caller_of_add",
        "_count",
        "_feeding",
        "_numbered",
        "_room",
        "late",
        "ready",
        "timeout",
    )

    function = FUNCTION

    #: Outcomes that were not handed out yet. None marks the end: what follows is too late.
    ready: deque[Outcome[Any] | None]
    timeout: float | None
    #: Whether inputs come from an async iterable, which has not come to its end.
    _feeding: bool
    #: How many children ran when `timeout` was over; None before.
    late: int | None
    _room: asyncio.Future[None] | None

    def begin(
        self,
        aws: Iterable[Awaitable[Any]] | AsyncIterable[Awaitable[Any]],
        limit: int | None,
        timeout: float | None,
        child_timeout: float | None,
    ) -> None:
        """Start what may be started at once."""
        _inputs.check_iterable(FUNCTION, aws, asynchronous=True)
        if timeout is not None:
            timeout = _inputs.check_seconds(FUNCTION, "timeout", timeout)
        self._caller_of_add = caller = self.open(limit, child_timeout)
        self.ready = deque()
        self.timeout = timeout
        self._feeding = False
        self.late = self._room = None
        late = timeout == 0
        if isinstance(aws, (list, tuple)) or not isinstance(aws, AsyncIterable):
            self.take(aws, caller, late=late)
            return
        self._feeding = True
        nothing: tuple[Awaitable[Any], ...] = ()
        self.take(nothing, caller, late=late)
        if not self.stopping:
            self.keep_extras()
            self.start(SOURCE, self._feed(aws))

    def expect(self, count: int) -> None:
        # In a collection each input has its place, and what is added is numbered from the end on.
        # How long a generator is, nobody knows: all are numbered as they come.
        self._count = count
        self._numbered = not self._feeding and (
            self.source is None or self.source.total is not None
        )
        if self.timeout:
            self.end_after(self.timeout, self._time_is_over)

    # What is yet to come.

    def has_room(self) -> bool:
        """Tell whether one more child may be started. What is not taken yet counts as running."""
        if self.limit is None:
            return True
        return self.running() + self.starting + len(self.ready) < self.limit

    def running(self) -> int:
        """How many children run."""
        return len(self.unsettled) - (SOURCE in self.unsettled)

    def next_index(self) -> int:
        if self._numbered and self.source is not None:
            return self.source.taken - 1
        self._count += 1
        return self._count - 1

    def add(self, awaitable: Awaitable[Any]) -> int:
        """Start one more child, or let it wait for its turn."""
        _inputs.check_awaitable(FUNCTION, "what is added", awaitable, self._caller_of_add)
        self.keep_extras()  # it is not as old as the call
        index, self._count = self._count, self._count + 1
        self._start_or_wait(index, awaitable)
        return index

    def _start_or_wait(self, index: int, awaitable: Awaitable[Any]) -> None:
        if self.limit is None:
            self.start_or_not(index, awaitable)
        else:
            self.waiting.append((index, awaitable))
            while self.waiting and (self.stopping or self.has_room()):
                self.start_or_not(*self.waiting.popleft())

    def refill(self) -> None:
        """Start what the outcome that is being handed out leaves room for."""
        self.pull()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def to_come(self) -> int | None:
        """How many inputs wait to be started; None where it is not known."""
        if self.stopping:
            return 0
        if self._feeding or (self.source is not None and self.source.total is None):
            return None
        left = 0 if self.source is None else (self.source.total or 0) - self.source.taken
        return len(self.waiting) + left

    async def _feed(self, aws: AsyncIterable[Awaitable[Any]]) -> None:
        """Pull inputs from an async iterable, never further ahead than there is room."""
        iterator = aiter(aws)
        collected = False
        try:
            while not self.stopping:
                while not self.has_room():
                    await self._room_made()
                try:
                    awaitable = await anext(iterator)
                except StopAsyncIteration:
                    break
                item = f"item {self._count} of its input"
                _inputs.check_awaitable(FUNCTION, item, awaitable, self._caller_of_add)
                self._start_or_wait(self.next_index(), awaitable)
        except GeneratorExit:
            collected = True  # its loop is gone, and nothing can be awaited any more
            raise
        finally:
            if not collected and isinstance(iterator, AsyncGenerator):
                await iterator.aclose()

    async def _room_made(self) -> None:
        self._room = self.loop.create_future()
        await self._room

    # What has come.

    def settled(self, outcome: Outcome[Any], by_us: bool) -> None:  # noqa: FBT001 - as above
        if outcome.index == SOURCE:
            self._feeding = False
            if not isinstance(outcome, Ok) and not by_us:
                self.source_failed(outcome.error)
        else:
            self.ready.append(outcome)
        if self._waiter is not None:
            self.wake()

    def made_room(self, index: int) -> None:
        """Room is made by the consumer, when it takes an outcome."""

    # The end.

    # What ends the iteration is raised behind the outcomes that were there before. Those of the
    # children that are cancelled for it are `undelivered`: nobody is to take them for an answer.

    def _end_here(self) -> None:
        if None not in self.ready:
            self.ready.append(None)
        self.wake()

    def fail(self, error: BaseException) -> None:
        self._end_here()
        super().fail(error)

    def interrupted(self, index: int, error: BaseException) -> None:
        self._end_here()
        super().interrupted(index, error)

    def source_failed(self, error: BaseException) -> None:
        self._end_here()
        super().source_failed(error)

    def _time_is_over(self) -> None:
        self.time_is_over(missing=bool(self.unsettled) or self.to_come() != 0)

    def time_is_over(self, *, missing: bool) -> None:
        if self.stopping:
            return
        if missing or self._feeding:
            self._end_here()
        self.late = self.stop_late(self.timeout or 0)

    def exception(self) -> BaseException | None:
        """Return what the iteration has to raise when all have settled, or None: it just ends."""
        if self.source_error is not None:
            error, self.source_error = self.source_error, None
        elif self._thrown is not None:
            error, self._thrown = self._thrown, None
        elif self._interrupt is not None:
            error = self._interrupt
        elif self.ready and self.late is not None:
            return self._too_late()
        else:
            return None
        if isinstance(error, StopAsyncIteration):  # it would look like the end
            ended = RuntimeError(f"{FUNCTION}(): its input raised StopAsyncIteration")
            ended.__cause__ = error
            return ended
        return error

    def _too_late(self) -> TimeoutError:
        missing = "the input was not taken to its end"
        if self.late:
            missing = f"{self.late} running child{'ren were' if self.late > 1 else ' was'} not done"
        return TimeoutError(f"{FUNCTION}(): {missing} within {self.timeout:g} s")

    def has_failed(self) -> bool:
        """Tell whether there is something to raise that is not a child's failure."""
        return not (self.source_error is None and self._thrown is None and self._interrupt is None)

    def is_over(self) -> bool:
        """Tell whether nothing is left to cancel, to hand out, to raise or to let go of."""
        if self.unsettled or self.ready or self.stopping or self.source or self.deadline:
            return False
        del self._caller_of_add
        self.stopping = True  # nothing can be added any more
        self.close()
        return True

    def take_undelivered(self) -> list[Outcome[Any]]:
        """Hand over what nobody took."""
        outcomes = [outcome for outcome in self.ready if outcome is not None]
        self.ready.clear()
        return outcomes

    def end(self) -> BaseException | None:
        """Let go of the inputs, and return the error of the source that nobody has seen, if any."""
        del self._caller_of_add
        self.let_go()
        error, self.source_error = self.source_error, None
        try:
            return error
        finally:
            del error  # as in `let_go`


def failures_of(outcomes: Iterable[Outcome[Any]]) -> Iterator[_failures.Failure]:
    """Yield the failures among outcomes, with the indices of the children."""
    for outcome in outcomes:
        if isinstance(outcome, (Failed, TimedOut)):
            yield outcome.index, outcome.error
        elif isinstance(outcome, Cancelled) and (nested := _failures.inside(outcome.error)):
            yield outcome.index, nested
