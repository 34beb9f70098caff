"""`as_completed_scoped`: outcomes as they come, in a block that leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, final

from structgather import _failures, _inputs
from structgather._child_timeout import call_after_tick
from structgather._outcome import Cancelled, Failed, Ok, TimedOut
from structgather._outcome_scope import OutcomeScope
from structgather._scope import SOURCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from structgather._outcome import Outcome

T = TypeVar("T")

FUNCTION = "as_completed_scoped"


class _Stream(OutcomeScope):
    """The policy: every outcome is an item, and what is not taken holds back what is pulled."""

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
            self.timeout = _inputs.check_seconds(FUNCTION, "timeout", timeout)
        self._caller_of_add = caller = self.open(FUNCTION, limit, child_timeout)
        #: Outcomes that were not handed out yet. None marks the end: what follows is too late.
        self.ready: deque[Outcome[Any] | None] = deque()
        if type(aws) is not list and isinstance(aws, AsyncIterable):
            self._feeding = True
            self.take((), caller, late=self.timeout == 0)
            if not self.stopping:
                self.start(SOURCE, self._feed(aws))
                self.started_all()
        else:
            self.take(aws, caller, late=self.timeout == 0)

    timeout: float | None = None
    #: Whether inputs come from an async iterable, which has not come to its end.
    _feeding = False
    #: How many children ran when `timeout` was over; None before.
    late: int | None = None
    _room: asyncio.Future[None] | None = None
    _timer: asyncio.TimerHandle | None = None

    def expect(self, count: int) -> None:
        # In a collection each input has its place, and what is added is numbered from the end on.
        # How long a generator is, nobody knows: all are numbered as they come.
        self._count = count
        self._numbered = not self._feeding and (
            self.source is None or self.source.total is not None
        )
        if self.timeout:
            self._timer = call_after_tick(self.loop, self.opened + self.timeout, self._deadline)

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
        self.started_all()

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
        finally:
            if hasattr(iterator, "aclose"):
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

    def _deadline(self) -> None:
        self.time_is_over(missing=bool(self.unsettled) or self.to_come() != 0)

    def time_is_over(self, *, missing: bool) -> None:
        if self.stopping:
            return
        if missing or self._feeding:
            self._end_here()
        self.late = self.stop_late(self.timeout or 0)

    def exception(self) -> BaseException:
        """Return what the iteration has to raise when all children have settled."""
        if self.source_error is not None:
            error, self.source_error = self.source_error, None
        elif self._thrown is not None:
            error, self._thrown = self._thrown, None
        elif self._interrupt is not None:
            error = self._interrupt
        elif self.ready and self.late is not None:
            return self._too_late()
        else:
            return StopAsyncIteration()
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
        errors = (self.source_error, self._thrown, self._interrupt)
        return any(error is not None for error in errors)

    def is_over(self) -> bool:
        """Tell whether nothing is left to cancel, to hand out, to raise or to let go of."""
        if self.unsettled or self.ready or self.stopping or self.source or self._timer:
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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # even a cancelled handle refers to its context
        self.close_source()
        error, self.source_error = self.source_error, None
        return error


def _failures_of(outcomes: list[Outcome[Any]]) -> Iterator[_failures.Failure]:
    for outcome in outcomes:
        if isinstance(outcome, (Failed, TimedOut)):
            yield outcome.index, outcome.error
        elif isinstance(outcome, Cancelled) and (nested := _failures.inside(outcome.error)):
            yield outcome.index, nested


@final
class AsCompleted(Generic[T]):
    """The outcomes of children, as they come. Made by `as_completed_scoped`."""

    __slots__ = ("_arguments", "_iterating", "_state", "_stream", "undelivered")

    #: When the block is over: what had settled or was cancelled without being handed out.
    undelivered: list[Outcome[T]]

    def __init__(
        self,
        aws: Iterable[Awaitable[T]] | AsyncIterable[Awaitable[T]],
        limit: int | None,
        timeout: float | None,
        child_timeout: float | None,
    ) -> None:
        self._arguments = (aws, limit, timeout, child_timeout)
        self._state = "has not been entered"
        self._iterating = False
        self.undelivered = []

    async def __aenter__(self) -> Self:
        if self._state != "has not been entered":
            message = f"{FUNCTION}() was entered before: make a new one for each block"
            raise RuntimeError(message)
        self._state = "is open"
        self._stream = stream = _Stream()
        arguments, self._arguments = self._arguments, ((), None, None, None)
        try:
            stream.begin(*arguments)
        except BaseException:
            self._state = "has been left"
            _inputs.refuse(arguments[0])
            raise
        if stream.has_failed():
            await self.__aexit__(None, None, None)  # which raises it
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stream = self._stream
        self._state = "has been left"
        if error is None and stream.is_over():
            del self._stream
            return
        if stream.loop.is_closed():
            return  # the coroutine is being collected, long after anything could be joined
        stream.stop()
        stream.wake()  # a task that still iterates is to hear of it
        while stream.unsettled:
            await stream.join()
        self.undelivered = stream.take_undelivered()
        unseen = list(_failures_of(self.undelivered))
        source_error = stream.end()
        raised = stream.close()
        del self._stream
        if error is None:
            raised = source_error if raised is None else raised
        elif isinstance(error, asyncio.CancelledError) or not isinstance(
            raised, (asyncio.CancelledError, KeyboardInterrupt, SystemExit)
        ):
            # The body's own exception goes on as it is; but it does not hide an interrupt, nor a
            # cancellation of the caller that came while the children were joined.
            raised = None
            if source_error is not None:
                unseen.append((SOURCE, source_error))
        try:
            if raised is not None:
                if error is not None:
                    _failures.set_context(raised, error)
                _failures.show(raised, FUNCTION, unseen)
                _failures.raise_as_it_is(raised)
            elif error is not None:
                _failures.show(error, FUNCTION, unseen)
        finally:
            del error, raised, source_error, traceback, unseen  # their traceback leads here

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T]:
        stream = self._open_stream()
        if self._iterating:
            message = f"{FUNCTION}(): another task is waiting for the next outcome already"
            raise RuntimeError(message)
        self._iterating = True
        try:
            while not stream.ready or stream.ready[0] is None:
                if stream.limit is not None and not stream.stopping:
                    stream.refill()
                    if stream.ready:  # an eager child
                        continue
                if not stream.unsettled:
                    _failures.raise_as_it_is(stream.exception())
                await stream.wait()
                self._open_stream()  # it may have been left by the task that opened it
        finally:
            self._iterating = False
        outcome = cast("Outcome[T]", stream.ready.popleft())
        if stream.limit is not None:
            stream.refill()
        return outcome

    def __len__(self) -> int:
        """Return how many outcomes are yet to come, those of children not started included.

        Raises:
            TypeError: It is not known, since the input is a generator or an async iterable that
                has not come to its end. This is what progress bars expect.
        """
        if self._state == "has been left":
            return 0
        stream = self._open_stream()
        waiting = stream.to_come()
        if waiting is None:
            message = f"{FUNCTION}(): the number of outcomes to come is not known"
            raise TypeError(message)
        return waiting + stream.running() + sum(item is not None for item in stream.ready)

    def __bool__(self) -> bool:
        """Return True: what has an unknown length is not empty."""
        return True

    def add(self, aw: Awaitable[T]) -> int:
        """Add a child while the block is open, and return its index.

        What is added to a collection is numbered from its length on; what is added to a generator
        or async iterable takes the next number, as its items do.

        It starts at once, or with `limit` when its turn has come, before what is left of the input.
        May be called by the body and by the children.

        Raises:
            TypeError, ValueError: It is not awaitable, or belongs to a different event loop.
            RuntimeError: The block is not open, or everything in it is being cancelled; then a
                coroutine has been closed, and a Task or Future is left as it is.
        """
        try:
            stream = self._open_stream(to_add=True)
        except RuntimeError:
            _inputs.close_unstarted((aw,))
            raise
        return stream.add(aw)

    def cancel(self) -> None:
        """Cancel all children, and start none any more. The iteration goes on to the last of them.

        What has settled, and each child that ends now, is still an item, mostly `Cancelled`. To
        leave at once, `break`.
        """
        self._open_stream().stop()
        self._stream.wake()

    def _open_stream(self, *, to_add: bool = False) -> _Stream:
        if self._state != "is open":
            message = f"{FUNCTION}(): the `async with` block {self._state}"
            raise RuntimeError(message)
        if to_add and self._stream.stopping:
            message = f"{FUNCTION}(): nothing can be added, the children are being cancelled"
            raise RuntimeError(message)
        return self._stream


def as_completed_scoped(
    aws: Iterable[Awaitable[T]] | AsyncIterable[Awaitable[T]],
    *,
    limit: int | None = None,
    timeout: float | None = None,
    child_timeout: float | None = None,
) -> AsCompleted[T]:
    """Run awaitables concurrently and iterate over their outcomes in the order in which they end.

        async with as_completed_scoped(fetch(u) for u in urls) as outcomes:
            async for outcome in outcomes:
                page = await outcome  # or: match outcome: case Ok(page): ...

    The body of a loop over `asyncio.as_completed` stays as it is. How it differs:

    - Leaving the block, by its end, `break`, `return`, an exception or a cancellation, cancels the
      children that still run and joins them. What was not handed out is in `.undelivered`.
    - A failing child is an item; it does not end the iteration. `await outcome` raises its error.
    - Inputs may come from an async iterable. With `limit` they are pulled lazily, never further
      ahead of the consumer than `limit`.
    - `.add(aw)` adds a child while the block is open, `.cancel()` cancels all, `len()` tells how
      many outcomes are yet to come.

    Args:
        aws: An iterable or async iterable of coroutines, Tasks, Futures or other awaitables, all
            different. What is left of a generator, or async generator, is closed at the end.
        limit: How many children may run at a time, outcomes that were not taken included.
        timeout: Seconds for the whole iteration, counted from the entry. When they are over, all
            children are cancelled and joined, and the iteration raises TimeoutError behind the
            outcomes that came in time. With 0 nothing starts.
        child_timeout: Seconds that each child may take, counted from its own start. A late child is
            cancelled and joined, and ends as `TimedOut`.

    Returns:
        An async context manager, which is also the async iterator of outcomes. An exception of the
        body goes on as it is: never in a group, never replaced by a child's. Failures that nobody
        has seen show in its traceback, as notes.

    Raises:
        TimeoutError: By the iteration, when `timeout` seconds are over.
        asyncio.CancelledError: The caller was cancelled.
        KeyboardInterrupt, SystemExit: Raised in a child.
        TypeError, ValueError: On entry: an argument is out of range, or an input is not awaitable,
            belongs to a different event loop, or is given twice. For what is pulled lazily: by the
            iteration, which is where an error of the iterable itself comes up too.
        RuntimeError: There is no running event loop; the block is entered twice, or is iterated
            over by two tasks at once, before it was entered or after it was left.
    """
    return AsCompleted(aws, limit, timeout, child_timeout)
