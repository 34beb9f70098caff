"""The children, and what exactly is timed: everything between the two readings of the clock."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks.contenders import Call

if TYPE_CHECKING:
    from collections.abc import Generator

Child: TypeAlias = Callable[[int], Awaitable[int]]
Clock: TypeAlias = Callable[[], float]
# Call it so many times; return the seconds that took by the clock, and the last result.
Drive: TypeAlias = Callable[[Call, int, Clock], Awaitable[tuple[float, Any]]]

CLEANUP = 0.01  # seconds


# Children. Each returns its number, so that a wrong order shows.


class ToolError(Exception):
    """What a child raises."""


async def noop(number: int) -> int:
    """Do nothing."""
    return number


async def yield_once(number: int) -> int:
    """Yield to the event loop once."""
    await asyncio.sleep(0)
    return number


async def half_fail(number: int) -> int:
    """Yield once, then fail if the number is odd."""
    await asyncio.sleep(0)
    if number % 2:
        raise ToolError(number)
    return number


async def busy(number: int) -> int:
    """Keep the event loop busy until cancelled."""
    while True:  # noqa: ASYNC110 - that is the load
        await asyncio.sleep(number * 0)


async def cleaning(number: int) -> int:
    """Keep the event loop busy until cancelled, then take some time to clean up."""
    try:
        return await busy(number)
    finally:
        await asyncio.sleep(CLEANUP)


async def blocked(number: int) -> int:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()
    return number


# Drivers


def calling(child: Child, count: int) -> Drive:
    """Time the whole line: `await function(*[child(i) for i in range(count)])`."""

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        result: Any = None
        numbers = range(count)
        start = clock()
        for _ in range(repetitions):
            result = await call(*[child(number) for number in numbers])
        return clock() - start, result

    return drive


def running_tasks(count: int) -> Drive:
    """Time a call with Tasks that were created right before."""

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        seconds, result = 0.0, None
        for _ in range(repetitions):
            tasks = [asyncio.ensure_future(yield_once(number)) for number in range(count)]
            start = clock()
            result = await call(*tasks)
            seconds += clock() - start
        return seconds, result

    return drive


def done_tasks(count: int) -> Drive:
    """Time a call with Tasks that are done."""

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        result: Any = None
        tasks = [asyncio.ensure_future(yield_once(number)) for number in range(count)]
        await asyncio.wait(tasks)
        start = clock()
        for _ in range(repetitions):
            result = await call(*tasks)
        return clock() - start, result

    return drive


def arrivals(count: int, n: int, batch: int) -> Drive:
    """Time the call for the first n of the children, a batch of which finishes each iteration."""

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        loop, seconds, result = asyncio.get_running_loop(), 0.0, None

        async def child(gate: asyncio.Future[int]) -> int:
            return await gate

        def open_gates(gates: list[asyncio.Future[int]], first: int) -> None:
            for number, gate in enumerate(gates[first : first + batch], first):
                if gate.done():  # cancelled: the call is over
                    return
                gate.set_result(number)
            if first + batch < count:
                loop.call_soon(open_gates, gates, first + batch)

        for _ in range(repetitions):
            gates: list[asyncio.Future[int]] = [loop.create_future() for _ in range(count)]
            children = [child(gate) for gate in gates]
            loop.call_soon(open_gates, gates, 0)
            start = clock()
            result = await call(children, n)
            seconds += clock() - start
        return seconds, result

    return drive


def failing(count: int) -> Drive:
    """Time a call of which one child fails while the others wait."""
    culprit = count // 2

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        result = ""
        start = clock()
        for _ in range(repetitions):
            children = [half_fail(1) if n == culprit else blocked(n) for n in range(count)]
            try:
                await call(*children)
            except ToolError:
                result = "failed"
            except ExceptionGroup as group:
                result = "failed" if group.subgroup(ToolError) else repr(group)
        return clock() - start, result

    return drive


def cancelling(count: int) -> Drive:
    """Time from the cancellation of the caller, when all children wait, until it has finished."""

    async def caller(call: Call) -> None:
        await call(*map(blocked, range(count)))

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        seconds, result = 0.0, ""
        for _ in range(repetitions):
            task = asyncio.ensure_future(caller(call))
            for _ in range(3):
                await asyncio.sleep(0)
            start = clock()
            task.cancel()
            await asyncio.wait([task])
            seconds += clock() - start
            result = "cancelled" if task.cancelled() else "not cancelled"
        return seconds, result

    return drive


def lateness(child: Child, count: int, within: float) -> Drive:
    """Take how long after its deadline a call returns, by the event loop's clock."""

    async def drive(call: Call, repetitions: int, _clock: Clock) -> tuple[float, Any]:
        loop, seconds, result = asyncio.get_running_loop(), 0.0, None
        for _ in range(repetitions):
            start = loop.time()
            result = await call([child(number) for number in range(count)], within)
            seconds += loop.time() - start - within
        return seconds, result

    return drive


def admissions(count: int) -> Drive:
    """Time so many admissions, one after the other."""

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        result: Any = None
        start = clock()
        for _ in range(repetitions):
            result = await call(count)
        return clock() - start, result

    return drive


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class _EchoServer(socketserver.ThreadingTCPServer):
    request_queue_size = 1_000


@contextmanager
def echo_server() -> Generator[tuple[str, int]]:
    """Run a server on loopback, in threads of its own, that sends each line back."""
    with _EchoServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield "127.0.0.1", server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def round_trips(count: int) -> Drive:
    """Time a call whose children send a line over a socket and read the reply.

    The connections are opened before the clock starts, one for each child.
    """

    async def drive(call: Call, repetitions: int, clock: Clock) -> tuple[float, Any]:
        result: Any = None
        with echo_server() as address:
            connections = [await asyncio.open_connection(*address) for _ in range(count)]

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


def as_text(result: Sequence[Any]) -> list[str]:
    """Make results that contain exceptions comparable."""
    return [repr(item) for item in result]
