"""Children that do not settle in their own last step.

Adopted Tasks and Futures were created elsewhere: they settle in a done callback. So do Tasks in
which a task factory or a tracer has wrapped our coroutine. Children that were cancelled before
their first step, or whose settlement was interrupted, are settled by what their Task says.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from structgather._failures import (
    raise_unchanged,
    set_traceback,
    traceback_of,
    without_context,
    without_our_frame,
)
from structgather._group import coroutine_of
from structgather._outcome import Failed
from structgather._unstarted import close_unstarted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence
    from types import CoroutineType

    from structgather import _stuck
    from structgather._scope import Scope

# They tell `python -m asyncio pstree` who awaits whom.
if sys.version_info >= (3, 14):
    add_to_awaited_by = asyncio.future_add_to_awaited_by
    discard_from_awaited_by = asyncio.future_discard_from_awaited_by
else:

    def add_to_awaited_by(fut: object, waiter: object, /) -> None: ...
    def discard_from_awaited_by(fut: object, waiter: object, /) -> None: ...


_E = TypeVar("_E", bound=BaseException)


def adopt(scope: Scope, index: int, future: asyncio.Future[Any]) -> None:
    """Make a Task or Future that was created elsewhere a child."""
    if future.done():
        settle(scope, index, future)
        return
    scope.unfinished[index] = future
    future.add_done_callback(functools.partial(_adopted_done, scope, index))
    add_to_awaited_by(future, scope.caller)


def _adopted_done(scope: Scope, index: int, _: object) -> None:
    # The argument is not used: a proxy of a Future passes a different object.
    future = scope.unfinished.get(index)
    if future is not None:
        settle(scope, index, future)


def adopt_wrapped(
    scope: Scope,
    index: int,
    task: asyncio.Future[Any],
    wrapper: CoroutineType[Any, Any, None],
    awaitable: Awaitable[Any],
) -> None:
    """Make a Task a child that may run more than our `wrapper`, or has finished eagerly."""
    if wrapper.cr_frame is None:
        return  # it finished in its first step, and has settled
    scope.unfinished[index] = task
    task.add_done_callback(functools.partial(_wrapped_done, scope, index, wrapper, awaitable))


def creation_failed(
    scope: Scope,
    error: BaseException,
    wrapper: CoroutineType[Any, Any, None],
    awaitables: Iterable[object],
) -> None:
    """Stop, because the Task of a child could not be created."""
    wrapper.close()
    scope.fail(error)
    close_unstarted(awaitables)


def _wrapped_done(
    scope: Scope,
    index: int,
    wrapper: CoroutineType[Any, Any, None],
    awaitable: Awaitable[Any],
    task: asyncio.Future[Any],
) -> None:
    wrapper.close()
    if not task.cancelled() and task.exception() is not None:
        _group_has_aborted(scope)
    if index in scope.unfinished:  # the coroutine that wraps ours has not run it to its end
        close_unstarted((awaitable,))
        settle(scope, index, task)


def is_collected(scope: Scope, index: int) -> bool:
    """Tell whether a child was closed because its Task is garbage; it has not failed then."""
    task = scope.unfinished.get(index)  # None in an eager first step
    if task is None or task is asyncio.current_task(scope.loop):
        return False
    if not task.done():  # otherwise it settles as its Task has finished
        scope.unfinished.pop(index, None)
    return True


def _group_has_aborted(scope: Scope) -> None:
    # The Task has failed outside of its child, and so the group has cancelled the others.
    scope.stopping = True
    now = scope.loop.time()
    for index, child in scope.unfinished.items():
        if isinstance(child, asyncio.Task) and child.cancelling():
            scope.cancelled_at.setdefault(index, now)


def settle(scope: Scope, index: int, future: asyncio.Future[Any]) -> None:
    """Record the result of a finished Task or Future."""
    discard_from_awaited_by(future, scope.caller)
    if future.cancelled():
        scope.settle_cancelled(index, cancellation_of(future))
        return
    error = future.exception()
    if error is None:
        scope.settle_value(index, future.result())
    elif isinstance(error, asyncio.CancelledError):  # as that of a cancelled asyncio.gather is
        scope.settle_cancelled(index, with_own_traceback(error, future))
    else:
        scope.settle_error(Failed, index, with_own_traceback(error, future))


def settle_unstarted(
    scope: Scope, indices: Sequence[int], awaitables: Sequence[Awaitable[Any]]
) -> None:
    """Settle the children of a batch that were cancelled before they ran a line."""
    for index, awaitable in zip(indices, awaitables, strict=True):
        child = scope.unfinished.get(index)
        if child is not None and child is not awaitable and child.done():
            close_unstarted((awaitable,))
            settle(scope, index, child)


def settle_finished(scope: Scope) -> None:
    """Settle the children that are done but have not settled."""
    for batch in scope.batches:
        settle_unstarted(scope, *batch)
    for index, child in list(scope.unfinished.items()):
        if child.done():
            settle(scope, index, child)


async def join_remaining(scope: Scope) -> None:
    """Join the adopted children that are left where our own code was interrupted.

    The group does not know them, and a done callback may be what was interrupted.
    """
    scope.stop()
    cancelled = await join(scope.unfinished.values())
    if cancelled is not None:
        scope.errors.keep(cancelled)
    settle_finished(scope)


def report_cancel(
    call: _stuck.Watched, index: int, future: asyncio.Future[Any], error: Exception
) -> None:
    """Report to the event loop what the `cancel()` of a user's Future has raised."""
    message = f"{call.function}(): cancel() of child {index} failed"
    call.loop.call_exception_handler({"message": message, "exception": error, "future": future})


def cancellation_of(future: asyncio.Future[Any]) -> asyncio.CancelledError:
    """Return the CancelledError of a cancelled Future, with the child's part of the traceback."""
    handled = sys.exception()
    try:
        future.result()
    except asyncio.CancelledError as error:
        # The caller is handling it, not the child:
        #     async with as_completed_scoped(...): raise ValueError
        return without_our_frame(without_context(error, handled))
    finally:
        del handled
    raise AssertionError  # it is cancelled


def with_own_traceback(error: _E, future: asyncio.Future[Any]) -> _E:
    """Cut what was added by raising it elsewhere off the traceback of a Future's exception.

    A Future's exception may be raised by many callers, and each adds its frames.
    """
    own = traceback_of(error)
    code = None
    if isinstance(future, asyncio.Task):
        code = getattr(coroutine_of(future), "cr_code", None)
    entry = own
    while entry is not None:
        if entry.tb_frame.f_code is code:
            own = entry
            break
        if entry.tb_frame.f_code is raise_unchanged.__code__:
            own = entry.tb_next
        entry = entry.tb_next
    set_traceback(error, own)
    return error


async def join(futures: Iterable[asyncio.Future[Any]]) -> asyncio.CancelledError | None:
    """Wait until all are done. Return the first cancellation of the caller meanwhile, if any."""
    pending = list(futures)
    cancelled: asyncio.CancelledError | None = None
    while pending := [future for future in pending if not future.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = cancelled or error.with_traceback(None)
    return cancelled
