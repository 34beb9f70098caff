"""Children that the scope has not created itself, or whose Task runs more than our coroutine.

Adopted Tasks and Futures were created elsewhere; they are cancelled and joined through a done
callback. So are Tasks in which a task factory or a tracer has wrapped our coroutine.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from structgather._failures import (
    context_of,
    raise_unchanged,
    set_context,
    set_traceback,
    traceback_of,
    without_our_frame,
)
from structgather._group import Joins, coroutine_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterator

    from structgather._scope import Scope

if sys.version_info >= (3, 14):
    from asyncio import future_add_to_awaited_by, future_discard_from_awaited_by

_E = TypeVar("_E", bound=BaseException)

#: Whether asyncio can be told who awaits whom, for `python -m asyncio pstree`.
_TRACKS_AWAITED_BY = sys.version_info >= (3, 14)


def adopt(scope: Scope, index: int, future: asyncio.Future[Any]) -> None:
    """Make a Task or Future that was created elsewhere a child."""
    if future.done():
        settle_as_finished(scope, index, future)
        return
    scope.unfinished[index] = future
    future.add_done_callback(functools.partial(_adopted_done, scope, index))
    if _TRACKS_AWAITED_BY:
        future_add_to_awaited_by(future, scope.caller)
    if scope.stopping and not scope.has_first_steps_due():
        scope.cancel((index,))


def _adopted_done(scope: Scope, index: int, _: object) -> None:
    # The argument is not used: a proxy of a Future passes a different object.
    future = scope.unfinished.get(index)
    if future is not None:
        if _TRACKS_AWAITED_BY:
            future_discard_from_awaited_by(future, scope.caller)
        settle_as_finished(scope, index, future)


def adopt_wrapped(
    scope: Scope,
    index: int,
    task: asyncio.Future[Any],
    wrapper: Coroutine[Any, Any, Any],
    awaitable: Awaitable[Any],
) -> None:
    """Make a Task a child that may run more than our `wrapper`, or has finished eagerly."""
    if wrapper.cr_frame is None:
        return  # it ran to its end in its first step, and has settled
    scope.unfinished[index] = task
    task.add_done_callback(functools.partial(_wrapped_done, scope, index, wrapper, awaitable))


def _wrapped_done(
    scope: Scope,
    index: int,
    wrapper: Coroutine[Any, Any, Any],
    awaitable: Awaitable[Any],
    task: asyncio.Future[Any],
) -> None:
    wrapper.close()
    if not task.cancelled() and task.exception() is not None:
        scope.note_aborted_group()
    if index in scope.unfinished:  # what is around our coroutine has not run it
        scope.settle_unstarted(index, task, awaitable)


def settle_as_finished(scope: Scope, index: int, future: asyncio.Future[Any]) -> None:
    """Settle a child by what its finished Task or Future says."""
    if future.cancelled():
        scope.settle_cancelled(index, cancellation_of(future))
        return
    error = future.exception()
    if error is None:
        scope.settle_value(index, future.result())
    else:
        scope.settle_failed(index, with_own_traceback(error, future))


def cancellation_of(future: asyncio.Future[Any]) -> asyncio.CancelledError:
    """Return the CancelledError of a cancelled Future, with the child's part of the traceback."""
    handled = sys.exception()
    try:
        future.result()
    except asyncio.CancelledError as error:
        if handled is not None and context_of(error) is handled:
            # The caller is handling it, not the child:
            #     async with as_completed_scoped(...): raise ValueError
            set_context(error, None)
        return without_our_frame(error)
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


def ancestors_of(task: asyncio.Task[Any]) -> set[asyncio.Task[Any]]:
    """Return the Tasks that wait for `task`, directly or through calls of this package."""
    found: set[asyncio.Task[Any]] = set()
    pending = [task]
    while pending:
        probe = _Probe()
        pending.pop().remove_done_callback(probe)
        new = set(probe.waiting) - found
        found |= new
        pending += new
    return found


class _Probe:
    """Compared with the done callbacks of a Task, finds the Tasks that wait for it.

    `remove_done_callback()` is the public way to look at them. It removes none: the probe equals
    no callback.
    """

    def __init__(self) -> None:
        self.waiting: list[asyncio.Task[Any]] = []

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, callback: object) -> bool:
        if isinstance(callback, functools.partial):
            if callback.func is _adopted_done:
                self.waiting.append(callback.args[0].caller)
            return False
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, Joins):  # it is a child of a call
            owner = owner.caller
        if isinstance(owner, asyncio.Task):  # otherwise it is awaited directly
            self.waiting.append(owner)
        return False
