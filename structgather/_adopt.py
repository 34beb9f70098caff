"""Children that the scope has not created itself, or whose Task runs more than our coroutine.

Adopted Tasks and Futures were created elsewhere; they are cancelled and joined through a done
callback. So are Tasks in which a task factory or a tracer has wrapped our coroutine.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import TYPE_CHECKING, Any

from structgather._failures import context_of, set_context, without_our_frame
from structgather._group import Joins

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterator

    from structgather._scope import Scope

if sys.version_info >= (3, 14):
    from asyncio import future_add_to_awaited_by, future_discard_from_awaited_by

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
    if getattr(task, "get_coro", None) is not None and task.get_coro() is wrapper:
        return  # a Task of another class
    task.add_done_callback(functools.partial(_wrapped_done, scope, index, wrapper, awaitable))


def _wrapped_done(
    scope: Scope,
    index: int,
    wrapper: Coroutine[Any, Any, Any],
    awaitable: Awaitable[Any],
    task: asyncio.Future[Any],
) -> None:
    wrapper.close()
    if index in scope.unfinished:  # what is around our coroutine has not run it
        scope.settle_unstarted(index, task, awaitable)


def settle_as_finished(scope: Scope, index: int, future: asyncio.Future[Any]) -> None:
    """Settle a child by what its finished Task or Future says."""
    try:
        value = future.result()  # which raises with the child's own part of the traceback
    except BaseException as error:  # noqa: BLE001 - the child's
        raised = without_our_frame(error)
    else:
        scope.settle_value(index, value)
        return
    handled = sys.exception()
    if handled is not None and context_of(raised) is handled:
        # The caller is handling it, not the child:
        #     async with as_completed_scoped(...): raise ValueError
        set_context(raised, None)
    try:
        if future.cancelled() and isinstance(raised, asyncio.CancelledError):
            scope.settle_cancelled(index, raised)
        else:
            scope.settle_failed(index, raised)
    finally:
        del handled, raised  # its traceback may refer to this frame: no cycle


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
