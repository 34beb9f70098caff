"""How far a run has come."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY = 0.1  # seconds


class Progress:
    """A line that is rewritten in place on a terminal; elsewhere, a line now and then."""

    def __init__(self, *, terminal: bool | None = None) -> None:
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._said = ""
        self._shown = 0.0

    def part(self, start: float, end: float) -> Callable[[float, str], None]:
        """Return what a part of the run is to call: with its own progress, 0 to 1."""
        return lambda share, words: self.say(start + (end - start) * share, words)

    def say(self, share: float, words: str) -> None:
        """Say how far it has come, and what is going on."""
        if self._terminal:
            if monotonic() - self._shown > EVERY:
                self._shown = monotonic()
                print(f"\r\x1b[K{share:4.0%}  {words}"[:100], end="", file=sys.stderr, flush=True)
        else:
            activity = words.partition(":")[0]
            if activity != self._said:
                self._said = activity
                print(f"{share:4.0%}  {activity}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave a clean line."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
