"""An event loop that goes by the processor's time, so that other programs make nobody late."""

from __future__ import annotations

import asyncio
import selectors
import time


class SkippingSelector(selectors.DefaultSelector):
    """Waits for no timer: it notes how long that would have been."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready."""
        ready = super().select(timeout if timeout is None else 0)
        if timeout is not None and timeout > 0 and not ready:
            self.skipped += timeout
        return ready


class ProcessorTimeLoop(asyncio.SelectorEventLoop):
    """Its time is what this thread has worked, and what it would have slept."""

    def __init__(self) -> None:
        self._skipping = SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Return the time of this loop in seconds."""
        return time.thread_time() + self._skipping.skipped
