"""The tools that the agents call: the plan of all calls, and a server that carries it out.

The plan says what each call will do: how long it works, whether it fails, stalls, or sends an
e-mail when it has finished. It is drawn from a seed and is the same for every contender.

Times are in ticks. Work takes a whole number of ticks, failures and timeouts come between two of
them: no count depends on the order of two events at the same time.
"""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Generator

FAILS_AFTER = 1.5  # ticks
PATIENCE = 6.5
STALL = 12.0  # it finishes in the end

# The share of the turns with a call that fails, that stalls, that sends an e-mail; the share of
# these troubles that are still there in the second try.
FAILING, STALLING, MAILING, LASTING = 0.30, 0.15, 0.50, 0.25

Key: TypeAlias = tuple[int, int, int]  # agent, turn, call


@dataclass(frozen=True)
class ToolCall:
    """One call of a turn, and what it does in the first and in the second try."""

    key: Key
    work: tuple[float, float]
    fails: tuple[bool, bool] = (False, False)
    email: bool = False

    def request(self, attempt: int, tick: float) -> bytes:
        """Return the line that is sent to the server."""
        work, fails = self.work[attempt - 1] * tick, self.fails[attempt - 1]
        outcome = "error" if fails else "email" if self.email else "done"
        agent, turn, call = self.key
        return f"{agent} {turn} {call} {attempt} {work:.6f} {outcome}\n".encode()


Plan: TypeAlias = list[list[list[ToolCall]]]  # agents, their turns, the calls of each


def draw(seed: int, agents: int, turns: int) -> Plan:
    """Draw a plan with 3 to 5 calls a turn."""
    random_ = random.Random(seed)
    return [[_turn(random_, agent, turn) for turn in range(turns)] for agent in range(agents)]


def _turn(random_: random.Random, agent: int, turn: int) -> list[ToolCall]:
    count = random_.randint(3, 5)
    fails = random_.randrange(count) if random_.random() < FAILING else None
    stalls = random_.randrange(count) if random_.random() < STALLING else None
    emails = random_.randrange(count) if random_.random() < MAILING else None
    calls: list[ToolCall] = []
    for call in range(count):
        again = random_.random() < LASTING
        work = float(random_.randint(1, 4))
        trouble = FAILS_AFTER if call == fails else STALL if call == stalls else work
        calls.append(
            ToolCall(
                (agent, turn, call),
                (trouble, trouble if again else work),
                (call == fails, call == fails and again),
                call == emails,
            )
        )
    return calls


@dataclass(frozen=True)
class Served:
    """A request that the server has finished."""

    key: Key
    attempt: int
    time: float
    email: bool


@dataclass
class ToolServer:
    """What runs on the server; it stops working on a request when the client disconnects."""

    served: list[Served] = field(default_factory=list[Served])
    requests: int = 0
    port: int = 0

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Serve on loopback until told to stop."""
        try:
            server = await asyncio.start_server(self._handle, "127.0.0.1", 0, backlog=1_000)
            self.port = server.sockets[0].getsockname()[1]
        finally:
            ready.set()
        await stop.wait()
        server.close()  # `asyncio.run` cancels the requests that are left

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except ConnectionError:
            pass  # the client has disconnected
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        *numbers, work, outcome = (await reader.readline()).split() or [b"0", b""]
        if not numbers:
            return  # disconnected before it sent a request
        agent, turn, call, attempt = map(int, numbers)
        self.requests += 1
        try:
            async with asyncio.timeout(float(work)):
                await reader.read()  # returns when the client disconnects
        except TimeoutError:
            email = outcome == b"email"
            self.served.append(Served((agent, turn, call), attempt, perf_counter(), email))
            writer.write(outcome + b"\n")
            await writer.drain()


@contextmanager
def tool_server() -> Generator[ToolServer]:
    """Run a server in a thread and an event loop of its own."""
    server, ready, stop = ToolServer(), threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve(ready, stop)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        ready.wait()
        yield server
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()
