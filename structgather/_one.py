"""`gather_structured` of one child without options: the protocol of `_scope`, without siblings.

One child is common where the number of arguments is computed, and a `Scope` would cost as much as
the child. Here is no batch and no policy: the call finishes as its child does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from structgather import _adopt, _failures, _stuck
from structgather._arguments import calling_task, check_awaitables
from structgather._errors import INTERRUPTS, Call, give_to_loop
from structgather._group import COROUTINE, Group, Waiter, is_closed
from structgather._unstarted import close_unstarted, refuse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

_PENDING = object()


class One(Call):
    """The call and its child."""

    __slots__ = (
        "_argument",
        "_called_at",
        "_child",
        "_error",
        "_raising",
        "_value",
        "_waiter",
        "_watch",
        "caller",
        "cancelled_at",
        "function",
        "loop",
    )

    _argument: tuple[Awaitable[Any], ...]
    _child: asyncio.Future[Any] | None
    #: When the child was cancelled by us, if it was, under its index.
    cancelled_at: Mapping[int, float]
    #: How the child finished, and what was thrown into the call while it waited, if anything.
    _value: Any
    _error: BaseException | None
    #: The handle by which the event loop gets the child's KeyboardInterrupt or SystemExit.
    _raising: asyncio.Handle | None
    _waiter: Waiter | None
    _watch: _stuck.Watch | None

    def __init__(self, function: str, argument: tuple[Awaitable[Any], ...]) -> None:
        self.function = function
        self._argument = argument
        self._value = _PENDING
        self._child = self._error = self._errors = self._raising = self._waiter = self._watch = None
        self.cancelled_at = {}

    def __del__(self) -> None:
        if self._argument:  # cancelled before its first step, the call has not run a line
            close_unstarted(self._argument)

    async def gather_structured(self) -> list[Any]:
        """Run the child, and return its value in a list."""
        try:
            if type(self._argument[0]) is not COROUTINE:
                check_awaitables(self.function, self._argument, calling_task(self.function))
            self.caller = calling_task(self.function)
        except BaseException:
            refuse(self._argument)
            raise
        self.loop = self.caller.get_loop()
        self._called_at = self.loop.time()
        group = Group()
        group.caller = self.caller
        try:
            async with group:
                (awaitable,) = self._argument
                if type(awaitable) is not COROUTINE and asyncio.isfuture(awaitable):
                    self._child = awaitable
                    _adopt.add_to_awaited_by(awaitable, self.caller)
                else:
                    wrapper: Any = self._run(awaitable)
                    try:
                        wrapper.__name__, wrapper.__qualname__ = _stuck.names_of(awaitable)
                        self._child = group.create_task(wrapper)
                    except BaseException:  # a task factory's
                        wrapper.close()
                        raise
                    del wrapper
                del awaitable
                self._child.add_done_callback(self.child_finished)
                while not self._child.done():
                    await self._join()
        except GeneratorExit:
            self._abandon()
            raise
        except BaseException as error:  # noqa: BLE001 - raised below
            self._raised_by_group(error)
        if self._child is not None and not self._child.done():
            await self._join_adopted(self._child)
        if self._error is None and self._errors is None and self._value is not _PENDING:
            self._argument = ()
            return [self._value]
        del group
        return self._result()

    async def _join(self) -> None:
        waiter = self._waiter = Waiter(loop=self.loop)
        waiter.stop = self._stop
        try:
            await waiter
        except GeneratorExit:  # the coroutine is closed: the call abandons its children
            raise
        except BaseException as error:  # noqa: BLE001 - raised after the join
            self._thrown_in(error)
        finally:
            waiter.stop = self._waiter = None

    async def _run(self, awaitable: Awaitable[Any]) -> None:
        try:
            self._value = await awaitable
        except asyncio.CancelledError as error:
            self._failed(error)
            raise
        except BaseException as error:  # noqa: BLE001 - nothing else is raised into the group
            if isinstance(error, INTERRUPTS):
                self._raising = give_to_loop(self.loop, error)
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if self._argument:  # otherwise the call is abandoned
            self._error = _failures.without_our_frame(error)

    def _abandon(self) -> None:
        # As in `Scope.abandon`: the coroutine is closed, and nothing can be awaited.
        if not is_closed(self.loop):
            self._stop()
        self._end_watch()
        close_unstarted(self._argument)
        self._argument = ()
        self._child = self._error = None

    def child_finished(self, _: object) -> None:
        """Let the call run on."""
        if self._waiter is not None:
            try:  # noqa: SIM105 - as in `Scope.wake`
                self._waiter.set_result(None)
            except asyncio.InvalidStateError:
                pass

    def _stop(self, *message: object) -> None:
        if self.cancelled_at or self._child is None:
            return
        try:
            cancelled = self._child.cancel(*message)
        except Exception as error:  # noqa: BLE001 - the user's own Future
            _adopt.report_cancel(self, 0, self._child, error)
            return
        if cancelled:
            self.cancelled_at = {0: self.loop.time()}
            self._watch = _stuck.watch(self)

    def _thrown_in(self, error: BaseException) -> None:
        self.errors.keep(error)
        self._stop(*(error.args[:1] if isinstance(error, asyncio.CancelledError) else ()))

    def _raised_by_group(self, error: BaseException) -> None:
        # See `Scope.raised_by_group`.
        if isinstance(error, BaseExceptionGroup):
            self.errors.replace(error.exceptions[0])  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        else:
            self.errors.keep(error)

    async def _join_adopted(self, child: asyncio.Future[Any]) -> None:
        # See `_adopt.join_remaining`.
        self._stop()
        cancelled = await _adopt.join((child,))
        if cancelled is not None:
            self.errors.keep(cancelled)

    def _result(self) -> list[Any]:
        self._end_watch()
        close_unstarted(self._argument)  # unless it has run
        if self._value is _PENDING and self._error is None and self._child is not None:
            self._take_result(self._child)
        value, error = self._value, self._error
        thrown = self.take_last_error()
        raised = error if thrown is None else thrown
        self._argument = ()
        self._value = self._error = self._errors = None
        del self._child, self.caller  # to which the traceback would lead
        if raised is None:
            return [value]
        try:
            if raised is not thrown:
                if self._raising is not None:
                    self._raising.cancel()  # the event loop gets it from the call
            else:
                if self.cancelled_at and isinstance(error, asyncio.CancelledError):
                    error = _failures.inside(error)
                if error is not None:
                    _failures.note_others(raised, self.function, [(0, error)])
            _failures.raise_unchanged(raised)
        finally:
            del error, thrown, raised, value, self  # the traceback refers to this frame: no cycle

    def _take_result(self, child: asyncio.Future[Any]) -> None:
        # Adopted, or cancelled before its first step, or not run by the coroutine that wraps it.
        _adopt.discard_from_awaited_by(child, self.caller)
        if child.cancelled():
            self._error = _adopt.cancellation_of(child)
        elif (error := child.exception()) is not None:
            self._error = _adopt.with_own_traceback(error, child)
        else:
            self._value = child.result()

    # What the stuck-child warning looks at.

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.end()
            self._watch = None

    @property
    def unfinished(self) -> Mapping[int, asyncio.Future[Any]]:
        """The child, until it has finished."""
        child = self._child
        return {} if child is None or child.done() else {0: child}

    def elapsed(self, _: int) -> float:
        """Return how long ago the child was started, in seconds."""
        return self.loop.time() - self._called_at
