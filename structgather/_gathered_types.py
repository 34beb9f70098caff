"""The types of the result of `return_exceptions=True` with up to six arguments.

It is a `Gathered`, but a list has one type for all of its items, and `a, b = await ...` needs the
type of each. As typeshed types `asyncio.gather` as returning a tuple, these are tuples with the
methods of a `Gathered`. They exist for type checkers only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from structgather._failures import ChildFailures
    from structgather._outcome import Outcome

_T1 = TypeVar("_T1")
_T2 = TypeVar("_T2")
_T3 = TypeVar("_T3")
_T4 = TypeVar("_T4")
_T5 = TypeVar("_T5")
_T6 = TypeVar("_T6")


class _Gathered:
    __slots__ = ()

    @property
    def outcomes(self) -> tuple[Outcome[Any], ...]:
        """How each child finished, in the order of the arguments."""
        raise NotImplementedError

    def exception_group(self) -> ChildFailures[BaseException] | None:
        """Return all failures as one new group, in the order of the arguments; None without any."""
        raise NotImplementedError


class Gathered1(tuple[_T1 | BaseException], _Gathered, Generic[_T1]):
    """The result of one child."""

    __slots__ = ()

    def raise_failures(self) -> tuple[_T1]:
        """Raise `exception_group()` if there is one, otherwise return the values."""
        raise NotImplementedError


class Gathered2(tuple[_T1 | BaseException, _T2 | BaseException], _Gathered, Generic[_T1, _T2]):
    """The result of two children."""

    __slots__ = ()

    def raise_failures(self) -> tuple[_T1, _T2]:
        """Raise `exception_group()` if there is one, otherwise return the values."""
        raise NotImplementedError


class Gathered3(
    tuple[_T1 | BaseException, _T2 | BaseException, _T3 | BaseException],
    _Gathered,
    Generic[_T1, _T2, _T3],
):
    """The result of three children."""

    __slots__ = ()

    def raise_failures(self) -> tuple[_T1, _T2, _T3]:
        """Raise `exception_group()` if there is one, otherwise return the values."""
        raise NotImplementedError


class Gathered4(
    tuple[_T1 | BaseException, _T2 | BaseException, _T3 | BaseException, _T4 | BaseException],
    _Gathered,
    Generic[_T1, _T2, _T3, _T4],
):
    """The result of four children."""

    __slots__ = ()

    def raise_failures(self) -> tuple[_T1, _T2, _T3, _T4]:
        """Raise `exception_group()` if there is one, otherwise return the values."""
        raise NotImplementedError


class Gathered5(
    tuple[
        _T1 | BaseException,
        _T2 | BaseException,
        _T3 | BaseException,
        _T4 | BaseException,
        _T5 | BaseException,
    ],
    _Gathered,
    Generic[_T1, _T2, _T3, _T4, _T5],
):
    """The result of five children."""

    __slots__ = ()

    def raise_failures(self) -> tuple[_T1, _T2, _T3, _T4, _T5]:
        """Raise `exception_group()` if there is one, otherwise return the values."""
        raise NotImplementedError


class Gathered6(
    tuple[
        _T1 | BaseException,
        _T2 | BaseException,
        _T3 | BaseException,
        _T4 | BaseException,
        _T5 | BaseException,
        _T6 | BaseException,
    ],
    _Gathered,
    Generic[_T1, _T2, _T3, _T4, _T5, _T6],
):
    """The result of six children."""

    __slots__ = ()

    def raise_failures(self) -> tuple[_T1, _T2, _T3, _T4, _T5, _T6]:
        """Raise `exception_group()` if there is one, otherwise return the values."""
        raise NotImplementedError
