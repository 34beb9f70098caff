"""The protocol on `asyncio.TaskGroup`: how the children of one call start, stop and are joined.

CPython's group owns every Task of a call: it creates them, and leaving it joins them, whatever
happens to our own bookkeeping. A bare group is not enough: it loses cancellations of its caller,
cancels twice, late, and in the order of a set. All of that comes from children that raise into the
group and from a caller that waits in `__aexit__`. So these are the rules:

1. Arguments are validated before the first Task exists.
2. Nothing but a CancelledError leaves `_child`, the coroutine around each child, which records how
   the child finished. The group ignores cancelled Tasks. A KeyboardInterrupt or SystemExit reaches
   the event loop in a callback of its own, and is raised by the call if the loop runs on.
3. The body waits, in `join()`, not the group's `__aexit__`: the group is left when it is empty.
4. Stopping cancels each unfinished child once, in start order. A child that ends the call (by its
   failure, by the n-th value) stops its siblings once all of their first steps are made; the
   caller's cancellation, or its leaving the block, stops them at once, in the same instant.
5. What is thrown into the body while it waits is raised after the join. Nothing here cancels or
   uncancels the caller's task.
6. Who cancelled a child is told by what we did (`cancelled_at`, `late`), not by
   `Task.cancelling()`.
7. A child cancelled before its first step never runs. `_check`, which runs behind the first steps
   of a batch, finds it, closes its coroutine, and settles it.
8. A call that is over refers to no child, no exception and no Task.

A child *settles* when its outcome is recorded: in its last step, or, if it was adopted, in a done
callback (`_adopt`). Until then it is in `unfinished`.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from structgather import _adopt, _stuck
from structgather._arguments import close_unstarted
from structgather._failures import without_our_frame
from structgather._group import Group, Waiter
from structgather._outcome import Cancelled, Failed, TimedOut
from structgather._timers import ChildTimeouts, is_closed

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from typing import TypeAlias

    Unsuccessful: TypeAlias = type[Failed | TimedOut | Cancelled]

_COROUTINE: type = CoroutineType

#: The index of the Task that pulls inputs from an async iterable: joined as children are.
SOURCE = -1

class Policy(Protocol):
    """What one of the three functions decides. Called when a child settles, once per child."""

    @property
    def on_value(self) -> Callable[[int, Any], object]:
        """Record the value that a child returned, by its index."""

    def on_error(self, kind: Unsuccessful, index: int, error: Any, by_us: bool) -> object:  # noqa: ANN401, FBT001 - as `kind` has it
        """Record a child without a value; `by_us` tells whether this call cancelled it."""

    def on_abort(self) -> object:
        """Note that something other than a child's failure ends the call."""


class Scope:
    """The children of one call, from the first start to the last settlement."""

    __slots__ = (
        "_batches",
        "_interrupt",
        "_on_value",
        "_policy",
        "_starts",
        "_thrown",
        "_timeouts",
        "_waiter",
        "_watch",
        "began",
        "caller",
        "cancelled_at",
        "function",
        "group",
        "late",
        "left",
        "loop",
        "opened",
        "stopping",
        "unfinished",
    )

    #: Children that have not settled, in start order.
    unfinished: dict[int, asyncio.Future[Any]]
    #: When we cancelled a child, by the loop's clock.
    cancelled_at: dict[int, float]
    #: What a child fails with that was cancelled because its own time was over.
    late: dict[int, TimeoutError]
    #: Batches whose first steps may still be due: indices and awaitables.
    _batches: list[tuple[Sequence[int], Sequence[Awaitable[Any]]]]
    #: When each child was started; None where all were started when the call began.
    _starts: dict[int, float] | None
    #: What was thrown into the body, and the KeyboardInterrupt or SystemExit of a child.
    _thrown: BaseException | None
    _interrupt: BaseException | None
    _waiter: Waiter | None
    _timeouts: ChildTimeouts | None
    _watch: _stuck.Watch | None

    def __init__(self, function: str, policy: Policy, caller: asyncio.Task[Any]) -> None:
        self.function = function
        self.caller = caller
        self.loop = caller.get_loop()
        self.opened = self.began = self.loop.time()
        self.group = Group()
        self.group.caller = caller
        self.unfinished = {}
        self.cancelled_at = {}
        self.late = {}
        self.stopping = self.left = False
        self._batches = []
        self._policy = policy
        self._on_value = policy.on_value
        self._starts = self._timeouts = self._watch = self._waiter = None
        self._thrown = self._interrupt = None

    def keep_starts(self, child_timeout: float | None = None) -> None:
        """Note from now on when each child starts, and limit its time."""
        if self._starts is None:
            self._starts = {}
            self._on_value = self._on_value_and_forget
        if child_timeout is not None:
            self._timeouts = ChildTimeouts(child_timeout, self.loop, self._expire)

    # From the start of a child ...

    def start(
        self,
        indices: Sequence[int],
        awaitables: Sequence[Awaitable[Any]],
        context: contextvars.Context | None = None,
    ) -> None:
        """Start a batch: create a Task for each awaitable, or adopt the Future that it is."""
        if self._starts is not None:
            self._starts.update(dict.fromkeys(indices, self.loop.time()))
        if self._timeouts is not None and not self._timeouts.seconds:
            indices, awaitables = self._expire_unstarted(indices, awaitables)
        self._batches.append((indices, awaitables))
        create, child, unfinished = self.group.create_task, self._child, self.unfinished
        for index, awaitable in zip(indices, awaitables, strict=True):
            if type(awaitable) is not _COROUTINE and asyncio.isfuture(awaitable):
                _adopt.adopt(self, index, awaitable)
                continue
            wrapper = child(index, awaitable)
            try:
                # What Task reprs, monitors and tracers show.
                if type(awaitable) is _COROUTINE:
                    wrapper.__name__ = awaitable.__name__
                    wrapper.__qualname__ = awaitable.__qualname__
                else:
                    wrapper.__name__ = wrapper.__qualname__ = _stuck.name_of(awaitable)
                if context is None:
                    task = create(wrapper)
                else:
                    task = create(wrapper, context=context.copy())
            except BaseException as error:  # noqa: BLE001 - a task factory's
                wrapper.close()
                close_unstarted((awaitable,))
                self.fail(error)
                break
            if task.get_coro() is wrapper:
                unfinished[index] = task
            else:  # it has finished already, or a task factory has wrapped our coroutine
                _adopt.adopt_wrapped(self, index, task, wrapper, awaitable)
        self.loop.call_soon(self._check)
        if self._timeouts is not None and self._starts is not None:
            for index in indices:
                if index in unfinished and index != SOURCE:
                    self._timeouts.started(index, self._starts[index])

    def _expire_unstarted(
        self, indices: Sequence[int], awaitables: Sequence[Awaitable[Any]]
    ) -> tuple[Sequence[int], Sequence[Awaitable[Any]]]:
        # With `child_timeout=0` only what runs already is a child.
        batch = [
            (index, awaitable)
            for index, awaitable in zip(indices, awaitables, strict=True)
            if index == SOURCE or asyncio.isfuture(awaitable)
        ]
        running = {index for index, _ in batch}
        for index, awaitable in zip(indices, awaitables, strict=True):
            if index not in running:
                close_unstarted((awaitable,))
                error = self._timeout_error(index, _stuck.name_of(awaitable))
                self._policy.on_error(TimedOut, index, error, by_us=False)
                self._forget(index)
        return [index for index, _ in batch], [awaitable for _, awaitable in batch]

    def _timeout_error(self, index: int, name: str) -> TimeoutError:
        seconds = self._timeouts.seconds if self._timeouts is not None else 0.0
        return TimeoutError(
            f"{self.function}(): child {index}, {name}, took longer than its child_timeout of "
            f"{seconds:g} s"
        )

    async def _child(self, index: int, awaitable: Awaitable[Any]) -> None:
        try:
            value = await awaitable
        except asyncio.CancelledError as error:
            self.settle_cancelled(index, without_our_frame(error))
            raise
        except BaseException as error:  # noqa: BLE001 - nothing else is raised into the group
            self._failed(index, error)
            return
        self.unfinished.pop(index, None)
        self._on_value(index, value)
        if not self.unfinished and self._waiter is not None:
            self._wake_if_last()

    def _failed(self, index: int, error: BaseException) -> None:
        if isinstance(error, GeneratorExit) and (
            asyncio.current_task(self.loop) is not self.unfinished.get(index)
        ):
            # The coroutine is being closed, not the child failing: it is garbage with its Task.
            self.unfinished.pop(index, None)
            return
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.loop.call_soon(_raise, error)
        self.settle_failed(index, without_our_frame(error))

    def _check(self) -> None:
        # Runs behind the first steps of a batch.
        self._settle_unstarted(*self._batches.pop(0))
        if self.stopping and not self._batches:
            self.stop()

    def _settle_unstarted(
        self, indices: Sequence[int], awaitables: Sequence[Awaitable[Any]]
    ) -> None:
        for index, awaitable in zip(indices, awaitables, strict=True):
            task = self.unfinished.get(index)
            if task is not None and task is not awaitable and task.done():
                self.settle_unstarted(index, task, awaitable)

    def settle_unstarted(
        self, index: int, task: asyncio.Future[Any], awaitable: Awaitable[Any]
    ) -> None:
        """Settle a child that was cancelled before its first step: it has not run a line."""
        close_unstarted((awaitable,))
        _adopt.settle_as_finished(self, index, task)

    # ... to its settlement.

    def settle_value(self, index: int, value: Any) -> None:  # noqa: ANN401 - the child's
        """Record the value of a child that was adopted."""
        self.unfinished.pop(index, None)
        self._on_value(index, value)
        self._wake_if_last()

    def settle_failed(self, index: int, error: BaseException) -> None:
        """Record what a child raised."""
        self.unfinished.pop(index, None)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            if self._interrupt is None:
                self._interrupt = error
            self._policy.on_abort()
            self.stop_after_first_steps()
        else:
            self._policy.on_error(Failed, index, error, by_us=False)
        self._forget(index)
        self._wake_if_last()

    def settle_cancelled(self, index: int, error: asyncio.CancelledError) -> None:
        """Record that a child finished cancelled: by us, because it was late, or otherwise."""
        self.unfinished.pop(index, None)
        late = self.late.get(index)
        if late is None:
            self._policy.on_error(Cancelled, index, error, by_us=index in self.cancelled_at)
        else:
            late.__cause__ = error
            self._policy.on_error(TimedOut, index, late, by_us=False)
        self._forget(index)
        self._wake_if_last()

    def _on_value_and_forget(self, index: int, value: Any) -> None:  # noqa: ANN401 - the child's
        self._policy.on_value(index, value)
        self._forget(index)

    def _forget(self, index: int) -> None:
        self.cancelled_at.pop(index, None)
        self.late.pop(index, None)
        if self._starts is not None:
            self._starts.pop(index, None)
        if self._timeouts is not None:
            self._timeouts.settled(index)

    def _wake_if_last(self) -> None:
        if self.unfinished or self._waiter is None:
            return
        task = asyncio.current_task(self.loop)
        if task is None:
            self.wake()
        else:  # the child's, in its last step: let the group's done callback run before ours
            task.add_done_callback(self.wake)

    def wake(self, _: object = None) -> None:
        """Let the body run on. Happens by itself when the last child has settled."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = waiter.stop = None
            if not waiter.done():
                waiter.set_result(None)

    # How children are stopped ...

    def stop(self, *message: object) -> None:
        """Cancel every unfinished child at once, each once; `message` is that of the caller's."""
        self.stopping = True
        if self._timeouts is not None:
            self._timeouts.end()
        self.cancel(list(self.unfinished), *message)

    def stop_after_first_steps(self) -> None:
        """Cancel every unfinished child as soon as those that were started made a first step."""
        self.stopping = True
        if not self._batches:
            self.stop()

    def cancel(self, indices: Iterable[int], *message: object) -> None:
        """Cancel these children, unless they have been cancelled already."""
        now = self.loop.time()
        for index in indices:
            child = self.unfinished.get(index)
            if child is None or index in self.cancelled_at:
                continue
            try:
                if child.cancel(*message):
                    self.cancelled_at[index] = now
            except Exception as error:  # noqa: BLE001 - the others are to be cancelled all the same
                what = f"{self.function}(): cancel() of child {index} failed"
                context = {"message": what, "exception": error, "future": child}
                self.loop.call_exception_handler(context)
        if self.cancelled_at and self._watch is None:
            self._watch = _stuck.watch(self)

    def fail(self, error: BaseException) -> None:
        """Stop, and raise `error` from the call: something other than a child has failed."""
        if self._thrown is None:
            self._thrown = error
            self._policy.on_abort()
        self.stop()

    def _expire(self, index: int) -> None:
        child = self.unfinished[index]
        if not child.done():
            self.late[index] = self._timeout_error(index, _stuck.describe(child))
            self.cancel((index,))

    def has_first_steps_due(self) -> bool:
        """Tell whether some children may have yet to make their first step."""
        return bool(self._batches)

    def elapsed(self, index: int) -> float:
        """Return how long ago a child was started, in seconds."""
        starts = self._starts
        return self.loop.time() - (self.began if starts is None else starts.get(index, self.began))

    # ... and joined.

    async def run(
        self, start: Callable[[], object], resume: Callable[[], object] | None = None
    ) -> None:
        """Start the children and wait until all have finished; `resume` runs at each wake-up."""
        try:
            async with self.group:
                start()
                while self.unfinished:
                    await self.join()
                    if resume is not None:
                        resume()
        except BaseExceptionGroup as error:
            # Not a child has failed but its Task: what a task factory has put around it, or an
            # interrupt in our own code. The group has cancelled its caller for it.
            self._thrown = None
            self.fail(error.exceptions[0])

    def wait(self) -> Waiter:
        """Return what the body awaits until the next `wake()`, where it may survive cancellation."""
        waiter = self._waiter = Waiter(loop=self.loop)
        waiter.stop = self.stop
        waiter.only_when_idle = True
        return waiter

    async def join(self) -> None:
        """Wait until every child has settled, or for a `wake()`, whatever is thrown in."""
        waiter = self._waiter = Waiter(loop=self.loop)
        waiter.stop = self.stop
        waiter.only_when_idle = False
        thrown: BaseException | None = None
        try:
            await waiter
        except GeneratorExit:
            self.abandon()  # nothing can be awaited
            raise
        except BaseException as error:  # noqa: BLE001 - raised after the join
            thrown = error
        finally:
            waiter.stop = self._waiter = None
        if thrown is not None:  # outside of the handler: no child shall have it as its context
            try:
                self._thrown_in(thrown)
            finally:
                del thrown

    def _thrown_in(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            if self._thrown is None:
                self._thrown = error.with_traceback(None)
            self.stop(*error.args[:1])
        else:
            self.fail(error)
        self.settle_done()  # an interrupt in our own code may have cost a settlement

    def settle_done(self) -> None:
        """Settle the children that are done but have not settled."""
        for batch in self._batches:
            self._settle_unstarted(*batch)
        for index, child in list(self.unfinished.items()):
            if child.done():
                _adopt.settle_as_finished(self, index, child)

    def abandon(self) -> None:
        """Cancel the children of a call that is closed by hand, or because its loop is."""
        if not is_closed(self.loop):
            self.stop()
        self._policy = _IGNORE
        self._on_value = _IGNORE.on_value

    async def leave(self) -> None:
        """Leave the group, in which no child is left."""
        await self.group.__aexit__(None, None, None)
        self.left = True

    async def leave_after(self, error: BaseException) -> None:
        """Leave the group because of `error`: it cancels and joins what our own code has not."""
        if not self.left:
            self.left = True
            with contextlib.suppress(BaseExceptionGroup):
                await self.group.__aexit__(type(error), error, error.__traceback__)

    def has_failed(self) -> bool:
        """Tell whether the call has to raise something that is not a child's failure."""
        return not (self._thrown is None and self._interrupt is None)

    def take_error(self) -> BaseException | None:
        """Return what the call has to raise, if anything; what was thrown in is raised once."""
        error = self._interrupt if self._thrown is None else self._thrown
        self._thrown = None
        return error

    def close(self) -> BaseException | None:
        """Drop all references, and return what the call has to raise, if anything.

        That is what was thrown into the body; failing that, the interrupt of a child.
        """
        error = self.take_error()
        self._interrupt = None
        if self._timeouts is not None:
            self._timeouts.end()
        if self._watch is not None:
            self._watch.end()
        self.group.caller = None
        del self.group, self.caller, self._policy, self._on_value, self._timeouts, self._watch
        return error


def _raise(interrupt: BaseException) -> None:
    try:
        raise interrupt
    finally:
        del interrupt  # its traceback refers to this frame: no cycle


class _Ignore:
    """The policy of a call that has been abandoned."""

    def on_value(self, index: int, value: Any) -> None: ...  # noqa: ANN401 - the child's
    def on_error(self, kind: Unsuccessful, index: int, error: Any, by_us: bool) -> None: ...  # noqa: ANN401, FBT001
    def on_abort(self) -> None: ...


_IGNORE = _Ignore()
