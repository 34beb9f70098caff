"""The load of the soak: a server on loopback that misbehaves, and callers that fan out over it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

from structgather import RateLimit, as_completed_scoped, first_n_within, gather_structured

Requests: TypeAlias = list[Coroutine[Any, Any, bytes]]

#: The kinds of requests, and how many of 100 each has.
KINDS = {"ok": 60, "slow": 20, "fails": 6, "stalls": 6, "hangs up": 4, "resets": 4}
SLOW = 0.005
PATIENCE = 0.03
#: The window of the rate limit, which keeps its admissions.
PER = 0.2


class Refused(Exception):  # noqa: N818 - it says what happened
    """The server has answered with an error."""


class Server:
    """Answers one line to each connection, in one of several ways."""

    def __init__(self) -> None:
        self.served = 0
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def open(self) -> int:
        """Return the number of open connections."""
        return len(self._open)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.served += 1
        with suppress(ConnectionError):
            try:
                await self._answer(await reader.readline(), reader, writer)
            finally:
                self._open.discard(writer)
                writer.close()
                await writer.wait_closed()

    async def _answer(
        self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        match line.strip().decode():
            case "slow":
                await asyncio.sleep(SLOW)
                writer.write(b"ok\n")
            case "fails":
                writer.write(b"no\n")
            case "stalls":
                await reader.read()  # until the client has disconnected
            case "hangs up":
                writer.write(b"o")
            case "resets":
                writer.transport.abort()
            case _:
                writer.write(b"ok\n")


class Callers:
    """Callers that fan out over the server with the three functions, and count broken promises."""

    def __init__(self, port: int, seed: int) -> None:
        self.calls = Counter[str]()
        self.requests = 0
        self.stopped = False
        #: Broken promises, by name. There must be none.
        self.broken = Counter[str]()
        self.limit = RateLimit(concurrent=100, requests=1_000, tokens=90_000, per=PER)
        self._port = port
        self._random = random.Random(seed)

    async def call(self) -> None:
        """Make one call of one kind, and check that it has kept its promise."""
        kind = self._random.choice(CALLS)
        self.calls[kind.__name__] += 1
        mine = _Own()
        task = asyncio.current_task()
        cancelling = 0 if task is None else task.cancelling()
        try:
            await kind(self, mine)
        except (Refused, ConnectionError, EOFError, TimeoutError):
            self.calls["that failed"] += 1
        except asyncio.CancelledError:
            self.calls["that were cancelled"] += 1
            raise
        finally:
            if mine.running:
                self.broken[f"{kind.__name__}: a child outlived it"] += 1
            if mine.started != mine.ended:
                self.broken[f"{kind.__name__}: a cleanup was cut off"] += 1
            if task is not None and task.cancelling() < cancelling:
                self.broken[f"{kind.__name__}: cancelling() fell"] += 1

    async def fetch(self, mine: _Own) -> bytes:
        """Send one request under the rate limit, and close the connection however it finishes."""
        self.requests += 1
        mine.started += 1
        mine.running += 1
        (kind,) = self._random.choices([*KINDS], weights=[*KINDS.values()])
        try:
            async with self.limit(tokens=100) as admitted:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    writer.write(kind.encode() + b"\n")
                    answer = await reader.readuntil()
                    admitted.settle(tokens=self._random.randrange(200))
                finally:
                    writer.close()
                    with suppress(ConnectionError):
                        await writer.wait_closed()
            if answer != b"ok\n":
                raise Refused(kind)
            return answer
        finally:
            for _ in range(3):
                # The end of `asyncio.run` cancels children again that have been cancelled before.
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
            mine.running -= 1
            mine.ended += 1

    def some(self, mine: _Own, most: int = 12) -> Requests:
        """Return some requests, not started."""
        return [self.fetch(mine) for _ in range(self._random.randint(1, most))]

    async def keep_calling(self) -> None:
        """Make calls until cancelled. One kind of call suppresses that."""
        while not self.stopped:
            await self.call()

    def moment(self) -> float:
        """Return a random time during which something may be running."""
        return self._random.uniform(0, 2 * SLOW)

    def chance(self) -> bool:
        """Toss a coin."""
        return self._random.random() < 0.5


class _Own:
    """The children of one call."""

    def __init__(self) -> None:
        self.started = self.ended = self.running = 0


# Each is one way to use the functions


async def fails_fast(callers: Callers, mine: _Own) -> None:
    await gather_structured(*callers.some(mine), child_timeout=PATIENCE)


async def returns_exceptions(callers: Callers, mine: _Own) -> None:
    await gather_structured(
        *callers.some(mine), return_exceptions=True, limit=4, child_timeout=PATIENCE
    )


async def adopts_tasks(callers: Callers, mine: _Own) -> None:
    tasks = [*map(asyncio.create_task, callers.some(mine))]
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await gather_structured(*tasks)


async def raises_a_group(callers: Callers, mine: _Own) -> None:
    with suppress(ExceptionGroup):
        await gather_structured(*callers.some(mine), exception_group=True, child_timeout=PATIENCE)


async def races(callers: Callers, mine: _Own) -> None:
    found = await first_n_within(callers.some(mine), 2, within=PATIENCE)
    with suppress(ExceptionGroup):
        found.raise_if_short()


async def races_through_a_generator(callers: Callers, mine: _Own) -> None:
    lazily = (callers.fetch(mine) for _ in range(40))
    await first_n_within(lazily, 10, within=PATIENCE, limit=5)


async def streams_and_breaks(callers: Callers, mine: _Own) -> None:
    lazily: Iterator[Any] = (callers.fetch(mine) for _ in range(40))
    async with as_completed_scoped(lazily, limit=6, child_timeout=PATIENCE) as outcomes:
        async for outcome in outcomes:
            if outcome.index > 10:
                break
            if outcome.exception() is not None and callers.chance():
                outcomes.add(callers.fetch(mine))


async def streams_from_a_source(callers: Callers, mine: _Own) -> None:
    async def source() -> AsyncIterator[Any]:
        for _ in range(12):  # created only when it is pulled
            await asyncio.sleep(0)
            yield callers.fetch(mine)

    async with as_completed_scoped(source(), limit=3, timeout=PATIENCE) as outcomes:
        async for outcome in outcomes:
            if outcome.exception() is None:
                await outcome


async def is_cancelled(callers: Callers, mine: _Own) -> None:
    call = asyncio.create_task(gather_structured(*callers.some(mine), child_timeout=PATIENCE))
    try:
        await asyncio.sleep(callers.moment())
    finally:  # also if `asyncio.run` is interrupted
        call.cancel()
        if callers.chance():
            asyncio.get_running_loop().call_soon(call.cancel)
        with suppress(asyncio.CancelledError):
            await call


async def is_timed_out(callers: Callers, mine: _Own) -> None:
    async with asyncio.timeout(callers.moment()):
        async with as_completed_scoped(callers.some(mine)) as outcomes:
            async for outcome in outcomes:
                outcome.done()


async def nests(callers: Callers, mine: _Own) -> None:
    async def inner() -> Any:
        return await gather_structured(*callers.some(mine, 3), child_timeout=PATIENCE)

    await first_n_within([inner() for _ in range(4)], 2, within=2 * PATIENCE)


CALLS: list[Callable[[Callers, _Own], Coroutine[Any, Any, None]]] = [
    fails_fast,
    returns_exceptions,
    adopts_tasks,
    raises_a_group,
    races,
    races_through_a_generator,
    streams_and_breaks,
    streams_from_a_source,
    is_cancelled,
    is_timed_out,
    nests,
]
