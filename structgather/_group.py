"""What a call adds to asyncio's own: its TaskGroup, and the future that its body awaits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many nested calls are cancelled in the same instant. Those deeper down are cancelled by the
#: one above, a loop iteration later each, so that no stack overflows.
_DEEPEST = 50
_depth = 0


class Group(asyncio.TaskGroup):
    """The TaskGroup of one call. It does not wait when the caller's coroutine is being closed."""

    #: The calling Task, until the call is over.
    caller: asyncio.Task[Any] | None = None

    def __aexit__(self, kind: Any, error: Any, traceback: Any) -> Any:  # noqa: ANN401 - as it is
        if kind is GeneratorExit:
            return _nothing()
        return super().__aexit__(kind, error, traceback)


async def _nothing() -> None:
    pass


class Waiter(asyncio.Future[None]):
    """What the body of a call awaits: to cancel it is to cancel the children in the same instant.

    So each child sees one cancellation where everything is cancelled at once, as at the end of
    `asyncio.run`; a second one, an iteration later, would interrupt cleanups.
    """

    __slots__ = ("only_when_idle", "stop")

    stop: Callable[..., None] | None
    #: Set where the body may survive its cancellation, and its children with it:
    #:     async with asyncio.timeout(1): outcome = await anext(outcomes)
    #: Only when the loop stands still, since `asyncio.run` cancels all Tasks, is it the end.
    only_when_idle: bool

    def cancel(self, msg: Any = None) -> bool:  # noqa: ANN401 - asyncio's signature
        """Cancel the children, then the future."""
        global _depth  # noqa: PLW0603 - of the calls of this method on the stack
        stop, self.stop = self.stop, None
        if (
            stop is not None
            and _depth < _DEEPEST
            and not (self.only_when_idle and self.get_loop().is_running())
        ):
            _depth += 1
            try:
                stop() if msg is None else stop(msg)
            finally:
                _depth -= 1
        return super().cancel(msg)
