"""Failures of several children: as one group, or shown with the one that is raised."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, NoReturn, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

#: The index of a child, negative for the input itself; and what it failed with.
Failure: TypeAlias = tuple[int, BaseException]

# Exceptions may be frozen dataclasses, which refuse `error.__context__ = ...` and `add_note()`, or
# have properties of their own where all others have attributes. These ask nobody.
_set = object.__setattr__
_context = vars(BaseException)["__context__"]
_traceback = vars(BaseException)["__traceback__"]
context_of: Callable[[BaseException], BaseException | None] = _context.__get__
set_context: Callable[[BaseException, BaseException | None], None] = _context.__set__
traceback_of: Callable[[BaseException], TracebackType | None] = _traceback.__get__
set_traceback: Callable[[BaseException, TracebackType | None], None] = _traceback.__set__

#: From how many further failures on each is shown by one line, not by its traceback.
_FULL = 5

#: How many notes of ours an exception has at most; the oldest go first.
_NOTES = 5


def group(function: str, failures: Sequence[Failure]) -> BaseExceptionGroup[BaseException]:
    """Put the failures of one call into a group, in the order of the arguments."""
    count = "1 child" if len(failures) == 1 else f"{len(failures)} children"
    errors = [error for _, error in sorted(failures, key=_index)]
    return BaseExceptionGroup(f"{function}(): {count} failed", errors)


def inside(cancelled: asyncio.CancelledError) -> BaseExceptionGroup[BaseException] | None:
    """Return the failures that a nested call left in the CancelledError that it raised."""
    cause = cancelled.__cause__
    if isinstance(cause, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", cause)
    return None


def show(error: BaseException, function: str, failures: Iterable[Failure]) -> None:
    """Let the traceback of `error` show the failures that are not raised.

    They go into its notes: its cause and its context are what the child made them. Only where it
    is the caller's own CancelledError, they are the cause, so that a call around this one finds
    them: see `inside`.
    """
    others = [(index, other) for index, other in failures if other is not error]
    if not others:
        return
    if isinstance(error, asyncio.CancelledError) and error.__cause__ is None:
        error.__cause__ = group(function, others)
        return
    title = f"{function}(): further children failed:"
    try:
        notes = list(getattr(error, "__notes__", ()))
        ours = [note for note in notes if note.startswith(title)]
        text = _text(title, others)
        # One exception object may be raised by many calls, like that of a cached Future.
        notes = [note for note in notes if note != text and note not in ours[: 1 - _NOTES]]
        _set(error, "__notes__", [*notes, text])
    except Exception:  # noqa: BLE001 - an exception that can't be looked at is still to be raised
        return


def raise_as_it_is(error: BaseException) -> NoReturn:
    """Raise an exception that exists, and leave its context as it is.

    `raise` alone would put there what the caller happens to be handling:

        except CacheMiss:
            return await gather_structured(...)
    """
    context = context_of(error)
    try:
        raise error
    finally:
        set_context(error, context)
        del error, context  # the traceback refers to this frame: no cycle


def _text(title: str, failures: list[Failure]) -> str:
    lines = [title]
    for count, (index, error) in enumerate(sorted(failures, key=_index)):
        try:
            if count < _FULL:
                text = "".join(traceback.format_exception(error)).rstrip()
            else:
                text = f"{type(error).__qualname__}: {error}"
        except Exception:  # noqa: BLE001 - its `__str__` or `__bool__` may raise anything
            text = f"{type(error).__qualname__}, which can't be shown"
        who = f"child {index}" if index >= 0 else "the input"
        lines.append(f"{who}: {text}".replace("\n", "\n  "))
    return "\n".join(lines)


def _index(failure: Failure) -> int:
    return failure[0]
