"""How one child ended: a value, a failure, a time-out or a cancellation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeAlias, TypeVar, final

from structgather import _failures

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator
    from types import TracebackType

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_set = object.__setattr__


class _Settled:
    """What all outcomes have in common. They can't be changed, and compare by what they say."""

    __slots__ = ("elapsed", "index")
    #: Place in the input, from 0.
    index: int
    #: Seconds from the start of the child to its end; 0 if it never started.
    elapsed: float

    def done(self) -> bool:
        """Return True, as a finished Task does."""
        return True

    def __setattr__(self, name: str, value: object) -> NoReturn:
        message = f"{type(self).__name__} can't be changed"
        raise AttributeError(message)

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def _what(self) -> object:
        raise NotImplementedError  # each says what it is that it knows

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._what()!r}, index={self.index}, "
            f"elapsed={self.elapsed:.3f})"
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), *self._key()))

    def _key(self) -> tuple[object, int, float]:
        return self._what(), self.index, self.elapsed

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._key()


@final
class Ok(_Settled, Generic[T_co]):
    """The child returned `value`."""

    __slots__ = ("value",)
    __match_args__: Final = ("value", "index", "elapsed")

    value: T_co

    def __init__(self, value: T_co, index: int, elapsed: float) -> None:
        _set_value(self, value)
        _set_index(self, index)
        _set_elapsed(self, elapsed)

    def _what(self) -> T_co:
        return self.value

    def result(self) -> T_co:
        """Return the value."""
        return self.value

    def exception(self) -> None:
        """Return None: there is no exception."""
        return

    def cancelled(self) -> bool:
        """Return False."""
        return False

    def __await__(self) -> Generator[Any, None, T_co]:
        yield from ()  # never waits
        return self.value


# Streams make one for each child: this is the quickest way past `__setattr__`.
_set_value = vars(Ok)["value"].__set__
_set_index = vars(_Settled)["index"].__set__
_set_elapsed = vars(_Settled)["elapsed"].__set__


class _WithoutValue(_Settled):
    """What the outcomes that have an error in place of a value have in common."""

    __slots__ = ("_traceback",)
    __match_args__: Final = ("error", "index", "elapsed")

    _traceback: TracebackType | None

    if TYPE_CHECKING:
        error: Any  # what it is, each outcome says

    def __init__(self, error: BaseException, index: int, elapsed: float) -> None:
        _set(self, "error", error)
        _set(self, "index", index)
        _set(self, "elapsed", elapsed)
        # Raising adds to the traceback. Each time it begins anew with the child's own frames.
        _set(self, "_traceback", _failures.traceback_of(error))

    def _what(self) -> BaseException:
        error: BaseException = self.error
        return error

    def result(self) -> NoReturn:
        """Raise the error, the very object that the child raised."""
        error: BaseException = self.error
        BaseException.with_traceback(error, self._traceback)
        try:
            _failures.raise_as_it_is(error)
        finally:
            del error, self  # the traceback refers to this frame: no cycle

    def cancelled(self) -> bool:
        """Return False."""
        return False

    def __await__(self) -> Generator[Any, None, NoReturn]:
        yield from ()  # never waits
        try:
            self.result()
        finally:
            del self  # no cycle, as above


@final
class Failed(_WithoutValue):
    """The child raised `error`."""

    __slots__ = ("error",)

    error: BaseException

    def exception(self) -> BaseException:
        """Return the error."""
        return self.error


@final
class TimedOut(_WithoutValue):
    """The child's time was over, its own or that of the whole call: it was cancelled.

    `error` is a TimeoutError that names the child. Where the child's own `child_timeout` was over,
    the error's cause shows where the child stood.
    """

    __slots__ = ("error",)

    error: TimeoutError

    def exception(self) -> TimeoutError:
        """Return the error."""
        return self.error


@final
class Cancelled(_WithoutValue):
    """The child ended cancelled: it was not needed any more, cancelled itself, or never started."""

    __slots__ = ("error",)

    error: asyncio.CancelledError

    def exception(self) -> NoReturn:
        """Raise the CancelledError, as a cancelled Task does."""
        try:
            self.result()
        finally:
            del self

    def cancelled(self) -> bool:
        """Return True."""
        return True


#: How one child ended.
Outcome: TypeAlias = Ok[T] | Failed | TimedOut | Cancelled
