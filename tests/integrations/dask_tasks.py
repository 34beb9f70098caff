"""Functions that run on a Dask worker, in a module of their own: workers import it by its name."""

from __future__ import annotations

import threading
import time
from typing import Any

started: list[str] = []
ended: list[str] = []
#: The workers' threads run in the test's own process.
lock = threading.Lock()


def work(name: str, seconds: float, stop: Any = None) -> str:
    """Work for so many seconds, in small steps, unless told to stop."""
    with lock:
        started.append(name)
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (stop is not None and stop.is_set()):
            time.sleep(0.01)
        return name
    finally:
        with lock:
            ended.append(name)


def fail(name: str, seconds: float) -> str:
    """Fail after so many seconds."""
    work(name, seconds)
    raise ConnectionError(name)


def running() -> list[str]:
    """Return the names of the functions that are running."""
    with lock:
        return [name for name in started if name not in ended]
