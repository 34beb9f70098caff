"""Coroutines that will not run: closed, so that none is reported as never awaited."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from structgather._group import COROUTINE

if TYPE_CHECKING:
    from collections.abc import Iterable

# As Any, as in `_group`.
_COLLECTION: Any = Collection
_MAPPING: Any = Mapping

#: Usual types that contain no coroutines.
_PLAIN = {int, float, bool, str, bytes, bytearray, memoryview, range, type(None)}


def close_unstarted(values: Iterable[object]) -> None:
    """Close coroutines that will not run, so that none is reported as never awaited.

    Plain coroutines only: closing an unstarted `anext(g)` throws GeneratorExit into `g` (3.13+).
    """
    for value in values:
        if type(value) is CoroutineType and not value.cr_suspended and not value.cr_running:
            value.close()  # a finished coroutine ignores it


def refuse(values: object) -> None:
    """Close the coroutines of an input that is refused, in whatever containers they are.

    Generators are not iterated: they would only create more coroutines. An example:
    `gather_structured([a(), b()])`, without the star.
    """
    containers: list[Any] = [(values,)]
    seen = set[int]()
    while containers:
        with contextlib.suppress(Exception):  # iterating over the user's own class
            for value in containers.pop():
                if type(value) is COROUTINE:
                    close_unstarted((value,))
                elif not (type(value) in _PLAIN or id(value) in seen) and (
                    isinstance(value, _COLLECTION)
                ):
                    seen.add(id(value))
                    containers.append(value)
                    if isinstance(value, _MAPPING):
                        containers.append(value.values())
