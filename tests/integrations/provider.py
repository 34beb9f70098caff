"""A provider of chat completions that limits requests, tokens and concurrency, and answers 429."""

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
class Counted:
    """A request in the window: its arrival and its tokens."""

    since: float
    tokens: int


@dataclass
class Provider:
    """Counts as strictly as possible: a request from its arrival, in a sliding window.

    Its limits may be changed at any time; it announces them with each response.
    """

    requests: int
    tokens: int
    concurrent: int
    window: float
    #: How long an answer takes, and the fraction of the requested tokens that it uses.
    seconds: float = 0.01
    uses: float = 1.0
    arrivals: list[float] = field(default_factory=list[float])
    served: int = 0
    refused: int = 0
    under_way: int = 0
    _in_window: deque[Counted] = field(default_factory=deque[Counted])

    def app(self) -> App:
        return Starlette(routes=[Route(PATH, self.complete, methods=["POST"])])

    async def complete(self, request: Request) -> Response:
        """Answer a request, or refuse it."""
        asked = await request.json()
        tokens: int = len(asked["messages"][0]["content"]) + asked["max_tokens"]
        now = asyncio.get_running_loop().time()
        self.arrivals.append(now)
        announced = {
            "x-ratelimit-limit-requests": str(self.requests),
            "x-ratelimit-limit-tokens": str(self.tokens),
        }
        if (wait := self.too_much(now, tokens)) is not None:
            self.refused += 1
            error = {"error": {"code": "rate_limit_exceeded"}}
            return JSONResponse(error, 429, announced | {"Retry-After": f"{wait:.3f}"})
        counted = Counted(now, tokens)
        self._in_window.append(counted)
        self.under_way += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.under_way -= 1
        counted.tokens = round(tokens * self.uses)
        self.served += 1
        message = {"role": "assistant", "content": asked["messages"][0]["content"].upper()}
        answer = {"choices": [{"message": message}], "usage": {"total_tokens": counted.tokens}}
        return JSONResponse(answer, headers=announced)

    def too_much(self, now: float, tokens: int) -> float | None:
        """Return after how many seconds to retry, or None if there is room."""
        window = self._in_window
        while window and window[0].since + self.window <= now:
            window.popleft()
        if (
            len(window) < self.requests
            and sum(counted.tokens for counted in window) + tokens <= self.tokens
            and self.under_way < self.concurrent
        ):
            return None
        return window[0].since + self.window - now if window else self.seconds
