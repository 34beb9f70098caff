"""The protocol on `asyncio.TaskGroup`: how the children of one call start, stop and are joined.

CPython's group owns every Task of a call: it creates them, and leaving it joins them, whatever
happens to our own bookkeeping. A bare group is not enough: it loses cancellations of its caller,
cancels twice, late, and in the order of a set. All of that comes from children that raise into the
group and from a caller that waits in `__aexit__`. So these are the rules:

1. Arguments are validated before the first Task exists.
2. No exception of a child but CancelledError leaves `run_child`, the coroutine around it, which
   records how it finished. The group ignores cancelled Tasks. A KeyboardInterrupt or SystemExit
   reaches the event loop in a callback of its own, and is raised by the call if the loop runs on.
3. The body waits, in `join()`, not the group's `__aexit__`: it is left once all have settled.
4. Stopping cancels each unfinished child once, in start order. A child that ends the call (by its
   failure, by the n-th value) stops its siblings once all of their first steps are made. Cancelling
   a call that waits in `join()` cancels its children in the same instant, up to 50 nested calls
   deep. Cancelling the body of a block cancels them when it leaves the block.
5. What is thrown into the body while it waits is raised after the join. Nothing here cancels or
   uncancels the caller's task.
6. Whether this call, a timeout or a third party cancelled a child is decided by what the call did
   (`cancelled_at`, `timeout_errors`), not by `Task.cancelling()`, unless the group has aborted
   itself (`_adopt`).
7. A child cancelled before its first step never runs: its coroutine is closed. It settles in
   `check`, behind its batch's first steps; a queued one in `run_child`, at `await FIRST_STEP`.
8. A call that has returned or raised refers to no child, exception or Task once `check` has run.

A child *settles* when its outcome is recorded: in its last step; if it was adopted, in a done
callback (`_adopt`); if it never ran, in `check`. Until then it is in `unfinished`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from structgather import _adopt, _stuck
from structgather._errors import INTERRUPTS, Call
from structgather._failures import CALL, note_others, without_our_frame
from structgather._group import COROUTINE, TASK, BlockWaiter, Group, Waiter, is_closed
from structgather._outcome import Cancelled, Failed, TimedOut
from structgather._policy import IGNORE
from structgather._queued import FIRST_STEP
from structgather._unstarted import close_unstarted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from structgather._policy import Policy, Unsuccessful
    from structgather._timers import ChildTimeouts


class Scope(Call):
    """The children of one call, from the first start to the last settlement."""

    def __init__(self, function: str, caller: asyncio.Task[Any], policy: Policy) -> None:
        self.function = function
        self.caller = caller
        self.policy = policy
        self.loop = caller.get_loop()
        self.called_at = self.loop.time()
        self.group = Group()
        self.group.caller = caller
        #: Children that have not settled, in start order.
        self.unfinished: dict[int, asyncio.Future[Any]] = {}
        #: Where values are stored, if nothing else is to be done with them.
        self.values: list[Any] | None = None
        #: When we cancelled a child, by the loop's clock.
        self.cancelled_at: dict[int, float] = {}
        #: The TimeoutError of each child that we cancelled at a deadline, its own or the call's.
        self.timeout_errors: dict[int, TimeoutError] = {}
        #: When a child was started, where not all were started when the call began.
        self.started_at: dict[int, float] | None = None
        self.timeouts: ChildTimeouts | None = None
        #: Whether children are cancelled, now or in `check`; whether the group cancelled `caller`.
        self.stopping = self.group_aborted = False
        #: Batches whose first steps may be due.
        self.batches: list[tuple[Sequence[int], Sequence[Any]]] = []
        #: Whether a queued child is being advanced to where it waits for its Task's first step.
        self.priming = False
        self._errors = None
        self._waiter: Waiter | None = None
        self._watch: _stuck.Watch | None = None

    # From the start of a child ...

    def start(self, indices: Sequence[int], awaitables: Sequence[Any]) -> None:
        """Start a batch: create a Task for each awaitable; adopt Tasks and Futures."""
        if self.started_at is not None:
            self.started_at.update(dict.fromkeys(indices, self.loop.time()))
        if self.timeouts is not None:
            indices, awaitables = self.timeouts.add(indices, awaitables)
        child: Any = self.run_child  # not every type checker knows a coroutine's __name__
        create, unfinished = self.group.create_task, self.unfinished
        self.batches.append((indices, awaitables))
        try:
            for index, awaitable in zip(indices, awaitables, strict=True):
                if type(awaitable) is COROUTINE:
                    wrapper = child(index, awaitable)  # named for reprs, monitors and tracers
                    wrapper.__name__ = awaitable.__name__
                    wrapper.__qualname__ = awaitable.__qualname__
                elif type(awaitable) is TASK or asyncio.isfuture(awaitable):
                    _adopt.adopt(self, index, awaitable)
                    continue
                else:
                    wrapper = child(index, awaitable)
                    wrapper.__name__ = wrapper.__qualname__ = _stuck.name_of(awaitable)
                try:
                    task = create(wrapper)
                except BaseException as error:  # noqa: BLE001 - a task factory's
                    _adopt.creation_failed(self, error, wrapper, awaitables)
                    break
                if isinstance(task, TASK) and not task.done() and task.get_coro() is wrapper:
                    unfinished[index] = task
                else:  # it has finished eagerly, or comes from a task factory
                    _adopt.adopt_wrapped(self, index, task, wrapper, awaitable)
        finally:
            self.loop.call_soon(self.check)

    async def run_child(self, index: int, awaitable: Awaitable[Any]) -> None:
        """Await a child in its Task, and record how it finishes."""
        try:
            if self.priming:
                await FIRST_STEP
            value = await awaitable
        except asyncio.CancelledError as error:
            close_unstarted((awaitable,))  # unless it has run
            self.settle_cancelled(index, without_our_frame(error))
            raise
        except BaseException as error:  # noqa: BLE001 - nothing else is raised into the group
            self._failed(index, error)
            return
        unfinished = self.unfinished
        task = unfinished.pop(index, None)
        if self.values is not None:
            self.values[index] = value
        else:
            self.policy.on_value(index, value)
        if self.started_at is not None:
            self._forget(index)
        if not unfinished:
            self._wake_behind(task)

    def _failed(self, index: int, error: BaseException) -> None:
        if isinstance(error, INTERRUPTS):
            self.errors.raise_in(self.loop, error)
        elif isinstance(error, GeneratorExit) and _adopt.is_collected(self, index):
            return
        self.settle_error(Failed, index, without_our_frame(error))

    def check(self) -> None:
        """Settle what was cancelled before its first step. Runs behind those of a batch."""
        batch = self.batches.pop(0)
        unfinished = self.unfinished
        if unfinished and any([child.done() for child in unfinished.values()]):  # noqa: C419 - it is faster
            _adopt.settle_unstarted(self, *batch)
        if self.stopping and not self.batches:
            self.stop()

    # ... to its settlement.

    def settle_value(self, index: int, value: Any) -> None:  # noqa: ANN401 - the child's
        """Record the value of a child that was adopted."""
        self.unfinished.pop(index, None)
        self.policy.on_value(index, value)
        self._has_settled(index)

    def settle_cancelled(self, index: int, error: asyncio.CancelledError) -> None:
        """Record that a child finished cancelled: by us, by its timeout, or by a third party."""
        timeout_error = self.timeout_errors.get(index)
        if timeout_error is None:
            self.settle_error(Cancelled, index, error, by_us=index in self.cancelled_at)
        else:
            timeout_error.__cause__ = error
            self.settle_error(TimedOut, index, timeout_error)

    def settle_error(
        self, kind: Unsuccessful, index: int, error: BaseException, *, by_us: bool = False
    ) -> None:
        """Record a child without a value; for `by_us` see `Policy.on_error`."""
        self.unfinished.pop(index, None)
        if isinstance(error, INTERRUPTS):
            self.errors.keep_interrupt(error)
            self.policy.on_abort()
            self.stop_after_first_steps()
        else:
            self.policy.on_error(kind, index, error, by_us)
        self._has_settled(index)

    def _has_settled(self, index: int) -> None:
        if self.started_at is not None or self.cancelled_at:
            self._forget(index)
        if not self.unfinished:
            self._wake_behind()

    def _forget(self, index: int) -> None:
        # Without it, a call whose input is lazy would grow. Calls with timeouts have `started_at`.
        if self.started_at is not None:
            self.started_at.pop(index, None)
        if self.cancelled_at:
            self.cancelled_at.pop(index, None)
            self.timeout_errors.pop(index, None)
        if self.timeouts is not None:
            self.timeouts.discard(index)

    def _wake_behind(self, task: asyncio.Future[Any] | None = None) -> None:
        if self._waiter is None:
            return
        if task is None:
            task = asyncio.current_task(self.loop)
        if task is None:
            self.wake()
        else:  # the last child's, in its last step: the group's done callback runs before ours
            task.add_done_callback(self.wake)
            if self.stopping:
                # Twice: after Ctrl-C in the first call, no second cancellation would wake the body.
                task.add_done_callback(self.wake)

    def wake(self, _: object = None) -> None:
        """Resume the body. The last child to settle calls this."""
        waiter = self._waiter
        if waiter is not None:
            waiter.stop = None
            # Not `if not waiter.done()`: Ctrl-C may cancel the main Task between any two lines.
            try:  # noqa: SIM105 - the same would be true of `suppress()`
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
            self.timeouts.clear()

    def stop_after_first_steps(self) -> None:
        """Cancel every unfinished child once all that have been started made their first step."""
        self.stopping = True
        if not self.batches:
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
                _adopt.report_cancel(self, index, child, error)
        if self.cancelled_at and self._watch is None and self.policy is not IGNORE:
            self._watch = _stuck.watch(self)

    def fail(self, error: BaseException) -> None:
        """Stop, and raise `error` from the call: something other than a child has failed."""
        if self.errors.keep(error):
            self.policy.on_abort()
        self.stop()

    def elapsed(self, index: int) -> float:
        """Return how long ago a child was started, in seconds."""
        started_at = self.called_at
        if self.started_at is not None:
            started_at = self.started_at.get(index, started_at)
        return self.loop.time() - started_at

    # ... and joined.

    def raised_by_group(self, error: BaseException) -> None:
        """Keep what leaving the group has raised, to be raised by the call."""
        if isinstance(error, BaseExceptionGroup):
            # A Task failed outside of its child: in a task factory's wrapper, or in our own code,
            # when it was interrupted. The group has cancelled its caller for it.
            self.group_aborted = True
            first, *others = cast("BaseExceptionGroup[BaseException]", error).exceptions
            note_others(first, self.function, [(CALL, other) for other in others])
            self.errors.replace(first)
        else:  # for example, a cancellation of the caller after all children had settled
            self.errors.keep(error)
        self.stop()

    def wait_in_block(self) -> Waiter:
        """Return a future that `wake()` completes; cancelling it does not stop the children."""
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
        except GeneratorExit:  # the coroutine is closed: the call abandons its children
            raise
        except BaseException as error:  # noqa: BLE001 - raised after the join
            thrown = error
        finally:
            waiter.stop = self._waiter = None
        if thrown is not None:  # outside the handler, or it would become the children's context
            try:
                self._thrown_in(thrown)
            finally:
                del thrown

    def _thrown_in(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            self.errors.keep(error)
            self.stop(*error.args[:1])
        else:
            self.fail(error)
        _adopt.settle_finished(self)  # an interrupt in our own code may have prevented a settlement

    def abandon(self) -> None:
        """Cancel the children of a call whose coroutine is closed: by `close()`, or as garbage."""
        if not is_closed(self.loop):
            self.stop()
        self._end_watch()
        self.policy.on_abandon()
        self.policy = IGNORE
        self.values = None

    def is_abandoned(self) -> bool:
        """Tell whether the call's coroutine is closed, so that nothing can be awaited."""
        return self.policy is IGNORE

    def close(self) -> BaseException | None:
        """Drop the group, the caller and the policy; return what the call has to raise, if any."""
        if self.timeouts is not None:
            self.timeouts.clear()
            self.timeouts = None
        self._end_watch()
        del self.group.caller, self.group, self.caller
        self.policy = IGNORE
        self.values = None
        return self.take_last_error()

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.end()
            self._watch = None
