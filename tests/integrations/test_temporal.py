"""Temporal: the three functions on the loop of a durable workflow, replayed without a difference.

No server is needed: `temporal_server` does for one workflow what a server does. Its histories are
then replayed by the SDK's own Replayer, which fails if a workflow does anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("temporalio", exc_type=ImportError)

from integrations import temporal_workflows as workflows
from integrations.shown import shown
from integrations.temporal_core import replay, swap
from integrations.temporal_server import Activity, Ended, Server
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

import structgather


def test_the_page_shows_these_lines() -> None:
    """The README shows the code that is tested here."""
    assert shown(workflows.activity)


A, B, C = Activity(1, "A"), Activity(3, "B"), Activity(50, "C")


@dataclass(frozen=True)
class Case:
    """A workflow, its events, and all commands that it must give."""

    cls: type
    activities: Mapping[str, Activity]
    commands: str
    seconds: float
    result: Any = None
    failure: str | None = None
    cancelled_at: float | None = None

    def server(self, **options: Any) -> Server:
        return Server(self.cls, self.activities, cancelled_at=self.cancelled_at, **options)


CASES = {
    "all": Case(
        workflows.Gathers,
        {"a": A, "b": B, "c": Activity(1, "C")},
        "timer 1: 10 s, activity a, activity b, activity c, cancel timer 1, complete",
        seconds=3,
        result=["A", "B", "C"],
    ),
    "cancelled": Case(
        workflows.Gathers,
        {"a": A, "b": B, "c": C},
        "timer 1: 10 s, activity a, activity b, activity c, "
        "cancel timer 1, cancel activity 3, cancel",
        seconds=4,
        cancelled_at=4,
    ),
    # The failure comes after 2 s. One activity needs 7 s more to stop, and is waited for.
    "failed": Case(
        workflows.Fails,
        {"a": C, "b": Activity(50, "B", cleanup=7), "fails": Activity(2, ValueError("no"))},
        "activity a, activity b, activity fails, cancel activity 1, cancel activity 2, complete",
        seconds=9,
        result="ValueError: no",
    ),
    "raced": Case(
        workflows.Races,
        {"a": A, "b": B, "c": C},
        "timer 1: 10 s, activity a, activity b, activity c, "
        "cancel activity 3, cancel timer 1, complete",
        seconds=3,
        result=["met", ["A", "B"], ["Ok", "Ok", "Cancelled"]],
    ),
    "late": Case(
        workflows.Races,
        {"a": A, "b": C, "c": C},
        "timer 1: 10 s, activity a, activity b, activity c, "
        "cancel activity 2, cancel activity 3, complete",
        seconds=10,
        result=["deadline", ["A"], ["Ok", "TimedOut", "TimedOut"]],
    ),
    "left": Case(
        workflows.Streams,
        {"a": A, "b": Activity(3, "good"), "c": C},
        "timer 1: 5 s, activity a, activity b, activity c, "
        "cancel timer 1, cancel activity 3, complete",
        seconds=3,
        result=[1, ["Cancelled"]],
    ),
    "child late": Case(
        workflows.Times,
        {"a": A, "b": C},
        "timer 1: 5 s, activity a, activity b, cancel activity 2, fail",
        seconds=5,
        failure="child 1, activity (Task-",
    ),
    "limited": Case(
        workflows.Limits,
        {name: Activity(1, name) for name in "abcde"},
        "activity a, activity b, timer 1: 60 s, timer 2: 60 s, activity c, activity d, "
        "activity e, complete",
        seconds=121,
        result=[1, 1, 61, 61, 121],
    ),
}


each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
sandboxed_or_not = pytest.mark.parametrize("sandboxed", [False, True], ids=["bare", "sandboxed"])


@pytest.fixture(autouse=True)
def the_default_of_the_stuck_warning(no_stuck_warnings: None) -> None:
    """Turn the warning on, as it is for users: a workflow must not depend on it."""
    structgather.warn_stuck_after(5.0)


def check(case: Case, ended: Ended) -> None:
    assert ended.commands == case.commands.split(", ")
    assert ended.seconds == case.seconds
    assert ended.result == case.result
    assert ended.cancelled == (case.cancelled_at is not None)
    assert (case.failure or "") in (ended.failure or "")
    assert (case.failure is None) == (ended.failure is None)


@sandboxed_or_not
@each_case
def test_a_workflow_does_the_same_on_replay(case: Case, sandboxed: bool) -> None:  # noqa: FBT001
    """Each command comes in its order, timers are workflow timers, and the real core replays it."""
    ended = case.server(sandboxed=sandboxed).run()
    check(case, ended)
    replay(case.cls, ended.history)


def test_a_replay_that_differs_is_refused() -> None:
    """With two activities swapped the real core raises."""
    history = CASES["all"].server().run().history
    swap(history, "ACTIVITY_TASK_SCHEDULED")
    with pytest.raises(Exception, match="Nondeterminism"):
        replay(workflows.Gathers, history)


def test_structgather_may_be_passed_through_the_sandbox() -> None:
    """Imported once for all workflows it does the same as imported by each."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules("structgather")
    runner = SandboxedWorkflowRunner(restrictions=restrictions)
    for case in CASES.values():
        check(case, case.server(runner=runner).run())


@pytest.mark.parametrize(
    ("seconds", "sandboxed"), [(0, False), (2, False), (6, False), (2, True)], ids=str
)
@each_case
def test_a_workflow_is_evicted_at_any_time(case: Case, seconds: float, sandboxed: bool) -> None:  # noqa: FBT001
    """A worker may drop the workflow wherever it waits: no task is left."""
    server = case.server(sandboxed=sandboxed)
    server.run(until=seconds)
    server.evict()  # the SDK raises if a task is left


def test_gather_leaves_activities_running() -> None:
    """After the same failure asyncio.gather cancels nothing: two activities keep running."""
    case = CASES["failed"]
    ended = Server(workflows.GathersAsBefore, case.activities).run()
    assert ended.result == case.result
    assert ended.commands == ["activity a", "activity b", "activity fails", "complete"]


def test_a_rate_limit_of_two_workflows_is_refused() -> None:
    """A RateLimit shared by workflows would differ on replay: it raises."""
    Server(workflows.Shares, {"a": A}).run()
    with pytest.raises(AssertionError, match="bound to a different event loop"):
        Server(workflows.Shares, {"a": A}).run()
