"""Judge a program by every oracle except where asyncio itself breaks a promise; repeat a run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import structgather
from simloop import outcome_oracles
from simloop.choosers import replay
from simloop.every_schedule import LEAKS, OF_AN_EAGER_STEP, OF_AN_INTERRUPT, OF_THE_TIMEOUT
from simloop.oracles import ORACLES, Violation
from simloop.random_programs.around import program
from simloop.random_programs.nodes import Node
from simloop.run import Run
from simloop.run_log import log_of

# What asyncio itself does; `test_finds_wrong_gathers.py` shows some of it. On 3.11 and 3.12 a
# TaskGroup that fails loses the cancellation of the task that it is in; on all versions one that
# is aborting swallows a cancellation with its message. Its frame refers to its tasks.
OF_A_GROUP = LEAKS if sys.version_info[:2] != (3, 14) else frozenset[str]()
OF_A_GROUP_OUTSIDE = frozenset(
    {"cancel_message_kept"}
    | ({"outer_cancel_surfaces", "cancelling_balanced"} if sys.version_info < (3, 13) else set())
)
OUTERMOST = {"root", "root'", "root''"}  # what runs in the outer task


def excused(found: Run) -> set[str]:
    """The oracles that would report what asyncio itself did in this run."""
    timeouts = [event.who for event in found.events if event.what == "timeout expired"]
    groups = {event.who: event.detail for event in found.events if event.what == "group failed"}
    outside = [raised for who, raised in groups.items() if who in OUTERMOST]
    self_cancelled = any(event.what == "cancels itself" for event in found.events)
    excuses: list[tuple[object, Iterable[str]]] = [
        (found.eager, OF_AN_EAGER_STEP),
        (found.interrupts, OF_AN_INTERRUPT),
        (timeouts, LEAKS),  # its TimeoutError refers to a frame that refers to the task
        (OUTERMOST.intersection(timeouts), OF_THE_TIMEOUT),
        (groups, OF_A_GROUP),
        (any("Group" in raised for raised in outside), OF_A_GROUP_OUTSIDE),
        (outside and found.interrupts, {"cancelling_balanced"}),  # it raises before it counts
        (outside and self_cancelled, {"cancel_message_kept"}),  # it raises that of its body
    ]
    return {name for happened, names in excuses if happened for name in names}


def failures_are_shown(found: Run) -> None:
    """The traceback of what `gather_structured` raises shows the failures of all children."""
    if found.interrupts:
        return
    for name, scope in log_of(found).scopes.items():
        for text in outcome_oracles.logged(found, f"caller of {name}", "shows"):
            for child in scope.children:
                failed = re.fullmatch(
                    r"ChildError\('(.*)'\)", str(child.ending and child.ending.what)
                )
                if failed and f"ChildError: {failed[1]}\n" not in text:
                    complaint = f"{name} does not show what {failed[1]} raised"
                    raise Violation("failures_are_shown", complaint, found.schedule)


def violation(found: Run, only: str | None = None) -> Violation | None:
    """Return the first promise that a run breaks, or only that one."""
    but = excused(found)
    for oracle in (*ORACLES, *outcome_oracles.ORACLES, failures_are_shown):
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
