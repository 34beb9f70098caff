"""What must be true of every run, one function for each promise.

Each takes a `Run` of a program made by `simloop.worlds.world` and raises a `Violation`, which names
the oracle and carries the schedule that `simloop.choosers.replay` repeats. They judge any call by
what the world recorded. `check_all` asks them all.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeAlias

from simloop.run import Run
from simloop.run_log import story
from simloop.worlds import SCOPE, Ending

Oracle: TypeAlias = Callable[[Run], None]

ORACLES: list[Oracle] = []  # in the order in which `check_all` asks them


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
    """Ask every oracle. This releases the run's `value` and `error`: look at them before."""
    for check in ORACLES:
        check(run)


def violated(run: Run) -> list[str]:
    """The names of all the oracles that `run` violates. This releases the run's outcome."""
    names: list[str] = []
    for check in ORACLES:
        try:
            check(run)
        except Violation as violation:
            names.append(violation.oracle)
    return names


@oracle
def no_deadlock(run: Run) -> Iterator[str]:
    """The program came to its end."""
    if run.deadlock is not None:
        yield run.deadlock


@oracle
def no_child_pending(run: Run) -> Iterator[str]:
    """When a scope is over, no task that was born in it is left."""
    for name, told in story(run).scopes.items():
        if told.over is not None and told.over.pending:
            yield f"{name} is over, and these tasks are not: {', '.join(told.over.pending)}"


@oracle
def every_cleanup_has_run(run: Run) -> Iterator[str]:
    """When a scope is over, the outermost `finally` of every started child has run, once."""
    for name, told in story(run).scopes.items():
        if told.over_at is None:
            continue
        for label, child in zip(told.labels, told.children, strict=True):
            if (
                "is a Future" in child.notes
                or child.started is None
                or (child.owners > 1 and label not in told.handed_over)
            ):
                continue
            if not child.ended or child.started > told.over_at or child.ended[0] > told.over_at:
                yield f"{name} was over before {label} was"
            if len(child.ended) > 1:
                yield f"{label} ended {len(child.ended)} times"
            if child.ending is not None and child.ending.how == "closed":
                yield f"{label} was closed in the middle"


@oracle
def outer_cancel_surfaces(run: Run) -> Iterator[str]:
    """A cancellation that was accepted shows, at the latest one turn of the loop after the call."""
    if run.interrupts or run.deadlock is not None:
        return
    if run.cancels_accepted and not run.cancelled:
        yield f"{run.cancels_accepted} outer cancellations accepted, the end was {run.ended}"


@oracle
def inner_cancel_surfaces(run: Run) -> Iterator[str]:
    """So does one of the task that a scope inside the outermost one is in, whoever has sent it."""
    if run.interrupts or run.deadlock is not None:
        return
    for name, told in story(run).scopes.items():
        # Inside the outermost scope nobody counts the cancellations but asyncio.
        if name == SCOPE or told.over is None or told.after is None or not told.after.cancels:
            continue
        if told.over.ending.how != "cancelled" and not told.after.cancelled:
            yield f"{name} was cancelled, and it {told.over.ending.how}"


@oracle
def no_cancel_invented(run: Run) -> Iterator[str]:
    """Nobody sees a cancellation, or one more, that nobody has asked for."""
    for name, told in story(run).scopes.items():
        if told.over is None or told.after is None:
            continue
        shown = (told.over.ending.how == "cancelled") + told.after.cancelled
        asked = run.cancels_accepted if name == SCOPE else told.after.cancels
        if told.over.ending.how == "cancelled":
            asked += any(child.self_cancelled() for child in told.children)
        if shown > asked:
            yield f"{name} showed {shown} cancellations where {asked} were asked for"


@oracle
def cancel_message_kept(run: Run) -> Iterator[str]:
    """A cancellation that goes on carries the message of one that came."""
    told = story(run).scopes.get(SCOPE)
    if not run.cancels_accepted or not run.cancelled or told is None or told.over is None:
        return
    if any(child.self_cancelled() for child in told.children):
        return
    if told.over.ending.how == "cancelled":
        sent = [(f"outer cancel {number}",) for number in range(1, run.cancels_accepted + 1)]
        if told.over.ending.what not in sent:
            yield f"the call raised CancelledError{told.over.ending.what!r}"


@oracle
def cancelling_balanced(run: Run) -> Iterator[str]:
    """`cancelling()` of the caller has risen by the cancellations that came, by no more or less."""
    told = story(run).scopes.get(SCOPE)
    if told is None or told.after is None:
        return
    if told.after.cancels != run.cancels_accepted:
        yield f"cancelling() rose by {told.after.cancels}, {run.cancels_accepted} cancels came"


@oracle
def no_child_cancelled_twice(run: Run) -> Iterator[str]:
    """A child has at most one cancellation from the call, however many come from outside."""
    for label, child in story(run).children.items():
        # One from each owner; in the outer task, all that come from outside.
        allowed = max(child.owners, 1) + child.from_outside
        if "in the outer task" in child.notes:
            allowed += run.cancels_accepted
        if len(child.cancelled) > allowed:
            yield f"{label} saw {len(child.cancelled)} cancellations"
        if run.interrupts or sys.version_info < (3, 13):
            allowed += child.groups  # there a TaskGroup leaves `cancelling()` one too high
        if child.ending is not None and child.ending.cancels > allowed:
            yield f"{label} was asked {child.ending.cancels} times to cancel"


@oracle
def deadlines_hold(run: Run) -> Iterator[str]:
    """After a deadline nothing starts, and nothing goes on that wasn't cancelled in that instant.

    Judged in mode `fifo` only: in mode `racy` the loop itself may be late.
    """
    if run.mode == "racy":
        return
    everything = story(run)
    scopes = [told for told in everything.scopes.values() if told.deadline is not None]
    for label, child in everything.children.items():
        limits = [
            told.deadline
            for told in scopes
            if label in told.labels and (child.owners == 1 or label in told.handed_over)
        ]
        own = (child.deadline, child.must_end)
        times = [time for time in (*limits, *own) if time is not None]
        if not times or child.started is None:
            continue
        if run.events[child.started].time > min(times) and child.owners == 1:
            yield f"{label} started at {run.events[child.started].time}, after {min(times)}"
        if "is a program" in child.notes:
            continue  # one that is cancelled joins its own before it says so: they are judged
        end = run.events[child.ended[0]].time if child.ended else run.time
        cancelled = run.events[child.cancelled[0]].time if child.cancelled else end
        if min(end, cancelled) > min(times):
            yield f"{label} went on undisturbed until {min(end, cancelled)}, after {min(times)}"


@oracle
def no_timeout_too_early(run: Run) -> Iterator[str]:
    """Nothing is said to have timed out before its time."""
    for name, told in story(run).scopes.items():
        if told.over is None or told.over_at is None:
            continue
        limits = [told.deadline, *(child.deadline for child in told.children)]
        if told.child_seconds is not None:
            limits.append(run.events[told.entered_at].time + told.child_seconds)
        times = [time for time in limits if time is not None]
        own = {child.ending.identity for child in told.children if child.ending is not None}
        timed_out = any(
            _timed_out(piece) and not {piece.identity, told.over.ending.identity} & own
            for piece in told.over.handed
        )
        if timed_out and times and run.events[told.over_at].time < min(times):
            yield f"{name} timed out at {run.events[told.over_at].time}, not {min(times)}"


def _timed_out(piece: Ending) -> bool:
    return piece.how == "raised" and str(piece.what).startswith("TimeoutError")


@oracle
def outcomes_match(run: Run) -> Iterator[str]:
    """What a call hands back or raises is what its children did: all of it, and nothing else."""
    for name, told in story(run).scopes.items():
        if told.over is None or told.over.ending.how in ("cancelled", "closed"):
            continue
        handed = told.over.handed
        endings = [child.ending for child in told.children]
        raised = Counter(end.identity for end in endings if end and end.how == "raised")
        if told.over.ending.how == "raised" and told.over.ending.identity in raised:
            continue  # one child's exception, which may itself be a group
        if told.over.complete and len(handed) != len(told.children):
            yield f"{name} handed back {len(handed)} pieces for {len(told.children)} children"
            continue
        for piece in handed:
            candidates = endings if piece.place < 0 else [endings[piece.place]]
            if not any(_agree(piece, ending) for ending in candidates):
                yield f"{name} said {piece[:2]}, the truth was {candidates}"
        is_group = told.over.ending.how == "raised" and "Group(" in str(told.over.ending.what)
        if is_group and raised - Counter(piece.identity for piece in handed):
            yield f"{name} raised {told.over.ending.what}, which lacks a failure"


def _agree(piece: Ending, ending: Ending | None) -> bool:
    if _timed_out(piece):
        return ending is None or ending.how != "returned"
    if ending is None:  # it never started
        return piece.how == "cancelled"
    if piece.how == "raised":  # a child that was cancelled may leave the failures of its own
        return ending.how in ("raised", "cancelled") and piece.identity == ending.identity
    return piece.how == ending.how and (piece.how != "returned" or piece.what == ending.what)


@oracle
def first_failure_raised(run: Run) -> Iterator[str]:
    """Where a child's bare exception comes out of a call, it is the first one by time."""
    for name, told in story(run).scopes.items():
        if told.over is None or told.over.ending.how != "raised":
            continue
        failures = [
            (child.ended[0], child.ending.identity, label in told.handed_over)
            for label, child in zip(told.labels, told.children, strict=True)
            if child.ending is not None and child.ending.how == "raised"
        ]
        if run.eager:
            # A Task that has failed before the call is heard of in its turn, as by asyncio.gather;
            # another child may have failed by then.
            failures = [failure for failure in failures if not failure[2]]
        raised = told.over.ending.identity
        if raised in [failure[1] for failure in failures] and raised != min(failures)[1]:
            yield f"{name} raised {told.over.ending.what}, which wasn't the first failure"


@oracle
def never_awaited_nothing(run: Run) -> Iterator[str]:
    """No coroutine was "never awaited", and no destructor failed."""
    run.release()
    yield from run.warnings
    yield from run.unraisable


@oracle
def nothing_in_cycles(run: Run) -> Iterator[str]:
    """No task, frame or exception was left to the garbage collector."""
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
    """The loop's exception handler is not called, also after the last reference is gone."""
    run.release()
    yield from run.handler_calls
