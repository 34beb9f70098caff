"""What is timed: which children, how many, with which contenders, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import AGAIN, Operations, is_ours, is_peer
from benchmarks.drivers import (
    ToolError,
    admissions,
    arrivals,
    as_text,
    blocked,
    busy,
    calling,
    cancelled,
    cleaning,
    done_tasks,
    failing,
    half_fail,
    late,
    noop,
    round_trips,
    running_tasks,
    timer,
    yield_once,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from benchmarks.by_hand import Call
    from benchmarks.drivers import Drive

# Seconds. So many children must have started by then.
DEADLINE, DEADLINE_OF_MANY, MANY = 0.03, 0.15, 10_000
ROUNDS = 5  # of calls that have a deadline: each takes that long, at least

FAMILIES = {
    "noop": "Children that do nothing",
    "yield": "Children that yield once",
    "timer": "Children that wait on a timer, 1 ms",
    "sockets": "Children that make a round trip over a socket",
    "scale": "Cost of each child that yields once, garbage collector off",
    "tasks": "Tasks handed over",
    "exceptions": "return_exceptions=True",
    "limit": "limit=20, children that yield once",
    "child-timeout": "A timeout for each child, children that yield once",
    "as-completed": "One by one, as they complete",
    "first-n": "The first so many, the rest cancelled and joined",
    "fail": "One child fails, the rest cancelled and joined",
    "cancel": "The caller is cancelled, and all children with it",
    "deadline": "How late a call comes back that was given a deadline",
    "rate-limit": "Admission, when nobody has to wait",
    "memory": "Growth of memory",
    "service": "The agent service",
}


@dataclass(frozen=True)
class Sizes:
    """With how many children each case is timed."""

    gather: Sequence[int] = (0, 1, 10, 100, 1_000, 10_000)
    timers_up_to: int = 1_000
    scale: Sequence[int] = (10, 100, 1_000, 10_000)
    tasks: Sequence[int] = (1, 10, 1_000)
    exceptions: Sequence[int] = (1, 10, 1_000)
    sockets: Sequence[int] = (1, 10, 100)
    limit: Sequence[int] = (100, 1_000)
    child_timeout: Sequence[int] = (1, 100, 1_000)
    as_completed: Sequence[int] = (1, 10, 100, 1_000)
    as_completed_idle: Sequence[int] = (10, 1_000)
    first: Sequence[int] = (1_000, 10_000)
    fail: Sequence[int] = (1_000,)
    cancel: Sequence[int] = (1_000, 10_000)
    deadline: Sequence[int] = (10, 100, 1_000, 10_000)
    cleanups: Sequence[int] = (10, 100, 1_000)
    rate_limit: Sequence[int] = (1_000,)
    peers_up_to: int = 1_000
    slow_from: int = 10_000


DEFAULT = Sizes()
QUICK = Sizes(
    gather=(0, 1, 10, 1_000),
    scale=(10, 10_000),
    tasks=(10, 1_000),
    exceptions=(10, 1_000),
    sockets=(10,),
    limit=(100,),
    child_timeout=(100,),
    as_completed=(10, 1_000),
    as_completed_idle=(),
    first=(1_000,),
    cancel=(1_000,),
    deadline=(),
    cleanups=(),
)
FULL = Sizes(
    gather=(0, 1, 10, 100, 1_000, 10_000, 100_000),
    tasks=(1, 10, 100, 1_000, 10_000),
    exceptions=(1, 10, 100, 1_000, 10_000),
    sockets=(1, 10, 100, 400),
    limit=(100, 1_000, 10_000),
    child_timeout=(1, 10, 100, 1_000, 10_000),
    as_completed=(1, 10, 100, 1_000, 10_000),
    as_completed_idle=(1, 10, 100, 1_000, 10_000),
    cancel=(10, 1_000, 10_000),
    cleanups=(10, 100, 1_000, 10_000),
    timers_up_to=100_000,
    scale=(10, 100, 1_000, 10_000, 100_000),
    peers_up_to=10_000,
    slow_from=10_001,
)


@dataclass(frozen=True)
class Case:
    """One line of a table: one thing to do, and those who do it."""

    family: str
    what: str
    children: int
    contenders: dict[str, Call]  # the others are compared with the first
    drive: Drive
    expected: Any
    shape: Callable[[Any], Any] = list
    target: float | None = None
    stretch: int = 1  # how much longer its blocks must be, as most of the time is waiting
    collector: bool = True
    rounds: int | None = None  # takes long: one call in each of so many rounds; 1: no warming up

    @property
    def baseline(self) -> str:
        """The contender with which the others are compared."""
        return next(iter(self.contenders))

    @property
    def ours(self) -> str | None:
        """The contender of this package, unless it lacks the function."""
        return next((name for name in self.contenders if is_ours(name)), None)


# The cases


def cases(operations: Operations, sizes: Sizes = DEFAULT) -> Iterator[Case]:
    """Yield all cases in the order of the report."""
    for case in _all(operations, sizes):
        contenders = {
            name: call
            for name, call in case.contenders.items()
            if case.children <= sizes.peers_up_to
            or case.family == "deadline"
            or not (is_peer(name) or name == AGAIN)
        }
        yield replace(case, contenders=contenders)


def _all(operations: Operations, sizes: Sizes) -> Iterator[Case]:
    yield from _gather(operations, sizes)
    yield from _scale(operations, sizes)
    yield from _others(operations, sizes)
    yield from _endings(operations, sizes)
    yield from _limits(operations, sizes)


def _gather(operations: Operations, sizes: Sizes) -> Iterator[Case]:
    for family, child in (("noop", noop), ("yield", yield_once), ("timer", timer)):
        for count in sizes.gather:
            if (count or child is noop) and (child is not timer or count <= sizes.timers_up_to):
                yield Case(
                    family,
                    f"{count:,}",
                    count,
                    operations["gather"],
                    calling(child, count),
                    list(range(count)),
                    target=1.03 if count > 1 else 1.00,
                    stretch=5 if child is timer else 1,
                )

    for count in sizes.sockets:
        drive, expected = round_trips(count), list(range(count))
        yield Case(
            "sockets",
            f"{count:,}",
            count,
            operations["gather"],
            drive,
            expected,
            target=1.03 if count > 1 else 1.00,
            stretch=5,
        )


def _scale(operations: Operations, sizes: Sizes) -> Iterator[Case]:
    contenders = {
        name: call
        for name, call in operations["gather"].items()
        if name != AGAIN and not is_peer(name)
    }
    for count in sizes.scale:
        drive, expected = calling(yield_once, count), list(range(count))
        yield Case("scale", f"{count:,}", count, contenders, drive, expected, collector=False)


def _others(operations: Operations, sizes: Sizes) -> Iterator[Case]:
    for what, driver in (("running", running_tasks), ("done", done_tasks)):
        for count in sizes.tasks:
            label, adopt, expected = f"{count:,} {what}", operations["adopt"], list(range(count))
            yield Case("tasks", label, count, adopt, driver(count), expected, target=1.10)
    for what, child in (("all succeed", yield_once), ("half fail", half_fail)):
        for count in sizes.exceptions:
            results = [ToolError(i) if i % 2 and child is half_fail else i for i in range(count)]
            yield Case(
                "exceptions",
                f"{count:,}, {what}",
                count,
                operations["exceptions"],
                calling(child, count),
                as_text(results),
                as_text,
                target=1.05,
            )
    for count in sizes.limit:
        drive, expected = calling(yield_once, count), list(range(count))
        target = 0.70 if count >= 100 else None  # noqa: PLR2004 - what is to be reached
        yield Case(
            "limit", f"{count:,}", count, operations["limit"], drive, expected, target=target
        )
    for what, child, counts in (
        ("do nothing", noop, sizes.as_completed_idle),
        ("yield once", yield_once, sizes.as_completed),
    ):
        for count in counts:
            yield Case(
                "as-completed",
                f"{count:,} that {what}",
                count,
                operations["as_completed"],
                calling(child, count),
                list(range(count)),
                sorted,
                target=1.10,
            )


def _endings(operations: Operations, sizes: Sizes) -> Iterator[Case]:
    for count in sizes.first:
        one, batch = max(1, count // 10), max(1, count // 100)
        few = min(10, batch)
        for what, n, at_once, target in (
            (f"{one:,} of {count:,}, one a turn", one, 1, 0.10 if one >= 1_000 else None),  # noqa: PLR2004 - as above
            (f"{few:,} of {count:,}, {batch:,} a turn", few, batch, 1.10),
        ):
            yield Case(
                "first-n",
                what,
                count,
                operations["first"],
                arrivals(count, n, at_once),
                n,
                len,  # by hand, a set decides which of those that came together are taken
                target,
                rounds=1 if at_once == 1 and count >= sizes.slow_from else None,
            )
    for count in sizes.fail:
        culprit = count // 2

        def child(number: int, culprit: int = culprit) -> Awaitable[int]:
            return half_fail(1) if number == culprit else blocked(number)

        calls = {name: failing(call) for name, call in operations["join"].items()}
        yield Case("fail", f"{count:,}", count, calls, calling(child, count), ["failed"])
    for count in sizes.cancel:
        calls = {name: cancelled(call) for name, call in operations["join"].items()}
        drive = calling(blocked, count)
        yield Case("cancel", f"{count:,}", count, calls, drive, ["cancelled"], target=1.00)


def _limits(operations: Operations, sizes: Sizes) -> Iterator[Case]:
    for count in sizes.child_timeout:
        drive, expected = calling(yield_once, count), list(range(count))
        yield Case(
            "child-timeout", f"{count:,}", count, operations["child_timeout"], drive, expected
        )
    for what, child, counts in (
        ("busy", busy, sizes.deadline),
        ("busy, with cleanups of 10 ms", cleaning, sizes.cleanups),
    ):
        for count in counts:
            drive = late(child, count, DEADLINE if count < MANY else DEADLINE_OF_MANY)
            label = f"{count:,} {what}"
            yield Case("deadline", label, count, operations["within"], drive, [], rounds=ROUNDS)
    for count in sizes.rate_limit:
        yield Case(
            "rate-limit",
            f"{count:,} calls",
            count,
            operations["admit"],
            admissions(count),
            count,
            int,
            target=1.00,
        )
