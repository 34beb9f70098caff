"""The services that the agents call: what is asked of them, and a server that does it.

The plan says beforehand what each call will do: how long it works, whether it fails, stalls, or
sends an e-mail at its end. It is drawn once from a seed, and is the same whoever makes the calls.

Times are in ticks. Work takes a whole number of ticks, failures come between two of them, and so
does the end of an agent's patience: nothing that is counted depends on which of two events at the
same moment comes first.
"""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

FAILS_AFTER = 1.5  # ticks
PATIENCE = 6.5
STALL = 12.0  # it would have come in the end

# How many turns have a call that fails, one that stalls, one that sends an e-mail; how many of the
# troubles are there at the second try too.
FAILING, STALLING, MAILING, LASTING = 0.30, 0.15, 0.50, 0.25

Key: TypeAlias = tuple[int, int, int]  # agent, turn, call


@dataclass(frozen=True)
class ToolCall:
    """One call of a turn, and what will become of it at the first try and at the second."""

    key: Key
    work: tuple[float, float]
    fails: tuple[bool, bool] = (False, False)
    email: bool = False

    def request(self, attempt: int, tick: float) -> bytes:
        """Put it in a line."""
        work, fails = self.work[attempt - 1] * tick, self.fails[attempt - 1]
        outcome = "error" if fails else "email" if self.email else "done"
        agent, turn, call = self.key
        return f"{agent} {turn} {call} {attempt} {work:.6f} {outcome}\n".encode()


Plan: TypeAlias = list[list[list[ToolCall]]]  # agents, their turns, the calls of each


def draw(seed: int, agents: int, turns: int) -> Plan:
    """Draw a plan: 3 to 5 calls a turn, some in trouble, which is mostly over at the second try."""
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
        first, second = work, work
        if call == fails:
            first, second = FAILS_AFTER, FAILS_AFTER if again else work
        elif call == stalls:
            first, second = STALL, STALL if again else work
        calls.append(
            ToolCall(
                (agent, turn, call),
                (first, second),
                (call == fails, call == fails and again),
                call == emails,
            )
        )
    return calls


@dataclass(frozen=True)
class Served:
    """A request that was worked on to its end."""

    key: Key
    attempt: int
    time: float
    email: bool


@dataclass
class ToolServer:
    """A server on loopback, in a thread and a loop of its own.

    It stops working on a request when the client hangs up, as servers do that mind their clients.
    """

    served: list[Served] = field(default_factory=list[Served])
    requests: int = 0
    port: int = 0
    _ready: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, _1: type[BaseException] | None, _2: BaseException | None, _3: TracebackType | None
    ) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def _serve(self) -> None:
        try:
            self._loop = asyncio.get_running_loop()
            server = await asyncio.start_server(self._handle, "127.0.0.1", 0, backlog=1_000)
            self.port = server.sockets[0].getsockname()[1]
        finally:
            self._ready.set()
        await self._stop.wait()
        server.close()  # what is still worked on is cancelled with the loop

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except ConnectionError:
            pass  # the client has gone
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        *numbers, work, outcome = (await reader.readline()).split() or [b"0", b""]
        if not numbers:
            return  # hung up before it had asked for anything
        agent, turn, call, attempt = map(int, numbers)
        self.requests += 1
        try:
            async with asyncio.timeout(float(work)):
                await reader.read()  # ends when the client hangs up
        except TimeoutError:
            email = outcome == b"email"
            self.served.append(Served((agent, turn, call), attempt, perf_counter(), email))
            writer.write(outcome + b"\n")
            await writer.drain()
