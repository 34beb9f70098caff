"""What a call asks of the event loop: the steps of its children and of its caller, and no more.

Each callback is a boundary before which a cancellation may come. So one more for each call, or for
each child, shows in the numbers of schedules in `searches/schedules.toml`; here it shows by itself.
Any other choice is the outside's: which point is next, and when the clock ticks.
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
from structgather import gather_structured

# The caller starts the call, is woken at its end, and goes once more through the loop; the last
# callback stops the loop.
CALLER = 4
# The outside completes a point, and its child makes a step.
POINT = 2


async def adopts(*coroutines: Coro) -> Any:
    """Children are Tasks of the caller's."""
    return await gather_structured(*map(asyncio.create_task, coroutines))


class Case(NamedTuple):
    """A call, and the callbacks that it needs for each child besides the steps of that child."""

    name: str
    call: Call
    each: int = 0
    woken: bool = False  # whether the caller is, for each child: to take an outcome, or to pull


CASES = [
    Case("gather", gather_structured),
    Case("gather limit", partial(gather_structured, limit=1)),
    Case("return_exceptions", partial(gather_structured, return_exceptions=True)),
    Case("first", first),
    Case("first limit", partial(first, limit=1, feed=generator), woken=True),
    Case("stream", stream, woken=True),
    Case("stream limit", partial(stream, limit=1, feed=generator), woken=True),
    # What was handed over is heard of by a done callback, as each child of asyncio.gather is.
    Case("gather adopts", adopts, each=1),
    Case("first adopts", partial(first, feed=adopted), each=1),
    Case("stream adopts", partial(stream, feed=adopted), each=1, woken=True),
    Case("asyncio.gather", asyncio.gather, each=1),
]


def callbacks(call: Call, children: dict[str, Behaviour], *, eager: bool) -> int:
    """How many there are until the end, where the outside acts only when the loop is idle."""
    return run(world_of(call, children), First(), eager=eager).steps


@either_start
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_children_that_return(case: Case, count: int, *, eager: bool) -> None:
    """A child costs its steps: the first one, unless it starts eagerly, and one for each point."""
    children: dict[str, Behaviour] = {label: returns(points=2) for label in "abcde"[:count]}
    each = 2 * POINT + (0 if eager else 1) + case.each
    woken = count - 1 if case.woken else 0  # the last time is the end
    assert callbacks(case.call, children, eager=eager) == CALLER + count * each + woken


@either_start
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_child_that_fails(case: Case, *, eager: bool) -> None:
    """A failure costs no more, though somebody must keep asyncio from reporting it."""
    returned = callbacks(case.call, {"a": returns()}, eager=eager)
    failed = callbacks(case.call, {"a": fails()}, eager=eager)
    assert failed == returned
