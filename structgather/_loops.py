"""What is asked of event loops that not every loop can answer.

Temporal runs a workflow on a loop of its own, which implements what coroutines need and no more. It
is never closed, it writes each timer into the workflow's history, and while it evicts a workflow
from its cache it refuses to set timers and to cancel them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def is_closed(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether a loop is closed. One that can't be closed is not."""
    try:
        return loop.is_closed()
    except NotImplementedError:
        return False


def keeps_a_history(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether each timer is part of a program's history, and is not to be set for a log."""
    try:
        loop.is_closed()
    except NotImplementedError:
        return True
    return False
