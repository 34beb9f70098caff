"""What must be true, beyond the oracles for every call, of the two functions with outcomes.

They judge what `simloop.calls` logged, also in a run that was cancelled. `check` asks them all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from simloop.calls import Found, Kept
from simloop.oracles import Violation, _agree
from simloop.run import Run
from simloop.run_log import ScopeStory, story

Oracle: TypeAlias = Callable[[Run], None]

ORACLES: list[Oracle] = []  # in the order in which `check` asks them


def oracle(complaints: Callable[[Run, str, ScopeStory], Iterator[str]]) -> Oracle:
    """Ask about each scope; the first complaint is a violation."""

    @functools.wraps(complaints)
    def judge(run: Run) -> None:
        for name, told in story(run).scopes.items():
            for complaint in complaints(run, name, told):
                message = f"{name}: {complaint}"
                raise Violation(complaints.__name__, message, run.schedule)

    ORACLES.append(judge)
    return judge


def check(run: Run) -> None:
    """Ask every oracle of this module."""
    for judge in ORACLES:
        judge(run)


def logged(run: Run, who: str, what: str) -> list[Any]:
    return [event.detail for event in run.events if (event.who, event.what) == (who, what)]


def kept(run: Run, name: str) -> Iterator[tuple[Kept, ...]]:
    """What a scope handed out."""
    yield from logged(run, f"consumer of {name}", "kept")
    for found in logged(run, f"caller of {name}", "found"):
        yield found.outcomes


@oracle
def nothing_dropped(run: Run, name: str, told: ScopeStory) -> Iterator[str]:
    """Each child that started has one outcome, which says what it did."""
    for pieces in kept(run, name):
        indices = [piece.place for piece in pieces]
        if len(set(indices)) < len(indices):
            yield f"two outcomes for one child: {indices}"
        for piece in pieces:
            if not _agree(piece.ending, told.children[piece.place].ending):
                yield f"{piece} was handed out, the truth was {told.children[piece.place].ending}"
        if not run.interrupts:
            started = {
                at
                for at, (label, child) in enumerate(zip(told.labels, told.children, strict=True))
                if child.started is not None and (child.owners == 1 or label in told.handed_over)
            }
            if missing := started - set(indices):
                yield f"no outcome for {sorted(missing)}"


@oracle
def in_the_order_of_their_ends(run: Run, name: str, told: ScopeStory) -> Iterator[str]:
    """A stream hands its outcomes out in the order in which the children ended."""
    streams: list[tuple[Kept, ...]] = logged(run, f"consumer of {name}", "kept")
    others = told.handed_over  # of their ends the call hears a turn later
    for pieces in streams:
        children = [
            told.children[piece.place] for piece in pieces if told.labels[piece.place] not in others
        ]
        ends = [child.ended[0] for child in children if child.ended]
        if ends != sorted(ends):
            yield f"handed out as {[piece.place for piece in pieces]}"


@oracle
def elapsed_to_the_tick(run: Run, name: str, told: ScopeStory) -> Iterator[str]:
    """`elapsed` is the time from the child's start to its end. Judged in mode `fifo` only."""
    others = told.handed_over  # their time counts from then on
    for piece in (piece for pieces in kept(run, name) for piece in pieces):
        child = told.children[piece.place]
        if told.labels[piece.place] in others:
            continue
        true = 0.0
        if child.started is not None:
            true = run.events[child.ended[0]].time - run.events[child.started].time
        if piece.elapsed != true and run.mode == "fifo":
            yield f"{piece} took {true}"


@oracle
def limit_holds(run: Run, name: str, told: ScopeStory) -> Iterator[str]:
    """No more children run at a time than the limit says, and no more are pulled ahead."""
    for limit in filter(None, logged(run, f"caller of {name}", "limit")):
        running = pulled = 0
        # Of a Task that others have cancelled before its first step nothing is seen.
        taken = sum(
            label in told.handed_over and not child.ended
            for label, child in zip(told.labels, told.children, strict=True)
        )
        streams = bool(logged(run, f"consumer of {name}", "asks"))
        take_turns = {
            label
            for label, child in zip(told.labels, told.children, strict=True)
            if child.owners == 1 and label not in told.handed_over
        }
        for event in run.events:
            is_child = event.who in told.labels
            takes_a_turn = event.who in take_turns
            running += takes_a_turn and (event.what == "started") - (event.what == "ended")
            pulled += (event.who, event.what) == (f"source of {name}", "pulled")
            taken += (
                (event.who, event.what) == (f"consumer of {name}", "asks")
                if streams
                else is_child and event.what == "ended"
            )
            if running > limit:
                yield f"{running} children run at step {event.step}, the limit is {limit}"
            if pulled > limit + taken and told.child_seconds != 0:  # then all are over at once
                yield f"{pulled} pulled when {taken} had been asked for, the limit is {limit}"


@oracle
def source_closed(run: Run, name: str, told: ScopeStory) -> Iterator[str]:
    """An async generator that was opened is closed, once, when the block is over."""
    who = f"source of {name}"
    places = [
        at for at, event in enumerate(run.events) if (event.who, event.what) == (who, "closed")
    ]
    opened = len(logged(run, who, "opened"))
    if len(places) != opened:
        yield f"opened {opened} times, closed {len(places)} times"
    if places and told.over_at is not None and places[-1] > told.over_at:
        yield "closed after the block was over"


@oracle
def the_first_values(run: Run, name: str, told: ScopeStory) -> Iterator[str]:
    """`values` are the first by time, and `reason` says why there are no more."""
    # What was handed over may have returned before, or without having been taken.
    children = [
        child
        for label, child in zip(told.labels, told.children, strict=True)
        if child.owners == 1 and label not in told.handed_over
    ]
    others = len(children) < len(told.children)
    arrived = [
        child.ending.what
        for child in sorted(children, key=lambda child: child.ended)
        if child.ending is not None
        and child.ending.how == "returned"
        and not (child.cancelled or child.ending.cancels)
    ]
    for found in logged(run, f"caller of {name}", "found"):
        count = len(found.values)
        values = [value for value in found.values if value in arrived or not others]
        if values != arrived[: len(values)] or (
            found.reason != "met" and not found.adopted and len(values) != len(arrived)
        ):
            yield f"the values are {found.values}, what arrived was {arrived}"
        if (found.reason == "met") != (count == found.wanted):
            yield f"{count} of {found.wanted} values are said to be {found.reason!r}"
        over = run.events[told.over_at].time if told.over_at is not None else run.time
        if found.reason == "deadline" and told.deadline is not None and over < told.deadline:
            yield f"a deadline at {over}, it is at {told.deadline}"


@oracle
def losers_are_told(run: Run, name: str, told: ScopeStory) -> Iterator[str]:
    """A child that the call ended is TimedOut if that was the deadline, and Cancelled if not."""
    races: list[Found] = logged(run, f"caller of {name}", "found")
    for found in races:
        expected = {"met": "Cancelled", "deadline": "TimedOut", "exhausted": None}[found.reason]
        for piece in found.outcomes:
            child = told.children[piece.place]
            cancelled = child.ending is not None and child.ending.how == "cancelled"
            by_us = cancelled and child.cancelled and not child.self_cancelled()
            timed = child.deadline is not None or told.child_seconds is not None
            if by_us and not timed and piece.kind != expected:
                yield f"{piece} in a call that ended by {found.reason!r}"
