"""The number of callbacks that a call schedules on the event loop.

A cancellation may come before each callback, so one more for each call or child multiplies the
schedules of a search. The caller and its children need callbacks for their own steps. Each child
that is created has the done callback of the TaskGroup, each adopted one a done callback of ours, as
with asyncio.gather. The rest is the cost of the call itself: one `_check` after the first steps of
a batch, and one that wakes the caller, after the group's done callback.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, NamedTuple

import pytest

from simloop.behaviours import fails, returns
from simloop.calls import Coro, adopted, first, generator, stream
from simloop.choosers import First
from simloop.every_schedule import either_start, world_of
from simloop.run import run
from simloop.worlds import Behaviour, Call
from structgather import as_completed_scoped, gather_structured

NONE_YET: list[Coro] = []

# The caller starts the call, is woken, and makes one more step; the last callback stops the loop.
CALLER = 4
# The outside completes a point, and its child makes a step.
POINT = 2


async def adopts(*coroutines: Coro) -> Any:
    """Call with Tasks that the caller has created."""
    return await gather_structured(*map(asyncio.create_task, coroutines))


async def adds(*coroutines: Coro) -> Any:
    """Add Tasks that the caller has created."""
    async with as_completed_scoped(NONE_YET) as outcomes:
        for coroutine in coroutines:
            outcomes.add(asyncio.create_task(coroutine))
        return [await outcome async for outcome in outcomes]


class Case(NamedTuple):
    """A call, and how many callbacks it needs besides those of its children and its caller."""

    name: str
    call: Call
    own: int = 2
    own_each: int = 0  # for each child
    one: int | None = None  # with one child, where that differs
    woken: bool = False  # whether each child wakes the caller, to take an outcome or to pull


CASES = [
    Case("gather", gather_structured, one=1),
    # There is an empty batch of adopted children, too.
    Case("gather limit", partial(gather_structured, limit=1), own=3),
    Case("return_exceptions", partial(gather_structured, return_exceptions=True)),
    Case("first", first, own=3),
    Case("first limit", partial(first, limit=1, feed=generator), woken=True),
    Case("stream", stream, woken=True),
    # Each time an outcome is taken, no child is left.
    Case("stream limit", partial(stream, limit=1, feed=generator), own=1, own_each=1, woken=True),
    # The last adopted child wakes the caller in its own done callback.
    Case("gather adopts", adopts, own=1, one=0),
    Case("first adopts", partial(first, feed=adopted), own=1),
    Case("stream adopts", partial(stream, feed=adopted), own=1, woken=True),
    Case("first limit adopts", partial(first, limit=5, feed=adopted), own=1, woken=True),
    Case("stream limit adopts", partial(stream, limit=5, feed=adopted), own=1, woken=True),
    Case("stream adds", adds, own=1, woken=True),
    Case("asyncio.gather", asyncio.gather, own=0),
]


def callbacks(call: Call, children: dict[str, Behaviour], *, eager: bool) -> int:
    """Count the callbacks of a run in which the outside acts only when the loop is idle."""
    return run(world_of(call, children), First(), eager=eager).steps


@either_start
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_callbacks_of_children_that_return(case: Case, count: int, *, eager: bool) -> None:
    """They are the steps of children and caller, and those listed in `Case`."""
    children: dict[str, Behaviour] = {label: returns(points=2) for label in "abcde"[:count]}
    own = case.own + count * case.own_each
    if count == 1 and case.one is not None:
        own = case.one
    steps_and_done_callback = 2 * POINT + (0 if eager else 1) + 1
    woken = count - 1 if case.woken else 0  # the last wake-up is the caller's last step
    assert callbacks(case.call, children, eager=eager) == (
        CALLER + count * steps_and_done_callback + woken + own
    )


@either_start
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_callbacks_of_a_child_that_fails(case: Case, *, eager: bool) -> None:
    """A failure costs at most one callback more than a value."""
    returned = callbacks(case.call, {"a": returns()}, eager=eager)
    failed = callbacks(case.call, {"a": fails()}, eager=eager)
    assert failed <= returned + 1
