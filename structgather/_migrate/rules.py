"""Each reason not to move a use, or to say something about it, in the order in which they count.

The first rule that applies to a use decides; a use to which none applies is moved silently.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """A reason, and what to write instead."""

    name: str
    verdict: Verdict
    reason: str
    recipe: str
    #: Tells whether the rule applies; where it is left out, the use's `fate` names the rule.
    applies: Callable[[Any], bool] | None = None
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
    """Return the first rule that applies to a use."""
    for rule in rules:
        if use.fate == rule.name if rule.applies is None else rule.applies(use):
            return rule
    return None


MOVED, DECIDE, LEFT = Verdict

# Found elsewhere than in a use.
LOOKS_INSIDE = Rule(
    "looks_inside",
    LEFT,
    "The code looks inside the Future that asyncio.gather returns; gather_structured has none.",
    "keep the Tasks in a list of your own before you gather them",
)
PATCHED = Rule(
    "patched",
    LEFT,
    "asyncio's function is replaced here, or named in a string, as tests do that patch it.",
    "patch the name under which the code under test calls structgather's function",
    lambda use: use.is_assigned,
)

_ANY_USE = (
    PATCHED,
    Rule(
        "value",
        LEFT,
        "The function is passed on as a value; what calls it may want a Future.",
        "pass structgather's function, if what it returns is only awaited",
        lambda use: not use.is_called,
    ),
    Rule(
        "ambiguous",
        LEFT,
        "It is not certain that this is asyncio's function: the name is bound in several ways.",
        "import asyncio once, under a name of its own",
        lambda use: use.is_ambiguous,
    ),
    Rule(
        "arguments",
        LEFT,
        "It has arguments that asyncio does not take; loop= was removed in Python 3.10.",
        "leave out loop=; see what others were meant to do",
        lambda use: use.has_arguments_of_its_own,
    ),
)
_LAYOUT = Rule(
    "layout",
    LEFT,
    "It stands in an f-string, or a comment or a string would be changed or misplaced.",
    "move it by hand",
    lambda use: not use.fits,
)
_REPLACED = Rule(
    "replaced",
    LEFT,
    "A test replaces this name, and the move would bypass what it puts there.",
    "patch gather_structured or as_completed_scoped in the test, then move both",
    lambda use: use.is_replaced,
)

_TASKS_OF_OTHERS = Rule(
    "tasks_of_others",
    DECIDE,
    "The Tasks or Futures belong to other code, and would be cancelled under it.",
    "gather_structured(...) if they are to stop together, or else asyncio.shield(...) of each",
    lambda use: use.has_tasks_of_others,
)
_BEFORE_A_FAILURE = (
    Rule(
        "teardown",
        DECIDE,
        "This closes things, and today one failure does not keep the others from being closed.",
        "(await gather_structured(..., return_exceptions=True)).raise_failures()",
        lambda use: use.closes,
    ),
    Rule(
        "cancelled_before",
        DECIDE,
        "The Tasks have been cancelled; when one has finished, the others' cleanup would be, too.",
        "gather_structured(..., return_exceptions=True) waits for all of them",
        lambda use: use.has_cancelled_tasks,
    ),
)
_AFTER_A_FAILURE = (
    Rule(
        "used_after",
        DECIDE,
        "The Tasks are used after a failure, and would have been cancelled by then.",
        "gather_structured(...) if they may be cancelled, or else asyncio.shield(...) of each",
        lambda use: use.has_tasks_used_after,
    ),
    Rule(
        "swallowed",
        DECIDE,
        "The failure is caught and the program goes on, and so do the siblings today.",
        "gather_structured(..., return_exceptions=True) lets them finish, and returns failures",
        lambda use: use.is_survived,
    ),
)

GATHER = (
    *_ANY_USE,
    _LAYOUT,
    Rule(
        "stored",
        LEFT,
        "The Future that gather returns is stored or passed on, and its children start before it"
        " is awaited.",
        "await it where it is made, or use asyncio.create_task(gather_structured(...))",
    ),
    Rule(
        "returned",
        LEFT,
        "The Future is returned, and its children start before the caller awaits it.",
        "return await gather_structured(...) from an async def, or return a Task of it",
    ),
    Rule(
        "not_awaited",
        LEFT,
        "Nothing awaits the Future.",
        "await gather_structured(...), or keep asyncio.create_task(gather_structured(...))",
    ),
    _REPLACED,
    *_BEFORE_A_FAILURE,
    _TASKS_OF_OTHERS,
    *_AFTER_A_FAILURE,
    Rule(
        "starts_later",
        MOVED,
        "The children start one loop iteration later: the function around makes a Task first.",
        "where the first iteration counts, await gather_structured(...) itself",
    ),
    Rule(
        "wrapper",
        MOVED,
        "This function wraps gather: for each of its callers, a failure cancels the siblings now.",
        "see its callers; return_exceptions=True keeps what they have today",
        lambda use: use.is_wrapper,
    ),
    Rule(
        "unseen",
        MOVED,
        "Failures were swallowed before, and still are: the result is not looked at.",
        "(await gather_structured(..., return_exceptions=True)).raise_failures()",
        lambda use: use.drops_failures,
        is_hint=True,
    ),
)

AS_COMPLETED = (
    *_ANY_USE,
    Rule(
        "not_a_loop",
        LEFT,
        "Only a loop over asyncio.as_completed(...) itself, in an async def, can be moved.",
        "async with as_completed_scoped(...) as outcomes: async for outcome in outcomes: ...",
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
        "Where the loop is left, the rest runs on today; as_completed_scoped cancels it.",
        "as_completed_scoped(...) if that is better, or else asyncio.shield(...) of each",
        lambda use: use.leaves_rest_running,
    ),
    *_BEFORE_A_FAILURE,
    *_AFTER_A_FAILURE,
    Rule(
        "in_finally",
        MOVED,
        "If the loop is cancelled while it waits, this `finally` no longer runs once more.",
        "see that it counts only what has finished",
        lambda use: use.has_finally,
    ),
)

RULES = {rule.name: rule for rule in (LOOKS_INSIDE, *GATHER, *AS_COMPLETED)}
