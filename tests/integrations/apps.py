"""Applications whose handler fans out, as they are usually written, and with the README's code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from fastapi import FastAPI
from integrations.pasted import pasted
from integrations.served import App
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

Handler = Callable[[Request], Awaitable[Response]]
Work = Callable[[], Awaitable[Any]]
MakeHandler = Callable[[Work], Handler]
MakeApp = Callable[[Handler], App]


LINES = pasted("A web handler whose client goes away")
unless_gone, Streamed = LINES["unless_gone"], LINES["Streamed"]


# Ways in which a handler learns, or does not, that its client has disconnected.


def plain(work: Work) -> Handler:
    async def handler(_: Request) -> Response:
        await work()
        return PlainTextResponse("")

    return handler


def watching(work: Work) -> Handler:
    async def handler(request: Request) -> Response:
        await unless_gone(request, work())
        return PlainTextResponse("")

    return handler


def in_a_group(work: Work) -> Handler:
    async def handler(request: Request) -> Response:
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while (await request.receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(watch)
            await work()
            group.cancel_scope.cancel()
        return PlainTextResponse("")

    return handler


def streaming(work: Work) -> Handler:
    async def handler(_: Request) -> Response:
        async def produce(write: Callable[[str], Awaitable[None]]) -> None:
            await write("a first line")
            await work()

        response: Response = Streamed(produce)
        return response

    return handler


def with_middleware(handler: Handler) -> App:
    async def dispatch(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    middleware = [Middleware(BaseHTTPMiddleware, dispatch=dispatch)]
    return Starlette(routes=[Route("/", handler)], middleware=middleware)


def starlette(handler: Handler) -> App:
    return Starlette(routes=[Route("/", handler)])


def fastapi(handler: Handler) -> App:
    app = FastAPI()

    async def with_this_signature(request: Request) -> Response:
        return await handler(request)

    app.get("/", response_model=None)(with_this_signature)
    return app
