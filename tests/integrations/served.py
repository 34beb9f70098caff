"""An application served by uvicorn, on loopback, and children that record how they finish."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import httpx
import uvicorn

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


@asynccontextmanager
async def served(
    app: App, **config: Any
) -> AsyncGenerator[tuple[str, Callable[[], Awaitable[None]]]]:
    """Serve an application in this loop; yield its address, and a function that shuts it down."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", **config))
        serving = asyncio.create_task(server.serve(sockets=[listening]))

        async def shut_down() -> None:
            server.should_exit = True
            await serving

        try:
            await until(lambda: server.started)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", shut_down
        finally:
            await shut_down()


def client(url: str) -> httpx.AsyncClient:
    """Create a client with long timeouts, and with a connection for each request."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False)


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true, for a minute at most."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - whatever it may be
            await asyncio.sleep(0.001)


class Record:
    """Children that run until they are cancelled, and then clean up for a moment."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.cleaned_up: list[str] = []

    @property
    def running(self) -> int:
        """Count the children that are running, or whose cleanup was interrupted."""
        return len(self.started) - len(self.cleaned_up)

    async def child(self, name: str) -> str:
        self.started.append(name)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        finally:
            await asyncio.sleep(0.01)
            self.cleaned_up.append(name)
        return name

    def children(self) -> list[Any]:
        return [self.child(name) for name in "abc"]

    def assert_finished_once(self) -> None:
        """Fail unless each child was cancelled once and has cleaned up, once."""
        assert sorted(self.started) == ["a", "b", "c"]
        assert sorted(self.cancelled) == ["a", "b", "c"]
        assert sorted(self.cleaned_up) == ["a", "b", "c"]
