"""What must also be true of the functions with outcomes.

They judge what `simloop.calls` logged, also in a run that was cancelled. `check` runs them all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from simloop.calls import Found, Kept
from simloop.oracles import Violation, _agree
from simloop.run import Run
from simloop.run_log import ScopeLog, log_of
from simloop.worlds import Ending

Oracle: TypeAlias = Callable[[Run], None]

ORACLES: list[Oracle] = []  # in the order in which `check` runs them


def oracle(complaints: Callable[[Run, str, ScopeLog], Iterator[str]]) -> Oracle:
    """Judge each scope; the first complaint is a violation."""

    @functools.wraps(complaints)
    def judge(run: Run) -> None:
        for name, scope in log_of(run).scopes.items():
            for complaint in complaints(run, name, scope):
                message = f"{name}: {complaint}"
                raise Violation(complaints.__name__, message, run.schedule)

    ORACLES.append(judge)
    return judge


def check(run: Run) -> None:
    """Run every oracle of this module."""
    for judge in ORACLES:
        judge(run)


def logged(run: Run, who: str, what: str) -> list[Any]:
    """Return the details of the events of a label that is no child's and no scope's."""
    return log_of(run).others.get((who, what), [])


def kept(run: Run, name: str) -> Iterator[tuple[Kept, ...]]:
    """Yield the outcomes that a scope yielded or returned."""
    yield from logged(run, f"consumer of {name}", "kept")
    for found in logged(run, f"caller of {name}", "found"):
        yield found.outcomes


def interrupts(ending: Ending | None) -> bool:
    """Tell whether a child raised what is never an outcome."""
    return (
        ending is not None
        and ending.how == "raised"
        and str(ending.what).startswith(("KeyboardInterrupt", "SystemExit"))
    )


def was_interrupted(run: Run) -> bool:
    """Tell whether a child raised such an exception, which the loop or a call has raised."""
    children = log_of(run).children.values()
    return bool(run.interrupts) or any(interrupts(child.ending) for child in children)


@oracle
def nothing_dropped(run: Run, name: str, scope: ScopeLog) -> Iterator[str]:
    """Each child that started has one outcome, which reports what it did."""
    for pieces in kept(run, name):
        indices = [piece.place for piece in pieces]
        if len(set(indices)) < len(indices):
            yield f"two outcomes for one child: {indices}"
        for piece in pieces:
            if not _agree(piece.ending, scope.children[piece.place].ending):
                yield f"{piece} was reported, the truth was {scope.children[piece.place].ending}"
        if not run.interrupts:
            started = {
                at
                for at, (label, child) in enumerate(zip(scope.labels, scope.children, strict=True))
                if child.started is not None
                and (child.owners == 1 or label in scope.adopted)
                and not interrupts(child.ending)
            }
            if missing := started - set(indices):
                yield f"no outcome for {sorted(missing)}"


@oracle
def in_completion_order(run: Run, name: str, scope: ScopeLog) -> Iterator[str]:
    """A stream yields its outcomes in the order in which the children finished."""
    streams: list[tuple[Kept, ...]] = logged(run, f"consumer of {name}", "kept")
    if logged(run, f"caller of {name}", "ordered"):
        return
    others = scope.adopted  # their done callbacks run an iteration later
    for pieces in streams:
        children = [
            scope.children[piece.place]
            for piece in pieces
            if scope.labels[piece.place] not in others
        ]
        ends = [child.finished[0] for child in children if child.finished]
        if ends != sorted(ends):
            yield f"yielded as {[piece.place for piece in pieces]}"


@oracle
def in_input_order(run: Run, name: str, scope: ScopeLog) -> Iterator[str]:
    """A stream that is ordered yields its outcomes in input order."""
    streams: list[tuple[Kept, ...]] = logged(run, f"consumer of {name}", "kept")
    for pieces in streams if logged(run, f"caller of {name}", "ordered") else []:
        indices = [piece.place for piece in pieces]
        if indices != sorted(indices):
            yield f"yielded as {indices}"


@oracle
def elapsed_to_the_tick(run: Run, name: str, scope: ScopeLog) -> Iterator[str]:
    """`elapsed` is the time from the child's start to its finish. Judged in mode `fifo` only."""
    others = scope.adopted  # their time counts from their adoption
    for piece in (piece for pieces in kept(run, name) for piece in pieces):
        child = scope.children[piece.place]
        if scope.labels[piece.place] in others:
            continue
        true = 0.0
        if child.started is not None:
            true = run.events[child.finished[0]].time - run.events[child.started].time
        if piece.elapsed != true and run.mode == "fifo":
            yield f"{piece} took {true}"


@oracle
def limit_holds(run: Run, name: str, scope: ScopeLog) -> Iterator[str]:
    """At most `limit` children run at a time, and no more are pulled ahead of the consumer."""
    for limit in filter(None, logged(run, f"caller of {name}", "limit")):
        running = pulled = 0
        # A Task that a third party cancelled before its first step logs nothing.
        taken = sum(
            label in scope.adopted and not child.finished
            for label, child in zip(scope.labels, scope.children, strict=True)
        )
        streams = bool(logged(run, f"consumer of {name}", "asks"))
        limited = {
            label
            for label, child in zip(scope.labels, scope.children, strict=True)
            if child.owners == 1 and label not in scope.adopted
        }
        for event in run.events:
            is_child = event.who in scope.labels
            is_limited = event.who in limited
            running += is_limited and (event.what == "started") - (event.what == "finished")
            pulled += (event.who, event.what) == (f"source of {name}", "pulled")
            taken += (
                (event.who, event.what) == (f"consumer of {name}", "asks")
                if streams
                else is_child and event.what == "finished"
            )
            if running > limit:
                yield f"{running} children run at step {event.step}, the limit is {limit}"
            if (
                pulled > limit + taken and scope.child_seconds != 0
            ):  # then each times out as it starts
                yield f"{pulled} pulled when {taken} had been requested, the limit is {limit}"


@oracle
def source_closed(run: Run, name: str, scope: ScopeLog) -> Iterator[str]:
    """An async generator that was opened is closed, once, when the block exits."""
    who = f"source of {name}"
    opened = len(logged(run, who, "opened"))
    if not opened and not logged(run, who, "closed"):
        return
    places = [
        at for at, event in enumerate(run.events) if (event.who, event.what) == (who, "closed")
    ]
    if len(places) != opened:
        yield f"opened {opened} times, closed {len(places)} times"
    if places and scope.exited_at is not None and places[-1] > scope.exited_at:
        yield "closed after the block had exited"


@oracle
def the_first_values(run: Run, name: str, scope: ScopeLog) -> Iterator[str]:
    """`values` are the first in time, and `reason` is why there are no more."""
    races: list[Found] = logged(run, f"caller of {name}", "found")
    if not races:
        return
    # An adopted Task may have returned before the call, or without having been taken.
    children = [
        child
        for label, child in zip(scope.labels, scope.children, strict=True)
        if child.owners == 1 and label not in scope.adopted
    ]
    others = len(children) < len(scope.children)
    arrived = [
        child.ending.what
        for child in sorted(children, key=lambda child: child.finished)
        if child.ending is not None
        and child.ending.how == "returned"
        and not (child.cancelled or child.ending.cancels)
    ]
    for found in races:
        count = len(found.values)
        values = [value for value in found.values if value in arrived or not others]
        if values != arrived[: len(values)] or (
            found.reason != "met" and not found.adopted and len(values) != len(arrived)
        ):
            yield f"the values are {found.values}, what arrived was {arrived}"
        if (found.reason == "met") != (count == found.wanted):
            yield f"{count} of {found.wanted} values, and the reason is {found.reason!r}"
        over = run.events[scope.exited_at].time if scope.exited_at is not None else run.time
        if found.reason == "deadline" and scope.deadline is not None and over < scope.deadline:
            yield f"a deadline at {over}, it is at {scope.deadline}"


@oracle
def losers_are_reported(run: Run, name: str, scope: ScopeLog) -> Iterator[str]:
    """A child that the call cancelled is TimedOut at the deadline, and Cancelled otherwise."""
    races: list[Found] = logged(run, f"caller of {name}", "found")
    for found in races:
        expected = {"met": "Cancelled", "deadline": "TimedOut", "exhausted": None}[found.reason]
        for piece in found.outcomes:
            child = scope.children[piece.place]
            cancelled = child.ending is not None and child.ending.how == "cancelled"
            by_us = cancelled and child.cancelled and not child.self_cancelled()
            timed = child.deadline is not None or scope.child_seconds is not None
            if by_us and not timed and piece.kind != expected:
                yield f"{piece} in a call that ended by {found.reason!r}"
