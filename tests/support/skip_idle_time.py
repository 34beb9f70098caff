"""Runs a script with a clock that skips idle time: an hour of sleep takes none.

    python tests/support/skip_idle_time.py SCRIPT

Only the clock and the selector's wait are replaced: the loop, its Tasks and timers are asyncio's
own. Not for scripts that use threads, which the selector does not wait for.
"""

import asyncio
import runpy
import selectors
import sys
import time
from collections.abc import Callable
from typing import Any

skipped = 0.0
started = time.monotonic()


def skipping(wait: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Return a selector's `select` that advances the clock where it would wait for a timer."""

    def select(selector: selectors.BaseSelector, timeout: float | None = None) -> list[Any]:
        global skipped  # noqa: PLW0603 - one clock
        ready = wait(selector, timeout if timeout is None else 0)
        if timeout and not ready:
            skipped += timeout
        return ready

    return select


if __name__ == "__main__":
    selectors.DefaultSelector.select = skipping(selectors.DefaultSelector.select)  # type: ignore[method-assign]
    asyncio.BaseEventLoop.time = lambda _: started + skipped  # type: ignore[assignment, method-assign]
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
