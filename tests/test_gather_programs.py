"""Random programs: trees of calls with any children, options and schedules, judged by all oracles.

`HYPOTHESIS_PROFILE=long` draws many more of them than an ordinary run of the tests does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from harness import behaviours as do
from harness.choosers import Drawn, replay
from harness.loop import Mode
from harness.oracles import ORACLES, check_all
from harness.run import Run, run
from harness.worlds import Behaviour, world
from structgather import gather_structured

Coro = Coroutine[Any, Any, Any]

EAGER_TASKS = sys.version_info >= (3, 12)


@dataclass(frozen=True)
class Child:
    """What a child does, and how it is handed over."""

    does: str
    points: int
    adopted: bool = False
    nested: CallOf | None = None

    def behaviour(self) -> Behaviour:
        if self.nested is not None:
            return do.nests(self.nested, **self.nested.behaviours())
        if self.does == "sleeps":
            return do.sleeps(self.points)
        behaviour: Behaviour = getattr(do, self.does)(self.points)
        return behaviour


@dataclass(frozen=True)
class CallOf:
    """A call of `gather_structured` with these children and options."""

    children: list[Child]
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    repeated: list[int] = field(default_factory=list[int])

    async def __call__(self, *coroutines: Coro) -> Any:
        arguments: list[Any] = [
            asyncio.create_task(coroutine) if child.adopted else coroutine
            for child, coroutine in zip(self.children, coroutines, strict=True)
        ]
        arguments += [arguments[place % len(arguments)] for place in self.repeated if arguments]
        call = gather_structured(*arguments, **self.options)
        del arguments  # a frame that a Task's exception refers to must not refer to the Task
        return (await call)[: len(coroutines)]

    def behaviours(self) -> dict[str, Behaviour]:
        return {chr(ord("a") + n): child.behaviour() for n, child in enumerate(self.children)}

    def has_timeouts(self) -> bool:
        return self.options.get("child_timeout") is not None or any(
            child.nested is not None and child.nested.has_timeouts() for child in self.children
        )


LEAVES = [
    "returns",
    "sleeps",
    "fails",
    "cancels_itself",
    "cleans_up_slowly",
    "fails_in_cleanup",
    "ignores_one_cancellation",
    "returns_while_cancelled",
]

leaves = st.builds(
    Child, does=st.sampled_from(LEAVES), points=st.integers(0, 2), adopted=st.booleans()
)
Options = dict[str, Any]
options: st.SearchStrategy[Options] = st.fixed_dictionaries(
    {}, optional={"limit": st.integers(1, 3), "child_timeout": st.integers(0, 2)}
)
PLAIN: Options = {}
RETURN_EXCEPTIONS: Options = {"return_exceptions": True}
EXCEPTION_GROUP: Options = {"exception_group": True}


def calls(
    children: st.SearchStrategy[Child], most: int, *modes: Options
) -> st.SearchStrategy[CallOf]:
    return st.builds(
        CallOf,
        children=st.lists(children, max_size=most),
        options=st.tuples(options, st.sampled_from(modes)).map(lambda both: both[0] | both[1]),
        repeated=st.lists(st.integers(0, 9), max_size=2),
    )


# The oracles know only the group of one call: what failed in an inner one is in the outer's, too.
inner = st.builds(
    Child,
    does=st.just("nests"),
    points=st.just(0),
    adopted=st.booleans(),
    nested=calls(leaves, 3, PLAIN, RETURN_EXCEPTIONS),
)
programs = st.one_of(
    calls(st.one_of(leaves, leaves, inner), 5, PLAIN, RETURN_EXCEPTIONS),
    calls(leaves, 5, EXCEPTION_GROUP),
)


def most_at_a_time(result: Run, call: CallOf) -> int:
    """How many children ran at a time, of those that take a turn."""
    takes_a_turn = {
        label
        for label, child in zip(call.behaviours(), call.children, strict=True)
        if not child.adopted
    }
    running = most = 0
    for event in result.events:
        if event.who in takes_a_turn:
            running += (event.what == "started") - (event.what == "ended")
            most = max(most, running)
    return most


@given(
    call=programs,
    mode=st.sampled_from(["fifo", "racy"]),
    cancels=st.integers(0, 3),
    eager=st.booleans() if EAGER_TASKS else st.just(False),  # noqa: FBT003
    data=st.data(),
)
def test_random_programs(
    call: CallOf, mode: Mode, cancels: int, *, eager: bool, data: st.DataObject
) -> None:
    """Whatever the children do, however they are handed over, whenever somebody cancels."""
    deadline = call.options.get("child_timeout")
    # The oracle of deadlines knows only those of one call, and no loop that is late itself.
    nested = any(child.nested and child.nested.has_timeouts() for child in call.children)
    program = world(
        call,
        deadline=None,
        child_deadline=None if nested or mode == "racy" else deadline,
        **call.behaviours(),
    )
    result = run(program, Drawn(data), mode=mode, cancels=cancels, eager=eager)
    note(result.schedule)
    assert most_at_a_time(result, call) <= call.options.get("limit", len(call.children))
    if eager and sys.version_info < (3, 14):
        # A frame whose first step was eager keeps those that started it.
        for oracle in ORACLES:
            if oracle.__name__ not in {"nothing_in_cycles", "nothing_kept_alive"}:
                oracle(result)
    else:
        check_all(result)


@given(call=programs, cancels=st.integers(0, 2), data=st.data())
def test_a_run_can_be_repeated(call: CallOf, cancels: int, data: st.DataObject) -> None:
    """The same schedule gives the same run: nothing in a call depends on addresses or sets."""
    program = world(call, deadline=None, child_deadline=None, **call.behaviours())
    first = run(program, Drawn(data), cancels=cancels)
    again = replay(program, first.schedule)
    told = [(event.step, event.time, event.who, event.what) for event in first.events]
    assert told == [(event.step, event.time, event.who, event.what) for event in again.events]
