"""The scenarios of the fault tests: every function and RateLimit, with their options."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import pytest

from simloop.behaviours import (
    cleans_up_slowly,
    fails,
    fails_in_cleanup,
    hangs,
    nests,
    returns,
    returns_at_once,
    sleeps,
)
from simloop.calls import (
    adds,
    adopted,
    breaks,
    first,
    generator,
    pauses,
    raises,
    slow,
    stream,
)
from simloop.every_schedule import (
    OF_A_TIMEOUT_AROUND_A_BODY,
    OF_ADOPTION,
    OF_AN_EAGER_STEP,
    in_a_timeout,
    judge,
    world_of,
)
from simloop.faults import (
    Wrap,
)
from simloop.loop import current
from simloop.run import Program, Run
from simloop.worlds import Behaviour, Call, Child
from structgather import RateLimit, gather_structured

gather = gather_structured

LAZY = 0.8  # of the steps and boundaries must remain, however the implementation changes
EAGER = 0.5  # with eager first steps
collect = partial(gather, return_exceptions=True)


def three(wrap: Wrap) -> dict[str, Behaviour]:
    """One that returns, one that fails, one that cleans up slowly."""
    return {
        "a": wrap(returns(points=2)),
        "b": wrap(fails(points=2)),
        "c": wrap(cleans_up_slowly(points=2)),
    }


def all_well(wrap: Wrap) -> dict[str, Behaviour]:
    """Three that do not fail."""
    return {
        "a": wrap(returns_at_once()),
        "b": wrap(cleans_up_slowly()),
        "c": wrap(returns(points=2)),
    }


def timed(wrap: Wrap) -> dict[str, Behaviour]:
    """One that is in time, and three that are late."""
    return {
        "a": wrap(sleeps(1)),
        "b": wrap(hangs()),
        "c": wrap(fails_in_cleanup()),
        "d": wrap(cleans_up_slowly(points=2)),
    }


def nested(wrap: Wrap) -> dict[str, Behaviour]:
    """Two that await calls of their own."""
    return {
        "a": nests(collect, x=wrap(returns()), y=wrap(fails())),
        "b": nests(partial(first, n=1), x=wrap(cleans_up_slowly()), y=wrap(returns(points=2))),
        "c": wrap(fails(points=4)),
    }


limit_of_this_run: ContextVar[RateLimit] = ContextVar("limit_of_this_run")


def limited(wrap: Wrap) -> dict[str, Behaviour]:
    """Three that wait for each other under a RateLimit."""

    def under(behaviour: Behaviour) -> Behaviour:
        async def behave(child: Child) -> Any:
            async with limit_of_this_run.get()(tokens=50) as admitted:
                value = await behaviour(child)
                admitted.settle(tokens=60)
                return value

        return wrap(behave)

    return {label: under(behave) for label, behave in all_well(lambda plain: plain).items()}


async def with_a_rate_limit(*children: Any) -> Any:
    limit = RateLimit(concurrent=1, requests=2, tokens=120, per=5.0)
    limit_of_this_run.set(limit)
    try:
        return await gather(*children)
    finally:
        current().log("the limit", "left", (limit._gate.running, limit._gate.waiting))


async def of_tasks(*children: Any) -> Any:
    return await gather(*map(asyncio.create_task, children))


class Scenario(NamedTuple):
    """A call and its children."""

    name: str
    call: Call
    children: Callable[[Wrap], dict[str, Behaviour]]
    steps: int  # of all children
    boundaries: int  # between two callbacks of the loop, from the first step of the caller on
    ignored: int  # cancellations, in a sweep over all boundaries
    deadline: float | None = None
    child_deadline: float | None = None
    but: frozenset[str] = frozenset()

    def program(self, wrap: Wrap) -> Program:
        children = self.children(wrap)
        return world_of(
            self.call, children, deadline=self.deadline, child_deadline=self.child_deadline
        )


# fmt: off
late = partial(collect, child_timeout=2, limit=2)
lazily = partial(stream, limit=2, feed=generator, body=breaks)

SCENARIOS = [
    Scenario("gather", gather, all_well, 7, 15, 17),
    Scenario("gather that fails", gather, three, 10, 21, 43),
    Scenario("gather in a group", partial(gather, exception_group=True), three, 10, 21, 43),
    Scenario("gather return_exceptions", collect, three, 10, 22, 39),
    Scenario("gather limit", partial(gather, limit=2), three, 9, 20, 31),
    Scenario("gather child_timeout", partial(gather, child_timeout=2), timed, 10, 24, 52,
             child_deadline=2),
    Scenario("gather late", late, timed, 10, 26, 41, child_deadline=2),
    Scenario("gather tasks", of_tasks, three, 10, 22, 43),
    Scenario("gather nested", gather, nested, 15, 38, 100),
    Scenario("gather in a timeout", in_a_timeout(gather), timed, 10, 21, 58,
             deadline=1, but=OF_A_TIMEOUT_AROUND_A_BODY),
    Scenario("gather under a limit", with_a_rate_limit, limited, 8, 18, 18),
    Scenario("first", partial(first, n=1), three, 10, 19, 48),
    Scenario("first within", partial(first, within=2), timed, 10, 24, 52, deadline=2),
    Scenario("first tasks", partial(first, n=1, feed=adopted), three, 10, 21, 51, but=OF_ADOPTION),
    Scenario("first lazily", partial(first, n=1, limit=1, feed=generator), three, 3, 9, 5),
    Scenario("first child_timeout", partial(first, child_timeout=2), timed, 10, 24, 52,
             child_deadline=2),
    Scenario("first nested", partial(first, n=2), nested, 14, 34, 100),
    Scenario("stream", stream, three, 10, 24, 45),
    Scenario("stream that pauses", partial(stream, body=pauses, limit=2), three, 10, 30, 35),
    Scenario("stream that breaks", partial(stream, body=breaks), three, 10, 21, 57),
    Scenario("stream that raises", partial(stream, body=raises), all_well, 6, 13, 30),
    Scenario("stream late", partial(stream, timeout=2), timed, 10, 28, 66, deadline=2),
    Scenario("stream child_timeout", partial(stream, child_timeout=2, limit=2), timed, 10, 29, 46,
             child_deadline=2),
    Scenario("stream lazily", lazily, three, 6, 16, 27),
    Scenario("stream source", partial(stream, limit=1, feed=slow), three, 10, 42, 17),
    Scenario("stream adding", partial(stream, held_back=1, body=adds), three, 10, 25, 32),
    Scenario("stream tasks", partial(stream, feed=adopted), three, 10, 25, 44, but=OF_ADOPTION),
    Scenario("stream nested", partial(stream, body=breaks), nested, 12, 32, 124),
]
# fmt: on
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


def as_it_is(behaviour: Behaviour) -> Behaviour:
    return behaviour


def check(
    run: Run, scenario: Scenario, but: frozenset[str] = frozenset(), *, eager: bool = False
) -> None:
    """Judge the run by every oracle; a RateLimit must be empty."""
    judge(run, scenario.but | but | (OF_AN_EAGER_STEP if eager else frozenset[str]()))
    left = [event.detail for event in run.events if event.what == "left"]
    assert left in ([], [(0, 0)])


def came_out(run: Run) -> bool:
    """Tell whether `asyncio.run` raised KeyboardInterrupt, or everything had finished before."""
    events = [event.what for event in run.events if event.who in ("scope", "the loop")]
    return bool(run.interrupts) or events[-1] == "struck"
