"""The three functions on asyncio's own loop, lazy and eager, on uvloop, and with sockets."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from structgather import gather_structured
from support.real_loops import Loop, on_each_loop, run


async def child(log: list[str], name: str, seconds: float = 0.01, *, fails: bool = False) -> str:
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.sleep(0)
        log.append(name)
    if fails:
        raise ValueError(name)
    return name


@on_each_loop
def test_values(loop: Loop) -> None:
    """Values are in order, also with a limit."""

    async def main() -> None:
        log: list[str] = []
        values = await gather_structured(child(log, "a", 0.02), child(log, "b"), child(log, "c"))
        assert [*values] == ["a", "b", "c"]
        children = [child(log, str(n)) for n in range(5)]
        values_again = await gather_structured(*children, limit=2, child_timeout=60)
        assert values_again == ["0", "1", "2", "3", "4"]

    run(main, loop)


@on_each_loop
def test_a_failure_leaves_nothing_behind(loop: Loop) -> None:
    """When a child has failed, every sibling has cleaned up."""

    async def main() -> None:
        log: list[str] = []
        with pytest.raises(ValueError, match="b"):
            await gather_structured(child(log, "a", 60), child(log, "b", fails=True))
        assert sorted(log) == ["a", "b"]
        assert len(asyncio.all_tasks()) == 1

    run(main, loop)


@on_each_loop
def test_a_timeout_around_a_call(loop: Loop) -> None:
    """The caller's timeout cancels and joins all children before it is raised."""

    async def main() -> None:
        log: list[str] = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await gather_structured(child(log, "a", 60), child(log, "b", 60))
        assert sorted(log) == ["a", "b"]

    run(main, loop)


@on_each_loop
def test_a_child_timeout(loop: Loop) -> None:
    """A late child is cancelled, and the others are not."""

    async def main() -> None:
        log: list[str] = []
        a, b = await gather_structured(
            child(log, "a", 60), child(log, "b"), child_timeout=0.05, return_exceptions=True
        )
        assert isinstance(a, TimeoutError)
        assert b == "b"

    run(main, loop)


@on_each_loop
def test_a_fan_out_over_sockets(loop: Loop) -> None:
    """One of many requests on real connections fails: when the call returns, all are closed."""

    class Server:
        def __init__(self) -> None:
            self.open = 0
            self.all_closed = asyncio.Event()

        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.open += 1
            with closing(writer):
                await reader.readline()
                if self.open == 20:  # all are connected: the last one gets an answer
                    writer.write(b"no\n")
                await reader.read()  # until the client has closed the connection
            self.open -= 1
            if not self.open:
                self.all_closed.set()

    async def request(port: int, connected: list[asyncio.StreamWriter]) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connected.append(writer)
        try:
            writer.write(b"please\n")
            answer = await reader.readline()
            raise ConnectionRefusedError(answer)
        finally:
            writer.close()
            await writer.wait_closed()

    async def main() -> None:
        server = Server()
        connected: list[asyncio.StreamWriter] = []
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            with pytest.raises(ConnectionRefusedError, match="no"):
                await gather_structured(*[request(port, connected) for _ in range(20)])
            assert len(connected) == 20
            assert all(writer.is_closing() for writer in connected)
            async with asyncio.timeout(60):
                await server.all_closed.wait()
        assert server.open == 0

    run(main, loop)


@pytest.mark.asyncio
async def test_under_pytest_asyncio() -> None:
    """It can be awaited in a test of pytest-asyncio."""
    log: list[str] = []
    with pytest.raises(ValueError, match="b"):
        await gather_structured(child(log, "a", 60), child(log, "b", fails=True))
    assert sorted(log) == ["a", "b"]
