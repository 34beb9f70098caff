"""A third party cancels one child, at every boundary between two callbacks of the loop.

A supervisor, a debugger or a shutdown finds the children of a call in `asyncio.all_tasks()` and may
cancel one of them, also before its first step, so that its coroutine never runs. In mode `racy` the
search does so at every boundary, in all orders of the other events; in some cases the caller is
cancelled too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from searches.counted import Search
from simloop.base_loop import LoopFuture
from simloop.behaviours import cleans_up_slowly, returns, returns_while_cancelled
from simloop.calls import Coro, adopted, first, generator, stream
from simloop.choosers import explore
from simloop.every_schedule import judge, world_of
from simloop.loop import DeterministicLoop, current
from simloop.run import Run
from simloop.run_log import log_of
from simloop.worlds import Behaviour, Call
from structgather import Cancelled, gather_structured

CHILDREN: dict[str, Behaviour] = {"a": returns(), "b": cleans_up_slowly()}
STUBBORN: dict[str, Behaviour] = {"a": returns_while_cancelled(), "b": returns()}

THIRD_PARTY = "third party"
MESSAGE = "by a third party"

# This oracle mistakes every cancelled child for one that the call cancelled.
OF_A_THIRD_PARTY = frozenset({"losers_are_reported"})
# A call that raises what its children raise also raises the CancelledError of one, as
# asyncio.gather does. These oracles expect only the caller's; `reports_the_child` has its message.
OF_A_RAISING_CALL = frozenset({"no_cancel_invented", "cancel_message_kept"})
# A child that never starts logs no finish, although it makes room for the next.
OF_AN_UNSTARTED_CHILD = frozenset({"limit_holds"})


class Cancellation(LoopFuture[None]):
    """A point for the chooser: completing it cancels the Task of one child."""

    def __init__(self, loop: DeterministicLoop, place: int) -> None:
        super().__init__(loop=loop, label=THIRD_PARTY)
        self._in = loop
        self._place = place
        loop._points.append(self)

    def set_result(self, result: None) -> None:
        super().set_result(result)
        loop, place = self._in, self._place
        created = [ref() for ref in loop.task_refs[1:]]  # the first one is the caller
        child = created[place] if place < len(created) else None
        if child is None or child not in asyncio.all_tasks(loop):
            return
        label = "ab"[place]
        started = any((event.who, event.what) == (label, "started") for event in loop.events)
        if child.cancel(MESSAGE):
            loop.log(label, "cancelled from outside")
            loop.log(THIRD_PARTY, "cancels", "after its first step" if started else "before")


def with_third_party(call: Call, place: int) -> Call:
    """Make the call while a third party may cancel one of its children."""

    async def around(*coroutines: Coro) -> Any:
        Cancellation(current(), place)
        return await call(*coroutines)

    return around


def moments_of(run: Run) -> list[str]:
    """When the third party cancelled the child; empty if it was done, or not created yet."""
    return [event.detail for event in run.events if event.who == THIRD_PARTY]


class Case(NamedTuple):
    """A call, two children, and how often the caller may be cancelled as well."""

    name: str
    call: Call
    children: dict[str, Behaviour] = CHILDREN
    cancels: int = 0
    raises: bool = False  # whether the call raises the CancelledError of a child

    def run(self, *, eager: bool) -> list[int]:
        """Judge every schedule in which each child is the victim; return how many there are."""
        return [self.run_with(victim, eager=eager) for victim in self.children]

    def run_with(self, victim: str, *, eager: bool) -> int:
        """Judge every schedule in which this child is the victim; return how many there are."""
        excused = OF_A_RAISING_CALL if self.raises else OF_A_THIRD_PARTY
        place = [*self.children].index(victim)
        program = world_of(with_third_party(self.call, place), self.children)
        moments: set[str] = set()
        runs = 0
        for run in explore(program, mode="racy", cancels=self.cancels, eager=eager):
            reports_the_child(run, self, victim)
            if not self.raises:
                siblings_run_on(run, victim)
            moments.update(moments_of(run))
            judge(run, excused | OF_AN_UNSTARTED_CHILD if "before" in moments_of(run) else excused)
            runs += 1
        # An eager child can only be cancelled before its first step if it waited for the limit.
        assert moments >= {"after its first step", *(() if eager else ("before",))}
        return runs


async def adopts(*coroutines: Coro) -> Any:
    """Children are Tasks of the caller's."""
    return await gather_structured(*map(asyncio.create_task, coroutines))


return_exceptions = partial(gather_structured, return_exceptions=True)

# fmt: off
CASES = [
    Case("gather", gather_structured, raises=True),
    Case("gather, stubborn", gather_structured, STUBBORN, raises=True),
    Case("gather, the caller too", gather_structured, cancels=1, raises=True),
    Case("gather limit=1", partial(gather_structured, limit=1), raises=True),
    Case("gather adopts", adopts, raises=True),
    Case("return_exceptions", return_exceptions),
    Case("return_exceptions limit=1", partial(return_exceptions, limit=1)),
    Case("first", first),
    Case("first, the caller too", first, cancels=1),
    Case("first limit=1", partial(first, limit=1, feed=generator)),
    Case("first adopts", partial(first, feed=adopted)),
    Case("stream", stream),
    Case("stream, the caller too", stream, cancels=1),
    Case("stream limit=1", partial(stream, limit=1, feed=generator)),
    Case("stream adopts", partial(stream, feed=adopted)),
]
# fmt: on


def message_reported(run: Run, place: int, *, raises: bool) -> tuple[Any, ...] | None:
    """Return the arguments of the CancelledError that the call has for the child in that place."""
    if raises:
        return run.error.args if isinstance(run.error, asyncio.CancelledError) else None
    pieces: list[Any] = list(getattr(run.value, "outcomes", run.value))
    for at, piece in enumerate(pieces):
        if isinstance(piece, Cancelled) and piece.index == place:
            return piece.error.args
        if isinstance(piece, asyncio.CancelledError) and at == place:
            return piece.args
    return None


def reports_the_child(run: Run, case: Case, victim: str) -> None:
    """The call reports how the cancelled child finished, with the message of its cancellation."""
    if not moments_of(run) or run.cancels_accepted:
        return
    ending = log_of(run).children[victim].ending
    cancelled = ending is None or ending.how == "cancelled"
    reported = message_reported(run, [*case.children].index(victim), raises=case.raises)
    assert reported == ((MESSAGE,) if cancelled else None), run.schedule


def siblings_run_on(run: Run, victim: str) -> None:
    """No sibling was cancelled."""
    if run.cancels_accepted:
        return
    for label, child in log_of(run).children.items():
        assert label == victim or not child.cancelled, run.schedule


def searches() -> Iterator[Search]:
    """Yield a search of each case; with eager tasks, or the caller cancelled, it is exhaustive."""
    for case in CASES:
        for eager in (False, True):
            exhaustive = eager or case.cancels > 0
            marks = [case.name, *["eager"] * eager, *["exhaustive"] * exhaustive]
            run = partial(case.run, eager=eager)
            yield Search("third_party", ", ".join(marks), run, eager, exhaustive)


SEARCHES = [*searches()]
