"""The protocol on `asyncio.TaskGroup`: how the children of one call start, stop and are joined.

CPython's group owns every Task of a call: it creates them, and leaving it joins them, whatever
happens to our own bookkeeping. A bare group is not enough: it loses cancellations of its caller,
cancels twice, late, and in the order of a set. All of that comes from children that raise into the
group and from a caller that waits in `__aexit__`. So these are the rules:

1. Arguments are validated before the first Task exists.
2. Nothing but a CancelledError leaves `_child`, the coroutine around each child, which records how
   the child finished. The group ignores cancelled Tasks. A KeyboardInterrupt or SystemExit reaches
   the event loop in a callback of its own, and is raised by the call should the loop run on.
3. The body waits, in `join()`, not the group's `__aexit__`: the group is left when it is empty.
4. Stopping cancels each unfinished child once, in start order. A child that ends the call (by its
   failure, by the n-th value) stops its siblings once all of their first steps are made; the
   caller's cancellation, or its leaving the block, stops them at once, in the same instant.
5. What is thrown into the body while it waits is raised after the join. Nothing here cancels or
   uncancels the caller's task.
6. Who cancelled a child is told by what we did (`cancelled_at`, `late`), not by
   `Task.cancelling()`.
7. A child cancelled before its first step never runs: its coroutine is closed and it settles as
   cancelled. `_check` finds it, which runs behind the first steps of a batch. A child that starts
   later, when there is room, waits for its first step in `_child`, and so finds out by itself.
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
from structgather._group import BlockWaiter, Group, Waiter, is_closed, raise_interrupt
from structgather._outcome import Cancelled, Failed, TimedOut

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from structgather._timers import ChildTimeouts

    Unsuccessful: TypeAlias = type[Failed | TimedOut | Cancelled]

# As plain types they leave what type checkers know of an awaitable as it is.
_COROUTINE: type = CoroutineType
_TASK: type = asyncio.Task

#: The index of the Task that pulls inputs from an async iterable: joined as children are.
SOURCE = -1


class Policy(Protocol):
    """What one of the three functions decides. Called when a child settles, once per child."""

    def on_error(self, kind: Unsuccessful, index: int, error: Any, by_us: bool) -> object:  # noqa: ANN401, FBT001 - as `kind` has it
        """Record a child without a value; `by_us` tells whether this call cancelled it."""

    def on_abort(self) -> object:
        """Note that something other than a child's failure ends the call."""


class _Abandoned:
    """The policy of a call that is closed by hand: what its children do is of no interest."""

    def on_error(self, kind: Unsuccessful, index: int, error: Any, by_us: bool) -> None: ...  # noqa: ANN401, FBT001
    def on_abort(self) -> None: ...


class _FirstStep:
    """Awaited by a Task that is started late: `await` yields once, until its first step."""

    __slots__ = ()
    __await__ = (None,).__iter__  # cheaper than a generator


def _ignore_value(index: int, value: Any) -> None:  # noqa: ANN401 - the child's
    pass


_ABANDONED = _Abandoned()
_FIRST_STEP: Any = _FirstStep()


class Scope:
    """The children of one call, from the first start to the last settlement."""

    __slots__ = (
        "_batches",
        "_interrupt",
        "_on_value",
        "_policy",
        "_priming",
        "_raising",
        "_thrown",
        "_waiter",
        "_watch",
        "began",
        "broken",
        "caller",
        "cancelled_at",
        "function",
        "group",
        "late",
        "loop",
        "starts",
        "stopping",
        "timeouts",
        "unfinished",
    )

    #: Children that have not settled, in start order.
    unfinished: dict[int, asyncio.Future[Any]]
    #: When we cancelled a child, by the loop's clock.
    cancelled_at: dict[int, float]
    #: What a child fails with that we cancelled because the time was over, its own or the call's.
    late: dict[int, TimeoutError]
    #: When a child was started, where not all were started when the call began.
    starts: dict[int, float] | None
    timeouts: ChildTimeouts | None
    #: Batches whose first steps may be due.
    _batches: list[tuple[Sequence[int], Sequence[Awaitable[Any]]]]
    #: Whether a late child is being brought to where it waits for its Task's first step.
    _priming: bool
    #: What was thrown into the body; the KeyboardInterrupt or SystemExit of a child, and its handle.
    _thrown: BaseException | None
    _interrupt: BaseException | None
    _raising: asyncio.Handle | None
    _waiter: Waiter | None
    _watch: _stuck.Watch | None

    def __init__(self, function: str, caller: asyncio.Task[Any]) -> None:
        self.function = function
        self.caller = caller
        self.loop = caller.get_loop()
        self.began = self.loop.time()
        self.group = Group()
        self.group.caller = caller
        self.unfinished = {}
        self.cancelled_at = {}
        self.late = {}
        self.stopping = self.broken = self._priming = False
        self._batches = []
        self.starts = self.timeouts = None
        self._thrown = self._interrupt = self._raising = self._waiter = self._watch = None

    def decide_by(self, policy: Policy, on_value: Callable[[int, Any], object]) -> None:
        """Let `policy` decide what ends the call; `on_value` records the value of a child."""
        self._policy = policy
        self._on_value = on_value

    # From the start of a child ...

    def start(self, indices: Sequence[int], awaitables: Sequence[Awaitable[Any]]) -> None:
        """Start a batch: create a Task for each awaitable, or adopt the Future that it is."""
        if self.starts is not None:
            self.starts.update(dict.fromkeys(indices, self.loop.time()))
        if self.timeouts is not None:
            indices, awaitables = self.timeouts.begin(indices, awaitables)
        self._batches.append((indices, awaitables))
        create, child, unfinished = self.group.create_task, self._child, self.unfinished
        try:
            for index, awaitable in zip(indices, awaitables, strict=True):
                if type(awaitable) is _COROUTINE:
                    wrapper = child(index, awaitable)
                    # What Task reprs, monitors and tracers show.
                    wrapper.__name__ = awaitable.__name__
                    wrapper.__qualname__ = awaitable.__qualname__
                elif type(awaitable) is _TASK or asyncio.isfuture(awaitable):
                    _adopt.adopt(self, index, awaitable)
                    continue
                else:
                    wrapper = child(index, awaitable)
                    wrapper.__name__ = wrapper.__qualname__ = _stuck.name_of(awaitable)
                try:
                    task = create(wrapper)
                except BaseException as error:  # noqa: BLE001 - a task factory's
                    wrapper.close()
                    self.fail(error)
                    close_unstarted(awaitables)
                    break
                if isinstance(task, _TASK) and not task.done() and task.get_coro() is wrapper:
                    unfinished[index] = task
                else:  # it has finished eagerly, or comes from a task factory
                    _adopt.adopt_wrapped(self, index, task, wrapper, awaitable)
        finally:
            self.loop.call_soon(self._check)

    def start_late(
        self, index: int, awaitable: Awaitable[Any], context: contextvars.Context
    ) -> None:
        """Start one child in a copy of `context`, now that there is room for it."""
        if type(awaitable) is not _COROUTINE and asyncio.isfuture(awaitable):
            self.start((index,), (awaitable,))
            return
        if self.starts is not None:
            self.starts[index] = self.loop.time()
        if self.timeouts is not None and not self.timeouts.begin((index,), (awaitable,))[0]:
            return
        wrapper = self._child(index, awaitable)
        wrapper.__name__, wrapper.__qualname__ = _stuck.names_of(awaitable)
        try:
            # A keyword `context` is not taken by each task factory.
            task = context.copy().run(self.group.create_task, wrapper)
        except BaseException as error:  # noqa: BLE001 - a task factory's
            wrapper.close()
            self.fail(error)
            close_unstarted((awaitable,))
            return
        if not isinstance(task, _TASK) or task.done() or task.get_coro() is not wrapper:
            _adopt.adopt_wrapped(self, index, task, wrapper, awaitable)
        else:
            self.unfinished[index] = task
            if not wrapper.cr_suspended:  # otherwise it has been started eagerly
                self._priming = True
                wrapper.send(None)  # to where it waits for the Task's first step
                self._priming = False
        if self.stopping and not self._batches:  # in an eager first step: outcomes.cancel()
            self.cancel((index,))

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Make one batch of the children that are started late in this context."""
        self._batches.append(((), ()))
        try:
            yield
        finally:
            self.loop.call_soon(self._check)

    async def _child(self, index: int, awaitable: Awaitable[Any]) -> None:
        try:
            if self._priming:
                await _FIRST_STEP
            value = await awaitable
        except asyncio.CancelledError as error:
            close_unstarted((awaitable,))  # unless it has run
            self.settle_cancelled(index, without_our_frame(error))
            raise
        except BaseException as error:  # noqa: BLE001 - nothing else is raised into the group
            self._failed(index, error, awaitable)
            return
        self.unfinished.pop(index, None)
        self._on_value(index, value)
        if self.starts is not None:
            self._forget(index)
        if not self.unfinished and self._waiter is not None:
            self._wake_if_last()

    def _failed(self, index: int, error: BaseException, awaitable: Awaitable[Any]) -> None:
        task = self.unfinished.get(index)
        if isinstance(error, GeneratorExit) and task not in {
            None,  # in an eager first step
            asyncio.current_task(self.loop),
        }:
            # The child does not fail: its coroutine is closed, being garbage with its Task.
            close_unstarted((awaitable,))
            self.unfinished.pop(index, None)
            return
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self._raising = self.loop.call_soon(raise_interrupt, error)
        self.settle_failed(index, without_our_frame(error))

    def _check(self) -> None:
        # Runs behind the first steps of a batch.
        batch = self._batches.pop(0)
        if any([child.done() for child in self.unfinished.values()]):  # cheaper than a generator
            self._settle_unstarted(*batch)
        if self.stopping and not self._batches:
            self.stop()

    def _settle_unstarted(
        self, indices: Sequence[int], awaitables: Sequence[Awaitable[Any]]
    ) -> None:
        for index, awaitable in zip(indices, awaitables, strict=True):
            child = self.unfinished.get(index)
            if child is not None and child is not awaitable and child.done():
                self.settle_unstarted(index, child, awaitable)

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
        if self.starts is not None or self.cancelled_at:
            self._forget(index)
        if not self.unfinished:
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
        late = self.late.get(index)
        if late is not None:
            late.__cause__ = error
            self.settle_late(index, late)
            return
        self.unfinished.pop(index, None)
        self._policy.on_error(Cancelled, index, error, by_us=index in self.cancelled_at)
        self._forget(index)
        self._wake_if_last()

    def settle_late(self, index: int, error: TimeoutError) -> None:
        """Record that a child was not done in its time."""
        self.unfinished.pop(index, None)
        self._policy.on_error(TimedOut, index, error, by_us=False)
        self._forget(index)
        self._wake_if_last()

    def _forget(self, index: int) -> None:
        if self.starts is not None:
            self.starts.pop(index, None)
        if self.cancelled_at:
            self.cancelled_at.pop(index, None)
            self.late.pop(index, None)
        if self.timeouts is not None:
            self.timeouts.settled(index)

    def _wake_if_last(self) -> None:
        if self.unfinished or self._waiter is None:
            return
        task = asyncio.current_task(self.loop)
        if task is None:
            self.wake()
        else:  # the child's, in its last step: let the group's done callback run before ours
            task.add_done_callback(self.wake)
            if self.stopping:
                # Its caller is not cancelled again: no interrupt may cost the call this wake-up.
                task.add_done_callback(self.wake)

    def wake(self, _: object = None) -> None:
        """Let the body run on. Happens by itself when the last child has settled."""
        waiter = self._waiter
        if waiter is not None:
            waiter.stop = None
            try:  # not `if not waiter.done()`: Ctrl-C cancels the main Task between any two lines
                waiter.set_result(None)
            except asyncio.InvalidStateError:
                pass
            self._waiter = None

    # How children are stopped ...

    def stop(self, *message: object) -> None:
        """Cancel every unfinished child at once, each once; `message` is that of the caller's."""
        self.stopping = True
        self.cancel(list(self.unfinished), *message)
        if self.timeouts is not None:
            self.timeouts.end()

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

    def note_aborted_group(self) -> None:
        """Note which children the group has cancelled, since what is around one of them failed."""
        self.stopping = True
        now = self.loop.time()
        for index, child in self.unfinished.items():
            if isinstance(child, _TASK) and child.cancelling():
                self.cancelled_at.setdefault(index, now)

    def fail(self, error: BaseException) -> None:
        """Stop, and raise `error` from the call: something other than a child has failed."""
        if self._thrown is None or isinstance(error, (KeyboardInterrupt, SystemExit)):
            self._thrown = error
            self._policy.on_abort()
        self.stop()

    def keep_error(self, error: BaseException) -> None:
        """Raise `error` from the call, unless there is something else to raise."""
        if self._thrown is None:
            self._thrown = error

    def has_first_steps_due(self) -> bool:
        """Tell whether some children may have yet to make their first step."""
        return bool(self._batches)

    def elapsed(self, index: int) -> float:
        """Return how long ago a child was started, in seconds."""
        starts = self.starts
        return self.loop.time() - (self.began if starts is None else starts.get(index, self.began))

    # ... and joined.

    def raised_by_group(self, error: BaseException) -> None:
        """Keep what leaving the group has raised, to raise it in its turn."""
        if isinstance(error, BaseExceptionGroup):
            # Not a child has failed but its Task: what a task factory has put around it, or our
            # own code, interrupted. The group has cancelled its caller for it.
            self.broken = True
            self._thrown = error.exceptions[0]
        elif isinstance(error, asyncio.CancelledError):
            # The caller was cancelled when all children had settled.
            self.keep_error(error.with_traceback(None))
        else:
            self.fail(error)

    async def join_adopted(self) -> None:
        """Join the adopted children that are left where our own code was interrupted.

        The group does not know them, and a done callback may be what was interrupted.
        """
        self.stop()
        while left := [child for child in self.unfinished.values() if not child.done()]:
            try:
                await asyncio.wait(left)
            except asyncio.CancelledError as error:
                self.keep_error(error.with_traceback(None))
        self.settle_done()

    def wait(self) -> Waiter:
        """Return what the body awaits until the next `wake()`, where it may survive cancellation."""
        waiter = self._waiter = BlockWaiter(loop=self.loop)
        waiter.stop = self.stop
        return waiter

    async def join(self) -> None:
        """Wait until every child has settled, or for a `wake()`, whatever is thrown in."""
        waiter = self._waiter = Waiter(loop=self.loop)
        waiter.stop = self.stop
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
        self.decide_by(_ABANDONED, _ignore_value)

    def has_failed(self) -> bool:
        """Tell whether the call has to raise something that is not a child's failure."""
        return self._thrown is not None or self._interrupt is not None

    def take_error(self) -> BaseException | None:
        """Return what the call has to raise, if anything; what was thrown in is raised once.

        That is what was thrown into the body; failing that, the interrupt of a child.
        """
        error, self._thrown = self._thrown, None
        if self._interrupt is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
            error = self._interrupt
            if self._raising is not None:
                self._raising.cancel()  # the event loop gets it from the call
        return error

    def close(self) -> BaseException | None:
        """Drop all references, and return what the call has to raise, if anything."""
        if self.timeouts is not None:
            self.timeouts.end()
            self.timeouts = None
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        self.group.caller = None
        del self.group, self.caller
        self._policy = _ABANDONED
        self._on_value = _ignore_value
        if not self.has_failed():
            return None
        error = self.take_error()
        self._interrupt = self._raising = None
        return error
