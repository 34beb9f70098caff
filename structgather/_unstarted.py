"""Coroutines that will not run: closed, so that none is reported as never awaited."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def close_unstarted(values: Iterable[object]) -> None:
    """Close coroutines that will not run, so that none is reported as never awaited.

    Plain coroutines only: to close an unstarted `anext(g)` throws GeneratorExit into `g` (3.13+).
    """
    for value in values:
        if type(value) is CoroutineType and not value.cr_suspended and not value.cr_running:
            value.close()  # created, or finished: then it does nothing


def refuse(values: object) -> None:
    """Close the coroutines of an input that is refused, whatever containers they came in.

    Of a generator nothing is made. An example is `gather_structured([a(), b()])`, without the star.
    """
    pending, seen = [values], set[int]()
    while pending:
        value = pending.pop()
        if isinstance(value, Collection) and not isinstance(value, (str, bytes, bytearray)):
            if id(value) not in seen:
                seen.add(id(value))
                with contextlib.suppress(Exception):  # the user's own class
                    pending += [*value, *value.values()] if isinstance(value, Mapping) else value
        else:
            close_unstarted((value,))
