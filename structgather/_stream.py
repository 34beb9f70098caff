"""The children and outcomes of one `as_completed_scoped` block, as its iteration takes them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TYPE_CHECKING, Any

from structgather import _adopt
from structgather._arguments import check_awaitable
from structgather._failures import INPUT
from structgather._group import is_closed
from structgather._intake import Intake
from structgather._outcome import Ok

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from structgather._outcome import Cancelled, Failed, Outcome, TimedOut

FUNCTION = "as_completed_scoped"

#: The next free index, until the inputs are counted.
_UNKNOWN = -1

#: The open blocks whose calling Task has finished.
_without_caller: set[Stream] = set()


class Stream(Intake):
    """The policy: every outcome is an item; those not consumed yet count against `limit`."""

    __slots__ = (
        "_added",
        "_count",
        "_feeding",
        "_held",
        "_next",
        "_numbered",
        "_room",
        "_running_at_timeout",
        "_unfed",
        "left",
        "ready",
        "timeout",
    )

    #: Whether the group has been left.
    left: bool
    #: Outcomes that were not taken yet. None marks the end of the iteration; those behind it go
    #: to `undelivered`.
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
    #: The async iterable, while nothing pulls it.
    _unfed: AsyncIterable[Awaitable[Any]] | None

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
        self._count = _UNKNOWN
        self._running_at_timeout = self._room = self._unfed = None
        expired = timeout == 0
        if isinstance(aws, (list, tuple)) or not isinstance(aws, AsyncIterable):
            self._feeding = False
            self.take(aws, expired=expired)
            return
        self._feeding = True
        self._unfed = aws
        self.take((), expired=expired)
        if not self.scope.stopping:
            self._keep_start_times()
            self.scope.start((INPUT,), (self._feed(aws),))

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

        Otherwise the collection of an async generator that contains the block would also collect
        the child Tasks, and its `aclose()` would wait for them forever.
        """
        await self.scope.group.__aenter__()
        self.scope.caller.add_done_callback(self.caller_finished)

    def caller_finished(self, _: object) -> None:
        """Keep the children alive although the caller has finished: another Task may leave."""
        _without_caller.difference_update(
            [stream for stream in _without_caller if is_closed(stream.scope.loop)]
        )
        _without_caller.add(self)

    async def leave(self) -> None:
        """Leave the group, in which no child is left."""
        self.forget_caller()
        try:
            await self.scope.group.__aexit__(None, None, None)
        except (asyncio.CancelledError, BaseExceptionGroup) as error:
            self.scope.raised_by_group(error)

    async def leave_interrupted(self) -> None:
        """Leave the group, which cancels and joins what our own code has not."""
        if not self.left:
            self.forget_caller()
            error = asyncio.CancelledError()
            try:
                with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
                    await self.scope.group.__aexit__(asyncio.CancelledError, error, None)
            finally:
                error.__traceback__ = error.__context__ = None  # no cycle
            if self.scope.unfinished:
                await _adopt.join_remaining(self.scope)

    def abandon(self) -> None:
        """Leave without joining: the coroutine is closed, or collected; nothing can be awaited."""
        self.scope.abandon()
        self.forget_caller()

    def on_abandon(self) -> None:
        self.waiting.extend(self._added)
        self._added.clear()
        super().on_abandon()

    def forget_caller(self) -> None:
        """Forget that the caller may finish before the block is left."""
        self.left = True
        self.scope.caller.remove_done_callback(self.caller_finished)
        _without_caller.discard(self)

    # Inputs.

    def has_room(self) -> bool:
        """Tell whether one more child may be started. What is not taken yet counts as running."""
        return self.limit is None or self.running() + self.starting + self.held() < self.limit

    def running(self) -> int:
        """How many children run."""
        return len(self.scope.unfinished) - (INPUT in self.scope.unfinished)

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
        if self._count == _UNKNOWN:
            message = f"{FUNCTION}(): can't add a child: the input is still being taken"
            raise RuntimeError(message)
        check_awaitable(FUNCTION, "the argument of add()", awaitable, self.scope.caller)
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
        self._unfed = None
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

    async def close_async_source(self) -> None:
        """Close an async generator that has not been pulled."""
        source, self._unfed = self._unfed, None
        if isinstance(source, AsyncGenerator):
            try:
                await source.aclose()
            except asyncio.CancelledError as error:  # the caller is cancelled meanwhile
                self.scope.errors.keep(error)
            except BaseException as error:  # noqa: BLE001 - raised by the block
                self.source_failed(error)

    # Outcomes.

    def on_value(self, index: int, value: Any) -> None:  # noqa: ANN401 - the child's
        if index == INPUT:
            self._feeding = False
            self.scope.wake()
        else:
            self._deliver(Ok(value, index, self.scope.elapsed(index)))

    def record(self, outcome: Failed | TimedOut | Cancelled, *, by_us: bool) -> None:
        if outcome.index != INPUT:
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
            missing = f"{running} child{'ren' if running > 1 else ''} had not finished"
        return TimeoutError(f"{FUNCTION}(): {missing} after {self.timeout:g} s")

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
        return outcomes
