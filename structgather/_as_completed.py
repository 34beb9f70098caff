"""`as_completed_scoped`: outcomes as children finish, in a block that leaves none running."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from structgather import _adopt, _failures
from structgather._arguments import (
    calling_task,
    check_awaitable,
    check_flag,
    check_iterable,
    check_limit,
    check_seconds,
)
from structgather._errors import INTERRUPTS
from structgather._group import is_closed
from structgather._intake import Intake
from structgather._outcome import Cancelled, Ok
from structgather._scope import SOURCE, Scope
from structgather._unstarted import refuse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from structgather._failures import Failure
    from structgather._outcome import Failed, Outcome, TimedOut

T = TypeVar("T")

FUNCTION = "as_completed_scoped"

_NEW, _OPEN, _LEFT = "has not been entered", "is open", "has been left"

#: The open blocks whose calling Task has finished.
_without_caller: set[_Stream] = set()


class _Stream(Intake):
    """The policy: every outcome is an item; what is not taken yet holds back what is pulled."""

    __slots__ = (
        "_added",
        "_count",
        "_feeding",
        "_held",
        "_next",
        "_numbered",
        "_room",
        "_running_at_timeout",
        "left",
        "ready",
        "timeout",
    )

    #: Whether the group has been left.
    left: bool
    #: Outcomes that were not taken yet. None marks the end: what follows is too late.
    ready: deque[Outcome[Any] | None]
    timeout: float | None
    #: In input order: outcomes that wait for an earlier one, and the index of that one.
    _held: dict[int, Outcome[Any]] | None
    _next: int
    #: In input order with a limit: what was added, which comes behind the input.
    _added: deque[tuple[int, Awaitable[Any], contextvars.Context]]
    #: Whether inputs come from an async iterable that is not exhausted.
    _feeding: bool
    #: Whether the inputs are a collection, in which each has its index, and the next free index.
    _numbered: bool
    _count: int
    #: How many children were running when `timeout` was over; None before.
    _running_at_timeout: int | None
    _room: asyncio.Future[None] | None

    def start_inputs(
        self,
        aws: Iterable[Awaitable[Any]] | AsyncIterable[Awaitable[Any]],
        timeout: float | None,
        *,
        ordered: bool,
    ) -> None:
        """Start what may be started at once."""
        self.ready = deque()
        self.timeout = timeout
        self._held = {} if ordered else None
        self._added = deque()
        self._next = 0
        self._running_at_timeout = self._room = None
        expired = timeout == 0
        self._feeding = not isinstance(aws, (list, tuple)) and isinstance(aws, AsyncIterable)
        if isinstance(aws, (list, tuple)) or not isinstance(aws, AsyncIterable):
            self.take(aws, expired=expired)
            return
        self.take((), expired=expired)
        if not self.scope.stopping:
            self._keep_start_times()
            self.scope.start((SOURCE,), (self._feed(aws),))

    def _keep_start_times(self) -> None:
        if self.scope.started_at is None:
            self.scope.started_at = dict.fromkeys(self.scope.unfinished, self.scope.called_at)

    def expect(self, count: int) -> None:
        # In a collection each input has its index, and what is added is numbered from the length
        # on. Of a generator the length is not known: all are numbered as they come.
        self._count = count
        self._numbered = not self._feeding and (
            self.source is None or self.source.total is not None
        )
        if self.timeout:
            self.end_after(self.timeout)

    async def enter(self) -> None:
        """Enter the group, and keep the children alive until the block is left.

        A generator that is garbage with its block would take their Tasks along otherwise, and its
        `aclose()` would join what can't finish any more.
        """
        await self.scope.group.__aenter__()
        self.scope.caller.add_done_callback(self.caller_finished)

    def caller_finished(self, _: object) -> None:
        """Keep the children alive although the caller has finished: another Task may leave."""
        _without_caller.add(self)

    async def leave(self) -> None:
        """Leave the group, in which no child is left."""
        self._forget_caller()
        try:
            await self.scope.group.__aexit__(None, None, None)
        except (asyncio.CancelledError, BaseExceptionGroup) as error:
            self.scope.raised_by_group(error)

    async def leave_interrupted(self) -> None:
        """Leave the group, which cancels and joins what our own code has not."""
        if not self.left:
            self._forget_caller()
            error = asyncio.CancelledError()
            try:
                with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
                    await self.scope.group.__aexit__(asyncio.CancelledError, error, None)
            finally:
                error.__traceback__ = error.__context__ = None  # no cycle
            if self.scope.unfinished:
                await _adopt.join_remaining(self.scope)

    def _forget_caller(self) -> None:
        self.left = True
        self.scope.caller.remove_done_callback(self.caller_finished)
        _without_caller.discard(self)

    # Inputs.

    def has_room(self) -> bool:
        """Tell whether one more child may be started. What is not taken yet counts as running."""
        return self.limit is None or self.running() + self.starting + self.held() < self.limit

    def running(self) -> int:
        """How many children run."""
        return len(self.scope.unfinished) - (SOURCE in self.scope.unfinished)

    def held(self) -> int:
        """How many outcomes have not been taken."""
        waiting = len(self.ready) if self._held is None else len(self.ready) + len(self._held)
        return waiting - (self.ready.count(None) if self.scope.stopping else 0)

    def next_index(self) -> int:
        if self._numbered and self.source is not None:
            return self.source.taken - 1
        self._count += 1
        return self._count - 1

    def add(self, awaitable: Awaitable[Any]) -> int:
        """Start one more child, or let it wait for room."""
        check_awaitable(FUNCTION, "what is added", awaitable, self.scope.caller)
        self._keep_start_times()  # it is not as old as the call
        index, self._count = self._count, self._count + 1
        self._start_or_wait(index, awaitable, contextvars.copy_context())
        return index

    def _start_or_wait(
        self, index: int, awaitable: Awaitable[Any], context: contextvars.Context
    ) -> None:
        if self.limit is None:
            self.start_unless_stopped(index, awaitable, context)
            return
        if self._held is not None and self._numbered:
            self._added.append((index, awaitable, context))  # behind the input
            self.pull()
            return
        self.waiting.append((index, awaitable, context))
        while self.waiting and (self.scope.stopping or self.has_room()):
            self.start_unless_stopped(*self.waiting.popleft())

    def take_one(self) -> bool:
        """Let one more input wait for room: in input order, what was added comes last."""
        if super().take_one():
            return True
        if self._added:
            self.waiting.append(self._added.popleft())
        return bool(self.waiting)

    def refill(self) -> None:
        """Start what the outcome that is being taken leaves room for."""
        self.pull()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def to_come(self) -> int | None:
        """How many inputs wait to be started; None where it is not known."""
        if self.scope.stopping:
            return 0
        if self._feeding or (self.source is not None and self.source.total is None):
            return None
        left = 0 if self.source is None else (self.source.total or 0) - self.source.taken
        return len(self.waiting) + len(self._added) + left

    async def _feed(self, aws: AsyncIterable[Awaitable[Any]]) -> None:
        # Pulls inputs, never further ahead than there is room.
        iterator = aiter(aws)
        collected = False
        try:
            while not self.scope.stopping:
                while not self.has_room():
                    self._room = self.scope.loop.create_future()
                    await self._room
                try:
                    awaitable = await anext(iterator)
                except StopAsyncIteration:
                    break
                check_awaitable(FUNCTION, self._count, awaitable, self.scope.caller)
                self._start_or_wait(self.next_index(), awaitable, self._context)
        except GeneratorExit:
            collected = True  # its loop is gone, and nothing can be awaited any more
            raise
        finally:
            if not collected and isinstance(iterator, AsyncGenerator):
                await iterator.aclose()

    # Outcomes.

    def on_value(self, index: int, value: Any) -> None:  # noqa: ANN401 - the child's
        if index == SOURCE:
            self._feeding = False
            self.scope.wake()
        else:
            self._deliver(Ok(value, index, self.scope.elapsed(index)))

    def record(self, outcome: Failed | TimedOut | Cancelled, *, by_us: bool) -> None:
        if outcome.index != SOURCE:
            self._deliver(outcome)
            return
        self._feeding = False
        if not by_us:
            self.source_failed(outcome.error)
        self.scope.wake()

    def _deliver(self, outcome: Outcome[Any]) -> None:
        if self._held is None:
            self.ready.append(outcome)
        else:
            self._held[outcome.index] = outcome
            while (following := self._held.pop(self._next, None)) is not None:
                self.ready.append(following)
                self._next += 1
        if self.scope.unfinished:  # otherwise the scope wakes the consumer, behind the group
            self.scope.wake()

    # The end. An error is raised after the outcomes that were recorded before it. Outcomes of the
    # children that are cancelled because of it are `undelivered`.

    def _end_here(self) -> None:
        if None not in self.ready:
            self.ready.append(None)
        self.scope.wake()

    def on_abort(self) -> None:
        self._end_here()

    def source_failed(self, error: BaseException) -> None:
        self._end_here()
        super().source_failed(error)

    def is_missing(self) -> bool:
        return bool(self.scope.unfinished) or self.to_come() != 0

    def time_is_over(self, *, missing: bool) -> None:
        if self.scope.stopping:
            return
        if missing or self._feeding:
            self._end_here()
        self._running_at_timeout = self.time_out(self.timeout or 0)

    def exception(self) -> BaseException | None:
        """Return what the iteration has to raise when all have settled; None if it just ends."""
        error = self.source_error
        if error is not None:
            self.source_error = None
        else:
            error = self.scope.errors.take()
        if error is None and self.ready and self._running_at_timeout is not None:
            return self._too_late(self._running_at_timeout)
        if isinstance(error, StopAsyncIteration):  # it would look like the end
            ended = RuntimeError(f"{FUNCTION}(): its input raised StopAsyncIteration")
            ended.__cause__ = error
            return ended
        return error

    def _too_late(self, running: int) -> TimeoutError:
        missing = "the input was not exhausted"
        if running:
            missing = f"{running} running child{'ren were' if running > 1 else ' was'} not done"
        return TimeoutError(f"{FUNCTION}(): {missing} within {self.timeout:g} s")

    def is_over(self) -> bool:
        """Tell whether nothing is left to cancel, deliver, raise or close."""
        return not (
            self.scope.unfinished
            or self.ready
            or self.scope.stopping
            or self.source
            or self._deadline
        )

    def take_undelivered(self) -> list[Outcome[Any]]:
        """Return the outcomes that were not taken."""
        outcomes = [outcome for outcome in self.ready if outcome is not None]
        if self._held:
            outcomes += [self._held[index] for index in sorted(self._held)]
            self._held.clear()
        self.ready.clear()
        return outcomes


@final
class AsCompleted(Generic[T]):
    """The outcomes of children as they finish. Made by `as_completed_scoped`."""

    __slots__ = ("_arguments", "_iterating", "_state", "_stream", "undelivered")

    #: Once the block has been left: outcomes that were not taken from the iteration.
    undelivered: list[Outcome[T]]

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - those of the function below
        self._arguments: tuple[Any, ...] = arguments
        self._state = _NEW
        self._iterating = False
        self.undelivered = []

    def __del__(self) -> None:
        if self._arguments:
            refuse(self._arguments[0])  # never entered: its coroutines will not run

    async def __aenter__(self) -> Self:
        if self._state != _NEW:
            message = f"{FUNCTION}() was entered before: make a new one for each block"
            raise RuntimeError(message)
        self._state = _OPEN
        (aws, limit, timeout, child_timeout, ordered), self._arguments = self._arguments, ()
        try:
            check_iterable(FUNCTION, aws, asynchronous=True)
            limit = check_limit(FUNCTION, limit)
            timeout = check_seconds(FUNCTION, "timeout", timeout)
            child_timeout = check_seconds(FUNCTION, "child_timeout", child_timeout)
            check_flag(FUNCTION, "ordered", ordered)
            self._stream = stream = _Stream()
            stream.left = False
            stream.open(Scope(FUNCTION, calling_task(FUNCTION)), limit, child_timeout)
        except BaseException:
            self._state = _LEFT
            refuse(aws)
            raise
        await stream.enter()
        try:
            stream.start_inputs(aws, timeout, ordered=ordered)
            if stream.source_error is None and not stream.scope.errors:
                return self
        except BaseException:
            self._state = _LEFT
            refuse(aws)
            await stream.leave_interrupted()
            stream.scope.close()
            raise
        await self.__aexit__(None, None, None)  # which raises what the input has raised
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._leave(error)
        except GeneratorExit:
            raise  # the coroutine is closed by hand: nothing can be awaited
        except BaseException:
            await self._stream.leave_interrupted()
            raise
        finally:
            del error, traceback, self._stream  # no cycle

    async def _leave(self, error: BaseException | None) -> None:
        self._state = _LEFT
        stream = self._stream
        scope = stream.scope
        if error is not None or not stream.is_over():
            if is_closed(scope.loop) or scope.is_abandoned():
                scope.abandon()  # the coroutine is closed, or collected: nothing can be awaited
                return
            # As in a call that waits, the children get the message of the caller's cancellation.
            stream.stop(*(error.args[:1] if isinstance(error, asyncio.CancelledError) else ()))
            scope.wake()  # a Task that still iterates
            _adopt.settle_finished(
                scope
            )  # an interrupt in our own code may have prevented a settlement
            while scope.unfinished:
                await scope.join()
        stream.close_source()
        await stream.leave()
        self.undelivered = stream.take_undelivered()
        unseen = list(_failed(self.undelivered))
        source_error, stream.source_error = stream.source_error, None
        reached_loop = scope.errors.is_interrupted_only()
        raised = scope.close()
        if error is None:
            raised = source_error if raised is None else raised
        elif not scope.group_aborted and _rank(error) >= (1 if reached_loop else _rank(raised)):
            # The body's own exception propagates; but it does not hide an interrupt, nor a
            # cancellation of the caller that came while the children were joined. (A broken group
            # has cancelled the body itself.)
            raised = None
            if source_error is not None:
                unseen.append((SOURCE, source_error))
        try:
            if raised is not None:
                if error is not None:
                    _failures.set_context(raised, error)
                _failures.note_others(raised, FUNCTION, unseen)
                _failures.raise_unchanged(raised)
            elif error is not None:
                _failures.note_others(error, FUNCTION, unseen)
        finally:
            del error, raised, source_error, unseen  # their tracebacks lead to this frame

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
                if not stream.scope.unfinished:
                    error = stream.exception()
                    if error is None:
                        raise StopAsyncIteration
                    try:
                        _failures.raise_unchanged(error)
                    finally:
                        del error  # the traceback refers to this frame: no cycle
                try:
                    await stream.scope.wait()
                except GeneratorExit:
                    stream.scope.abandon()  # the coroutine is closed by hand
                    raise
                self._open_stream()  # the Task that opened the block may have left it
        finally:
            self._iterating = False
        outcome: Outcome[T] | None = stream.ready.popleft()
        if stream.limit is not None:
            stream.refill()
        return outcome  # type: ignore[return-value]  # it is not the mark of the end

    def __len__(self) -> int:
        """Return how many outcomes are yet to come, those of children not started included.

        Raises:
            TypeError: It is not known, since the input is a generator or an async iterable that
                is not exhausted. This is what progress bars expect.
        """
        if self._state == _LEFT:
            return 0
        stream = self._open_stream()
        waiting = stream.to_come()
        if waiting is None:
            message = f"{FUNCTION}(): the number of outcomes to come is not known"
            raise TypeError(message)
        return waiting + stream.running() + stream.held()

    def __bool__(self) -> bool:
        """Return True: what has an unknown length is not empty."""
        return True

    def add(self, aw: Awaitable[T]) -> int:
        """Add a child while the block is open, and return its index.

        What is added to a collection is numbered from its length on; what is added to a generator
        or async iterable takes the next number, as its items do.

        It starts at once, or with `limit` when there is room, before what is left of the input (in
        input order with `ordered`), in a copy of the current context. May be called by the body
        and by the children.

        Args:
            aw: A coroutine, Task, Future or other awaitable.

        Returns:
            The index that its outcome will have.

        Raises:
            TypeError, ValueError: It is not awaitable, or belongs to a different event loop.
            RuntimeError: The block is not open, or its children are being cancelled: then a
                coroutine has been closed, and a Task or Future is left as it is. Or the Task waits
                for the calling Task.
        """
        try:
            stream = self._open_stream()
            if stream.scope.stopping:
                message = f"{FUNCTION}(): nothing can be added, the children are being cancelled"
                raise RuntimeError(message)  # noqa: TRY301 - refused like any other input
            return stream.add(aw)
        except BaseException:
            refuse(aw)
            raise

    def cancel(self) -> None:
        """Cancel all children, and start none any more. The iteration continues to the last one.

        Outcomes that were not taken, and those of children that finish now, are still items.
        To leave at once, `break`.
        """
        stream = self._open_stream()
        stream.stop()
        stream.scope.wake()

    def _open_stream(self) -> _Stream:
        if self._state is not _OPEN:
            message = f"{FUNCTION}(): the `async with` block {self._state}"
            raise RuntimeError(message)
        return self._stream


def _rank(error: BaseException | None) -> int:
    if isinstance(error, INTERRUPTS):
        return 2
    return int(isinstance(error, asyncio.CancelledError))


def _failed(outcomes: Iterable[Outcome[Any]]) -> Iterator[Failure]:
    for outcome in outcomes:
        if isinstance(outcome, Cancelled):
            if (nested := _failures.inside(outcome.error)) is not None:
                yield outcome.index, nested
        elif not isinstance(outcome, Ok):
            yield outcome.index, outcome.error


def as_completed_scoped(
    aws: Iterable[Awaitable[T]] | AsyncIterable[Awaitable[T]],
    *,
    limit: int | None = None,
    timeout: float | None = None,
    child_timeout: float | None = None,
    ordered: bool = False,
) -> AsCompleted[T]:
    """Run awaitables concurrently and iterate over their outcomes as they finish.

        async with as_completed_scoped(fetch(u) for u in urls) as outcomes:
            async for outcome in outcomes:
                page = await outcome  # or: match outcome: case Ok(page): ...

    The body of a loop over `asyncio.as_completed` stays as it is. How it differs:

    - Leaving the block, by its end, `break`, `return`, an exception or a cancellation, cancels the
      children that still run and joins them. Outcomes that were not taken are in `.undelivered`.
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
            children are cancelled and joined, and the iteration raises TimeoutError after the
            outcomes that arrived in time. With 0 nothing starts.
        child_timeout: Seconds that each child may take, counted from its own start. A late child is
            cancelled and joined, and is `TimedOut`.
        ordered: Yield outcomes in input order instead. Those that wait for an earlier one count as
            not taken.

    Returns:
        An async context manager, which is also the async iterator of outcomes. An exception of the
        body propagates as it is: never in a group, never replaced by a child's. Failures that were
        not taken from the iteration are in its notes.

    Raises:
        TimeoutError: By the iteration, when `timeout` seconds are over.
        asyncio.CancelledError: The caller was cancelled.
        KeyboardInterrupt, SystemExit: Raised in a child.
        TypeError, ValueError: On entry: an argument is out of range, or an input is not awaitable,
            belongs to a different event loop, or is given twice. For what is pulled lazily: by the
            iteration, as any error that `aws` itself raises.
        RuntimeError: There is no running event loop; the block is entered twice, or is iterated
            over by two tasks at once, before it was entered or after it was left.
    """
    return AsCompleted(aws, limit, timeout, child_timeout, ordered)
