"""The result of `gather_structured(..., return_exceptions=True)`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast, final

from structgather import _failures
from structgather._outcome import Cancelled, Ok

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from structgather._failures import ChildFailures
    from structgather._outcome import Outcome

_T = TypeVar("_T")
_V = TypeVar("_V")

FUNCTION = "gather_structured"


@final
class Gathered(list[_T]):
    """Values and exceptions in the order of the arguments, as `asyncio.gather` returns them.

    A plain list in every respect, which in addition remembers which of its items are failures: an
    exception that a child *returned* is not one. Later changes to the list don't change that.
    """

    __slots__ = ("_outcomes",)

    def __init__(
        self,
        items: Iterable[_T] = (),
        outcomes: Iterable[Outcome[Any]] = (),
    ) -> None:
        super().__init__(items)
        self._outcomes = outcomes

    @property
    def outcomes(self) -> tuple[Outcome[Any], ...]:
        """How each child finished, in the order of the arguments."""
        if not isinstance(self._outcomes, tuple):  # they are made when they are asked for
            self._outcomes = tuple(self._outcomes)
        return self._outcomes

    def exception_group(self) -> ChildFailures[BaseException] | None:
        """Return all failures as one new group, in the order of the arguments; None without any.

        It is an `ExceptionGroup`, unless a child finished cancelled or with another exception that
        is not an `Exception`; then it is a `BaseExceptionGroup`. A child that fills several
        positions is in it once.
        """
        failed = {o.index: o.error for o in self.outcomes if not isinstance(o, Ok)}
        return _failures.group(FUNCTION, failed.items(), self.outcomes) if failed else None

    def raise_failures(self: Gathered[_V | BaseException]) -> list[_V]:
        """Raise `exception_group()` if there is one, otherwise return the list itself.

        For fan-outs in which every child must run to completion before failures are raised:

            (await gather_structured(*closes, return_exceptions=True)).raise_failures()

        Returns:
            The list itself, typed without exceptions.

        Raises:
            ChildFailures: The failures, in the order of the arguments.
        """
        error = self.exception_group()
        if error is not None:
            try:
                raise error
            finally:
                del error, self  # the traceback refers to this frame: no cycle
        return cast("list[_V]", self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self), self.outcomes)


class Outcomes:
    """The outcomes of one call, each made when it is asked for."""

    __slots__ = ("_elapsed", "_positions", "_unsuccessful", "_values")

    def __init__(
        self,
        values: list[Any],
        elapsed: list[float | None],
        unsuccessful: dict[int, Outcome[Any]],
        positions: Sequence[int],
    ) -> None:
        self._values = values
        self._elapsed = elapsed
        self._unsuccessful = unsuccessful
        self._positions = positions

    def __iter__(self) -> Iterator[Outcome[Any]]:
        for index in self._positions:
            elapsed = self._elapsed[index]
            if index in self._unsuccessful:
                yield self._unsuccessful[index]
            elif elapsed is None:
                yield Cancelled(asyncio.CancelledError("never started"), index, 0.0)
            else:
                yield Ok(self._values[index], index, elapsed)
