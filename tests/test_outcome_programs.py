"""Random programs of the two functions with outcomes, on random schedules, judged by all oracles.

`HYPOTHESIS_PROFILE=long` draws many more of them than an ordinary run of the tests does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hypothesis import event, given, note
from hypothesis import strategies as st

from harness import behaviours as do
from harness.calls import (
    Body,
    BodyError,
    Coro,
    Feed,
    adds_a_child,
    adopted,
    breaking,
    collection,
    first,
    generator,
    raising,
    slow,
    stream,
    stubborn,
)
from harness.choosers import Drawn, replay
from harness.loop import Mode, point
from harness.run import run
from harness.searches import LEAKS, OF_ADOPTION, OF_AN_EAGER_STEP, judge, world_of
from harness.worlds import Behaviour, Call
from structgather import Outcome

EAGER_TASKS = sys.version_info >= (3, 12)

SIMPLE: list[Callable[[int], Behaviour]] = [
    do.returns,
    do.sleeps,
    do.fails,
    do.cancels_itself,
    do.cleans_up_slowly,
    do.fails_in_cleanup,
    do.ignores_one_cancellation,
    do.returns_while_cancelled,
    lambda points: do.exits(points or 1),  # eagerly at once is for the searches
]


SECONDS = st.one_of(st.none(), st.sampled_from([0, 1, 2]))
CHILD_SECONDS = st.one_of(st.none(), st.sampled_from([1, 2]))
LIMITS = st.one_of(st.none(), st.integers(1, 3))


def simple_one(make: Callable[[int], Behaviour], points: int) -> Behaviour:
    return make(points)


def nested_one(call: Call, children: list[Behaviour]) -> Behaviour:
    return do.nests(call, **dict(zip("xyz", children, strict=False)))


def race(**options: Any) -> Call:
    return partial(first, **options)


def behaviours(depth: int = 1) -> st.SearchStrategy[Behaviour]:
    """What a child does; with `depth`, it may be a call of its own."""
    simple = st.builds(simple_one, st.sampled_from(SIMPLE), st.integers(0, 2))
    if not depth:
        return simple
    # Without times, of which the oracles would not know.
    calls = (kind([collection, generator], st.none()) for kind in (races, streams))
    nested = st.builds(nested_one, st.one_of(*calls), st.lists(behaviours(depth - 1), max_size=3))
    return st.one_of(simple, simple, simple, nested)


def races(
    feeds: list[Feed], seconds: st.SearchStrategy[int | None] = SECONDS
) -> st.SearchStrategy[Call]:
    """Calls of `first_n_within`."""
    return st.builds(
        race,
        n=st.one_of(st.none(), st.integers(0, 3)),
        within=seconds,
        limit=LIMITS,
        child_timeout=st.none() if seconds is not SECONDS else CHILD_SECONDS,
        feed=st.sampled_from(feeds),
    )


def acting(actions: list[str]) -> Body:
    """The body of a loop that does something else with each outcome."""
    left = iter(actions)

    async def body(outcomes: Any, outcome: Outcome[Any], more: Iterator[Coro]) -> bool:
        match next(left, "take"):
            case "break":
                return True
            case "raise":
                raise BodyError
            case "pause":
                await point("pause")
            case "sleep":
                await asyncio.sleep(1)
            case "cancel":
                outcomes.cancel()
            case "add":
                add_another(outcomes, more)
            case _:
                pass
        return False

    return body


def add_another(outcomes: Any, more: Iterator[Coro]) -> None:
    for child in more:
        try:
            outcomes.add(child)
        except RuntimeError as error:
            assert "nothing can be added" in str(error)  # noqa: PT017 - it may be too late
        break


ACTIONS = ["take", "pause", "sleep", "add", "cancel", "break", "raise"]


class Acting:
    """A call of `as_completed_scoped`; each time with the same actions from the first on."""

    def __init__(self, actions: list[str], options: dict[str, Any]) -> None:
        self.actions, self.options = actions, options
        self.keywords = options

    def __call__(self, *children: Coro) -> Any:
        options = dict(self.options)
        if options["feed"] not in (collection, adopted):
            options["held_back"] = 0  # there the index of what is added is not its place
        options["held_back"] = min(options["held_back"], len(children))
        if options["timeout"] is None:
            del options["timeout"]
        return stream(*children, body=acting(self.actions), **options)

    def __repr__(self) -> str:
        return f"stream({self.actions}, {self.options})"


def streams(
    feeds: list[Feed], seconds: st.SearchStrategy[int | None] = SECONDS
) -> st.SearchStrategy[Call]:
    """Calls of `as_completed_scoped`."""
    return st.builds(
        Acting,
        st.lists(st.sampled_from(ACTIONS), max_size=4),
        st.fixed_dictionaries(
            {
                "timeout": seconds,
                "limit": LIMITS,
                "child_timeout": st.none() if seconds is not SECONDS else CHILD_SECONDS,
                "feed": st.sampled_from(feeds),
                "held_back": st.integers(0, 2),
            }
        ),
    )


FEEDS: list[Feed] = [collection, adopted, generator, raising, slow, stubborn, breaking]
top_level = st.lists(st.one_of(behaviours(), st.builds(adds_a_child)), min_size=1, max_size=4)


def check(call: Any, children: list[Behaviour], data: Any) -> None:
    """Run the program on a drawn schedule, judge it, and see that the schedule can be replayed."""
    options: dict[str, Any] = call.keywords
    program = world_of(
        call,
        dict(zip("abcd", children, strict=False)),
        deadline=options.get("within", options.get("timeout")),
        child_deadline=options["child_timeout"],
    )
    mode: Mode = data.draw(st.sampled_from(["fifo", "racy"]), label="mode")
    eager = EAGER_TASKS and data.draw(st.booleans(), label="eager")
    found = run(program, Drawn(data), mode=mode, eager=eager, cancels=2)
    note(f"replay {found.schedule!r}")
    event("interrupted" if found.interrupts else "cancelled" if found.cancelled else "ended")
    but = {*(OF_AN_EAGER_STEP if eager else ())}
    if mode == "racy":
        but.add("no_timeout_too_early")  # the time of a child begins before its first step
    if options["child_timeout"] is not None:
        but.add("the_first_values")  # a child may mind its own time-out as little as any other
    if any("nests" in getattr(child, "__qualname__", "") for child in children):
        but.add("deadlines_hold")  # one that is cancelled joins its own before it says so
    if options["feed"] is adopted:
        but.add("deadlines_hold")  # the time of such a child begins with its turn
        but |= OF_ADOPTION | {"the_first_values"} | (LEAKS if eager else frozenset())
    schedule, events = found.schedule, found.events
    judge(found, but)
    assert [entry[:4] for entry in replay(program, schedule).events] == [
        entry[:4] for entry in events
    ]


@given(
    races([collection, adopted, generator, raising]), st.lists(behaviours(), max_size=4), st.data()
)
def test_races(call: Call, children: list[Behaviour], data: Any) -> None:
    """Any race, on any schedule, with up to two outer cancellations, keeps every promise."""
    check(call, children, data)


@given(streams(FEEDS), top_level, st.data())
def test_streams(call: Call, children: list[Behaviour], data: Any) -> None:
    """So does any stream, whatever its consumer does."""
    check(call, children, data)
