"""What must be true of every run, one function for each promise.

Each takes a `Run` of a program made by `simloop.worlds.world` and raises a `Violation`, which names
the oracle and has the schedule that `simloop.choosers.replay` repeats. They judge any call by what
the world logged. `check_all` runs them all.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeAlias

from simloop.run import Run
from simloop.run_log import log_of
from simloop.worlds import SCOPE, Ending

Oracle: TypeAlias = Callable[[Run], None]

ORACLES: list[Oracle] = []  # in the order in which `check_all` runs them


class Violation(AssertionError):  # noqa: N818 - it says what happened, as TimeoutError does
    """A promise was broken. `oracle` is the name of the function that found it."""

    def __init__(self, oracle: str, complaint: str, schedule: str) -> None:
        super().__init__(f"{oracle}: {complaint} [replay {schedule!r}]")
        self.oracle = oracle


def oracle(complaints: Callable[[Run], Iterator[str]]) -> Oracle:
    """Turn a generator of complaints into a function that raises the first one."""

    @functools.wraps(complaints)
    def check(run: Run) -> None:
        for complaint in complaints(run):
            raise Violation(complaints.__name__, complaint, run.schedule)

    ORACLES.append(check)
    return check


def check_all(run: Run) -> None:
    """Run every oracle. This releases the run's `value` and `error`: look at them before."""
    for check in ORACLES:
        check(run)


def violated(run: Run) -> list[str]:
    """Return the names of the oracles that `run` violates. This releases the run's outcome."""
    names: list[str] = []
    for check in ORACLES:
        try:
            check(run)
        except Violation as violation:
            names.append(violation.oracle)
    return names


@oracle
def no_deadlock(run: Run) -> Iterator[str]:
    """The program finished."""
    if run.deadlock is not None:
        yield run.deadlock


@oracle
def no_child_pending(run: Run) -> Iterator[str]:
    """When a scope exits, every task that was created in it is done."""
    for name, scope in log_of(run).scopes.items():
        if scope.exited is not None and scope.exited.pending:
            yield f"{name} exited while these tasks were pending: {', '.join(scope.exited.pending)}"


@oracle
def every_cleanup_has_run(run: Run) -> Iterator[str]:
    """When a scope exits, the outermost `finally` of every started child has run, once."""
    for name, scope in log_of(run).scopes.items():
        if scope.exited_at is None:
            continue
        for label, child in zip(scope.labels, scope.children, strict=True):
            if (
                "is a Future" in child.notes
                or child.started is None
                or (child.owners > 1 and label not in scope.adopted)
            ):
                continue
            if (
                not child.finished
                or child.started > scope.exited_at
                or child.finished[0] > scope.exited_at
            ):
                yield f"{name} exited before {label} finished"
            if len(child.finished) > 1:
                yield f"{label} finished {len(child.finished)} times"
            if child.ending is not None and child.ending.how == "closed":
                yield f"{label} was closed before it finished"


@oracle
def outer_cancel_surfaces(run: Run) -> Iterator[str]:
    """An accepted cancellation is raised, at the latest one loop iteration after the call."""
    if run.interrupts or run.deadlock is not None:
        return
    if run.cancels_accepted and not run.cancelled:
        yield f"{run.cancels_accepted} accepted cancels, the caller finished with {run.finished}"


@oracle
def inner_cancel_surfaces(run: Run) -> Iterator[str]:
    """So is one of a task that a scope inside the outermost one runs in, wherever it came from."""
    if run.interrupts or run.deadlock is not None:
        return
    for name, scope in log_of(run).scopes.items():
        # Inside the outermost scope only asyncio counts the cancellations.
        if name == SCOPE or scope.exited is None or scope.after is None or not scope.after.cancels:
            continue
        if scope.exited.ending.how != "cancelled" and not scope.after.cancelled:
            yield f"{name} was cancelled, and it {scope.exited.ending.how}"


@oracle
def no_cancel_invented(run: Run) -> Iterator[str]:
    """No call raises a CancelledError that was not requested."""
    for name, scope in log_of(run).scopes.items():
        if scope.exited is None or scope.after is None:
            continue
        shown = (scope.exited.ending.how == "cancelled") + scope.after.cancelled
        asked = run.cancels_accepted if name == SCOPE else scope.after.cancels
        if scope.exited.ending.how == "cancelled":
            asked += any(child.self_cancelled() for child in scope.children)
        if shown > asked:
            yield f"{name} raised {shown} cancellations where {asked} were requested"


@oracle
def cancel_message_kept(run: Run) -> Iterator[str]:
    """The CancelledError that propagates has the message of one that was sent."""
    scope = log_of(run).scopes.get(SCOPE)
    if not run.cancels_accepted or not run.cancelled or scope is None or scope.exited is None:
        return
    if any(child.self_cancelled() for child in scope.children):
        return
    if scope.exited.ending.how == "cancelled":
        sent = [(f"outer cancel {number}",) for number in range(1, run.cancels_accepted + 1)]
        if scope.exited.ending.what not in sent:
            yield f"the call raised CancelledError{scope.exited.ending.what!r}"


@oracle
def cancelling_balanced(run: Run) -> Iterator[str]:
    """`cancelling()` of the caller has risen by the number of cancellations that arrived."""
    scope = log_of(run).scopes.get(SCOPE)
    if scope is None or scope.after is None:
        return
    if scope.after.cancels != run.cancels_accepted:
        yield f"cancelling() rose by {scope.after.cancels}, after {run.cancels_accepted} cancels"


@oracle
def no_child_cancelled_twice(run: Run) -> Iterator[str]:
    """A call cancels a child at most once, however often its caller is cancelled."""
    for label, child in log_of(run).children.items():
        # One from each owner; in the outer task, each of the caller's.
        allowed = max(child.owners, 1) + child.from_outside
        if "in the outer task" in child.notes:
            allowed += run.cancels_accepted
        if len(child.cancelled) > allowed:
            yield f"{label} was cancelled {len(child.cancelled)} times"
        if run.interrupts or sys.version_info < (3, 13):
            allowed += child.groups  # there a TaskGroup leaves `cancelling()` one too high
        if child.ending is not None and child.ending.cancels > allowed:
            yield f"cancelling() of {label} rose by {child.ending.cancels}"


@oracle
def deadlines_hold(run: Run) -> Iterator[str]:
    """After a deadline no child starts, and each that runs was cancelled in that instant.

    Judged in mode `fifo` only: in mode `racy` the loop itself may be late.
    """
    if run.mode == "racy":
        return
    everything = log_of(run)
    scopes = [scope for scope in everything.scopes.values() if scope.deadline is not None]
    for label, child in everything.children.items():
        if not scopes and child.deadline is None and child.must_end is None:
            continue
        limits = [
            scope.deadline
            for scope in scopes
            if label in scope.labels and (child.owners == 1 or label in scope.adopted)
        ]
        own = (child.deadline, child.must_end)
        times = [time for time in (*limits, *own) if time is not None]
        if not times or child.started is None:
            continue
        if run.events[child.started].time > min(times) and child.owners == 1:
            yield f"{label} started at {run.events[child.started].time}, after {min(times)}"
        if "is a program" in child.notes:
            continue  # a cancelled call joins its children before it logs: they are judged
        end = run.events[child.finished[0]].time if child.finished else run.time
        cancelled = run.events[child.cancelled[0]].time if child.cancelled else end
        if min(end, cancelled) > min(times):
            yield f"{label} ran uncancelled until {min(end, cancelled)}, after {min(times)}"


@oracle
def no_timeout_too_early(run: Run) -> Iterator[str]:
    """Nothing times out before its deadline."""
    for name, scope in log_of(run).scopes.items():
        if scope.exited is None or scope.exited_at is None:
            continue
        if not any(map(_timed_out, scope.exited.pieces)):
            continue
        limits = [scope.deadline, *(child.deadline for child in scope.children)]
        if scope.child_seconds is not None:
            limits.append(run.events[scope.entered_at].time + scope.child_seconds)
        times = [time for time in limits if time is not None]
        own = {child.ending.identity for child in scope.children if child.ending is not None}
        timed_out = any(
            _timed_out(piece) and not {piece.identity, scope.exited.ending.identity} & own
            for piece in scope.exited.pieces
        )
        if timed_out and times and run.events[scope.exited_at].time < min(times):
            yield f"{name} timed out at {run.events[scope.exited_at].time}, not {min(times)}"


def _timed_out(piece: Ending) -> bool:
    return piece.how == "raised" and str(piece.what).startswith("TimeoutError")


@oracle
def outcomes_match(run: Run) -> Iterator[str]:
    """What a call returns or raises is what its children did: all of it, and nothing else."""
    for name, scope in log_of(run).scopes.items():
        if scope.exited is None or scope.exited.ending.how in ("cancelled", "closed"):
            continue
        pieces = scope.exited.pieces
        endings = [child.ending for child in scope.children]
        raised = [end.identity for end in endings if end and end.how == "raised"]
        if scope.exited.ending.how == "raised" and scope.exited.ending.identity in raised:
            continue  # one child's exception, which may itself be a group
        if scope.exited.complete and len(pieces) != len(scope.children):
            yield f"{name} returned {len(pieces)} pieces for {len(scope.children)} children"
            continue
        for piece in pieces:
            candidates = endings if piece.place < 0 else [endings[piece.place]]
            if not any(_agree(piece, ending) for ending in candidates):
                yield f"{name} reported {piece[:2]}, the truth was {candidates}"
        is_group = scope.exited.ending.how == "raised" and "Group(" in str(scope.exited.ending.what)
        if is_group and Counter(raised) - Counter(piece.identity for piece in pieces):
            yield f"{name} raised {scope.exited.ending.what}, which lacks a failure"


def _agree(piece: Ending, ending: Ending | None) -> bool:
    if _timed_out(piece):
        return ending is None or ending.how != "returned"
    if ending is None:  # it never started
        return piece.how == "cancelled"
    if piece.how == "raised":  # a cancelled child may raise the failures of its own children
        return ending.how in ("raised", "cancelled") and piece.identity == ending.identity
    return piece.how == ending.how and (piece.how != "returned" or piece.what == ending.what)


@oracle
def first_failure_raised(run: Run) -> Iterator[str]:
    """Where a call raises the bare exception of a child, it is the first failure in time."""
    for name, scope in log_of(run).scopes.items():
        if scope.exited is None or scope.exited.ending.how != "raised":
            continue
        failures = [
            (child.finished[0], child.ending.identity, label in scope.adopted)
            for label, child in zip(scope.labels, scope.children, strict=True)
            if child.ending is not None and child.ending.how == "raised"
        ]
        if run.eager:
            # The done callback of a Task that failed before the call runs an iteration later, as
            # under asyncio.gather; another child may have failed by then.
            failures = [failure for failure in failures if not failure[2]]
        raised = scope.exited.ending.identity
        if raised in [failure[1] for failure in failures] and raised != min(failures)[1]:
            yield f"{name} raised {scope.exited.ending.what}, which wasn't the first failure"


@oracle
def no_coroutine_never_awaited(run: Run) -> Iterator[str]:
    """No coroutine was "never awaited", and no destructor failed."""
    run.release()
    yield from run.warnings
    yield from run.unraisable


@oracle
def nothing_in_cycles(run: Run) -> Iterator[str]:
    """No task, frame or exception needs the garbage collector."""
    if run.in_cycles:
        yield f"only the collector freed {', '.join(run.in_cycles)}"


@oracle
def nothing_kept_alive(run: Run) -> Iterator[str]:
    """Without the outcome no task, frame or exception of the program is alive."""
    run.release()
    if alive := run.alive():
        yield f"still alive: {', '.join(alive)}"


@oracle
def handler_never_called(run: Run) -> Iterator[str]:
    """The loop's exception handler is not called, not even when the last reference is gone."""
    run.release()
    yield from run.handler_calls
