"""`as_completed_scoped`: outcomes as they come, in a block that leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar, final

from structgather import _failures, _inputs
from structgather._loops import is_closed
from structgather._scope import SOURCE
from structgather._stream import FUNCTION, Stream, failures_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Iterable
    from types import TracebackType
    from typing import Self

    from structgather._outcome import Outcome

T = TypeVar("T")

_OPEN = "is open"


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
        self._state = _OPEN
        self._stream = stream = Stream()
        arguments, self._arguments = self._arguments, ((), None, None, None)
        try:
            stream.begin(*arguments)
        except BaseException:
            self._state = "has been left"
            _inputs.refuse(arguments[0])
            stream.refused()
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
        if is_closed(stream.loop):
            stream.retrieve()
            return  # the coroutine is being collected, long after anything could be joined
        # As where the call itself waits, the children hear why their caller is cancelled.
        stream.stop(*(error.args[:1] if isinstance(error, asyncio.CancelledError) else ()))
        stream.wake()  # a task that still iterates is to hear of it
        while stream.unsettled:
            await stream.join()
        self.undelivered = stream.take_undelivered()
        unseen = list(failures_of(self.undelivered))
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
        if self._state is not _OPEN:
            self._open_stream()  # says what is wrong
        stream = self._stream
        if self._iterating:
            message = f"{FUNCTION}(): another task is waiting for the next outcome already"
            raise RuntimeError(message)
        if stream.failed_task is not None:
            stream.retrieve()  # it refers to what an earlier outcome does
        self._iterating = True
        try:
            while not stream.ready or stream.ready[0] is None:
                if not stream.unsettled:
                    error = stream.exception()
                    if error is None:
                        raise StopAsyncIteration
                    try:
                        _failures.raise_as_it_is(error)
                    finally:
                        del error  # the traceback refers to this frame: no cycle
                await stream.wait()
                if self._state is not _OPEN:
                    self._open_stream()  # it was left by the task that opened it
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

    def _open_stream(self, *, to_add: bool = False) -> Stream:
        if self._state is not _OPEN:
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
