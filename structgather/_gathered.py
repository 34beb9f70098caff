"""The list that `gather_structured` hands back with `return_exceptions=True`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast, final

from structgather import _failures

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")
V = TypeVar("V")


@final
class Gathered(list[T]):
    """Values and exceptions in the order of the arguments, as `asyncio.gather` returns them.

    A plain list in every respect, which in addition remembers which of its items are failures: an
    exception that a child *returned* is not one. Later changes to the list don't change that.
    """

    __slots__ = ("_failed",)

    def __init__(
        self,
        items: Iterable[T] = (),
        failed: Iterable[tuple[int, BaseException]] = (),
    ) -> None:
        super().__init__(items)
        self._failed = tuple(failed)

    def exception_group(self) -> BaseExceptionGroup[BaseException] | None:
        """Return all failures as one new group, in the order of the arguments; None without any.

        It is an `ExceptionGroup`, unless a child ended cancelled or with another exception that is
        not an `Exception`; then a `BaseExceptionGroup`. A child that fills several places is in
        it once.
        """
        if not self._failed:
            return None
        return _failures.group("gather_structured", self._failed)

    def raise_failures(self: Gathered[V | BaseException]) -> list[V]:
        """Raise `exception_group()` if there is one, otherwise return the list itself.

        For fan-outs in which every child must run to its end and the failures be raised then:

            (await gather_structured(*closes, return_exceptions=True)).raise_failures()
        """
        error = self.exception_group()
        if error is not None:
            try:
                raise error
            finally:
                del error, self  # the traceback refers to this frame: no cycle
        return cast("list[V]", self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self), self._failed)
