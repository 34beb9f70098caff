"""The functions with outcomes as calls of a world, with what they did in the log.

`first` and `stream` take the coroutines of a world, as `gather_structured` does, and log in plain
data what they received, so that `outcome_oracles` can also judge a call that was cancelled.

    caller of <scope>    "limit"   how many children may run at a time
    caller of <scope>    "adopted" the label of a child that is a Task or a Future
    caller of <scope>    "ordered" that outcomes are yielded in input order
    source of <scope>    "pulled"  one more child was requested
    source of <scope>    "opened", "closed"
    consumer of <scope>  "asks"    for the next outcome
    consumer of <scope>  "kept"    a tuple of `Kept`: all that it received, at the end
    caller of <scope>    "found"   a `Found`
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from typing import Any, NamedTuple, TypeAlias

from simloop.base_loop import born_in
from simloop.loop import current, point
from simloop.worlds import Arrived, Behaviour, Child, Ending, describe
from structgather import Outcome, as_completed_scoped, first_n_within

Coro: TypeAlias = Coroutine[Any, Any, Any]
Inputs: TypeAlias = Any  # an iterable or an async iterable of awaitables
Feed: TypeAlias = Callable[[Iterator[Coro]], Inputs]


class SourceError(Exception):
    """What an input raises."""


class BodyError(Exception):
    """What the body of a loop raises."""


class Kept(NamedTuple):
    """One outcome, in plain data."""

    kind: str
    place: int
    elapsed: float
    ending: Ending


class Found(NamedTuple):
    """One `FirstN`, in plain data."""

    values: tuple[Any, ...]
    outcomes: tuple[Kept, ...]
    wanted: int | None
    reason: str
    adopted: bool


class Outcomes(NamedTuple):
    """The outcomes of all children, which the oracles take for complete."""

    outcomes: list[Outcome[Any]]


def log(who: str, what: str, detail: Any = None) -> None:
    current().log(f"{who} of {born_in.get().rpartition('/')[2]}", what, detail)


def keep(outcomes: Iterable[Outcome[Any]]) -> tuple[Kept, ...]:
    return tuple(
        Kept(type(outcome).__name__, outcome.index, outcome.elapsed, describe(outcome))
        for outcome in outcomes
    )


# The inputs. What is left of `children` was not requested.


def collection(children: Iterator[Coro]) -> Inputs:
    """A list."""
    return list(children)


def adopted(children: Iterator[Coro]) -> Inputs:
    """Tasks of the caller's."""
    return [asyncio.create_task(child) for child in children]


def generator(children: Iterator[Coro]) -> Inputs:
    """A generator."""
    for child in children:
        log("source", "pulled")
        yield child


def raising(children: Iterator[Coro]) -> Inputs:
    """A generator that raises in place of the third child."""
    for child in itertools.islice(children, 2):
        log("source", "pulled")
        yield child
    raise SourceError


async def slow(children: Iterator[Coro]) -> AsyncIterator[Coro]:
    """An async generator that awaits a point before each child, at its end and in its cleanup."""
    log("source", "opened")
    number = 0
    try:
        while True:
            await point(f"source{number}")
            number += 1
            for child in children:
                log("source", "pulled")
                yield child
                break
            else:
                return
    finally:
        try:
            await point("source closes")
        finally:
            log("source", "closed")


async def stubborn(children: Iterator[Coro]) -> AsyncIterator[Coro]:
    """An async generator that ignores its first cancellation."""
    log("source", "opened")
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await point("source")
        for child in children:
            log("source", "pulled")
            yield child
    finally:
        log("source", "closed")


async def breaking(children: Iterator[Coro]) -> AsyncIterator[Coro]:
    """An async generator that awaits a point and raises in place of the third child."""
    log("source", "opened")
    try:
        for child in itertools.islice(children, 2):
            log("source", "pulled")
            yield child
        await point("source")
        raise SourceError
    finally:
        log("source", "closed")


# What the body of the loop does with each outcome; it breaks if this returns True.

Body: TypeAlias = Callable[[Any, Outcome[Any], Iterator[Coro]], Awaitable[bool]]


async def takes(outcomes: Any, outcome: Outcome[Any], more: Iterator[Coro]) -> bool:
    """Continues."""
    return False


async def pauses(outcomes: Any, outcome: Outcome[Any], more: Iterator[Coro]) -> bool:
    """Awaits a point."""
    await point(f"pause{outcome.index}")
    return False


async def pauses_and_breaks(outcomes: Any, outcome: Outcome[Any], more: Iterator[Coro]) -> bool:
    """Awaits a point and breaks."""
    await point("pause")
    return True


async def breaks(outcomes: Any, outcome: Outcome[Any], more: Iterator[Coro]) -> bool:
    """Breaks."""
    return True


async def raises(outcomes: Any, outcome: Outcome[Any], more: Iterator[Coro]) -> bool:
    """Raises."""
    raise BodyError


async def cancels(outcomes: Any, outcome: Outcome[Any], more: Iterator[Coro]) -> bool:
    """Cancels the other children and continues."""
    outcomes.cancel()
    return False


async def adds(outcomes: Any, outcome: Outcome[Any], more: Iterator[Coro]) -> bool:
    """Adds a child if one is left."""
    for child in more:
        outcomes.add(child)
        break
    return False


# A child that adds another one to its stream.

# The open streams, by scope, and the children that are left. Neither a context variable nor a local
# one may refer to a stream: the outcomes that it has not yielded refer to the child.
_open: dict[str, tuple[Any, Iterator[Coro]]] = {}


def adds_a_child(points: int = 1) -> Behaviour:
    """Adds a child, also while it is being cancelled, which the stream may refuse."""

    async def behave(child: Child) -> str:
        try:
            await child.points(points)
        finally:
            with contextlib.suppress(RuntimeError):
                _add_another()
        return child.label

    return behave


def _add_another() -> None:
    outcomes, more = _open.get(born_in.get(), (None, iter(())))
    for child in more:
        outcomes.add(child)
        break


# The calls.


async def first(
    *children: Coro, feed: Feed = collection, of: Any = first_n_within, **options: Any
) -> Any:
    """Call `first_n_within`, or `of`; return a complete result as it is, others as a list."""
    left = iter(children)
    log("caller", "limit", options.get("limit"))
    try:
        found = await of(feed(left), **options)
    except SourceError:
        return Arrived()
    finally:
        close(left)
    wanted = options.get("n")
    if wanted is None and found.reason != "deadline":
        wanted = len(found.outcomes)
    kept = keep(found.outcomes)
    reason, is_adopted = found.reason, feed is adopted
    log("caller", "found", Found(tuple(found.values), kept, wanted, reason, is_adopted))
    return found if len(kept) == len(children) else Arrived(found.outcomes)


async def stream(
    *children: Coro,
    feed: Feed = collection,
    body: Body = takes,
    held_back: int = 0,
    of: Any = as_completed_scoped,
    **options: Any,
) -> Any:
    """Iterate over `as_completed_scoped`, or `of`; `body` may add the last children."""
    count = len(children) - held_back
    left, more = iter(children[:count]), iter(children[count:])
    got: list[Outcome[Any]] = []
    scoped = of(feed(left), **options)
    log("caller", "limit", options.get("limit"))
    if options.get("ordered"):
        log("caller", "ordered")
    _open[born_in.get()] = (scoped, more)
    try:
        async with scoped as outcomes:
            log("consumer", "asks")
            async for outcome in outcomes:
                got.append(outcome)
                if await body(outcomes, outcome, more):
                    break
                log("consumer", "asks")
    except TimeoutError:
        if "timeout" not in options:
            raise
    except (BodyError, SourceError):
        pass
    finally:
        del _open[born_in.get()]
        log("consumer", "kept", keep([*got, *scoped.undelivered]))
        close(left)
        close(more)
    got += scoped.undelivered
    return Outcomes(got) if len(got) == len(children) else Arrived(got)


def close(children: Iterable[Coro]) -> None:
    """Close the coroutines that the call under test did not take."""
    for child in children:
        child.close()
