"""A process that serves one handler with uvicorn, and prints how its children finish."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn
from integrations.pasted import pasted
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from structgather import gather_structured

LINES = pasted("When the server ends")


def say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def child() -> None:
    say("started")
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        say("cancelled")
        await asyncio.sleep(0.1)
        say("cleaned up")


async def handler(_: Request) -> Response:
    LINES["finish_before_the_server_ends"]()
    await gather_structured(child(), child())
    raise AssertionError


def main() -> None:
    lifespan: Any = LINES["lifespan"] if sys.argv[2] == "waits" else None
    app = Starlette(routes=[Route("/", handler)], lifespan=lifespan)
    port = int(sys.argv[1])
    uvicorn.run(app, port=port, log_level="critical", timeout_graceful_shutdown=0)


if __name__ == "__main__":
    main()
