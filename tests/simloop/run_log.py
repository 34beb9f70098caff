"""The log of a run, sorted by who did what: what the oracles read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from simloop.run import Run
from simloop.worlds import After, Ending, Over


@dataclass(slots=True)
class ChildStory:
    """What one child did; events by their place in the log."""

    started: int | None = None
    cancelled: list[int] = field(default_factory=list[int])
    from_outside: int = 0
    by_itself: bool = False
    ended: list[int] = field(default_factory=list[int])
    ending: Ending | None = None
    deadline: float | None = None
    must_end: float | None = None
    notes: set[str] = field(default_factory=set[str])  # what else it logged
    owners: int = 0  # the scopes that it is a child of
    groups: int = 0  # the TaskGroups in its task that have failed

    def add(self, place: int, what: str, detail: Any) -> None:
        """Take in one event; a world may log others, for itself."""
        match what:
            case "started":
                self.started = place
            case "cancelled":
                self.cancelled.append(place)
            case "cancelled from outside":
                self.from_outside += 1
            case "cancels itself":
                self.by_itself = True
            case "ended":
                self.ended.append(place)
                self.ending = detail
            case "deadline":
                self.deadline = detail
            case "must end by":
                self.must_end = detail
            case _:
                self.notes.add(what)

    def self_cancelled(self) -> bool:
        """Whether it ended cancelled though nobody had cancelled it, or another of its owners."""
        if self.ending is None:
            return self.owners > 1  # before its first step
        if self.ending.how != "cancelled":
            return False
        return self.by_itself or not self.ending.cancels or self.owners > 1


@dataclass(slots=True)
class ScopeStory:
    """What one scope did; events by their place in the log."""

    labels: tuple[str, ...]
    children: list[ChildStory]
    entered_at: int
    handed_over: set[str] = field(default_factory=set[str])  # they ran already
    child_seconds: float | None = None
    over_at: int | None = None
    over: Over | None = None
    after: After | None = None
    deadline: float | None = None

    def add(self, place: int, what: str, detail: Any) -> None:
        """Take in one event."""
        match what:
            case "over":
                self.over_at, self.over = place, detail
            case "after":
                self.after = detail
            case "deadline":
                self.deadline = detail
            case "time of each child":
                self.child_seconds = detail
            case _:
                pass


@dataclass(slots=True)
class Story:
    """What everybody did, by label."""

    children: dict[str, ChildStory] = field(default_factory=dict[str, ChildStory])
    scopes: dict[str, ScopeStory] = field(default_factory=dict[str, ScopeStory])


def story(run: Run) -> Story:
    """The run's log, sorted; made once for each run."""
    if not isinstance(run.memo, Story):
        run.memo = sort_events(run)
    return run.memo


def sort_events(run: Run) -> Story:
    """The run's log, sorted. What was logged under other labels is the world's own affair."""
    told = Story()
    for place, (_, _, who, what, detail) in enumerate(run.events):
        if what == "entered":
            # A Task may be a child of several scopes.
            children = [told.children.setdefault(label, ChildStory()) for label in detail]
            for one in children:
                one.owners += 1
            told.scopes[who] = ScopeStory(detail, children, place)
        elif what == "handed over":
            told.scopes[who.removeprefix("caller of ")].handed_over.add(detail)
        elif what == "group failed":
            if (child := told.children.get(who.rstrip("'"))) is not None:
                child.groups += 1
        elif (someone := told.children.get(who) or told.scopes.get(who)) is not None:
            someone.add(place, what, detail)
    return told
