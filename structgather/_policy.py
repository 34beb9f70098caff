"""The interface between a scope and the function that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing import TypeAlias

    from structgather._outcome import Cancelled, Failed, TimedOut

    Unsuccessful: TypeAlias = type[Failed | TimedOut | Cancelled]


class Policy(Protocol):
    """Called once for each child that settles without a value.

    Values go to the `on_value` passed to `Scope.decide_by`; an interrupt calls `on_abort` instead.
    """

    def on_error(self, kind: Unsuccessful, index: int, error: Any, by_us: bool) -> object:  # noqa: ANN401, FBT001 - `kind` says which error
        """Record a child without a value.

        `by_us`: it finished cancelled, and this call had cancelled it. A child that raises
        something else instead is reported with False.
        """

    def on_abort(self) -> object:
        """Note that something other than a child's failure stops the call."""


class _Ignore:
    def on_error(self, kind: Unsuccessful, index: int, error: Any, by_us: bool) -> None: ...  # noqa: ANN401, FBT001
    def on_abort(self) -> None: ...


#: The policy of a call that has returned, or was closed: its children have no effect.
IGNORE = _Ignore()


def ignore_value(index: int, value: Any) -> None:  # noqa: ANN401 - the child's
    """Record nothing."""
