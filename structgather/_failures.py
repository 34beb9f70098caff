"""Failures of several children: as one group, or shown with the one that is raised."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Exceptions may be frozen dataclasses, which refuse `error.__context__ = ...` and `add_note()`.
_set = object.__setattr__

#: From how many further failures on each is shown by one line, not by its traceback.
_FULL = 5


def group(
    function: str, failures: Sequence[tuple[int, BaseException]]
) -> BaseExceptionGroup[BaseException]:
    """Put the failures of one call into a group, in the order of the arguments."""
    message = (
        f"{function}(): {'1 child' if len(failures) == 1 else f'{len(failures)} children'} failed"
    )
    return BaseExceptionGroup(message, [error for _, error in sorted(failures, key=_index)])


def _index(failure: tuple[int, BaseException]) -> int:
    return failure[0]


def show(error: BaseException, function: str, others: Iterable[tuple[int, BaseException]]) -> None:
    """Let the traceback of `error` show the failures that are not raised.

    They go into its notes: its cause and its context are what the child made them.
    """
    others = [(index, other) for index, other in others if other is not error]
    if not others:
        return
    lines = [f"{function}(): further children failed:"]
    for count, (index, other) in enumerate(sorted(others, key=_index)):
        if count < _FULL:
            text = "".join(traceback.format_exception(other)).rstrip()
        else:
            text = "".join(traceback.format_exception_only(other)).rstrip()
        who = f"child {index}" if index >= 0 else "the input"
        lines.append(f"{who}: {text}".replace("\n", "\n  "))
    note = "\n".join(lines)
    notes = getattr(error, "__notes__", [])
    if note not in notes:  # one exception object may be raised often
        _set(error, "__notes__", [*notes, note])


def raise_as_it_is(error: BaseException) -> NoReturn:
    """Raise an exception that exists, and leave its context as it is.

    `raise` alone would put there what the caller happens to be handling:

        except CacheMiss:
            return await gather_structured(...)
    """
    context = error.__context__
    try:
        raise error
    finally:
        _set(error, "__context__", context)
        del error, context  # the traceback refers to this frame: no cycle
