"""CPython's own tests of TaskGroup, run over `as_completed_scoped`, in virtual time.

A block takes children while it is open, as a group does; an adapter of a few lines adds what a
group makes of them: Tasks, and one exception of all failures. There is none for the other
functions, which take their children when they are called.
"""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

import pytest

from simloop.choosers import First
from simloop.loop import DeterministicLoop
from structgather import AsCompleted, Failed, as_completed_scoped
from support.cpython_tests import StandIn, failures_of, find_cases, over_cases

TASK_GROUPS = "test.test_asyncio.test_taskgroups"
CASES = find_cases(TASK_GROUPS, {"TestTaskGroup": "test_"})

BODY = "a failing child is an item: it does not cancel the body"
CLOSED = "a coroutine that is refused is closed, which a group does since 3.13"
PRIVATE = "looks at a private attribute of the group"

#: Cases of intended differences, and why.
DIFFER = {
    "TestTaskGroup.test_cancel_children_on_child_error": BODY,
    "TestTaskGroup.test_error_and_cancel": BODY,
    "TestTaskGroup.test_taskgroup_13": BODY,
    "TestTaskGroup.test_taskgroup_23": PRIVATE,
}
if "TestTaskGroup.test_coro_closed_when_tg_closed" not in CASES:
    DIFFER.update(
        dict.fromkeys(
            (
                "TestTaskGroup.test_taskgroup_finished",
                "TestTaskGroup.test_taskgroup_no_create_task_after_failure",
                "TestTaskGroup.test_taskgroup_not_entered",
                "TestTaskGroup.test_taskgroup_without_parent_task",
            ),
            CLOSED,
        )
    )


class Group:
    """A TaskGroup, made of a block."""

    def __init__(self) -> None:
        self._outcomes: AsCompleted[Any] = as_completed_scoped([])

    async def __aenter__(self) -> Self:
        await self._outcomes.__aenter__()
        return self

    def create_task(self, child: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(child, **options)
        try:
            self._outcomes.add(task)
        except BaseException:
            task.cancel()
            raise
        return task

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failures: list[BaseException] = []
        try:
            if error is None:
                async for outcome in self._outcomes:
                    if isinstance(outcome, Failed):
                        failures.append(outcome.error)
                        self._outcomes.cancel()
        except BaseException as raised:  # noqa: BLE001 - the block must be left
            error = raised
        await self._outcomes.__aexit__(type(error) if error else None, error, None)
        failures += [o.error for o in self._outcomes.undelivered if isinstance(o, Failed)]
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        if error is not None and not isinstance(error, asyncio.CancelledError):
            failures.append(error)
        if failures:
            raise BaseExceptionGroup("unhandled errors in a TaskGroup", failures)
        if error is not None:
            raise error


@pytest.mark.skipif(not CASES, reason="this Python has no package `test`")
@over_cases(CASES, asyncio.TaskGroup, Group, DIFFER)
def test_cpythons_tests_pass(
    monkeypatch: pytest.MonkeyPatch, case: str, stand_in: StandIn, *, passes: bool
) -> None:
    """CPython's cases pass with ours, except those that differ on purpose."""

    def virtual(**options: Any) -> asyncio.Runner:
        options["loop_factory"] = lambda: DeterministicLoop(First())  # type: ignore[abstract]
        return runner(**options)

    def raises(test: unittest.TestCase, error: type[BaseException], message: str) -> Any:
        return pytest.raises(error)  # in our words

    runner = asyncio.Runner
    monkeypatch.setattr(asyncio, "Runner", virtual)
    monkeypatch.setattr(asyncio, "TaskGroup", stand_in)
    monkeypatch.setattr(asyncio.taskgroups, "TaskGroup", stand_in)
    monkeypatch.setattr(unittest.TestCase, "assertRaisesRegex", raises)
    failures = failures_of(TASK_GROUPS, case)
    assert (not failures) == passes, failures
