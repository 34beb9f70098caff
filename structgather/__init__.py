"""Structured concurrency behind the calls that asyncio's users know.

_gather          gather_structured: every value, or the first failure
_gathered        Gathered: its list, with the failures to be had
_gathered_types  what type checkers take it for, where there are few arguments
_first_n         first_n_within, FirstN: the first values inside a time
_as_completed    as_completed_scoped, AsCompleted: outcomes as they come
_rate_limit      RateLimit: requests, tokens and concurrency of a provider
_outcome         Ok, Failed, TimedOut, Cancelled: how one child ended

_scope           the protocol: owns every child, states its rules, and alone touches tasks
_waiter          the future for which the caller waits
_endings         how Tasks ended, with the part of the traceback that is the child's
_outcome_scope   what the two functions that speak in outcomes have in common
_stream          what is behind as_completed_scoped: what is pulled, what has come, where it ends
_source          inputs one by one, as there is room
_child_timeout   the time of each child
_loops           what not every event loop can answer
_gate            the queue behind RateLimit: which call is admitted when
_window          the sliding window behind RateLimit: what counts, and when a call fits
_failures        several failures: in a group, or in the notes of the one that is raised
_inputs          what is refused, and in which words
_stuck           the warning about a child that will not stop
"""

from structgather._as_completed import AsCompleted, as_completed_scoped
from structgather._first_n import FirstN, first_n_within
from structgather._gather import Gathered, gather_structured
from structgather._outcome import Cancelled, Failed, Ok, Outcome, TimedOut
from structgather._rate_limit import RateLimit
from structgather._stuck import warn_stuck_after

__version__ = "0.2.0"

__all__ = [
    "AsCompleted",
    "Cancelled",
    "Failed",
    "FirstN",
    "Gathered",
    "Ok",
    "Outcome",
    "RateLimit",
    "TimedOut",
    "as_completed_scoped",
    "first_n_within",
    "gather_structured",
    "warn_stuck_after",
]
