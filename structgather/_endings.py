"""How Tasks and Futures ended, with the part of the traceback that is the child's."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from structgather import _failures

if TYPE_CHECKING:
    from types import TracebackType

_E = TypeVar("_E", bound=BaseException)

_PACKAGE = __name__.partition(".")[0] + "."


def retrieve_silently(tasks: list[asyncio.Future[Any]]) -> None:
    """Look at how Tasks ended, so that none is reported as never retrieved; empty the list."""
    while tasks:
        task = tasks.pop()
        if not task.cancelled():
            task.exception()


def without_our_frame(error: _E) -> _E:
    """Cut the outermost frame, if it is ours, off the traceback of what a child raised."""
    traceback = _failures.traceback_of(error)
    if traceback is not None and _is_ours(traceback):
        BaseException.with_traceback(error, traceback.tb_next)
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
    message = "only asked for a future that is cancelled"
    raise AssertionError(message)


def _is_ours(traceback: TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals.get("__name__")).startswith(_PACKAGE)
