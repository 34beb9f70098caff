"""Which Tasks wait for a Task: joining one of them would be a deadlock."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

# As Any, as in `_group`.
_TASK: Any = asyncio.Task


class Joins:
    """Base of the objects whose bound methods are done callbacks of children."""

    __slots__ = ()

    #: The Task that waits for the child, until the call is over.
    caller: asyncio.Task[Any]


def ancestors_of(task: asyncio.Task[Any]) -> set[asyncio.Task[Any]]:
    """Return the Tasks that wait for `task`, directly or through calls of this package.

    Those that wait through `asyncio.gather` or a TaskGroup of the user are not found.
    """
    found: set[asyncio.Task[Any]] = set()
    pending = [task]
    while pending:
        probe = _Probe()
        pending.pop().remove_done_callback(probe)  # type: ignore[arg-type]  # only compared
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
        owner: Any = getattr(callback, "__self__", None)
        if isinstance(callback, functools.partial) and callback.args:
            owner = callback.args[0]
        if isinstance(owner, Joins):  # it is a child of a call
            owner = getattr(owner, "caller", None)
        if isinstance(owner, _TASK):  # otherwise it is awaited directly
            self.waiting.append(owner)
        return False
