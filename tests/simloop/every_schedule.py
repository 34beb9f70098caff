"""What searches over every schedule have in common: small worlds, and who judges their runs."""

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

# All that a child can do, to be put beside all that its sibling can do.
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

# What the oracles find that is not the call's doing.
LEAKS = frozenset({"nothing_in_cycles", "nothing_kept_alive"})
# A timeout and an outer cancellation in one: asyncio raises the CancelledError of the timeout.
OF_THE_TIMEOUT = frozenset({"cancel_message_kept"})
# Its frame refers to the task that its TimeoutError ends: a cycle, with all that the body held.
OF_A_TIMEOUT_AROUND_A_BODY = OF_THE_TIMEOUT | LEAKS
# Tasks that are handed over run already, and may have ended in another order; their time counts
# from then on.
OF_ADOPTION = frozenset({"limit_holds", "in_the_order_of_their_ends", "elapsed_to_the_tick"})
# It went through the event loop, so its traceback leads to the handle of the Task that raised it,
# and it is raised whatever failed before it.
OF_AN_INTERRUPT = LEAKS | {"first_failure_raised"}
# Until 3.13 the frame of a child that raised in its eager step keeps those that started it.
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
    left_out = {*excused, *(OF_AN_INTERRUPT if run.interrupts else ())}
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
    """A timeout of the caller's around the call, which fires or doesn't, and is never lost."""

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
