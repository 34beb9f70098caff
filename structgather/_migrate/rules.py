"""Each reason not to move a use, or to say something about it, in the order in which they count.

The first rule that applies to a use decides; a use to which none applies is moved silently.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structgather._migrate.uses import Use


class Verdict(enum.Enum):
    """What is done about a use."""

    MOVED = "moved"
    #: Not moved: how the program behaves after a failure would change.
    DECIDE = "decide"
    #: Not moved: something else would have to be written.
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason, and what to do about it."""

    name: str
    verdict: Verdict
    reason: str
    recipe: str
    #: Whether it is about the code as it was, not about the move.
    is_hint: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One use of asyncio's functions."""

    line: int
    column: int
    #: asyncio.gather or asyncio.as_completed
    function: str
    verdict: Verdict
    rule: Rule | None


def judge(use: Use, rules: tuple[Rule, ...]) -> Rule | None:
    """Return the first rule that applies to a use: it says so under that name."""
    for rule in rules:
        applies = getattr(use, rule.name, None)
        if use.fate == rule.name if applies is None else applies:
            return rule
    return None


MOVED, DECIDE, LEFT = Verdict

# Found elsewhere than in a use.
LOOKS_INSIDE = Rule(
    "looks_inside",
    LEFT,
    "The code looks inside the Future that asyncio.gather returns; gather_structured has none.",
    "keep the Tasks in a list of your own, and look at that",
)
PATCHED = Rule(
    "patched",
    LEFT,
    "A test, or other code, patches asyncio's function here.",
    "patch structgather's function, under the name that the code under test calls it by",
)

_ANY_USE = (
    PATCHED,
    Rule(
        "value",
        LEFT,
        "The function is passed on as a value, to code that may want a Future from it.",
        "pass structgather's function if what it returns is only awaited",
    ),
    Rule(
        "ambiguous",
        LEFT,
        "It is not certain that this is asyncio's function: the name is bound in several ways.",
        "import asyncio once, under a name that nothing else has",
    ),
    Rule(
        "arguments",
        LEFT,
        "It has arguments that asyncio does not take; loop= was removed in Python 3.10.",
        "leave out loop=; look up what others were meant to do",
    ),
)
_LAYOUT = Rule(
    "layout",
    LEFT,
    "It stands in an f-string, or a comment or a string would be changed or misplaced.",
    "move it by hand",
)
_REPLACED = Rule(
    "replaced",
    LEFT,
    "A test patches this name, and would no longer reach the call.",
    "patch gather_structured or as_completed_scoped in the test, and move call and test together",
)

_TASKS_OF_OTHERS = Rule(
    "tasks_of_others",
    DECIDE,
    "Other code holds these awaitables (in an attribute, a global, ...): it would find them"
    " cancelled.",
    "gather_structured(...) if they may stop together;"
    " gather_structured(*map(asyncio.shield, tasks)) lets them continue",
)
_BEFORE_A_FAILURE = (
    Rule(
        "teardown",
        DECIDE,
        "This is cleanup (close, stop, `finally`, ...): a failure would cancel the rest.",
        "(await gather_structured(..., return_exceptions=True)).raise_failures() lets all of it"
        " finish, then raises the failures as a group",
    ),
    Rule(
        "cancelled_before",
        DECIDE,
        "These Tasks have been cancelled: the first to finish would cut the others' cleanup short.",
        "gather_structured(..., return_exceptions=True) waits for all of them",
    ),
)
_AFTER_A_FAILURE = (
    Rule(
        "used_after",
        DECIDE,
        "The Tasks are used after a failure, and would have been cancelled by then.",
        "gather_structured(...) if they may be cancelled;"
        " gather_structured(*map(asyncio.shield, tasks)) lets them continue",
    ),
    Rule(
        "swallowed",
        DECIDE,
        "A failure is caught, here or by a caller, and the program continues; today the"
        " siblings do, too.",
        "gather_structured(...) if they may be cancelled; with return_exceptions=True they finish,"
        " and the failures are returned as values",
    ),
)

GATHER = (
    *_ANY_USE,
    _LAYOUT,
    Rule(
        "stored",
        LEFT,
        "The Future of gather is stored or passed on, not awaited. Its children run already;"
        " gather_structured is a coroutine, and starts them when it is awaited.",
        "await it where it is made, or use asyncio.create_task(gather_structured(...))",
    ),
    Rule(
        "returned",
        LEFT,
        "The Future of gather is returned, not awaited. Its children run already; gather_structured"
        " is a coroutine, and starts them when the caller awaits it.",
        "make this an async def that returns await gather_structured(...), or return"
        " asyncio.create_task(gather_structured(...))",
    ),
    Rule(
        "not_awaited",
        LEFT,
        "Nothing awaits the Future of gather: its children run in the background.",
        "await gather_structured(...), or keep asyncio.create_task(gather_structured(...))",
    ),
    _REPLACED,
    *_BEFORE_A_FAILURE,
    _TASKS_OF_OTHERS,
    *_AFTER_A_FAILURE,
    Rule(
        "starts_later",
        MOVED,
        "The children start one loop iteration later: the function around it makes a Task first.",
        "nothing, unless the first iteration counts: then await gather_structured(...) itself",
    ),
    Rule(
        "wrapper",
        MOVED,
        "This function wraps gather: for each of its callers, a failure now cancels the siblings.",
        "review its callers; with return_exceptions=True all children finish, as today",
    ),
    Rule(
        "unseen",
        MOVED,
        "Failures were swallowed before, and still are: the result is not looked at.",
        "if they should be raised, as a group:"
        " (await gather_structured(..., return_exceptions=True)).raise_failures()",
        is_hint=True,
    ),
)

AS_COMPLETED = (
    *_ANY_USE,
    Rule(
        "not_a_loop",
        LEFT,
        "Only a loop over asyncio.as_completed(...) itself, in an async def, can be moved.",
        "write async with as_completed_scoped(...) as outcomes: async for outcome in outcomes: ...",
    ),
    Rule(
        "generator",
        LEFT,
        "The loop yields out of an async generator, whose consumer may abandon it (PEP 789).",
        "let the consumer own the block: return the awaitables, or send outcomes through a Queue",
    ),
    Rule(
        "item",
        LEFT,
        "The loop does more with its item than to await it, once and before anything else.",
        "await the outcome first; it has the .index of its input, by which to look up the rest",
    ),
    Rule(
        "try",
        LEFT,
        "The handler around the await may catch the loop's own cancellation or timeout.",
        "put the try around the loop, or narrow what it catches",
    ),
    _LAYOUT,
    _REPLACED,
    Rule(
        "left_early",
        DECIDE,
        "Where the loop is left, the other children continue today; as_completed_scoped cancels"
        " them, also Tasks that other code holds.",
        "as_completed_scoped(...) if that is better, or first_n_within(...) for the first results;"
        " as_completed_scoped(map(asyncio.shield, tasks)) lets them continue",
    ),
    *_BEFORE_A_FAILURE,
    *_AFTER_A_FAILURE,
    Rule(
        "in_finally",
        MOVED,
        "The loop now waits outside the `try`: cancelled while it waits, it skips this `finally`.",
        "nothing, if the `finally` is about the item; move the `try` around the loop if not",
    ),
)

RULES = {rule.name: rule for rule in (LOOKS_INSIDE, *GATHER, *AS_COMPLETED)}
