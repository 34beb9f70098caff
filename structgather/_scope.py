"""The protocol. This module owns it; nothing else makes, cancels or joins a task.

A scope holds the children of one call. The three functions are policies over it: they say which
children to start and when enough has settled; the scope sees to it that nothing outlives the call.

The rules, on which the rest of the package may rely:

1.  A child is a Task that the scope made, or a Task or Future that the caller handed over. From
    then on both are treated alike.
2.  A child *settles* once: it returned, raised, or ended cancelled. A Task of ours says so itself
    in its last step (`_carry`), also where it is cancelled before its first; what was handed over
    says so in a done callback, and so does a Task that wraps our coroutine in another.
3.  The caller waits for one future that belongs to the scope, and for nothing else. So a
    cancellation of the caller always arrives in `join()`, with its message, and can't be swallowed
    by a child that happens to be awaited. It reaches the children in the same instant.
4.  Leaving early is `stop()`: each child that has not settled is cancelled, in the order in which
    they were started (deterministic loops depend on it), and none starts any more. `join()` goes on
    waiting all the same until the last child has settled, whatever arrives meanwhile.
5.  A child is cancelled by us at most once, however many cancellations come from outside: a cleanup
    under way is not interrupted.
6.  What ended a child is told by what we did (`by_us`, `_late`), not by `Task.cancelling()`, which
    does not say who it was.
7.  The first exception that is thrown into the caller while it waits is raised again when all have
    settled. None is invented: nobody here cancels or uncancels the caller's task.
8.  A child's KeyboardInterrupt or SystemExit goes through the event loop at once, as asyncio lets
    it. Should the loop go on, the call raises it too.
9.  When the call is over the scope refers to no child, no exception and no task.

Why there is no `asyncio.TaskGroup` in here. A group adds a done callback, a handle and a set entry
to each child: with results and outcomes on top it is dearer than `asyncio.gather`, while this is
cheaper. It cancels its children in the order of a set, and all of them again when its caller is
cancelled while one of them is being cancelled for being late. It cancels them a turn after its
caller, into cleanups that have begun, where everything is cancelled at once. Until 3.13 it loses
cancellations of the caller. The benchmarks and the tests measure each of these; what a group
guarantees, the rules above guarantee.
"""

from __future__ import annotations

import asyncio
import functools
import operator
import sys
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from structgather import _inputs, _stuck
from structgather._child_timeout import ChildTimeouts
from structgather._endings import cancellation_of, retrieve_silently, without_our_frame
from structgather._loops import is_closed
from structgather._waiter import BodyWaiter, Waiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_Child: TypeAlias = asyncio.Future[Any]
_Carrier: TypeAlias = "Coroutine[Any, Any, Any]"

#: As plain `type`s they leave what type checkers know of an awaitable as it is.
_COROUTINE: type = CoroutineType
_TASK: Any = asyncio.Task
_qualname: Callable[[object], str] = operator.attrgetter("__qualname__")


class _FirstStep:
    """Awaited by a carrier until its Task makes the first step: `await` yields once.

    A coroutine that is cancelled before its first step never runs, and can't say how it ended. One
    that waits here hears of it.
    """

    __slots__ = ()

    __await__ = (None,).__iter__  # and not a generator, which would be dearer


_FIRST_STEP: Any = _FirstStep()


class _Wrapped:
    """How a child ended whose Task has yet to end: a tracer's, which sends its spans now."""

    __slots__ = ("awaitable", "carrier", "report", "what")

    #: Set when the Task has been made, before anybody can hear that it is over.
    carrier: _Carrier

    def __init__(self) -> None:
        self.report: Callable[[int, Any], None] | None = None
        self.awaitable: object = None
        self.what: object = None

    def settled(self, report: Callable[[int, Any], None], what: object) -> None:
        self.report, self.what = report, what


#: The index of the Task that pulls inputs from an async iterable: joined as children are.
SOURCE = -1

#: Whether asyncio can be told who awaits whom, so that `python -m asyncio pstree` shows children
#: under their caller, as it shows those of asyncio.gather and TaskGroup.
TRACKS_AWAITED_BY = sys.version_info >= (3, 14)
if sys.version_info >= (3, 14):
    from asyncio import future_add_to_awaited_by, future_discard_from_awaited_by
else:

    def future_add_to_awaited_by(*_: object) -> None: ...
    def future_discard_from_awaited_by(*_: object) -> None: ...


class Scope:
    """The children of one call, from the first start to the last settlement."""

    # Slots, and all of them set in `open()`: a call pays for each look at an attribute, and Python
    # is quick only where a class has no default for it.
    __slots__ = (
        "_caller",
        "_early",
        "_extras",
        "_handed_over",
        "_interrupt",
        "_late",
        "_priming",
        "_starts",
        "_thrown",
        "_timeouts",
        "_waiter",
        "_watch",
        "_wrapped",
        "began",
        "by_us",
        "failed_task",
        "limit",
        "loop",
        "opened",
        "stopping",
        "unsettled",
    )

    #: What the user called, for messages.
    function: ClassVar[str]
    #: Children that have not settled, in the order in which they were started.
    unsettled: dict[int, asyncio.Future[Any]]
    limit: int | None
    stopping: bool
    #: When we cancelled a child, if we did ...
    by_us: dict[int, float]
    #: ... and what it is told, if we did because its own time was over.
    _late: dict[int, TimeoutError]
    #: When the call was made, and when it began to start what it was given.
    opened: float
    began: float
    #: When each unsettled child was started, unless that was then.
    _starts: dict[int, float]
    #: Whether there is more to do for a child than to note it in `unsettled`: to keep these three.
    _extras: bool
    _timeouts: ChildTimeouts | None
    _waiter: Waiter | None
    _watch: _stuck.Watch | None
    #: The indices of Tasks that were handed over and have not been heard of.
    _handed_over: dict[asyncio.Task[Any], int]
    #: Whether a carrier is being brought to where it waits for its Task's first step.
    _priming: bool
    #: The last child that settled before `start()` had been told that there is one.
    _early: int
    #: The Task that failed last, if it has not been retrieved.
    failed_task: asyncio.Future[Any] | None
    #: Children whose Task does more than run our coroutine: it is over when the Task is.
    _wrapped: dict[int, _Wrapped]
    _thrown: BaseException | None
    _interrupt: BaseException | None

    # What a policy says. A child settles by one of the first four.

    def returned(self, index: int, value: Any) -> None:  # noqa: ANN401 - it is the child's
        """Take the value that a child returned."""
        raise NotImplementedError

    def raised(self, index: int, error: BaseException) -> None:
        """Take the exception that a child raised, with the child's part of the traceback."""
        raise NotImplementedError

    def timed_out(self, index: int, error: TimeoutError) -> None:
        """Take note of a child that was cancelled because its own time was over."""
        raise NotImplementedError

    def cancelled(self, index: int, error: asyncio.CancelledError, *, by_us: bool) -> None:
        """Take note of a child that ended cancelled: by `stop()`, or else by its own doing."""
        raise NotImplementedError

    def made_room(self, index: int) -> None:
        """Start what the settlement of a child leaves room for. Called where there is a limit."""
        raise NotImplementedError

    # What a policy asks for.

    def open(self, limit: int | None, child_timeout: float | None) -> asyncio.Task[Any]:
        """Bind the scope to the running loop and to the task that makes the call; return that."""
        if limit is not None:
            limit = _inputs.check_limit(self.function, limit)
        if child_timeout is not None:
            child_timeout = _inputs.check_seconds(self.function, "child_timeout", child_timeout)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            name = self.function
            message = f"{name}() needs a running asyncio event loop: await it in a coroutine"
            raise RuntimeError(message) from None
        caller = asyncio.current_task(loop)
        if caller is None:
            message = f"{self.function}() must be awaited in a task, not driven from a callback"
            raise RuntimeError(message)
        self.loop = loop
        self._caller = caller
        self.opened = self.began = loop.time()
        self.limit = limit
        self.unsettled = {}
        self.stopping = self._extras = self._priming = False
        self._handed_over = {}
        self._wrapped = {}
        self._waiter = self.failed_task = None
        self._thrown = self._interrupt = self._timeouts = self._watch = None
        self._early = SOURCE - 1
        if child_timeout is not None:
            self._timeouts = ChildTimeouts(child_timeout, loop, self._cancel_late)
            self.keep_extras()
        elif limit is not None:
            self.keep_extras()
        return caller

    def refused(self) -> None:
        """Let go of all that the scope refers to: its call has an argument that is not taken."""
        self._timeouts = None

    def start(self, index: int, awaitable: Awaitable[Any]) -> None:  # noqa: C901, PLR0912 - calls are dear
        """Make a child of `awaitable`: a Task of its own, or the Future that it is."""
        if self._extras:
            self._starts[index] = self.loop.time()
        kind = type(awaitable)
        if kind is _COROUTINE:
            name = _qualname(awaitable)
        elif kind is _TASK or asyncio.isfuture(awaitable):
            self._take_over(index, awaitable)
            return
        else:
            name = _stuck.name_of(awaitable)
        if self._timeouts is not None and not self._timeouts.seconds and index != SOURCE:
            _inputs.close_unstarted((awaitable,))
            self._settle(index, self.timed_out, self._timeout_error(index, name))
            return
        carrier = self._carry(index, awaitable)
        # It shows in the Task's repr, and in logs of slow callbacks.
        carrier.__qualname__ = name  # type: ignore[attr-defined]  # typeshed has it too high up
        try:
            child = self.loop.create_task(carrier)
        except BaseException as error:  # noqa: BLE001 - a task factory's; `close()` hands it out
            self._not_made(index, carrier, awaitable, error)
            return
        if child.done():  # tasks start eagerly
            if self._early != index or index in self._wrapped:
                self._wrapped_in(index, carrier, awaitable)
                self._ended(index, child)
            return  # else it has settled, in the step that was its last
        try:
            wrapped = child.get_coro() is not carrier
        except AttributeError:  # a task factory may return any Future
            wrapped = True
        if wrapped:
            # A task factory, or a tracer that has patched the loop, has wrapped it in its own:
            #     async def traced(coroutine): await connect(); return await coroutine
            self._wrapped_in(index, carrier, awaitable)
            child.add_done_callback(functools.partial(self._ended, index))
        elif not carrier.cr_suspended:  # type: ignore[attr-defined]  # else it started eagerly
            self._priming = True
            carrier.send(None)
            self._priming = False
        self.unsettled[index] = child
        if TRACKS_AWAITED_BY:
            future_add_to_awaited_by(child, self._caller)
        if self._extras:
            self._started(index, child)

    def stop(self, *message: object) -> None:
        """Cancel what has not settled, each child once; `join()` will then wait for them.

        `message` is handed to `Task.cancel`, as asyncio hands on the message of a cancellation.
        """
        if not self.stopping:
            self.stopping = True
            self.keep_extras()
            if self._timeouts is not None:
                self._end_timeouts(self._timeouts)
        self._cancel(list(self.unsettled.items()), *message)

    def fail(self, error: BaseException) -> None:
        """Stop, and raise `error` from the call: something other than a child has failed."""
        if self._thrown is None:
            self._thrown = error
        self.stop()

    def interrupted(self, index: int, error: BaseException) -> None:  # noqa: ARG002
        """Stop because of a child's KeyboardInterrupt or SystemExit, which the call raises too."""
        if self._interrupt is None:
            self._interrupt = error
        self.stop()

    def wait(self) -> asyncio.Future[None]:
        """Return what the caller awaits until the next `wake()`, if it may go on when cancelled.

        Its body may do so: `async with asyncio.timeout(1): outcome = await anext(outcomes)`.
        """
        waiter = self._waiter = BodyWaiter(loop=self.loop)
        waiter.stop = self.stop
        return waiter

    def wake(self) -> None:
        """Let the caller go on. The scope does so by itself when the last child has settled."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = waiter.stop = None
            if not waiter.done():
                waiter.set_result(None)

    async def join(self) -> None:
        """Wait until all children have settled, or for a `wake()`, whatever is thrown in."""
        waiter = self._waiter = Waiter(loop=self.loop)
        waiter.stop = self.stop
        thrown: BaseException | None = None
        try:
            await waiter
        except GeneratorExit:
            # The caller's coroutine is being closed, by hand or because its loop is gone: nothing
            # can be awaited any more. Leave the children no reason to go on. `close()` won't be
            # called: what failed, or fails from now on, is not to be reported.
            self.retrieve()
            if not is_closed(self.loop):
                self.stop()
                for child in self.unsettled.values():
                    child.add_done_callback(retrieve_silently)
            raise
        except BaseException as error:  # noqa: BLE001 - `close()` hands it out
            thrown = error
        finally:
            waiter.stop = self._waiter = None
        # Not in the handler: it would become the context of what children end with.
        if thrown is not None:
            try:
                self._thrown_in(thrown)
            finally:
                del thrown  # its traceback refers to this frame: no cycle

    def close(self) -> BaseException | None:
        """Let go of all that the scope refers to, and return what the call has to raise, if any.

        That is what was thrown into the caller during `join()`; failing that, what a child was
        interrupted by: unlike the former it has been through the event loop already.
        """
        error = self._interrupt if self._thrown is None else self._thrown
        self._thrown = self._interrupt = self._timeouts = None
        if self.failed_task is not None:
            self.retrieve()
        if self._extras:
            self._starts.clear()
        del self._caller
        return error

    def retrieve(self) -> None:
        """Let go of the Task that failed last."""
        task, self.failed_task = self.failed_task, None
        if task is None:
            return
        if task.done():
            retrieve_silently(task)
        else:  # it makes its last step, in which it has made room for an eager one that failed
            task.add_done_callback(retrieve_silently)

    def keep_extras(self) -> None:
        """Note more about each child from now on, such as when it was started."""
        if not self._extras:
            self._extras = True
            self._starts = {}
            self.by_us = {}
            self._late = {}

    def started_at(self, index: int) -> float:
        """Tell when an unsettled child was started, by the loop's clock."""
        return self._starts.get(index, self.began) if self._extras else self.began

    # The inside: from the start of a child ...

    def _not_made(
        self, index: int, carrier: _Carrier, awaitable: object, error: BaseException
    ) -> None:
        carrier.close()
        _inputs.close_unstarted((awaitable,))
        if self._extras:
            self._starts.pop(index, None)
        self.fail(error)

    def _take_over(self, index: int, future: Any) -> None:  # noqa: ANN401 - a Future, or like one
        if future.done():
            self._taken_over_done(index, future)
            return
        if type(future) is _TASK and future not in self._handed_over:
            self._handed_over[future] = index
            future.add_done_callback(self._heard)
        else:
            # A proxy hands somebody else to its callbacks; and one Task may be added twice.
            future.add_done_callback(functools.partial(self._heard_of, index))
        self.unsettled[index] = future
        if TRACKS_AWAITED_BY:
            future_add_to_awaited_by(future, self._caller)
        if self._extras:
            self._started(index, future)

    def _started(self, index: int, child: asyncio.Future[Any]) -> None:
        if self.stopping:
            # What is handed over after a failure; or an eager child that stopped the scope in its
            # first step, when the scope did not know of it yet:
            #     async def child(): outcomes.cancel(); await forever()
            self._cancel([(index, child)])
        elif self._timeouts is not None and index != SOURCE:
            self._timeouts.started(index, self.started_at(index))

    def _cancel(self, children: list[tuple[int, asyncio.Future[Any]]], *message: object) -> None:
        by_us, now = self.by_us, self.loop.time()
        for index, child in children:
            if index not in by_us:
                try:
                    cancelled = child.cancel(*message)
                except Exception as error:  # noqa: BLE001 - see there
                    self._not_cancelled(child, error)
                else:
                    if cancelled:
                        by_us[index] = now
        if by_us and self._watch is None:
            self._watch = _stuck.watch(self)

    def _not_cancelled(self, child: asyncio.Future[Any], error: Exception) -> None:
        # Somebody's own Future, or a loop that is closed; the others are to be cancelled all the
        # same.
        what = f"{self.function}(): a child can't be cancelled, its cancel() raised"
        self.loop.call_exception_handler({"message": what, "exception": error, "future": child})

    def _end_timeouts(self, timeouts: ChildTimeouts) -> None:
        try:
            timeouts.end()
        except BaseException as error:  # noqa: BLE001 - a loop's that refuses: see `_loops`
            # It must cost neither the children their cancellation nor the caller its wake-up.
            if self._thrown is None:
                self._thrown = error

    def _cancel_late(self, index: int) -> None:
        child = self.unsettled[index]
        if not child.done():
            self._late[index] = self._timeout_error(index, _stuck.describe(child))
            self._cancel([(index, child)])

    def _timeout_error(self, index: int, name: str) -> TimeoutError:
        seconds = self._timeouts.seconds if self._timeouts is not None else 0.0
        return TimeoutError(
            f"{self.function}(): child {index}, {name}, took longer than its child_timeout of "
            f"{seconds:g} s"
        )

    # ... to its settlement.

    async def _carry(self, index: int, awaitable: Awaitable[Any]) -> Any:  # noqa: ANN401, C901
        # The Task ends as the child does, for those who look at Tasks: monitors, task factories.
        if self._priming:
            try:
                await _FIRST_STEP
            except BaseException as error:
                # It was cancelled before, or else it is being closed: the loop is gone.
                _inputs.close_unstarted((awaitable,))
                if isinstance(error, asyncio.CancelledError):
                    self._settle(index, self._ended_cancelled, without_our_frame(error))
                raise
        elif index not in self.unsettled and not self._is_own_task():
            self._wrapped[index] = _Wrapped()  # it starts eagerly, in what is wrapped around it
        try:
            value = await awaitable
        except Exception as error:
            self._note_failure(index)
            self._settle(index, self.raised, without_our_frame(error))
            raise
        except asyncio.CancelledError as error:
            self._settle(index, self._ended_cancelled, without_our_frame(error))
            raise
        except GeneratorExit as error:
            if asyncio.current_task(self.loop) is not self.unsettled.get(index):
                raise  # it is not the child's: this coroutine is being closed, the loop is gone
            self._note_failure(index)
            self._settle(index, self.raised, without_our_frame(error))
            raise
        except BaseException as error:
            self._note_failure(index)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                self._settle(index, self.interrupted, error)
            else:
                self._settle(index, self.raised, without_our_frame(error))
            raise
        self._settle(index, self.returned, value)
        return value

    def _note_failure(self, index: int) -> None:
        # The policy has the error: asyncio is not to report it as never retrieved. The Task will be
        # done when this step is over, as the one before is now.
        if self.failed_task is not None:
            self.retrieve()
        task = self.unsettled.get(index)
        # It is None in the first step of an eager one.
        self.failed_task = asyncio.current_task(self.loop) if task is None else task

    def _is_own_task(self) -> bool:
        task = asyncio.current_task(self.loop)
        try:
            return task.get_coro().cr_code is Scope._carry.__code__  # type: ignore[union-attr]  # or it raises
        except AttributeError:
            return False

    def _wrapped_in(self, index: int, carrier: _Carrier, awaitable: object) -> None:
        wrapped = self._wrapped.setdefault(index, _Wrapped())
        wrapped.carrier = carrier
        wrapped.awaitable = awaitable

    def _ended(self, index: int, child: _Child) -> None:
        # A Task that was wrapped around the carrier. How the child itself ended is what counts.
        wrapped = self._wrapped.pop(index, None)
        if wrapped is None:
            return
        wrapped.carrier.close()
        _inputs.close_unstarted((wrapped.awaitable,))
        retrieve_silently(child)
        by_us = self._extras and index in self.by_us
        if wrapped.report is None or (
            # It was cancelled by what is wrapped around it, which says why: its time was over.
            wrapped.report == self._ended_cancelled and not (by_us or child.cancelled())
        ):
            self._taken_over_done(index, child)
        else:
            self._settle(index, wrapped.report, wrapped.what)

    def _thrown_in(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            if self._thrown is None:
                self._thrown = error.with_traceback(None)
            self.stop(*error.args[:1])
        else:
            self.fail(error)
        self._settle_done()

    def _settle_done(self) -> None:
        # A KeyboardInterrupt that struck in here may have cost us the settlement of a child.
        for index, child in list(self.unsettled.items()):
            if child.done():
                if index in self._wrapped:
                    self._ended(index, child)
                else:
                    self._taken_over_done(index, child)

    def _heard(self, task: asyncio.Task[Any]) -> None:
        index = self._handed_over.pop(task)
        if index in self.unsettled:
            self._taken_over_done(index, task)

    def _heard_of(self, index: int, future: asyncio.Future[Any]) -> None:
        if index in self.unsettled:
            self._taken_over_done(index, future)

    def _taken_over_done(self, index: int, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self._settle(index, self._ended_cancelled, cancellation_of(future))
            return
        error = future.exception()
        if error is None:
            self._settle(index, self.returned, future.result())
        elif isinstance(error, (KeyboardInterrupt, SystemExit)):
            self._settle(index, self.interrupted, error)
        else:
            self._settle(index, self.raised, error)

    def _ended_cancelled(self, index: int, error: asyncio.CancelledError) -> None:
        if not self._extras:
            self.cancelled(index, error, by_us=False)
        elif index not in self._late:
            self.cancelled(index, error, by_us=index in self.by_us)
        else:
            late = self._late.pop(index)
            late.__cause__ = error
            self.timed_out(index, late)

    def _settle(self, index: int, report: Callable[[int, Any], None], what: Any) -> None:  # noqa: ANN401
        if self._wrapped and index in self._wrapped:
            self._early = index
            self._wrapped[index].settled(report, what)
            return
        child = self.unsettled.pop(index, None)
        if child is None:
            self._early = index
        elif TRACKS_AWAITED_BY:
            future_discard_from_awaited_by(child, self._caller)
        try:
            report(index, what)
            if self._extras and not self.stopping:
                self._forget(index)
        except BaseException as error:  # noqa: BLE001 - it must not cost the caller its wake-up
            self.fail(error)
        if not self.unsettled:
            if self._extras:
                self._end_extras()
            if self._waiter is not None:
                self.wake()

    def _end_extras(self) -> None:
        if self._timeouts is not None:
            self._end_timeouts(self._timeouts)
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        self.by_us.clear()
        self._late.clear()

    def _forget(self, index: int) -> None:
        self._starts.pop(index, None)
        if self.by_us:
            self.by_us.pop(index, None)
            self._late.pop(index, None)
        if self._timeouts is not None:
            self._timeouts.settled(index)
        if self.limit is not None:
            self.made_room(index)
