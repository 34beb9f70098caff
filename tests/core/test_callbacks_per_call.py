"""The callbacks that a call schedules on the event loop, counted.

Each callback is a boundary before which a cancellation may come, so one more for each call or child
multiplies the schedules of a search. The user's own: the steps of the children and of the caller.
The call's own: for each child that it creates a Task for, the done callback of the TaskGroup; for
each batch of children, one `_check` behind their first steps; and one that wakes the caller, behind
the group's, when no child is left. Adopted children have one done callback each, as every child of
asyncio.gather has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from simloop.behaviours import fails, returns
from simloop.calls import Coro, adopted, first, generator, stream
from simloop.choosers import First
from simloop.every_schedule import either_start, world_of
from simloop.run import run
from simloop.worlds import Behaviour, Call
from structgather import gather_structured

# The caller starts the call, is woken, and makes one more step; the last callback stops the loop.
CALLER = 4
# The outside completes a point, and its child makes a step.
POINT = 2


async def adopts(*coroutines: Coro) -> Any:
    """Call with Tasks that the caller has created."""
    return await gather_structured(*map(asyncio.create_task, coroutines))


def once(_: int) -> int:
    return 1


def none(_: int) -> int:
    return 0


def each(count: int) -> int:
    return count


def one_more(count: int) -> int:
    return count + 1


class Case(NamedTuple):
    """A call, and the callbacks that it needs besides the steps of its children and its caller."""

    name: str
    call: Call
    batches: Callable[[int], int] = once  # how often children are started
    wakes: Callable[[int], int] = once  # how often no child is left that runs
    settles: int = 1  # for each child, the group's done callback, or that of an adopted child
    woken: bool = False  # whether the caller is, for each child: to take an outcome, or to pull


CASES = [
    Case("gather", gather_structured),
    # The adopted children are a batch of their own, though there is none.
    Case("gather limit", partial(gather_structured, limit=1), batches=one_more),
    Case("return_exceptions", partial(gather_structured, return_exceptions=True)),
    Case("first", first),
    Case("first limit", partial(first, limit=1, feed=generator), batches=each, woken=True),
    Case("stream", stream, woken=True),
    Case(
        "stream limit",
        partial(stream, limit=1, feed=generator),
        batches=each,
        wakes=each,
        woken=True,
    ),
    # The last adopted child wakes the caller in its own done callback.
    Case("gather adopts", adopts, wakes=none),
    Case("first adopts", partial(first, feed=adopted), wakes=none),
    Case("stream adopts", partial(stream, feed=adopted), wakes=none, woken=True),
    Case("asyncio.gather", asyncio.gather, batches=none, wakes=none),
]


def callbacks(call: Call, children: dict[str, Behaviour], *, eager: bool) -> int:
    """Count the callbacks of a run in which the outside acts only when the loop is idle."""
    return run(world_of(call, children), First(), eager=eager).steps


@either_start
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_callbacks_of_children_that_return(case: Case, count: int, *, eager: bool) -> None:
    """They are the steps of children and caller, and what `Case` says: no more."""
    children: dict[str, Behaviour] = {label: returns(points=2) for label in "abcde"[:count]}
    steps = 2 * POINT + (0 if eager else 1)
    woken = count - 1 if case.woken else 0  # the last time is the end
    assert callbacks(case.call, children, eager=eager) == (
        CALLER + count * (steps + case.settles) + case.batches(count) + case.wakes(count) + woken
    )


@either_start
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_callbacks_of_a_child_that_fails(case: Case, *, eager: bool) -> None:
    """A failure costs no more than a value."""
    returned = callbacks(case.call, {"a": returns()}, eager=eager)
    failed = callbacks(case.call, {"a": fails()}, eager=eager)
    assert failed == returned
