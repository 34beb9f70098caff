"""The future for which the caller of a call waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many calls, one inside the other, are cancelled in one instant. Those deeper down follow a
#: turn of the loop later, each cancelled by the one above, and no stack overflows.
_DEEPEST = 50
_depth = 0


class Waiter(asyncio.Future[None]):
    """What the caller awaits. To cancel it may be to cancel the children, in the same instant.

    As with `asyncio.gather`: where everything is cancelled at once, as `asyncio.run` does at its
    end, each child sees one cancellation: that of the loop and ours are one. If ours came a turn of
    the loop later it would fall into the child's cleanup.
    """

    __slots__ = ("stop",)

    stop: Callable[..., None] | None
    only_at_the_end: ClassVar[bool] = False

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401 - asyncio's signature
        stop, self.stop = self.stop, None
        # The loop stands still when `asyncio.run` cancels all tasks.
        if stop is not None and not (self.only_at_the_end and self.get_loop().is_running()):
            global _depth  # noqa: PLW0603 - of the calls of this function that are on the stack
            if _depth < _DEEPEST:
                _depth += 1
                try:
                    stop() if msg is None else stop(msg)
                finally:
                    _depth -= 1
        return super().cancel(msg)


class BodyWaiter(Waiter):
    """What a body awaits, which may go on when it is cancelled: its children go on with it.

    async with asyncio.timeout(1):
        outcome = await anext(outcomes)
    """

    __slots__ = ()

    only_at_the_end = True
