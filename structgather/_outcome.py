"""How one child finished: a value, a failure, a timeout or a cancellation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeAlias, TypeVar, final

from structgather import _failures

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", bound=BaseException, covariant=True)


class _Settled:
    """Common to all outcomes. They are immutable, and compare by their content."""

    # Read-only properties: a `__setattr__` that raises would make outcomes expensive to create, and
    # there is one for each child.
    __slots__ = ("_elapsed", "_index")

    _index: int
    _elapsed: float

    @property
    def index(self) -> int:
        """Position in the input, from 0."""
        return self._index

    @property
    def elapsed(self) -> float:
        """Seconds from the start of the child until it finished; 0 if it never started."""
        return self._elapsed

    def done(self) -> bool:
        """Return True, as a finished Task does."""
        return True

    def _what(self) -> object:
        raise NotImplementedError

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._what()!r}, index={self._index}, "
            f"elapsed={self._elapsed:.3f})"
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), *self._key()))

    def _key(self) -> tuple[object, int, float]:
        return self._what(), self._index, self._elapsed

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._key()


@final
class Ok(_Settled, Generic[T_co]):
    """The child returned `value`.

        match outcome:
            case Ok(value): ...
            case Failed(ConnectionError() as error): ...
            case TimedOut() | Cancelled(): ...

    `await outcome`, of this or the other classes, does not yield to the event loop.
    """

    __slots__ = ("_value",)
    __match_args__: Final = ("value", "index", "elapsed")

    def __init__(self, value: T_co, index: int, elapsed: float) -> None:
        self._value = value
        self._index = index
        self._elapsed = elapsed

    @property
    def value(self) -> T_co:
        """What the child returned."""
        return self._value

    def _what(self) -> T_co:
        return self._value

    def result(self) -> T_co:
        """Return the value."""
        return self._value

    def exception(self) -> None:
        """Return None: there is no exception."""
        return

    def cancelled(self) -> bool:
        """Return False."""
        return False

    def __await__(self) -> Generator[Any, None, T_co]:
        """Return the value, without yielding to the event loop."""
        yield from ()
        return self._value


class _WithoutValue(_Settled, Generic[E_co]):
    """Common to the outcomes that have an error in place of a value."""

    __slots__ = ("_error", "_traceback")
    __match_args__: Final = ("error", "index", "elapsed")

    def __init__(self, error: E_co, index: int, elapsed: float) -> None:
        self._error = error
        self._index = index
        self._elapsed = elapsed
        # Raising adds to the traceback: `result()` restores the child's own part each time.
        self._traceback = _failures.traceback_of(error)

    @property
    def error(self) -> E_co:
        """The very exception that the child raised, or its TimeoutError."""
        return self._error

    def _what(self) -> E_co:
        return self._error

    def result(self) -> NoReturn:
        """Raise `error`."""
        error = self._error
        _failures.set_traceback(error, self._traceback)
        try:
            _failures.raise_unchanged(error)
        finally:
            del error, self  # the traceback refers to this frame: no cycle

    def cancelled(self) -> bool:
        """Return False."""
        return False

    def __await__(self) -> Generator[Any, None, NoReturn]:
        """Raise the error, without yielding to the event loop."""
        yield from ()
        try:
            self.result()
        finally:
            del self  # no cycle, as above


@final
class Failed(_WithoutValue[BaseException]):
    """The child raised `error`: any BaseException but KeyboardInterrupt and SystemExit.

    The call raises those two itself; a CancelledError is `Cancelled`.
    """

    __slots__ = ()

    def exception(self) -> BaseException:
        """Return the error."""
        return self._error


@final
class TimedOut(_WithoutValue[TimeoutError]):
    """The child exceeded its own timeout or the deadline of the call, and was cancelled.

    `error` is a TimeoutError that names the child. Its `__cause__` is the child's CancelledError,
    with its traceback; None if it never started.
    """

    __slots__ = ()

    def exception(self) -> TimeoutError:
        """Return the error."""
        return self._error


@final
class Cancelled(_WithoutValue[asyncio.CancelledError]):
    """The child finished cancelled: not needed, cancelled by a third party, or never started."""

    __slots__ = ()

    def exception(self) -> NoReturn:
        """Raise the CancelledError, as a cancelled Task does."""
        try:
            self.result()
        finally:
            del self

    def cancelled(self) -> bool:
        """Return True."""
        return True


#: How one child finished. `await outcome` returns its value, or raises its error, without yielding
#: to the event loop.
Outcome: TypeAlias = Ok[T] | Failed | TimedOut | Cancelled
