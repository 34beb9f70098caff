"""The children, and what exactly is timed: all that is between the two readings of the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from benchmarks.by_hand import Call
from benchmarks.echo import Echo

Children: TypeAlias = Callable[[int], Awaitable[int]]
Clock: TypeAlias = Callable[[], float]
# Call it so many times: the seconds that took by the clock, and the last result.
Drive: TypeAlias = Callable[[Call, int, Clock], Awaitable[tuple[float, Any]]]

TIMER = 0.001
CLEANUP = 0.01


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


async def busy(number: int) -> int:
    """Keep the loop busy until it is cancelled."""
    while True:  # noqa: ASYNC110 - that is the load
        await asyncio.sleep(number * 0)


async def cleaning(number: int) -> int:
    """Keep the loop busy until it is cancelled, and wait a little in the end."""
    try:
        return await busy(number)
    finally:
        await asyncio.sleep(CLEANUP)


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


def late(child: Children, count: int, within: float) -> Drive:
    """Take the seconds that a call needs beyond those it was given, by the loop's clock."""

    async def drive(call: Call, repetitions: int, _clock: Clock) -> tuple[float, Any]:
        loop, seconds, result = asyncio.get_running_loop(), 0.0, None
        for _ in range(repetitions):
            start = loop.time()
            result = await call([child(number) for number in range(count)], within)
            seconds += loop.time() - start - within
        return seconds, result

    return drive


def admissions(count: int) -> Drive:
    """Time so many passages that nobody holds up."""

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        result: Any = None
        start = clock()
        for _ in range(repetitions):
            result = await call(count)
        return clock() - start, result

    return drive


def round_trips(count: int) -> Drive:
    """Time a call whose children send a line over a socket and read the answer.

    The connections are opened before the clock starts, one for each child.
    """

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        result: Any = None
        with Echo() as echo:
            connections = [await asyncio.open_connection(*echo.address) for _ in range(count)]

            async def child(number: int) -> int:
                reader, writer = connections[number]
                writer.write(b"%d\n" % number)
                return int(await reader.readline())

            start = clock()
            for _ in range(repetitions):
                result = await call(*[child(number) for number in range(count)])
            seconds = clock() - start
            for _, writer in connections:
                writer.close()
            for _, writer in connections:
                await writer.wait_closed()
        return seconds, result

    return drive


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
