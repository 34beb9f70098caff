"""`as_completed_scoped`: outcomes as children finish, in a block that leaves none running."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from structgather import _adopt, _failures
from structgather._arguments import (
    calling_task,
    check_flag,
    check_iterable,
    check_limit,
    check_seconds,
)
from structgather._errors import rank
from structgather._failures import BODY, CALL, INPUT
from structgather._group import is_closed
from structgather._outcome import Cancelled, Ok
from structgather._scope import Scope
from structgather._stream import FUNCTION, Stream
from structgather._unstarted import refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from structgather._failures import Failure
    from structgather._outcome import Outcome

T = TypeVar("T")

_NEW, _OPEN, _LEFT = "has not been entered", "is open", "has been left"


@final
class AsCompleted(Generic[T]):
    """The outcomes of children as they finish. Made by `as_completed_scoped`.

    Attributes:
        undelivered: Once the block has been left: outcomes that were not taken from the iteration.
    """

    __slots__ = ("_arguments", "_iterating", "_state", "_stream", "undelivered")

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
            message = f"{FUNCTION}() can't be entered twice: make a new one for each block"
            raise RuntimeError(message)
        self._state = _OPEN
        (aws, limit, timeout, child_timeout, ordered), self._arguments = self._arguments, ()
        try:
            check_iterable(FUNCTION, aws, asynchronous=True)
            limit = check_limit(FUNCTION, limit)
            timeout = check_seconds(FUNCTION, "timeout", timeout)
            child_timeout = check_seconds(FUNCTION, "child_timeout", child_timeout)
            check_flag(FUNCTION, "ordered", ordered)
            self._stream = stream = Stream()
            stream.left = False
            stream.open(Scope(FUNCTION, calling_task(FUNCTION), stream), limit, child_timeout)
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
        raise AssertionError

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._leave(error)
        except GeneratorExit:
            self._stream.abandon()
            raise
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
                stream.abandon()
                return
            # As in a call that waits, the children get the message of the caller's cancellation.
            stream.stop(*(error.args[:1] if isinstance(error, asyncio.CancelledError) else ()))
            scope.wake()  # a Task that still iterates
            # An interrupt in our own code may have prevented a settlement.
            _adopt.settle_finished(scope)
            while scope.unfinished:
                await scope.join()
        stream.close_source()
        await stream.close_async_source()
        await stream.leave()
        self.undelivered = stream.take_undelivered()
        try:
            self._raise(error)
        finally:
            del error  # the traceback of what an input raises may lead to this frame: no cycle

    def _raise(self, error: BaseException | None) -> None:
        """Raise what takes precedence over the body's own `error`, if anything."""
        stream = self._stream
        scope = stream.scope
        reached_loop = scope.errors.is_interrupted_only()
        raised, source_error = scope.close(), stream.source_error
        stream.source_error = None
        unseen = list(_failed(self.undelivered))
        if error is None:
            raised = source_error if raised is None else raised
        elif not scope.group_aborted and rank(error) >= (1 if reached_loop else rank(raised)):
            # The body's own exception propagates; but it does not hide an interrupt, nor a
            # cancellation of the caller that came while the children were joined. (A broken group
            # has cancelled the body itself.)
            if raised is not None and rank(raised) != 1 and not reached_loop:
                unseen.append((CALL, raised))
            raised = None
        elif rank(error) == 0:
            unseen.append((BODY, error))
        if source_error is not None and raised is not source_error:
            # Its context is the body's exception, whose cause it may become: no cycle.
            unseen.append((INPUT, _failures.without_context(source_error, error)))
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
                    await stream.scope.wait_in_block()
                except GeneratorExit:
                    stream.scope.abandon()  # the coroutine is closed
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

        It starts at once, or with `limit` when there is room, in a copy of the current context.
        Without `ordered`, it starts before the rest of the input. With `ordered`, it comes after a
        collection; after what was pulled so far of a generator. May be called by the body and by
        the children.

        Args:
            aw: A coroutine, Task, Future or other awaitable.

        Returns:
            The index that its outcome will have.

        Raises:
            TypeError, ValueError: `aw` is not awaitable, or belongs to a different event loop.
            RuntimeError: The block is not open, a generator is being exhausted before it opens, or
                the children are being cancelled: then a coroutine has been closed, and a Task or
                Future is left as it is. Or `aw` is the calling Task, or a Task that waits for it.
        """
        try:
            stream = self._open_stream()
            if stream.scope.stopping:
                message = f"{FUNCTION}(): can't add a child: the children are being cancelled"
                raise RuntimeError(message)  # noqa: TRY301 - refused like any other input
            return stream.add(aw)
        except BaseException:
            refuse(aw)
            raise

    def cancel(self) -> None:
        """Cancel all children, and start none any more. The iteration continues to the last one.

        Outcomes that were not taken, and those of children that finish now, are still items.
        To leave at once, `break`.

        Raises:
            RuntimeError: The block is not open.
        """
        stream = self._open_stream()
        stream.stop()
        stream.scope.wake()

    def _open_stream(self) -> Stream:
        if self._state is not _OPEN:
            message = f"{FUNCTION}(): the `async with` block {self._state}"
            raise RuntimeError(message)
        return self._stream


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

    The body of a loop over `asyncio.as_completed` stays as it is (`await outcome` in place of
    `await future`; outcomes are not Futures). Differences:

    - Leaving the block, by its end, `break`, `return`, an exception or a cancellation, cancels the
      children that still run and joins them. Outcomes that were not taken are in `.undelivered`.
      `asyncio.as_completed` leaves children running, also at its `timeout`.
    - A failing child is an item; it does not end the iteration. `await outcome` raises its error.
    - Inputs may come from an async iterable. With `limit` they are pulled lazily, never further
      ahead of the consumer than `limit`.
    - `.add(aw)` adds a child while the block is open, `.cancel()` cancels all, `len()` tells how
      many outcomes are yet to come.

    Args:
        aws: An iterable or async iterable of coroutines, Tasks, Futures or other awaitables, none
            given twice. What is left of a generator, or async generator, is closed at the end.
        limit: How many children may run at a time, outcomes that were not taken included. Tasks
            and Futures count, although they run already.
        timeout: Seconds for the whole iteration, counted from the entry. When they are over, all
            children are cancelled and joined, and the iteration raises TimeoutError after the
            outcomes that arrived in time; a child's own TimeoutError is an item. With 0 nothing
            starts.
        child_timeout: Seconds that each child may take, counted from its own start; for Tasks and
            Futures, from their adoption. A late child is cancelled and joined, and is `TimedOut`.
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
            iteration, as any error that `aws` itself raises; whether it is given twice is not
            checked there.
        RuntimeError: There is no running event loop; the block is entered twice, or is iterated
            over by two tasks at once, before it was entered or after it was left; an input is the
            calling task, or a Task that waits for it.
    """
    return AsCompleted(aws, limit, timeout, child_timeout, ordered)
