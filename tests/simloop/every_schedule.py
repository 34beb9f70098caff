"""Searches over every schedule of small worlds, with their sizes, for the functions with outcomes.

A `Search` says how many schedules its world has with at most 0, 1, ... outer cancellations. The
numbers are asserted: a search that got smaller has lost something, one that grew has found choices
that nobody had thought of. They are the same on all Pythons.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple, Unpack

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
    returns,
    returns_at_once,
    returns_while_cancelled,
    sleeps,
)
from simloop.calls import Coro
from simloop.choosers import explore, sweep
from simloop.oracles import ORACLES
from simloop.run import Options, Program, Run
from simloop.worlds import Behaviour, Call, world

# The world behind the published figures, and a smaller one.
THREE: dict[str, Behaviour] = {
    "a": returns(points=2),
    "b": fails(points=2),
    "c": cleans_up_slowly(points=2),
}
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

either_start = pytest.mark.parametrize(
    "eager",
    [
        pytest.param(False, id="lazy"),
        pytest.param(
            True,
            id="eager",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 12), reason="there are no eager tasks before 3.12"
            ),
        ),
    ],
)


def judge(run: Run, but: Iterable[str] = ()) -> None:
    """Ask every oracle that has to do with the call under test."""
    excused = {*but, *(OF_AN_INTERRUPT if run.interrupts else ())}
    for oracle in (*outcome_oracles.ORACLES, *ORACLES):
        if oracle.__name__ not in excused:
            oracle(run)


def size(program: Program, but: Iterable[str] = (), **options: Unpack[Options]) -> int:
    """Judge every schedule, and say how many there are."""
    found = 0
    for run in explore(program, **options):
        judge(run, but)
        found += 1
    return found


def world_of(
    call: Call,
    children: dict[str, Behaviour],
    *,
    deadline: float | None = None,
    child_deadline: float | None = None,
) -> Program:
    """The world of these children."""
    return world(call, deadline=deadline, child_deadline=child_deadline, **children)


class Search(NamedTuple):
    """A world, and how many schedules it has with at most 0, 1, ... outer cancellations."""

    name: str
    call: Call
    lazy: tuple[int, ...]
    eager: tuple[int, ...]  # the same with eager tasks, whose first steps leave no choice
    children: dict[str, Behaviour] = THREE
    deadline: float | None = None
    child_deadline: float | None = None
    but: frozenset[str] = frozenset()

    def sizes(self, *, eager: bool) -> tuple[int, ...]:
        """Judge every schedule, and say how many there are."""
        program = world_of(
            self.call, self.children, deadline=self.deadline, child_deadline=self.child_deadline
        )
        expected = self.eager if eager else self.lazy
        return tuple(
            size(program, self.but, cancels=cancels, eager=eager)
            for cancels in range(len(expected))
        )

    def check(self, *, eager: bool) -> None:
        """Judge every schedule, and count them."""
        assert self.sizes(eager=eager) == (self.eager if eager else self.lazy)


def size_of_pairs(call: Call, *, eager: bool) -> int:
    """Judge every pair of behaviours in every schedule with one outer cancellation."""
    but = OF_AN_EAGER_STEP if eager else frozenset[str]()
    # An interrupt of an eager first step comes out of the making of the task, not through the loop.
    names = [name for name in ANYTHING if not (eager and name == "exits_at_once")]
    pairs = [{"a": ANYTHING[one], "b": ANYTHING[other]} for one in names for other in names]
    return sum(size(world_of(call, pair), but, cancels=1, eager=eager) for pair in pairs)


def size_of_sweep(program: Program, but: Iterable[str] = ()) -> int:
    """Judge a cancellation at every step, and at every two, and say how many there are."""
    found = 0
    for run in sweep(program, cancels=2):
        judge(run, but)
        found += 1
    return found


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
