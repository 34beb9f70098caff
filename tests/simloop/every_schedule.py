"""Shared by the searches over every schedule: small worlds, and how their runs are judged."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from simloop import outcome_oracles
from simloop.behaviours import (
    cancels_itself,
    cleans_up_slowly,
    exits,
    fails,
    fails_at_once,
    fails_in_cleanup,
    ignores_one_cancellation,
    nests,
    returns,
    returns_at_once,
    returns_while_cancelled,
    sleeps,
)
from simloop.calls import Coro
from simloop.oracles import ORACLES
from simloop.run import Program, Run
from simloop.worlds import Behaviour, Call, world
from structgather import gather_structured

# The world behind the published figures, and smaller ones.
THREE: dict[str, Behaviour] = {
    "a": returns(points=2),
    "b": fails(points=2),
    "c": cleans_up_slowly(points=2),
}
SMALL: dict[str, Behaviour] = {"a": returns(), "b": fails(), "c": cleans_up_slowly()}
TWO: dict[str, Behaviour] = {"a": returns(), "b": cleans_up_slowly()}

# Everything that a child can do; the searches combine each with each.
ANYTHING: dict[str, Behaviour] = {
    "returns": returns(),
    "returns_at_once": returns_at_once(),
    "sleeps": sleeps(1),
    "fails": fails(),
    "fails_at_once": fails_at_once(),
    "exits": exits(),
    "exits_at_once": exits(points=0),
    "cancels_itself": cancels_itself(),
    "cleans_up_slowly": cleans_up_slowly(),
    "fails_in_cleanup": fails_in_cleanup(),
    "ignores_one_cancellation": ignores_one_cancellation(),
    "returns_while_cancelled": returns_while_cancelled(),
    "nests": nests(gather_structured, x=fails(), y=cleans_up_slowly()),
}

# Excused oracles: their violations are not the call's responsibility.
LEAKS = frozenset({"nothing_in_cycles", "nothing_kept_alive"})
# Where a timeout and a cancellation coincide, asyncio raises the CancelledError of the timeout.
OF_THE_TIMEOUT = frozenset({"cancel_message_kept"})
# Its frame refers to the task, whose exception refers to the frame: a cycle with the whole body.
OF_A_TIMEOUT_AROUND_A_BODY = OF_THE_TIMEOUT | LEAKS
# Adopted Tasks run already, and may finish in another order; their time counts from their adoption.
OF_ADOPTION = frozenset({"limit_holds", "in_completion_order", "elapsed_to_the_tick"})
# An interrupt propagates through the event loop, so its traceback refers to the handle of the Task,
# and it is raised whatever failed before it.
OF_AN_INTERRUPT = LEAKS | {"first_failure_raised"}
# Until 3.13 the frame of a child that raised in its eager first step refers to its callers.
OF_AN_EAGER_STEP = LEAKS if sys.version_info < (3, 14) else frozenset[str]()

needs_eager_tasks = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="eager tasks need Python 3.12"
)
either_start = pytest.mark.parametrize(
    "eager",
    [pytest.param(False, id="lazy"), pytest.param(True, id="eager", marks=needs_eager_tasks)],
)


def judge(run: Run, excused: Iterable[str] = ()) -> None:
    """Ask every oracle about the run, except those that are excused by name."""
    left_out = {*excused, *(OF_AN_INTERRUPT if outcome_oracles.was_interrupted(run) else ())}
    for oracle in (*outcome_oracles.ORACLES, *ORACLES):
        if oracle.__name__ not in left_out:
            oracle(run)


def world_of(
    call: Call,
    children: dict[str, Behaviour],
    *,
    deadline: float | None = None,
    child_deadline: float | None = None,
) -> Program:
    """The world of these children."""
    return world(call, deadline=deadline, child_deadline=child_deadline, **children)


def in_a_timeout(call: Call) -> Call:
    """Put a timeout around the call; if it expires, it is never lost."""

    async def around(*coroutines: Coro) -> Any:
        timeout = asyncio.timeout(1)
        came = False
        try:
            async with timeout:
                return await call(*coroutines)
        except (TimeoutError, asyncio.CancelledError):
            came = True
            raise
        finally:
            assert came or not timeout.expired()
            del timeout  # it refers to the task

    return around
