"""Structured concurrency behind the calls that asyncio's users know."""

from structgather._gather import gather_structured
from structgather._gathered import Gathered
from structgather._stuck import warn_stuck_after

__version__ = "0.1.0"

__all__ = [
    "Gathered",
    "gather_structured",
    "warn_stuck_after",
]
