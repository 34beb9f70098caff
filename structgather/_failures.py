"""Failures of children: as one group, and in the notes of the exception that is raised."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Self, TypeAlias

    from typing_extensions import TypeVar as TypeVarWithDefault

    from structgather._outcome import Outcome

    #: The index of a child, or INPUT, CALL or BODY; and what it failed with.
    Failure: TypeAlias = tuple[int, BaseException]

    E_co = TypeVarWithDefault("E_co", bound=BaseException, covariant=True, default=BaseException)
else:
    E_co = TypeVar("E_co", bound=BaseException, covariant=True)
_E = TypeVar("_E", bound=BaseException)

#: In place of a child's index: the input, and the Task that pulls an async one.
INPUT = -1
#: ... the call itself, for example where a task factory fails; the body of a block.
CALL, BODY = -2, -3
_NAMES = {INPUT: "the input", CALL: "the call", BODY: "the body"}

# Exceptions may be frozen dataclasses, which refuse `error.__context__ = ...` and `add_note()`, or
# have properties of their own under these names.
_set = object.__setattr__
_context = vars(BaseException)["__context__"]
_traceback = vars(BaseException)["__traceback__"]
context_of: Callable[[BaseException], BaseException | None] = _context.__get__
set_context: Callable[[BaseException, BaseException | None], None] = _context.__set__
traceback_of: Callable[[BaseException], TracebackType | None] = _traceback.__get__
set_traceback: Callable[[BaseException, TracebackType | None], None] = _traceback.__set__

#: Notes show this many failures with a traceback, then this many with one line each.
_TRACEBACKS = 5
_LINES = 20

#: How many notes of one kind an exception keeps; an exception object may be raised by many calls.
_NOTES = 5

_RAISED_BY = "(): raised by child "
_ALSO_FAILED = "(): further children failed:"


class ChildFailures(BaseExceptionGroup[E_co]):
    """The failures of all children of one call, and the outcome of every child.

    Raised by `gather_structured(..., exception_group=True)`, `Gathered.raise_failures()` and
    `FirstN.raise_if_short()`. It is an `ExceptionGroup`, unless one of the failures is not an
    `Exception`; `except*`, `split()`, `subgroup()` and `derive()` work as on any group.

    Attributes:
        outcomes: How each child finished, also those that succeeded, in input order.
    """

    outcomes: tuple[Outcome[Any], ...]

    def __new__(
        cls, message: str, exceptions: Sequence[E_co], outcomes: Iterable[Outcome[Any]] = ()
    ) -> Self:
        """Choose the class as `BaseExceptionGroup` does."""
        kind: Any = cls
        if all(isinstance(error, Exception) for error in exceptions):
            kind = _ExceptionGroup
        self: Self = BaseExceptionGroup.__new__(kind, message, exceptions)
        self.outcomes = tuple(outcomes)
        return self

    def __init__(self, *_: object) -> None:  # pyright: ignore[reportInconsistentConstructor]
        """Leave `args` as in any group."""

    def derive(self, excs: Sequence[_E]) -> ChildFailures[_E]:  # type: ignore[override]
        """Return a group of these exceptions, with the outcomes of the same call."""
        return ChildFailures(self.message, excs, self.outcomes)

    def __reduce__(self) -> tuple[Any, ...]:
        return ChildFailures, (self.message, self.exceptions, self.outcomes), self.__dict__


class _ExceptionGroup(ChildFailures[E_co], ExceptionGroup[E_co]):  # type: ignore[type-var]
    """The subclass for failures that are all `Exception`s."""


for _class in (ChildFailures, _ExceptionGroup):
    _class.__module__ = "structgather"
    _class.__name__ = _class.__qualname__ = "ChildFailures"  # what tracebacks show


def group(
    function: str, failures: Iterable[Failure], outcomes: Sequence[Outcome[Any]] = ()
) -> ChildFailures[BaseException]:
    """Return the failures of one call as a group, in input order."""
    ordered = sorted(failures, key=_index)
    indices = [str(index) for index, _ in ordered if index not in _NAMES]
    failed = [name for index, _ in ordered if (name := _NAMES.get(index))]
    if indices:
        failed.append(f"{'child' if len(indices) == 1 else 'children'} {_listed(indices)}")
    message = f"{function}(): {' and '.join(failed)} failed"
    return ChildFailures(message, [error for _, error in ordered], outcomes)


def inside(cancelled: BaseException) -> BaseExceptionGroup[BaseException] | None:
    """Return the failures that a nested call attached to the CancelledError it raised."""
    cause = cancelled.__cause__
    return cause if isinstance(cause, BaseExceptionGroup) else None  # pyright: ignore[reportUnknownVariableType]


def note_raised_by(error: BaseException, function: str, index: int, name: str) -> None:
    """Note which child raised `error`, which the call is about to raise."""
    text = f"{function}{_RAISED_BY}{index}, {name}"
    _add_note(error, f"{function}{_RAISED_BY}", text)


def note_others(error: BaseException, function: str, failures: Iterable[Failure]) -> None:
    """Note on `error`, which the call raises, the failures that it does not raise.

    If `error` is a CancelledError, they become its cause, where an enclosing call finds them: see
    `inside`.
    """
    others = sorted(((index, other) for index, other in failures if other is not error), key=_index)
    if not others:
        return
    if isinstance(error, asyncio.CancelledError) and error.__cause__ is None:
        error.__cause__ = group(function, others)
        return
    title = f"{function}{_ALSO_FAILED}"
    lines = [title]
    for index, other in others[:_TRACEBACKS]:
        lines.append(_described(index, _traceback_text(other)))
    for index, other in others[_TRACEBACKS : _TRACEBACKS + _LINES]:
        lines.append(_described(index, _line(other)))
    if (left := len(others) - _TRACEBACKS - _LINES) > 0:
        lines.append(f"and {left:,} more")
    _add_note(error, title, "\n".join(lines))


def raise_unchanged(error: BaseException) -> NoReturn:
    """Raise an exception without setting its context to the exception being handled.

    except CacheMiss:
        return await gather_structured(...)
    """
    context = context_of(error)
    try:
        raise error
    finally:
        set_context(error, context)
        del error, context  # the traceback refers to this frame: no cycle


def without_context(error: _E, handled: BaseException | None) -> _E:
    """Remove `handled`, which was being handled when `error` was raised, from its contexts."""
    seen = set[int]()
    inner: BaseException | None = error
    while inner is not None and id(inner) not in seen:
        seen.add(id(inner))
        context = context_of(inner)
        if context is handled:
            set_context(inner, None)
            break
        inner = context
    return error


def without_our_frame(error: _E) -> _E:
    """Remove the frame that caught `error`, which is ours, from its traceback."""
    traceback = traceback_of(error)
    set_traceback(error, traceback and traceback.tb_next)
    return error


def _add_note(error: BaseException, title: str, text: str) -> None:
    try:
        notes: list[str] = list(getattr(error, "__notes__", ()))
        ours = [note for note in notes if note.startswith(title)]
        if text not in ours:
            dropped = ours[: 1 - _NOTES]
            _set(error, "__notes__", [*(note for note in notes if note not in dropped), text])
    except Exception:  # noqa: BLE001 - an exception that refuses notes is raised without
        return


def _described(index: int, text: str) -> str:
    return f"{_NAMES.get(index) or f'child {index}'}: {text}".replace("\n", "\n  ")


def _traceback_text(error: BaseException) -> str:
    try:
        shown = traceback.TracebackException.from_exception(error)
        # The notes of a nested call would be repeated at each level.
        notes = getattr(error, "__notes__", None) or ()
        shown.__notes__ = [note for note in notes if _ALSO_FAILED not in note] or None
        return "".join(shown.format()).rstrip()
    except Exception:  # noqa: BLE001 - its `__str__` or `__bool__` may raise anything
        return _line(error)


def _line(error: BaseException) -> str:
    try:
        return f"{type(error).__qualname__}: {error}"
    except Exception:  # noqa: BLE001 - as above
        return f"{type(error).__qualname__}: <exception str() failed>"


def _listed(words: list[str]) -> str:
    more = len(words) - _LINES
    return ", ".join(words[:_LINES]) + (f" and {more:,} more" if more > 0 else "")


def _index(failure: Failure) -> int:
    return failure[0]
