"""Calls under a `RateLimit`, with pauses and updates, in every order of events.

What a limit promises is judged by what the calls have logged: no window exceeds the limit, calls
enter in the order in which they came, none enters in a pause, and a call that was cancelled while
it waited has consumed nothing: otherwise the last ones would enter too late.

    child "asks", "enters", "leaves"
    child "pauses"   until when
    child "updates"  the `Limits` that are in force from now on
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

from searches.counted import Search, count
from simloop.behaviours import fails
from simloop.calls import Coro
from simloop.every_schedule import OF_A_TIMEOUT_AROUND_A_BODY, judge, world_of
from simloop.loop import Mode, current
from simloop.run import Run
from simloop.worlds import Behaviour, Child
from structgather import RateLimit, gather_structured

PER = 2.0


class Limits(NamedTuple):
    """The limits in force."""

    concurrent: float = math.inf
    requests: float = math.inf


limit: ContextVar[RateLimit] = ContextVar("limit")


def calls(points: int = 1) -> Behaviour:
    """Make one call under the limit."""

    async def behave(child: Child) -> str:
        child.log("asks")
        async with limit.get()():
            child.log("enters")
            try:
                await child.points(points)
            finally:
                child.log("leaves")
        return child.label

    return behave


def gives_up() -> Behaviour:
    """Make a call under the limit, which times out while it waits."""

    async def behave(child: Child) -> str:
        try:
            async with asyncio.timeout(PER / 2), limit.get()():
                child.log("enters")
                child.log("leaves")
        except TimeoutError:
            pass
        return child.label

    return behave


def pauses(seconds: float = 1) -> Behaviour:
    """Pause the limit."""

    async def behave(child: Child) -> str:
        await child.point()
        child.log("pauses", current().time() + seconds)
        limit.get().pause(seconds)
        return child.label

    return behave


def updates(**changes: float) -> Behaviour:
    """Change the limit."""

    async def behave(child: Child) -> str:
        await child.point()
        child.log("updates", changes)
        limit.get().update(**changes)  # type: ignore[arg-type]
        return child.label

    return behave


class Case(NamedTuple):
    """A limit, and the children that use it."""

    name: str
    limits: Limits
    children: dict[str, Behaviour]
    mode: Mode = "fifo"
    cancels: int = 1
    excused: frozenset[str] = frozenset()

    async def call(self, *coroutines: Coro) -> Any:
        """Run the children under a new limit."""
        options = {name: most for name, most in self.limits._asdict().items() if most < math.inf}
        token = limit.set(RateLimit(per=PER, **options))
        try:
            return await gather_structured(*coroutines)
        finally:
            limit.reset(token)

    def run(self, cancels: int, *, eager: bool = False) -> list[int]:
        """Judge every schedule; return how many there are with at most 0, 1, ... cancellations."""
        program = world_of(self.call, self.children)
        return count(program, self.judge, cancels=cancels, mode=self.mode, eager=eager)

    def judge(self, run: Run) -> None:
        """Ask the oracles about one run, and whether the limit held."""
        judge(run, self.excused)
        keeps_the_limit(run, self.limits)


def keeps_the_limit(run: Run, limits: Limits) -> None:
    """No call enters too early, or before one that came earlier and enters later."""
    paused_until = -math.inf
    waiting: list[str] = []
    entered: list[float] = []
    running = 0
    over = {event.who for event in run.events if event.what == "enters"}
    for event in run.events:
        match event.what:
            case "asks" if event.who in over:
                waiting.append(event.who)
            case "pauses":
                paused_until = max(paused_until, event.detail)
            case "updates":
                limits = limits._replace(**event.detail)
            case "leaves":
                running -= 1
            case "enters":
                assert waiting.pop(0) == event.who, run.schedule
                assert event.time >= paused_until, run.schedule
                running += 1
                assert running <= limits.concurrent, run.schedule
                entered.append(event.time)
                window = [time for time in entered if time > event.time - PER]
                assert len(window) <= limits.requests, run.schedule
            case _:
                pass
    if not (run.cancels_accepted or run.error):
        assert not waiting, run.schedule
        # A cancelled call has consumed nothing: the last call enters when there is room.
        assert run.time <= PER * (len(entered) - 1) + max(paused_until, 0), run.schedule


THREE_CALLS: dict[str, Behaviour] = {"a": calls(), "b": calls(), "c": calls()}

# fmt: off
CASES = [
    Case("concurrent=1", Limits(concurrent=1), THREE_CALLS),
    Case("requests=1", Limits(requests=1), THREE_CALLS),
    Case("both", Limits(concurrent=2, requests=2), THREE_CALLS),
    Case("fails", Limits(concurrent=1), {"a": calls(), "b": calls(), "c": fails()}),
    Case("gives up", Limits(requests=1), {"a": calls(), "b": gives_up(), "c": calls()},
         excused=OF_A_TIMEOUT_AROUND_A_BODY),
    Case("pauses", Limits(concurrent=1), {"a": calls(), "b": calls(), "c": pauses()}),
    Case("pauses requests=1", Limits(requests=1), {"a": calls(), "b": calls(), "c": pauses()}),
    Case("pauses twice", Limits(concurrent=1),
         {"a": calls(), "b": calls(), "c": pauses(), "d": pauses(2)}),
    Case("more", Limits(concurrent=1), {**THREE_CALLS, "d": updates(concurrent=2)}),
    Case("less", Limits(concurrent=2), {**THREE_CALLS, "d": updates(concurrent=1)}),
    Case("more requests", Limits(requests=1), {**THREE_CALLS, "d": updates(requests=2)}),
    Case("less requests", Limits(requests=2), {**THREE_CALLS, "d": updates(requests=1)}),
    Case("racing, concurrent=1", Limits(concurrent=1), {"a": calls(), "b": calls()}, "racy"),
    Case("racing, requests=1", Limits(requests=1), {"a": calls(), "b": calls()}, "racy"),
    Case("racing, pauses", Limits(concurrent=1),
         {"a": calls(), "b": calls(), "c": pauses()}, "racy", cancels=0),
    Case("racing, more", Limits(concurrent=1),
         {"a": calls(), "b": calls(), "c": updates(concurrent=2)}, "racy", cancels=0),
]
# fmt: on


def searches() -> Iterator[Search]:
    """Yield a search of each case: without a cancellation by default, with eager tasks too."""
    for case in CASES:
        yield Search("rate_limit", case.name, partial(case.run, 0))
        if case.cancels:
            yield Search(
                "rate_limit",
                f"{case.name}, exhaustive",
                partial(case.run, case.cancels),
                exhaustive=True,
            )
        name = f"{case.name}, eager, exhaustive"
        yield Search(
            "rate_limit", name, partial(case.run, 0, eager=True), eager=True, exhaustive=True
        )


SEARCHES = [*searches()]
