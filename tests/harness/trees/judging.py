"""A program is judged by every oracle, but for what is asyncio's own doing; and a run repeated."""

from __future__ import annotations

import sys
from typing import Any

import structgather
from harness import outcome_oracles
from harness.choosers import replay
from harness.oracles import ORACLES, Violation
from harness.run import Run
from harness.searches import LEAKS, OF_AN_EAGER_STEP, OF_AN_INTERRUPT
from harness.trees.around import program
from harness.trees.nodes import Node

# What `test_harness_sees.py` shows of a TaskGroup: on 3.11 and 3.12 it loses the cancellation of
# the task that it is in; on all it swallows the message of one that comes while it is aborting.
OF_A_GROUP_OUTSIDE = frozenset(
    {"cancel_message_kept"}
    | ({"outer_cancel_surfaces", "cancelling_balanced"} if sys.version_info < (3, 13) else set())
)


def excused(found: Run) -> set[str]:
    """The oracles that would find what is asyncio's own doing in this very run."""
    names = set[str]()
    outermost = {"root", "root'", "root''"}
    for event in found.events:
        if event.what == "timeout expired":
            names |= LEAKS  # its TimeoutError leads to a frame that leads to the task
            if event.who in outermost:
                names.add("cancel_message_kept")
        if event.what == "group failed":
            names |= LEAKS if sys.version_info[:2] != (3, 14) else frozenset()
            if event.who in outermost and "Group" in event.detail:
                names |= OF_A_GROUP_OUTSIDE
            if event.who in outermost and any(one.what == "cancels itself" for one in found.events):
                names.add("cancel_message_kept")  # it raises the first CancelledError, of the body
            if event.who in outermost and found.interrupts:
                names.add("cancelling_balanced")  # it raises them before it counts
    if found.eager:
        names |= OF_AN_EAGER_STEP
    if found.interrupts:
        names |= OF_AN_INTERRUPT
    if found.mode == "racy":
        names.add("no_timeout_too_early")  # the time of a child begins before its first step
    return names


def violation(found: Run, only: str | None = None) -> Violation | None:
    """The first promise that a run breaks, or `only` this one."""
    but = excused(found)
    for oracle in (*ORACLES, *outcome_oracles.ORACLES):
        if oracle.__name__ not in but and only in (None, oracle.__name__):
            try:
                oracle(found)
            except Violation as broken:
                return broken
    return None


def reproduce(tree: Node, schedule: str, **functions: Any) -> None:
    """Repeat a run, and raise the `Violation` that was found in it."""
    structgather.warn_stuck_after(None)  # its timers would be choices
    broken = violation(replay(program(tree, functions), schedule, deadlock_ok=True))
    if broken is not None:
        raise broken
