"""A strict provider, called through httpx, with and without `RateLimit`."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
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
    """Return `ask` of the README, with a limit and with waits for this provider."""
    found = pasted("A provider's limits")
    found["llm"] = limit
    ask: Callable[..., Any] = found["ask"].retry_with(**retrying)
    return ask


QUESTIONS = [f"question {n:02}" for n in range(30)]
ANSWERS = [question.upper() for question in QUESTIONS]
SIZE = len(QUESTIONS[0])


# With `RateLimit`

WINDOW = 0.5
MARGIN = 0.4


@pytest.mark.parametrize(
    ("requests", "tokens", "uses"),
    [(10, 1_000_000, 1.0), (1_000, 10 * (100 + SIZE), 1.0), (1_000, 10 * (100 + SIZE), 0.5)],
    ids=["requests", "tokens", "tokens returned"],
)
def test_no_request_is_refused_and_the_rate_is_used(
    requests: int, tokens: int, uses: float
) -> None:
    """If `per` exceeds the window by the variation of delays, no 429; the whole rate is used."""

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
        # Paired in order of time: a lower bound for how much the delays vary.
        pairs = zip(sorted(sent), sorted(provider.arrivals), strict=True)
        ways = [arrived - left for left, arrived in pairs]
        return provider, max(ways) - min(ways), sent[-1] - begin

    async def main() -> None:
        # Three windows of ten requests, if no tokens are returned: the last starts after two.
        due = 2 * (WINDOW + MARGIN)
        latest = due + 0.9 * (WINDOW + MARGIN) if uses == 1 else due
        for _ in range(5):  # a busy machine proves nothing
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
    """Delays requests to the application, and its responses."""

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
async def test_per_must_exceed_the_window_by_the_jitter_of_delays(
    margin: float,
    refused: bool,  # noqa: FBT001
) -> None:
    """With delays that vary by 0.2 s, `per` must exceed the provider's window by 0.2 s."""
    provider = Provider(10, 2_000, 20, 1.0)
    ask = lines(RateLimit(concurrent=20, requests=10, tokens=2_000, per=1.0 + margin))
    chance = random.Random(0)
    async with asking(provider, lambda: chance.choice([0.05, 0.25])) as http:
        questions = (ask(http, "?", chance.choice([10, 100, 1_000])) for _ in range(200))
        await gather_structured(*questions)
    assert provider.served == 200
    assert bool(provider.refused) == refused


# `Retry-After`


class Pausing:
    """A limit that records its pauses, and the requests of a client."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.pauses: list[tuple[float, float]] = []
        self.sent: list[float] = []

    def __call__(self, **weights: float) -> Any:
        return self.limit(**weights)

    def pause(self, seconds: float) -> None:
        self.pauses.append((now(), seconds))
        self.limit.pause(seconds)

    async def note(self, _: httpx.Request) -> None:
        self.sent.append(now())

    def lines(self) -> Callable[..., Any]:
        """Return `ask` of the README that pauses after a 429, with this limit."""
        found = pasted("After a 429 with `Retry-After`")
        found["llm"] = self
        ask: Callable[..., Any] = found["ask"]
        return ask

    def kept(self) -> bool:
        """Tell whether no request was sent during a pause."""
        return not any(
            begin < at < begin + seconds for at in self.sent for begin, seconds in self.pauses
        )


def test_after_a_429_nothing_is_sent_before_retry_after_is_over() -> None:
    """A limit above that of the provider: each refused request pauses all calls."""

    async def main() -> None:
        provider = Provider(10, 1_000_000, 1_000, WINDOW)
        limit = Pausing(RateLimit(concurrent=4, requests=1_000, per=WINDOW))
        ask = limit.lines()
        async with served(provider.app()) as (url, _), client(url) as http:
            http.event_hooks["request"].append(limit.note)
            assert await gather_structured(*(ask(http, q) for q in QUESTIONS)) == ANSWERS
        assert provider.refused == len(limit.pauses) > 0
        assert limit.kept()

    run(main, stock)


@virtual
async def test_after_a_429_all_requests_wait_for_the_longest_retry_after() -> None:
    """In each of three windows at most the four running requests are refused."""
    provider = Provider(10, 1_000_000, 1_000, 10.0, seconds=1.0)
    limit = Pausing(RateLimit(concurrent=4))
    ask = limit.lines()
    async with asking(provider) as http:
        http.event_hooks["request"].append(limit.note)
        assert await gather_structured(*(ask(http, q) for q in QUESTIONS)) == ANSWERS
    assert provider.served == 30
    assert provider.refused == len(limit.pauses) <= 8
    assert limit.kept()
    assert now() < 25


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        (None, 1.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(retry_after: str | None, seconds: float) -> None:
    """It may be missing; a date in the past is no wait."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    seconds_to_wait = pasted("After a 429 with `Retry-After`")["seconds_to_wait"]
    assert seconds_to_wait(httpx.Response(429, headers=headers)) == seconds


def test_retry_after_may_be_a_date_in_the_future() -> None:
    """The wait is the time until then."""
    at = datetime.now(UTC) + timedelta(hours=1)
    response = httpx.Response(429, headers={"Retry-After": format_datetime(at, usegmt=True)})
    seconds_to_wait = pasted("After a 429 with `Retry-After`")["seconds_to_wait"]
    assert 3500 < seconds_to_wait(response) <= 3600


@virtual
async def test_after_some_429s_the_last_one_is_raised() -> None:
    """As an exception of httpx, after five attempts."""
    provider = Provider(0, 0, 0, 1.0, seconds=2.0)
    async with asking(provider) as http:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            await gather_structured(Pausing(RateLimit(concurrent=1)).lines()(http, "?"))
    assert caught.value.response.status_code == 429
    assert provider.arrivals == [0, 2, 4, 6, 8]


# Announced limits


@virtual
async def test_announced_limits_are_followed() -> None:
    """Fewer requests, then more: none is refused, and the whole rate is used."""
    found = pasted("Limits that the provider announces")
    limit = found["llm"] = RateLimit(concurrent=50, requests=10, tokens=100_000, per=10.0)
    ask = lines(limit)
    provider = Provider(10, 100_000, 50, 10.0)
    async with asking(provider) as http:
        http.event_hooks["response"].append(found["follow_limits"])
        for requests, took in ((10, 20), (5, 50), (30, 0)):
            provider.requests = requests
            await asyncio.sleep(10)  # all has left the window when the limit is lowered
            await ask(http, "how many now?")
            await asyncio.sleep(10)
            begin = now()
            assert await gather_structured(*(ask(http, q) for q in QUESTIONS)) == ANSWERS
            assert took <= now() - begin < took + 1
    assert provider.refused == 0


@virtual
async def test_a_waiting_call_larger_than_an_announced_limit_raises() -> None:
    """The other calls are admitted."""
    found = pasted("Limits that the provider announces")
    limit = found["llm"] = RateLimit(concurrent=1, requests=10, tokens=10_000, per=10.0)
    ask = lines(limit)
    provider = Provider(10, 5_000, 50, 10.0)
    async with asking(provider) as http:
        http.event_hooks["response"].append(found["follow_limits"])
        calls = (ask(http, "?", tokens) for tokens in (100, 9_000, 100))
        first, large, last = await gather_structured(*calls, return_exceptions=True)
    assert (first, last) == ("?", "?")
    assert isinstance(large, ValueError)
    assert "update() has lowered the limit to 5000" in str(large)


# Threads


def test_threads_share_a_limit() -> None:
    """With and without event loops; a caller that is cancelled frees its place."""
    found = pasted("One limit for several threads")
    limit = found["llm"] = RateLimit(concurrent=2)
    running, most, hangs = 0, 0, asyncio.Event()

    async def ask(question: str) -> str:
        nonlocal running, most
        async with limit():
            running += 1
            most = max(most, running)
            try:
                await (hangs.wait() if question == "hang" else asyncio.sleep(0.001))
            finally:
                running -= 1
        return question

    found["ask"] = ask
    submit: Callable[[Any, str], Future[str]] = found["submit"]

    async def on_another_loop(loop: asyncio.AbstractEventLoop) -> None:
        hanging = [asyncio.wrap_future(submit(loop, "hang")) for _ in range(2)]
        await until(lambda: running == 2)
        for call in hanging:
            call.cancel()  # or no other could run
        names = [str(n) for n in range(20)]
        calls = (asyncio.wrap_future(submit(loop, name)) for name in names)
        assert await gather_structured(*calls) == names

    with found["loop_in_a_thread"]() as loop, ThreadPoolExecutor(4) as pool:
        on_a_loop = pool.submit(asyncio.run, on_another_loop(loop))
        plain = [pool.submit(submit(loop, str(n)).result) for n in range(20)]
        assert [call.result() for call in plain] == [str(n) for n in range(20)]
        on_a_loop.result()
    assert (running, most) == (0, 2)


# Without `RateLimit`: full jitter


def test_refused_requests_are_retried_until_they_are_served() -> None:
    """With full jitter, and no limit on this side."""

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
    """Send 60 requests at once where 10 are allowed; return when the refused ones are retried."""
    random.seed(0)
    provider = Provider(10, 1_000_000, 1_000, 1.0, seconds=0)
    ask = lines(NO_LIMIT, wait=wait)
    begin = now()
    async with asking(provider) as http:
        await gather_structured(*(ask(http, "?") for _ in range(60)))
    assert provider.served == 60
    return [arrival - begin for arrival in provider.arrivals[60:110]]


@virtual
async def test_full_jitter_spreads_retries() -> None:
    """Over the whole time; without jitter they all come at the same instant."""
    assert len({*await second_attempts(wait_exponential(multiplier=1))}) == 1
    tenths = Counter(int(10 * t) for t in await second_attempts(wait_random_exponential(1)))
    assert len(tenths) == 10
    assert max(tenths.values()) <= 12


# Deadlines, cancellations and failures


@virtual
async def test_a_deadline_stops_all_retries() -> None:
    """If the deadline of the call passes while its children wait to retry, none retries."""
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
    """Neither during the request nor during the wait: a cancelled child sends no other."""

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
    """For tenacity a CancelledError is not a failure."""
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
async def test_a_retry_of_every_exception_retries_a_cancellation() -> None:
    """A `retry` that excludes exceptions by type includes CancelledError: the call waits."""
    provider = Provider(10, 1_000_000, 1_000, 60.0, seconds=10)
    stubborn = lines(NO_LIMIT, retry=retry_if_not_exception_type(ValueError), wait=wait_none())
    async with asking(provider) as http:
        found = await first_n_within([stubborn(http, "?")], within=5)
    assert (found.values, found.reason) == ([], "deadline")
    assert provider.arrivals == [0, 5]
    assert now() == 15


@virtual
async def test_other_failures_are_not_retried() -> None:
    """They are raised at once, as httpx raised them."""

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
async def test_child_timeout_includes_all_attempts() -> None:
    """`child_timeout` bounds all attempts of a child together, and its waits."""
    provider = Provider(0, 0, 0, 1.0)
    ask = lines(NO_LIMIT, wait=wait_random_exponential(multiplier=1, max=5))
    async with asking(provider) as http:
        with pytest.raises(TimeoutError, match="child 0, ask"):
            await gather_structured(ask(http, "?"), child_timeout=20)
    assert now() == 20
    assert provider.refused > 4
