"""What is timed: which children, how many, with which contenders, and what is to be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from benchmarks.contenders import AGAIN, OURS, Call, Operations, is_peer

Children: TypeAlias = Callable[[int], Awaitable[int]]
Clock: TypeAlias = Callable[[], float]
# Call it so many times: the seconds that took by the clock, and the last result.
Drive: TypeAlias = Callable[[Call, int, Clock], Awaitable[tuple[float, Any]]]

TIMER = 0.001

FAMILIES = {
    "noop": "Children that do nothing",
    "yield": "Children that yield once",
    "timer": "Children that wait on a timer, 1 ms",
    "tasks": "Tasks handed over",
    "exceptions": "return_exceptions=True",
    "limit": "limit=20, children that yield once",
    "as-completed": "One by one, as they complete",
    "first-n": "The first so many, the rest cancelled and joined",
    "fail": "One child fails, the rest cancelled and joined",
    "cancel": "The caller is cancelled, and all children with it",
    "memory": "Growth of memory",
    "service": "The agent service",
}


@dataclass(frozen=True)
class Sizes:
    """With how many children each case is timed."""

    gather: Sequence[int] = (0, 1, 10, 100, 1_000, 10_000)
    tasks: Sequence[int] = (1, 10, 1_000)
    exceptions: Sequence[int] = (1, 10, 1_000)
    limit: Sequence[int] = (100, 1_000)
    as_completed: Sequence[int] = (1, 10, 100, 1_000, 10_000)
    first: Sequence[int] = (1_000, 10_000)
    fail: Sequence[int] = (1_000,)
    cancel: Sequence[int] = (1_000, 10_000)
    peers_up_to: int = 1_000
    slow_from: int = 10_000


DEFAULT = Sizes()
QUICK = Sizes(
    gather=(0, 1, 10, 1_000),
    tasks=(10, 1_000),
    exceptions=(10, 1_000),
    limit=(100,),
    as_completed=(10, 1_000),
    first=(1_000,),
    cancel=(1_000,),
)
FULL = Sizes(
    gather=(0, 1, 10, 100, 1_000, 10_000, 100_000),
    tasks=(1, 10, 100, 1_000, 10_000),
    exceptions=(1, 10, 100, 1_000, 10_000),
    limit=(100, 1_000, 10_000),
    cancel=(10, 1_000, 10_000),
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
    slow: bool = False  # takes seconds: timed once, without a round to warm up

    @property
    def baseline(self) -> str:
        """The contender with which the others are compared."""
        return next(iter(self.contenders))

    @property
    def ours(self) -> str | None:
        """The contender of this package, unless it lacks the function."""
        return next((name for name in self.contenders if name in OURS), None)


# Children. Each returns its number, so that a wrong order shows.


async def noop(number: int) -> int:
    """Do nothing."""
    return number


async def yield_once(number: int) -> int:
    """Let the others run once."""
    await asyncio.sleep(0)
    return number


async def timer(number: int) -> int:
    """Wait for a timer."""
    await asyncio.sleep(TIMER)
    return number


async def half_fail(number: int) -> int:
    """Fail if the number is odd."""
    await asyncio.sleep(0)
    if number % 2:
        raise ToolError(number)
    return number


async def blocked(number: int) -> int:
    """Wait for what never comes."""
    await asyncio.get_running_loop().create_future()
    return number


class ToolError(Exception):
    """What a child raises."""


# Drivers: what exactly is between the two readings of the clock.


def calling(child: Children, count: int) -> Drive:
    """Time the whole line: `await function(*[child(i) for i in range(count)])`."""

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        result: Any = None
        numbers = range(count)
        start = clock()
        if count:
            for _ in range(repetitions):
                result = await call(*[child(number) for number in numbers])
        else:
            for _ in range(repetitions):
                result = await call()
        return clock() - start, result

    return drive


def prepared(prepare: Callable[[], Awaitable[Sequence[Any]]]) -> Drive:
    """Time the call alone; its arguments are made before the clock starts."""

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        seconds, result = 0.0, None
        for _ in range(repetitions):
            arguments = await prepare()
            start = clock()
            result = await call(*arguments)
            seconds += clock() - start
        return seconds, result

    return drive


def running_tasks(count: int) -> Drive:
    """Time a call with Tasks that were made just now."""

    async def prepare() -> Sequence[Any]:
        return [asyncio.ensure_future(yield_once(number)) for number in range(count)]

    return prepared(prepare)


def done_tasks(count: int) -> Drive:
    """Time a call with Tasks that are done."""

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        result: Any = None
        made = [asyncio.ensure_future(yield_once(number)) for number in range(count)]
        await asyncio.wait(made)
        start = clock()
        for _ in range(repetitions):
            result = await call(*made)
        return clock() - start, result

    return drive


def arrivals(count: int, n: int, batch: int) -> Drive:
    """Time the call for the first n of the children, of which so many arrive at each turn."""

    async def prepare() -> Sequence[Any]:
        loop = asyncio.get_running_loop()
        gates: list[asyncio.Future[int]] = [loop.create_future() for _ in range(count)]
        numbered = iter(enumerate(gates))

        async def child(gate: asyncio.Future[int]) -> int:
            return await gate

        def arrive() -> None:
            for _, (number, gate) in zip(range(batch), numbered, strict=False):
                if gate.done():  # cancelled: the call is over
                    return
                gate.set_result(number)
                if number == count - 1:
                    return
            loop.call_soon(arrive)

        loop.call_soon(arrive)
        return [child(gate) for gate in gates], n

    return prepared(prepare)


# Around a call


def failing(call: Call) -> Call:
    """Catch what the call raises, bare or in a group."""

    async def caught(*aws: Awaitable[Any]) -> list[str]:
        try:
            await call(*aws)
        except ToolError:
            pass
        except ExceptionGroup as group:
            if group.subgroup(ToolError) is None:
                raise
        return ["failed"]

    return caught


def cancelled(call: Call) -> Call:
    """Cancel the caller when all children are waiting."""

    async def caller(*aws: Awaitable[Any]) -> None:
        await call(*aws)

    async def caught(*aws: Awaitable[Any]) -> list[str]:
        task = asyncio.ensure_future(caller(*aws))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return ["cancelled"] if task.cancelled() else ["not cancelled"]

    return caught


def as_text(result: Sequence[Any]) -> list[str]:
    """Make results comparable that hold exceptions."""
    return [repr(item) for item in result]


# The cases


def cases(operations: Operations, sizes: Sizes = DEFAULT) -> Iterator[Case]:
    """Yield all cases in the order of the report."""
    for case in _all(operations, sizes):
        contenders = {
            name: call
            for name, call in case.contenders.items()
            if case.children <= sizes.peers_up_to or not (is_peer(name) or name == AGAIN)
        }
        yield Case(**{**vars(case), "contenders": contenders})


def _all(operations: Operations, sizes: Sizes) -> Iterator[Case]:
    yield from _gather(operations, sizes)
    yield from _others(operations, sizes)
    yield from _endings(operations, sizes)


def _gather(operations: Operations, sizes: Sizes) -> Iterator[Case]:
    for family, child in (("noop", noop), ("yield", yield_once), ("timer", timer)):
        for count in sizes.gather:
            if count or child is noop:
                yield Case(
                    family,
                    f"{count:,}",
                    count,
                    operations["gather"],
                    calling(child, count),
                    list(range(count)),
                    target=1.03 if count > 1 else 1.00,
                )


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
    for what, child in (("do nothing", noop), ("yield once", yield_once)):
        for count in sizes.as_completed:
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
            # In a batch there is no first: any n of it are right.
            expected = list(range(n)) if at_once == 1 else n
            yield Case(
                "first-n",
                what,
                count,
                operations["first"],
                arrivals(count, n, at_once),
                expected,
                list if at_once == 1 else len,
                target,
                slow=at_once == 1 and count >= sizes.slow_from,
            )
    for count in sizes.fail:
        culprit = count // 2

        def child(number: int, culprit: int = culprit) -> Awaitable[int]:
            return half_fail(1) if number == culprit else blocked(number)

        calls = {name: failing(call) for name, call in operations["join"].items()}
        yield Case("fail", f"{count:,}", count, calls, calling(child, count), ["failed"])
    for count in sizes.cancel:
        calls = {name: cancelled(call) for name, call in operations["join"].items()}
        yield Case("cancel", f"{count:,}", count, calls, calling(blocked, count), ["cancelled"])
