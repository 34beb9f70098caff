"""Why a call is left as it is, or should be looked at, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Rule(enum.Enum):
    """A reason, with its recipe."""

    def __init__(self, reason: str, recipe: str) -> None:
        self.reason = reason
        self.recipe = recipe

    # asyncio.gather, left.
    STORED = (
        "the Future is stored, and the children run before it is awaited",
        "await it where it is made, or store asyncio.create_task(gather_structured(...))",
    )
    RETURNED = (
        "the Future is returned, and the children run before the caller awaits it",
        "return await gather_structured(...) from an async def, or else return a Task of it",
    )
    NOT_AWAITED = (
        "nobody awaits it",
        "await gather_structured(...), or keep asyncio.create_task(gather_structured(...))",
    )
    HANDED_ON = (
        "the Future is handed to a function that may want more of it than to await it",
        "await it here, or hand over asyncio.create_task(gather_structured(...))",
    )
    ASKED = (
        "the Future's own methods are used",
        "asyncio.create_task(gather_structured(...)), a Task, has them too",
    )
    WAITED = (
        "asyncio.wait takes Futures",
        "hand it asyncio.create_task(gather_structured(...)), or use first_n_within",
    )
    YIELDED = (
        "yield and yield from take a Future",
        "make it an async def that awaits gather_structured(...)",
    )
    MODULE_CODE = (
        "it stands outside of any function, and nothing runs it here",
        "asyncio.run(...) an async def that awaits gather_structured(...)",
    )
    VALUE = (
        "asyncio's function is used as a value",
        "use structgather's, if whoever calls it awaits what it returns",
    )
    PATCHED = (
        "asyncio's function is replaced, or named in a string, as tests do that patch it",
        "patch the name where it is used",
    )
    REPLACED = (
        "this file replaces asyncio's function, and means what it puts there",
        "replace structgather's function instead, under the name by which it is called",
    )
    LOOP_ARGUMENT = (
        "loop= is an argument that asyncio took away in Python 3.10",
        "leave it out: the running loop is used",
    )
    ARGUMENTS = (
        "it has arguments that asyncio does not take",
        "see what it was meant to do",
    )
    AMBIGUOUS = (
        "what the name stands for is not certain: it is bound in several ways, or comes from *",
        "import asyncio once, under a name of its own",
    )
    IN_STRING = (
        "it stands in an f-string",
        "take it out of the string",
    )
    # asyncio.gather, left since a failure would cancel what ought to go on.
    TEARDOWN = (
        "after a failure asyncio lets the other closings finish; structgather cancels them",
        "(await gather_structured(..., return_exceptions=True)).raise_failures()",
    )
    TASKS_OF_OTHERS = (
        "the Tasks belong to an object; after a failure structgather cancels the rest of them",
        "gather_structured(...) if they are to end together, or else asyncio.shield(...) of each",
    )
    LOOKED_AT = (
        "the Tasks are used after a failure, when structgather has cancelled the rest",
        "gather_structured(..., return_exceptions=True) puts the failures in place of the values",
    )
    # asyncio.gather, moved.
    SWALLOWED = (
        "its failures are swallowed: return_exceptions=True, and the result is dropped",
        "(await gather_structured(..., return_exceptions=True)).raise_failures()",
    )
    STARTS_LATER = (
        "what takes it makes a Task of it first: the children start a turn of the loop later",
        "if loaders count on that turn for their batches, await gather_structured(...) itself",
    )
    RAISED_SO_FAR = (
        "with asyncio.gather this raised an error at once; from now on it runs",
        "see that this is what you want",
    )
    # asyncio.as_completed, left.
    NOT_A_LOOP = (
        "only a loop over asyncio.as_completed(...) itself is moved",
        "async with as_completed_scoped(...) as outcomes: async for outcome in outcomes: ...",
    )
    NOT_ASYNC = (
        "it is not inside an async def",
        "async with as_completed_scoped(...) needs one",
    )
    GENERATOR = (
        "the loop yields out of an async generator, whose consumer may never come back (PEP 789)",
        "let the consumer own the block: return the awaitables, or send outcomes through a Queue",
    )
    TWICE = (
        "the same awaitable is listed twice: asyncio hands it out once, structgather refuses it",
        "list it once",
    )
    ITEM_KEPT = (
        "the item is used for more than to be awaited",
        "an outcome knows its .index in the input; look the rest up by that",
    )
    ORDER = (
        "the loop does something before it awaits the item, or awaits it on some paths only",
        "await the item first; as_completed_scoped hands out what is over already",
    )
    TRY = (
        "the try around its await may catch what the loop is to raise: a cancellation, a timeout",
        "put the try around the loop, or narrow what it catches",
    )
    LEFT_EARLY = (
        "where the loop is left, the rest goes on today; as_completed_scoped cancels it",
        "as_completed_scoped(...) if that is better, or else asyncio.shield(...) of each",
    )
    LAYOUT = (
        "indenting it would change a string of several lines, or a comment would be misplaced",
        "move it by hand",
    )


class Verdict(enum.Enum):
    """What was done about a call, or would be."""

    MOVED = "moved"
    SIMPLIFIED = "simplified"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Finding:
    """One use of asyncio's functions."""

    line: int
    column: int
    #: asyncio.gather or asyncio.as_completed
    function: str
    verdict: Verdict
    #: Why it is left, or what to look at although it is moved.
    rule: Rule | None
