"""A provider that counts strictly, asked through httpx: under `RateLimit`, and without it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from support.real_loops import run, stock
from support.virtual_tests import virtual
from support.virtual_time import now

pytest.importorskip("httpx", exc_type=ImportError)
pytest.importorskip("tenacity", exc_type=ImportError)
pytest.importorskip("uvicorn", exc_type=ImportError)

import httpx
from integrations.pasted import pasted
from integrations.provider import PATH, Provider
from integrations.served import client, served, until
from tenacity import (
    retry_if_not_exception_type,
    wait_exponential,
    wait_none,
    wait_random_exponential,
)

from structgather import RateLimit, TimedOut, first_n_within, gather_structured

NO_LIMIT = RateLimit(concurrent=1_000_000)


def lines(limit: RateLimit, **retrying: Any) -> Callable[..., Any]:
    """Return `ask` of the README, under a limit, and with other waits than for a real provider."""
    found = pasted("A provider's limits")
    found["llm"] = limit
    ask: Callable[..., Any] = found["ask"].retry_with(**retrying)
    return ask


QUESTIONS = [f"question {n:02}" for n in range(30)]
ANSWERS = [question.upper() for question in QUESTIONS]
SIZE = len(QUESTIONS[0])


# Under `RateLimit`

WINDOW = 0.5
MARGIN = 0.4


@pytest.mark.parametrize(
    ("requests", "tokens", "uses"),
    [(10, 1_000_000, 1.0), (1_000, 10 * (100 + SIZE), 1.0), (1_000, 10 * (100 + SIZE), 0.5)],
    ids=["requests", "tokens", "tokens given back"],
)
def test_no_request_is_refused_and_none_waits_in_vain(
    requests: int, tokens: int, uses: float
) -> None:
    """With `per` longer by what delays vary: not one 429, and the whole rate is used."""

    async def fan_out() -> tuple[Provider, float, float]:
        provider = Provider(requests, tokens, 8, WINDOW, uses=uses)
        limit = RateLimit(concurrent=8, requests=requests, tokens=tokens, per=WINDOW + MARGIN)
        ask = lines(limit)
        sent: list[float] = []

        async def note(_: httpx.Request) -> None:
            sent.append(now())

        async with served(provider.app()) as (url, _), client(url) as http:
            http.event_hooks["request"].append(note)
            begin = now()
            assert await gather_structured(*(ask(http, q, 100) for q in QUESTIONS)) == ANSWERS
        # Paired in order of time: how far the longest way is longer than the shortest, at least.
        pairs = zip(sorted(sent), sorted(provider.arrivals), strict=True)
        ways = [arrived - left for left, arrived in pairs]
        return provider, max(ways) - min(ways), sent[-1] - begin

    async def main() -> None:
        # Three windows of ten requests, if nothing is given back: the last is due after two.
        due = 2 * (WINDOW + MARGIN)
        latest = due + 0.9 * (WINDOW + MARGIN) if uses == 1 else due
        for _ in range(5):  # a machine that is too busy proves nothing
            provider, variation, took = await fan_out()
            assert provider.served == len(QUESTIONS)
            assert uses < 1 or took >= due
            if variation <= MARGIN:
                assert provider.refused == 0
                if took < latest:
                    break
        else:
            pytest.fail("the rate was never used")

    run(main, stock)


class Network(httpx.ASGITransport):
    """Brings a request to the application with a delay."""

    def __init__(self, provider: Provider, delay: Callable[[], float]) -> None:
        super().__init__(provider.app())
        self.delay = delay

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(self.delay())
        response = await super().handle_async_request(request)
        await asyncio.sleep(self.delay())
        return response


def asking(provider: Provider, delay: Callable[[], float] = lambda: 0.0) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=Network(provider, delay), base_url="http://provider")


@pytest.mark.parametrize(("margin", "refused"), [(0.21, False), (0.0, True)])
@virtual
async def test_how_much_longer_per_must_be(margin: float, refused: bool) -> None:  # noqa: FBT001
    """Where delays vary by 0.2 s, `per` has to be as much longer than the provider's window."""
    provider = Provider(10, 2_000, 20, 1.0)
    ask = lines(RateLimit(concurrent=20, requests=10, tokens=2_000, per=1.0 + margin))
    chance = random.Random(0)
    async with asking(provider, lambda: chance.choice([0.05, 0.25])) as http:
        questions = (ask(http, "?", chance.choice([10, 100, 1_000])) for _ in range(200))
        await gather_structured(*questions)
    assert provider.served == 200
    assert bool(provider.refused) == refused


# Without: full jitter


def test_refused_requests_are_served_in_the_end() -> None:
    """Without a limit on this side requests are refused, and retried until all are served."""

    async def main() -> None:
        provider = Provider(10, 1_000_000, 1_000, 0.5)
        ask = lines(NO_LIMIT, wait=wait_random_exponential(multiplier=0.05, max=0.5))
        async with served(provider.app()) as (url, _), client(url) as http:
            async with asyncio.timeout(60):
                answers = await gather_structured(*(ask(http, q) for q in QUESTIONS))
        assert answers == ANSWERS
        assert provider.served == len(QUESTIONS)
        assert provider.refused > 0

    run(main, stock)


async def second_attempts(wait: Any) -> list[float]:
    """Let 60 requests come at once where 10 may, and say when those refused come again."""
    random.seed(0)
    provider = Provider(10, 1_000_000, 1_000, 1.0, seconds=0)
    ask = lines(NO_LIMIT, wait=wait)
    begin = now()
    async with asking(provider) as http:
        await gather_structured(*(ask(http, "?") for _ in range(60)))
    assert provider.served == 60
    return [arrival - begin for arrival in provider.arrivals[60:110]]


@virtual
async def test_retries_spread() -> None:
    """With full jitter those refused come again all over the time, else all in one instant."""
    assert len({*await second_attempts(wait_exponential(multiplier=1))}) == 1
    tenths = Counter(int(10 * t) for t in await second_attempts(wait_random_exponential(1)))
    assert len(tenths) == 10
    assert max(tenths.values()) <= 12


# How it ends


@virtual
async def test_a_deadline_ends_all_retries() -> None:
    """When the group's time is up while its children wait to retry, none comes again."""
    provider = Provider(0, 0, 0, 1.0)
    ask = lines(NO_LIMIT, wait=wait_random_exponential(multiplier=1, max=5))
    async with asking(provider) as http:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await gather_structured(*(ask(http, "?") for _ in range(10)))
        assert now() == 20
        found = await first_n_within([ask(http, "?") for _ in range(10)], within=20)
        assert [*map(type, found.outcomes)] == [TimedOut] * 10
        assert now() == 40
        arrived = provider.refused
        await asyncio.sleep(100)
    assert provider.refused == arrived > 40


def test_a_cancelled_request_is_never_retried() -> None:
    """A child that is cancelled amid its request or its wait is over: it sends no other."""

    async def main() -> None:
        provider = Provider(3, 1_000_000, 1_000, 60.0, seconds=60)  # three hang, three are refused
        ask = lines(NO_LIMIT, wait=wait_random_exponential(multiplier=60, min=30))
        async with (
            served(provider.app(), timeout_graceful_shutdown=0) as (url, _),
            client(url) as http,
        ):
            children = [ask(http, "?") for _ in range(6)]
            call = asyncio.create_task(gather_structured(*children))
            await until(lambda: provider.refused == 3 and provider.under_way == 3)
            call.cancel("enough")
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await call
        assert len(provider.arrivals) == 6
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    run(main, stock)


@virtual
async def test_a_child_that_cancels_itself_is_not_retried() -> None:
    """Tenacity takes no CancelledError for a failure: who raises one is asked once."""
    asked = count()

    class Cancels:
        async def post(self, path: str, **_: Any) -> None:
            assert path == PATH
            next(asked)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await gather_structured(lines(NO_LIMIT)(Cancels(), "?"))
    assert next(asked) == 1


@virtual
async def test_who_retries_anything_retries_its_cancellation() -> None:
    """A `retry` that says what not to retry takes CancelledError for a failure: the call waits."""
    provider = Provider(10, 1_000_000, 1_000, 60.0, seconds=10)
    stubborn = lines(NO_LIMIT, retry=retry_if_not_exception_type(ValueError), wait=wait_none())
    async with asking(provider) as http:
        found = await first_n_within([stubborn(http, "?")], within=5)
    assert (found.values, found.reason) == ([], "deadline")
    assert provider.arrivals == [0, 5]
    assert now() == 15


@virtual
async def test_what_else_fails_is_not_retried() -> None:
    """A failure that is no refusal ends the call at once, as the exception that httpx raised."""

    def broken(_: httpx.Request) -> httpx.Response:
        return httpx.Response(503)

    async with httpx.AsyncClient(
        transport=httpx.MockTransport(broken), base_url="http://p"
    ) as http:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            await gather_structured(lines(NO_LIMIT)(http, "?"))
    assert caught.value.response.status_code == 503
    assert now() == 0


@virtual
async def test_a_childs_time_counts_all_its_attempts() -> None:
    """`child_timeout` bounds the attempts of a child together, its waits included."""
    provider = Provider(0, 0, 0, 1.0)
    ask = lines(NO_LIMIT, wait=wait_random_exponential(multiplier=1, max=5))
    async with asking(provider) as http:
        with pytest.raises(TimeoutError, match="child 0, ask"):
            await gather_structured(ask(http, "?"), child_timeout=20)
    assert now() == 20
    assert provider.refused > 4
