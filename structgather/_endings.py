"""How Tasks and Futures ended, with the part of the traceback that is the child's."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, TypeVar, cast

from structgather import _failures

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FunctionType

_E = TypeVar("_E", bound=BaseException)


def retrieve_silently(task: asyncio.Future[Any]) -> None:
    """Look at how a Task ended, so that it is not reported as never retrieved."""
    if task.done() and not task.cancelled():  # what is wrapped around a child may go on
        task.exception()


def without_our_frame(error: _E) -> _E:
    """Cut the frame that has caught it, which is ours, off the traceback of what a child raised."""
    traceback = _failures.traceback_of(error)
    _failures.set_traceback(error, traceback and traceback.tb_next)
    return error


def cancellation_of(future: asyncio.Future[Any]) -> asyncio.CancelledError:
    """Return the CancelledError of a cancelled future, with the child's part of the traceback."""
    handled = sys.exception()
    try:
        future.result()
    except asyncio.CancelledError as error:
        if handled is not None and _failures.context_of(error) is handled:
            # It is the caller that was handling it, not the child:
            #     async with as_completed_scoped(...): raise ValueError
            _failures.set_context(error, None)
        return without_our_frame(error)
    finally:
        del handled
    raise AssertionError  # it is only asked for a future that is cancelled


def name_as_called(coroutine_function: Callable[..., Coroutine[Any, Any, Any]], name: str) -> None:
    """Let a traceback, a warning or a call graph show the name that the user called."""
    function = cast("FunctionType", coroutine_function)
    function.__name__ = function.__qualname__ = name
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=name)
