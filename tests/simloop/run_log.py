"""The log of a run, sorted by child and by scope: what the oracles read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from simloop.run import Run
from simloop.worlds import After, Ending, Exited


@dataclass(slots=True)
class ChildLog:
    """What one child did; events by their place in the log."""

    started: int | None = None
    cancelled: list[int] = field(default_factory=list[int])
    from_outside: int = 0
    by_itself: bool = False
    finished: list[int] = field(default_factory=list[int])
    ending: Ending | None = None
    deadline: float | None = None
    must_end: float | None = None
    notes: set[str] = field(default_factory=set[str])  # what else it logged
    owners: int = 0  # the scopes that it is a child of
    groups: int = 0  # the TaskGroups in its task that have failed

    def add(self, place: int, what: str, detail: Any) -> None:
        """Take in one event; a world may log others for its own use."""
        match what:
            case "started":
                self.started = place
            case "cancelled":
                self.cancelled.append(place)
            case "cancelled from outside":
                self.from_outside += 1
            case "cancels itself":
                self.by_itself = True
            case "finished":
                self.finished.append(place)
                self.ending = detail
            case "deadline":
                self.deadline = detail
            case "must end by":
                self.must_end = detail
            case _:
                self.notes.add(what)

    def self_cancelled(self) -> bool:
        """Whether it finished cancelled without being asked, or was cancelled by another owner."""
        if self.ending is None:
            return self.owners > 1  # before its first step
        if self.ending.how != "cancelled":
            return False
        return self.by_itself or not self.ending.cancels or self.owners > 1


@dataclass(slots=True)
class ScopeLog:
    """What one scope did; events by their place in the log."""

    labels: tuple[str, ...]
    children: list[ChildLog]
    entered_at: int
    adopted: set[str] = field(default_factory=set[str])  # the labels of children that ran already
    child_seconds: float | None = None
    exited_at: int | None = None
    exited: Exited | None = None
    after: After | None = None
    deadline: float | None = None

    def add(self, place: int, what: str, detail: Any) -> None:
        """Take in one event."""
        match what:
            case "exited":
                self.exited_at, self.exited = place, detail
            case "after":
                self.after = detail
            case "deadline":
                self.deadline = detail
            case "time of each child":
                self.child_seconds = detail
            case _:
                pass


@dataclass(slots=True)
class RunLog:
    """What each child and each scope did, by label."""

    children: dict[str, ChildLog] = field(default_factory=dict[str, ChildLog])
    scopes: dict[str, ScopeLog] = field(default_factory=dict[str, ScopeLog])
    # The details of all other events, by who logged what.
    others: dict[tuple[str, str], list[Any]] = field(
        default_factory=dict[tuple[str, str], list[Any]]
    )


def log_of(run: Run) -> RunLog:
    """Return the sorted log of a run, which is made once for each run."""
    if not isinstance(run.memo, RunLog):
        run.memo = sort_events(run)
    return run.memo


def sort_events(run: Run) -> RunLog:
    """Sort the log of a run."""
    log = RunLog()
    for place, (_, _, who, what, detail) in enumerate(run.events):
        if what == "entered":
            # A Task may be a child of several scopes.
            children = [log.children.setdefault(label, ChildLog()) for label in detail]
            for one in children:
                one.owners += 1
            log.scopes[who] = ScopeLog(detail, children, place)
        elif what == "adopted":
            log.scopes[who.removeprefix("caller of ")].adopted.add(detail)
        elif what == "group failed":
            if (child := log.children.get(who.rstrip("'"))) is not None:
                child.groups += 1
        elif (owner := log.children.get(who) or log.scopes.get(who)) is not None:
            owner.add(place, what, detail)
        else:
            log.others.setdefault((who, what), []).append(detail)
    return log
