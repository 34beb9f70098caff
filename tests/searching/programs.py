"""A random program for each seed: any children under any call, on any schedule."""

from __future__ import annotations

import random
import sys
from functools import partial
from typing import Any

from harness.behaviours import nests
from harness.calls import (
    Body,
    Feed,
    breaks,
    cancels,
    collection,
    first,
    generator,
    pauses,
    stream,
    takes,
)
from harness.choosers import Biased
from harness.loop import Mode
from harness.run import run
from harness.searches import ANYTHING, LEAKS, judge, world_of
from harness.worlds import Behaviour, Call
from structgather import gather_structured

EAGER_TASKS = sys.version_info >= (3, 12)
FEEDS: list[Feed] = [collection, generator]
BODIES: list[Body] = [takes, takes, pauses, breaks, cancels]
MODES: list[Mode] = ["fifo", "racy"]


def judge_random(seed: int) -> None:
    """Run the program of this seed; raise an AssertionError if it breaks a promise."""
    chance = random.Random(seed)
    mode = chance.choice(MODES)
    eager = EAGER_TASKS and chance.random() < 0.3
    options = _times(chance)
    call = _call(chance, options)
    child_deadline = options.get("child_timeout")
    program = world_of(
        call,
        _children(chance, depth=2),
        deadline=options.get("within", options.get("timeout")),
        child_deadline=child_deadline,
    )
    # One that nests joins its own children before it says so, and one whose own child cancels
    # itself ends cancelled, though nobody has lost.
    but = {"deadlines_hold", "losers_are_told"}
    but |= {"no_timeout_too_early"} if mode == "racy" else set()
    # A child may mind its own time-out as little as any other.
    but |= {"the_first_values"} if child_deadline is not None else set()
    but |= LEAKS if eager and sys.version_info < (3, 14) else set()
    found = run(program, Biased(f"{seed}"), mode=mode, cancels=chance.randrange(4), eager=eager)
    judge(found, but)


def _times(chance: random.Random) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name in ("within", "timeout"):
        if chance.random() < 0.3:
            return {name: chance.choice((0, 1, 2))}
    if chance.random() < 0.3:
        options["child_timeout"] = chance.choice((1, 2))
    return options


def _call(chance: random.Random, times: dict[str, Any]) -> Call:
    """One of the three functions, with options; which one, the times may say."""
    options = times | ({"limit": chance.choice((1, 2, 3))} if chance.random() < 0.3 else {})
    kind = "first" if "within" in times else "stream" if "timeout" in times else ""
    match kind or chance.choice(("gather", "first", "stream")):
        case "gather":
            return partial(gather_structured, **options, return_exceptions=chance.random() < 0.5)
        case "first":
            return partial(
                first, **options, n=chance.choice((None, 0, 1, 2, 3)), feed=chance.choice(FEEDS)
            )
        case _:
            return partial(stream, **options, body=chance.choice(BODIES), feed=chance.choice(FEEDS))


def _children(chance: random.Random, depth: int) -> dict[str, Behaviour]:
    return {label: _child(chance, depth) for label in "abcd"[: chance.randrange(5)]}


def _child(chance: random.Random, depth: int) -> Behaviour:
    if depth and chance.random() < 0.25:
        return nests(_call(chance, {}), **_children(chance, depth - 1))
    # What comes out of an eager first step of an interrupt is for the searches.
    names = [name for name in ANYTHING if name != "exits_at_once"]
    return ANYTHING[chance.choice(names)]
