"""A provider of chat completions that counts requests, tokens and concurrency, and answers 429."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from integrations.served import App
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PATH = "/v1/chat/completions"


@dataclass
class Spent:
    """What counts in the window: since when, and how many tokens."""

    since: float
    tokens: int


@dataclass
class Provider:
    """Counts as strictly as can be: when a request arrives, in a window that slides."""

    requests: int
    tokens: int
    concurrent: int
    window: float
    #: How long an answer takes, and which part of the tokens asked for it really uses.
    seconds: float = 0.01
    uses: float = 1.0
    arrivals: list[float] = field(default_factory=list[float])
    served: int = 0
    refused: int = 0
    under_way: int = 0
    _in_window: deque[Spent] = field(default_factory=deque[Spent])

    def app(self) -> App:
        return Starlette(routes=[Route(PATH, self.complete, methods=["POST"])])

    async def complete(self, request: Request) -> Response:
        """Answer a request, or refuse it."""
        asked = await request.json()
        tokens: int = len(asked["messages"][0]["content"]) + asked["max_tokens"]
        now = asyncio.get_running_loop().time()
        self.arrivals.append(now)
        if (wait := self.too_much(now, tokens)) is not None:
            self.refused += 1
            error = {"error": {"code": "rate_limit_exceeded"}}
            return JSONResponse(error, 429, {"Retry-After": f"{wait:.3f}"})
        spent = Spent(now, tokens)
        self._in_window.append(spent)
        self.under_way += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.under_way -= 1
        spent.tokens = round(tokens * self.uses)
        self.served += 1
        message = {"role": "assistant", "content": asked["messages"][0]["content"].upper()}
        usage = {"total_tokens": spent.tokens}
        return JSONResponse({"choices": [{"message": message}], "usage": usage})

    def too_much(self, now: float, tokens: int) -> float | None:
        """Say in how many seconds to come again, or None if there is room."""
        window = self._in_window
        while window and window[0].since + self.window <= now:
            window.popleft()
        if (
            len(window) < self.requests
            and sum(spent.tokens for spent in window) + tokens <= self.tokens
            and self.under_way < self.concurrent
        ):
            return None
        return window[0].since + self.window - now if window else self.seconds
