"""What must be true, beyond the oracles for every call, of the two functions with outcomes.

They judge what `harness.calls` logged, also in a run that was cancelled. `check` asks them all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from harness.calls import Found, Kept
from harness.oracles import Violation, _agree
from harness.run import Run
from harness.story import ScopeStory, story
from harness.worlds import SCOPE

ORACLES: list[Callable[[Run], None]] = []  # in the order in which `check` asks them


def oracle(complaints: Callable[[Run], Iterator[str]]) -> Callable[[Run], None]:
    @functools.wraps(complaints)
    def judge(run: Run) -> None:
        for complaint in complaints(run):
            raise Violation(complaints.__name__, complaint, run.schedule)

    ORACLES.append(judge)
    return judge


def check(run: Run) -> None:
    """Ask every oracle of this module."""
    for judge in ORACLES:
        judge(run)


def logged(run: Run, who: str, what: str) -> list[Any]:
    return [event.detail for event in run.events if (event.who, event.what) == (who, what)]


def outermost(run: Run) -> ScopeStory:
    return story(run).scopes.get(SCOPE) or ScopeStory((), [])  # cancelled before its first step


def kept(run: Run) -> Iterator[tuple[Kept, ...]]:
    """What each call of the world handed out."""
    yield from logged(run, "consumer", "kept")
    for found in logged(run, "caller", "found"):
        yield found.outcomes


@oracle
def nothing_dropped(run: Run) -> Iterator[str]:
    """Each child that started has one outcome, which says what it did."""
    children = outermost(run).children
    for pieces in kept(run):
        indices = [piece.index for piece in pieces]
        if len(set(indices)) < len(indices):
            yield f"two outcomes for one child: {indices}"
        for piece in pieces:
            if not _agree(piece.ending, children[piece.index].ending):
                yield f"{piece} was handed out, the truth was {children[piece.index].ending}"
        if not run.interrupts:
            started = {at for at, child in enumerate(children) if child.started is not None}
            if missing := started - set(indices):
                yield f"no outcome for {sorted(missing)}"


@oracle
def in_the_order_of_their_ends(run: Run) -> Iterator[str]:
    """A stream hands its outcomes out in the order in which the children ended."""
    children = outermost(run).children
    for pieces in logged(run, "consumer", "kept"):
        ends = [children[piece.index].ended[0] for piece in pieces if children[piece.index].ended]
        if ends != sorted(ends):
            yield f"handed out as {[piece.index for piece in pieces]}"


@oracle
def elapsed_to_the_tick(run: Run) -> Iterator[str]:
    """`elapsed` is the time from the child's start to its end. Judged in mode `fifo` only."""
    if run.mode == "racy":
        return
    children = outermost(run).children
    for pieces in kept(run):
        for piece in pieces:
            child = children[piece.index]
            true = 0.0
            if child.started is not None:
                true = run.events[child.ended[0]].time - run.events[child.started].time
            if piece.elapsed != true:
                yield f"{piece} took {true}"


@oracle
def limit_holds(run: Run) -> Iterator[str]:
    """No more children run at a time than the limit says, and no more are pulled ahead."""
    for limit in logged(run, "caller", "limit"):
        if limit is None:
            continue
        labels = outermost(run).labels
        running = pulled = asked = 0
        is_stream = bool(logged(run, "consumer", "asks"))
        for event in run.events:
            running += event.who in labels and (event.what == "started") - (event.what == "ended")
            pulled += (event.who, event.what) == ("source", "pulled")
            asked += (event.who, event.what) == ("consumer", "asks")
            asked += not is_stream and event.who in labels and event.what == "ended"
            if running > limit:
                yield f"{running} children run at step {event.step}, the limit is {limit}"
            if pulled > limit + asked:
                yield f"{pulled} pulled when {asked} had been asked for, the limit is {limit}"


@oracle
def source_closed(run: Run) -> Iterator[str]:
    """An async generator that was opened is closed, once, when the block is over."""
    opened = logged(run, "source", "opened")
    told = outermost(run)
    closed = [
        place
        for place, event in enumerate(run.events)
        if (event.who, event.what) == ("source", "closed")
    ]
    if len(closed) != len(opened):
        yield f"opened {len(opened)} times, closed {len(closed)} times"
    if closed and told.over_at is not None and closed[-1] > told.over_at:
        yield "closed after the block was over"


@oracle
def the_first_values(run: Run) -> Iterator[str]:
    """`values` are the first by time, and `reason` says why there are no more."""
    told = outermost(run)
    arrived = [
        child.ending.what
        for child in sorted(told.children, key=lambda child: child.ended)
        if child.ending is not None and child.ending.how == "returned" and not child.cancelled
    ]
    for found in logged(run, "caller", "found"):
        count = len(found.values)
        if list(found.values) != arrived[:count] or (
            found.reason != "met" and not found.adopted and count != len(arrived)
        ):
            yield f"the values are {found.values}, what arrived was {arrived}"
        if (found.reason == "met") != (count == found.wanted):
            yield f"{count} of {found.wanted} values are said to be {found.reason!r}"
        yield from _reasons(run, found)


def _reasons(run: Run, found: Found) -> Iterator[str]:
    told = outermost(run)
    over = run.events[told.over_at].time if told.over_at is not None else run.time
    if found.reason == "deadline" and (told.deadline is None or over < told.deadline):
        yield f"a deadline at {over}, it is at {told.deadline}"
    ended_by = {"met": "Cancelled", "deadline": "TimedOut", "exhausted": None}[found.reason]
    for piece in found.outcomes:
        child = told.children[piece.index]
        by_us = child.ending is not None and child.ending.how == "cancelled" and child.cancelled
        if by_us and child.deadline is None and piece.kind != ended_by:
            yield f"{piece} in a call that ended by {found.reason!r}"
