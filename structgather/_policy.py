"""The interface between a scope and the function that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing import TypeAlias

    from structgather._outcome import Cancelled, Failed, TimedOut

    Unsuccessful: TypeAlias = type[Failed | TimedOut | Cancelled]


class Policy(Protocol):
    """Called once for each child that settles; for an interrupt, `on_abort` is called instead."""

    def on_value(self, index: int, value: Any) -> object:  # noqa: ANN401 - the child's
        """Record the value of a child, unless the scope has a list of `values`."""

    def on_error(self, kind: Unsuccessful, index: int, error: Any, by_us: bool) -> object:  # noqa: ANN401, FBT001 - `kind` says which error
        """Record a child without a value.

        `by_us`: it finished cancelled, and this call had cancelled it. A child that raises
        something else instead is reported with False.
        """

    def on_abort(self) -> object:
        """Note that something other than a child's failure stops the call."""

    def on_abandon(self) -> object:
        """Close what has not started: the call is closed, and nothing can be awaited any more."""


class _Ignore:
    def on_value(self, index: int, value: Any) -> None: ...  # noqa: ANN401
    def on_error(self, kind: Unsuccessful, index: int, error: Any, by_us: bool) -> None: ...  # noqa: ANN401, FBT001
    def on_abort(self) -> None: ...
    def on_abandon(self) -> None: ...


#: The policy of a call that has returned, or was closed: its children have no effect.
IGNORE = _Ignore()
