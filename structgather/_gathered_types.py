"""What type checkers take the result of `return_exceptions=True` for, with up to six arguments.

It is a `Gathered`. But a list has one type for all of its items, and `a, b = await ...` is to know
each. So typeshed says of `asyncio.gather` that it returns a tuple; these are tuples that have what
a `Gathered` has as well. They are never made.
"""

from __future__ import annotations

from typing import Generic, TypeVar

_T1 = TypeVar("_T1")
_T2 = TypeVar("_T2")
_T3 = TypeVar("_T3")
_T4 = TypeVar("_T4")
_T5 = TypeVar("_T5")
_T6 = TypeVar("_T6")


class _Gathered:
    __slots__ = ()

    def exception_group(self) -> BaseExceptionGroup[BaseException] | None:
        """Return all failures as one new group, in the order of the arguments; None without any."""
        raise NotImplementedError


class Gathered1(tuple[_T1 | BaseException], _Gathered, Generic[_T1]):
    """What became of one."""

    __slots__ = ()

    def raise_failures(self) -> tuple[_T1]:
        """Raise `exception_group()` if there is one, otherwise return the values."""
        raise NotImplementedError


class Gathered2(tuple[_T1 | BaseException, _T2 | BaseException], _Gathered, Generic[_T1, _T2]):
    """What became of two."""

    __slots__ = ()

    def raise_failures(self) -> tuple[_T1, _T2]:
        """Raise `exception_group()` if there is one, otherwise return the values."""
        raise NotImplementedError


class Gathered3(
    tuple[_T1 | BaseException, _T2 | BaseException, _T3 | BaseException],
    _Gathered,
    Generic[_T1, _T2, _T3],
):
    """What became of three."""

    __slots__ = ()

    def raise_failures(self) -> tuple[_T1, _T2, _T3]:
        """Raise `exception_group()` if there is one, otherwise return the values."""
        raise NotImplementedError


class Gathered4(
    tuple[_T1 | BaseException, _T2 | BaseException, _T3 | BaseException, _T4 | BaseException],
    _Gathered,
    Generic[_T1, _T2, _T3, _T4],
):
    """What became of four."""

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
    """What became of five."""

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
    """What became of six."""

    __slots__ = ()

    def raise_failures(self) -> tuple[_T1, _T2, _T3, _T4, _T5, _T6]:
        """Raise `exception_group()` if there is one, otherwise return the values."""
        raise NotImplementedError
