"""Structured concurrency behind the calls that asyncio users know.

Every child has finished when the `await`, or the `async with` block, is left:

    gather_structured(*aws)                 every value, or the first failure: asyncio.gather
    first_n_within(aws, n, within=seconds)  the first n values, or those before a deadline
    as_completed_scoped(aws, limit=20)      outcomes as children finish, or in input order

    Ok, Failed, TimedOut, Cancelled         how one child finished; an Outcome is one of these
    Gathered, FirstN, AsCompleted           what the three functions return
    ChildFailures                           the failures of one call, as an ExceptionGroup
    RateLimit                               requests, tokens and concurrency of a provider
    warn_stuck_after                        when to log a child that ignores its cancellation

An example:

    import asyncio
    from structgather import gather_structured

    async def main():
        print(await gather_structured(asyncio.sleep(1, "a"), asyncio.sleep(2, "b"), limit=10))

    asyncio.run(main())

`structgather migrate` moves a code base from asyncio.gather and asyncio.as_completed.
"""

# For contributors.
#
# _gather          gather_structured: its policy, its options, its result
# _one             gather_structured of one child without options: the same without siblings
# _gathered        Gathered, the result of `return_exceptions=True`
# _gathered_types  the types of `return_exceptions=True` with few arguments
# _first_n         first_n_within and FirstN
# _as_completed    as_completed_scoped and AsCompleted: the block and the iteration
# _stream          its policy: inputs, and the outcomes that are not taken yet
# _intake          shared by these two functions: inputs, started as there is room, and deadlines
#
# _scope           the protocol: children start, settle, are cancelled and joined; has the rules
# _policy          what a function decides for itself
# _queued          children that start one by one, as there is room
# _adopt           children that do not settle by themselves: adopted, wrapped, never started
# _ancestors       which Tasks wait for a Task: they can't be its children
# _errors          the exceptions of a call besides its children's failures
# _group           helpers for asyncio: TaskGroup, the body's future, minimal loops
# _timers          `child_timeout`, and the deadline of a call
# _stuck           the warning about a child that ignores its cancellation; names of children
#
# _outcome         Ok, Failed, TimedOut, Cancelled
# _failures        ChildFailures, notes, tracebacks
# _arguments       validation, before anything has started
# _unstarted       closes the coroutines that will not run
#
# _rate_limit      RateLimit, and the fast path of its admission
# _gate            the queue: which call is admitted when
# _window          the sliding window: entries, and when a call fits
#
# _migrate         `structgather migrate`
#
# How a child runs: `_Gather.gather_structured` validates the arguments and enters the group of a
# new `Scope`. `Scope.start` wraps the coroutine in `run_child`, lets the group create its Task,
# adds it to `unfinished`, and schedules `check` after the first steps of the batch. The body waits
# in `Scope.join`. When the child returns, `run_child` removes it from `unfinished` and passes the
# value to the policy, which adds it to the list of results. The last child adds `wake` to its own
# done callbacks, after the group's, so the group is empty when the body resumes, leaves it and
# returns the list.
#
# How a child fails: `run_child` catches the exception. `settle_error` passes it to
# `_Gather.on_error`, which records the first one and calls `stop_after_first_steps`: `stop` runs
# now or, if first steps are due, in `check`. It cancels each unfinished child, once, in start
# order. Their CancelledErrors pass through `run_child` and `settle_cancelled` to `on_error`, with
# `by_us`; if a sibling raises something else, that is another failure. The last one wakes the
# body, and `_Gather._result` raises the first failure, with the others in its notes.

from structgather._as_completed import AsCompleted, as_completed_scoped
from structgather._failures import ChildFailures
from structgather._first_n import FirstN, first_n_within
from structgather._gather import gather_structured
from structgather._gathered import Gathered
from structgather._outcome import Cancelled, Failed, Ok, Outcome, TimedOut
from structgather._rate_limit import RateLimit
from structgather._stuck import warn_stuck_after

__version__ = "0.2.0"

__all__ = [
    "AsCompleted",
    "Cancelled",
    "ChildFailures",
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
