"""The reason to switch: an agent service whose tools fail, run with either function.

Each agent takes its turns one after the other. In a turn it calls three to five tools at once, over
sockets. If one fails, or the turn takes too long, it tries the whole turn once more. The program
runs twice, with `asyncio.gather` and with `gather_structured` in its place; the plan is the same.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import structgather
from benchmarks.contenders import GATHER, OUR_GATHER
from benchmarks.results import Tally, rounded
from benchmarks.server import PATIENCE, STALL, Key, Plan, ToolCall, ToolServer, draw, tool_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from benchmarks.contenders import Call

    Request: TypeAlias = tuple[Key, int]  # and the attempt

TICK = 0.08  # seconds; a machine that is busy for longer than that changes the counts
AGENTS, TURNS, SEED = 20, 4, 2026


class ToolError(Exception):
    """A tool answered that it failed."""


@dataclass
class Agents:
    """The program; `Ledger` counts."""

    port: int
    tick: float
    fan_out: Call
    ledger: Ledger

    async def run(self, plan: Plan) -> None:
        """Run all agents."""
        async with asyncio.TaskGroup() as group:
            for number, turns in enumerate(plan):
                group.create_task(self.agent(turns, number / len(plan)))

    async def agent(self, turns: list[list[ToolCall]], delay: float) -> None:
        """Take one turn after the other."""
        await asyncio.sleep(delay * self.tick)  # agents do not all start at the same time
        for calls in turns:
            if await self.turn(calls) is not None:
                self.ledger.answered += 1

    async def turn(self, calls: list[ToolCall]) -> list[str] | None:
        """Call the tools of a turn; if that fails, once more. Return None if it fails again."""
        for attempt in (1, 2):
            try:
                async with asyncio.timeout(PATIENCE * self.tick):
                    replies: list[str] = await self.fan_out(
                        *[self.tool(call, attempt) for call in calls]
                    )
                    return replies
            except (ToolError, TimeoutError):
                pass  # an agent would report this to its model
            finally:
                self.ledger.attempt_returned(calls, attempt)
        return None

    async def tool(self, call: ToolCall, attempt: int) -> str:
        """Send a request, wait for the reply."""
        async with self.connection(call, attempt) as (reader, writer):
            writer.write(call.request(attempt, self.tick))
            reply = (await reader.readline()).decode().strip()
        if reply == "error":
            raise ToolError(call.key)
        return reply

    @asynccontextmanager
    async def connection(
        self, call: ToolCall, attempt: int
    ) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection, and close it on the way out."""
        self.ledger.request_started(call, attempt)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.ledger.connections.add((call.key, attempt))
        try:
            yield reader, writer
        finally:
            writer.close()
            self.ledger.connections.remove((call.key, attempt))
            with suppress(ConnectionError):
                await writer.wait_closed()


@dataclass
class Ledger:
    """What is counted; it has no effect on the program."""

    tasks: dict[Request, asyncio.Task[Any]] = field(default_factory=dict["Request", Any])
    connections: set[Request] = field(default_factory=set["Request"])
    returned: dict[Request, float] = field(default_factory=dict["Request", float])
    tries: int = 0
    answered: int = 0
    alive: int = 0
    held: int = 0

    def request_started(self, call: ToolCall, attempt: int) -> None:
        """Note which Task makes this call."""
        task = asyncio.current_task()
        if task is not None:
            self.tasks[call.key, attempt] = task

    def attempt_returned(self, calls: list[ToolCall], attempt: int) -> None:
        """Count what is left of an attempt when its call has returned or raised."""
        self.tries += 1
        for call in calls:
            this = call.key, attempt
            self.returned[this] = perf_counter()
            self.alive += this in self.tasks and not self.tasks[this].done()
            self.held += this in self.connections

    def tally(self, contender: str, plan: Plan, server: ToolServer, seconds: float) -> Tally:
        """Sum up what the agents and the server have seen."""
        late = [s.time - self.returned[s.key, s.attempt] for s in server.served]
        unwanted = [seconds for seconds in late if seconds > 0]
        sent: dict[
            Key, list[bool]
        ] = {}  # of each e-mail: whether it was sent before the attempt returned
        for served, seconds_late in zip(server.served, late, strict=True):
            if served.email:
                sent.setdefault(served.key, []).append(seconds_late <= 0)
        twice = [in_time for in_time in sent.values() if len(in_time) > 1]
        return Tally(
            contender=contender,
            agents=len(plan),
            turns=sum(map(len, plan)),
            tries=self.tries,
            answered=self.answered,
            requests=server.requests,
            alive=self.alive,
            held=self.held,
            unwanted=len(unwanted),
            unwanted_seconds=rounded(sum(unwanted)),
            emails=sum(map(len, sent.values())),
            twice=len(twice),
            twice_unavoidable=sum(all(in_time) for in_time in twice),
            seconds=rounded(seconds),
        )


async def serve(contender: str, fan_out: Call, plan: Plan, tick: float) -> Tally:
    """Run the agents with a server of their own."""
    ledger = Ledger()
    with tool_server() as server:
        start = perf_counter()
        await Agents(server.port, tick, fan_out, ledger).run(plan)
        seconds = perf_counter() - start
        # A service keeps running, so what the last turns left behind can finish as well.
        await asyncio.sleep((STALL + 1) * tick)
    return ledger.tally(contender, plan, server, seconds)


async def services(seed: int = SEED, tick: float = TICK) -> list[Tally]:
    """Run the same plan with both functions."""
    plan = draw(seed, AGENTS, TURNS)
    contenders: dict[str, Call] = {
        GATHER: asyncio.gather,
        OUR_GATHER: structgather.gather_structured,
    }
    return [await serve(name, fan_out, plan, tick) for name, fan_out in contenders.items()]
