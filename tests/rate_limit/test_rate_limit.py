"""`RateLimit`: no window exceeds a limit, no call starves, a cancelled call consumes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structgather import RateLimit, gather_structured
from support.virtual_tests import virtual
from support.virtual_time import now, run


class Admitted(NamedTuple):
    """One admission: the call, its time and its weights."""

    name: Any
    at: float
    tokens: float = 0
    requests: float = 1


class Provider:
    """Calls that record when they were admitted."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.log: list[Admitted] = []
        self.running = self.most = 0

    async def call(
        self,
        name: Any,
        *,
        tokens: float = 0,
        requests: float = 1,
        takes: float = 0,
        used: float | None = None,
    ) -> None:
        async with self.limit(tokens=tokens, requests=requests) as admission:
            place = len(self.log)
            self.log.append(Admitted(name, now(), tokens, requests))
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(takes)
                if used is not None:
                    admission.settle(tokens=used)
                    if used < tokens:  # this much has counted from the start
                        self.log[place] = self.log[place]._replace(tokens=used)
            finally:
                self.running -= 1

    def times(self) -> list[float]:
        return [admitted.at for admitted in self.log]

    def names(self) -> list[Any]:
        return [admitted.name for admitted in self.log]


def most_in_any_window(log: list[Admitted], per: float, what: str) -> float:
    """Return the maximum of any window of `per` seconds that begins with an admission."""
    return max(
        (
            sum(getattr(other, what) for other in log if 0 <= other.at - first.at < per)
            for first in log
        ),
        default=0,
    )


# The layers


def test_at_most_concurrent_calls_run_at_a_time() -> None:
    """Two places for five calls of a second each: at 0, 0, 1, 1, 2."""

    async def main() -> Provider:
        provider = Provider(RateLimit(concurrent=2))
        await gather_structured(*(provider.call(n, takes=1) for n in range(5)))
        return provider

    provider = run(main())
    assert provider.times() == [0, 0, 1, 1, 2]
    assert provider.most == 2


def test_requests_in_a_window_are_at_most_the_limit() -> None:
    """Three a minute: the fourth is admitted when the first leaves the window, not a tick later."""

    async def main() -> Provider:
        provider = Provider(RateLimit(requests=3, per=60))
        await gather_structured(*(provider.call(n) for n in range(7)))
        return provider

    assert run(main()).times() == [0, 0, 0, 60, 60, 60, 120]


def test_tokens_in_a_window_are_at_most_the_limit() -> None:
    """Of 100 tokens 60 and 30 are admitted at once, 20 more when the 60 have left the window."""

    async def main() -> Provider:
        provider = Provider(RateLimit(tokens=100, per=60))
        await gather_structured(*(provider.call(n, tokens=n) for n in (60, 30, 20, 90)))
        return provider

    assert run(main()).log == [
        Admitted(60, 0, 60),
        Admitted(30, 0, 30),
        Admitted(20, 60, 20),
        Admitted(90, 120, 90),
    ]


def test_all_layers_are_taken_at_once_or_none() -> None:
    """A call that waits for tokens holds no place meanwhile, and its request is not counted."""

    async def main() -> tuple[float, str]:
        limit = RateLimit(concurrent=1, requests=10, tokens=10, per=60)
        async with limit(tokens=10):
            pass
        waiting = asyncio.create_task(Provider(limit).call("large", tokens=10))
        await asyncio.sleep(1)
        seen = repr(limit)
        await waiting
        return now(), seen

    at, seen = run(main())
    assert at == 60
    assert seen == ("<RateLimit: 0 running, 1 waiting; 1 requests and 10 tokens in 60 s>")


def test_burst_bounds_the_requests_of_one_instant() -> None:
    """60 a minute with a burst of 2: two at once, then one each second."""

    async def main() -> Provider:
        provider = Provider(RateLimit(requests=60, per=60, burst=2))
        await gather_structured(*(provider.call(n) for n in range(5)))
        await asyncio.sleep(10)
        await gather_structured(*(provider.call(n) for n in range(3)))
        return provider

    assert run(main()).times() == [0, 0, 1, 2, 3, 13, 13, 14]


def test_a_call_may_count_for_several_requests() -> None:
    """Weights apply to requests as well."""

    async def main() -> Provider:
        provider = Provider(RateLimit(requests=4, per=10))
        await gather_structured(*(provider.call(n, requests=n) for n in (3, 1, 2)))
        return provider

    assert run(main()).times() == [0, 0, 10]


# Fairness


def test_a_large_call_is_not_overtaken_by_small_ones() -> None:
    """First come, first served: calls behind a large one wait, although they would fit."""

    async def main() -> Provider:
        provider = Provider(RateLimit(tokens=100, per=60))
        sizes = [50, 100, 1, 1, 1]
        await gather_structured(*(provider.call(n, tokens=t) for n, t in enumerate(sizes)))
        return provider

    provider = run(main())
    assert provider.names() == [0, 1, 2, 3, 4]
    assert provider.times() == [0, 60, 120, 120, 120]


def test_a_new_call_does_not_overtake_a_waiting_one() -> None:
    """Not even in the loop iteration in which there is room again."""

    async def main() -> list[Any]:
        provider = Provider(RateLimit(concurrent=1))
        late: list[asyncio.Task[None]] = []

        async def first() -> None:
            async with provider.limit():
                await asyncio.sleep(1)
            late.append(asyncio.create_task(provider.call("late")))

        await gather_structured(first(), provider.call("waiting"), provider.call("last"))
        await gather_structured(*late)
        return provider.names()

    assert run(main()) == ["waiting", "last", "late"]


def test_the_whole_rate_is_used_under_load() -> None:
    """Within one per cent, over twenty windows, with tokens and requests of all sizes."""

    async def main() -> tuple[float, float]:
        provider = Provider(RateLimit(tokens=1000, per=1))
        sizes = [1 + n * 7919 % 10 for n in range(4000)]
        await gather_structured(*(provider.call(n, tokens=t) for n, t in enumerate(sizes)))
        return sum(sizes), provider.times()[-1]

    tokens, seconds = run(main())
    assert tokens / 1000 - 1 <= seconds <= tokens / 1000 * 1.01


# Settling


def test_unused_tokens_are_returned() -> None:
    """Estimated 100, used 30: 70 more are admitted in the same window."""

    async def main() -> Provider:
        provider = Provider(RateLimit(tokens=100, per=60))
        await gather_structured(
            provider.call("a", tokens=100, takes=5, used=30),
            provider.call("b", tokens=70),
            provider.call("c", tokens=1),
        )
        return provider

    assert run(main()).times() == [0, 5, 60]


def test_tokens_used_beyond_the_estimate_are_repaid_by_later_calls() -> None:
    """Estimated 10, used 90: the other 80 count from their settlement."""

    async def main() -> Provider:
        provider = Provider(RateLimit(tokens=100, per=60))
        await gather_structured(
            provider.call("a", tokens=10, takes=5, used=90), provider.call("b", tokens=90)
        )
        await provider.call("c", tokens=20)
        return provider

    # b was admitted before the settlement; c waits for the debt: 10 and 90 leave at 60, 80 at 65.
    assert run(main()).times() == [0, 0, 60]


def test_a_debt_larger_than_the_limit_takes_several_windows_to_repay() -> None:
    """Used 250 of 100: nothing is admitted for two windows, and half as much in the third."""

    async def main() -> Provider:
        provider = Provider(RateLimit(tokens=100, per=60))
        await provider.call("a", tokens=0, used=250)
        await provider.call("b", tokens=50)
        await provider.call("c", tokens=100)
        return provider

    assert run(main()).times() == [0, 120, 180]


def test_the_last_settlement_counts() -> None:
    """settle() may be called repeatedly, and after the block."""

    async def main() -> str:
        limit = RateLimit(tokens=100, per=60)
        async with limit(tokens=10) as call:
            call.settle(tokens=300)
            call.settle(tokens=40)
        call.settle(tokens=20)
        return repr(limit)

    assert "20 tokens" in run(main())


# Cancellation


def test_a_cancelled_waiter_leaves_the_queue_and_consumes_nothing() -> None:
    """Calls behind it are admitted at once, as if it had never waited."""

    async def main() -> Provider:
        provider = Provider(RateLimit(tokens=100, per=60))
        await provider.call("first", tokens=60)
        large = asyncio.create_task(provider.call("large", tokens=100))
        small = asyncio.create_task(provider.call("small", tokens=40))
        await asyncio.sleep(1)
        large.cancel()
        await gather_structured(large, small, return_exceptions=True)
        return provider

    assert run(main()).log == [Admitted("first", 0, 60), Admitted("small", 1, 40)]


def test_a_waiter_cancelled_in_the_iteration_of_its_admission_consumes_nothing() -> None:
    """The next one is admitted in its place."""

    async def main() -> Provider:
        provider = Provider(RateLimit(concurrent=1, requests=2, tokens=10, per=60))
        held = await provider.limit(tokens=1).__aenter__()
        waiting = asyncio.create_task(provider.call("cancelled", tokens=9))
        after = asyncio.create_task(provider.call("next", tokens=9))
        await asyncio.sleep(1)
        await held.__aexit__(None, None, None)  # admits the waiting call ...
        waiting.cancel()  # ... which is cancelled before it resumes
        await gather_structured(waiting, after, return_exceptions=True)
        return provider

    assert run(main()).log == [Admitted("next", 1, 9)]


# Properties


class Call(NamedTuple):
    """One call of a random load."""

    comes: int
    tokens: int
    takes: int
    used: int | None
    cancelled: int | None


loads = st.lists(
    st.builds(
        Call,
        comes=st.integers(0, 30),
        tokens=st.integers(0, 10),
        takes=st.integers(0, 8),
        used=st.none() | st.integers(0, 25),
        cancelled=st.none() | st.integers(0, 40),
    ),
    max_size=25,
)


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    limit = {
        "concurrent": draw(st.none() | st.integers(1, 4)),
        "requests": draw(st.none() | st.integers(1, 6)),
        "tokens": draw(st.none() | st.integers(10, 20)),
        "per": draw(st.integers(1, 12)),
    }
    if limit["requests"] is not None:
        limit["burst"] = draw(st.none() | st.integers(1, 3))
    if limit["concurrent"] is limit["requests"] is limit["tokens"] is None:
        limit["concurrent"] = 1
    return limit


def most(limit: dict[str, Any], what: str) -> float:
    bound: float | None = limit.get(what)
    return math.inf if bound is None else bound


@given(load=loads, given=limits())
def test_no_limit_is_exceeded_and_no_call_starves(load: list[Call], given: dict[str, Any]) -> None:
    """Under any load, first come, first served, every call that is not cancelled is admitted."""
    limit = RateLimit(**given)
    provider = Provider(limit)
    entered: list[int] = []

    async def visit(name: int, call: Call) -> None:
        await asyncio.sleep(call.comes)
        entered.append(name)
        await provider.call(name, tokens=call.tokens, takes=call.takes, used=call.used)

    async def main() -> list[bool]:
        tasks = [asyncio.create_task(visit(name, call)) for name, call in enumerate(load)]
        for name, call in enumerate(load):
            if call.cancelled is not None:
                asyncio.get_running_loop().call_later(call.cancelled, tasks[name].cancel)
        ended = await gather_structured(*tasks, return_exceptions=True)
        return [error is None for error in ended]

    served = run(main())
    assert provider.most <= most(given, "concurrent")
    for what in ("requests", "tokens"):
        assert most_in_any_window(provider.log, given["per"], what) <= most(given, what)
    at_once = [provider.times().count(at) for at in provider.times()]
    assert max(at_once, default=0) <= most(given, "burst")
    admitted_at = {admitted.name: admitted.at for admitted in provider.log}
    in_order = [admitted_at[name] for name in entered if name in admitted_at]
    assert in_order == sorted(in_order)
    assert all(ok for ok, call in zip(served, load, strict=True) if call.cancelled is None)
    assert limit._gate.running == 0
    assert limit._gate.waiting == 0


# Bad input


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "at least one of"),
        ({"concurrent": 0}, ValueError, "concurrent must be more than 0"),
        ({"concurrent": 1.5}, TypeError, "concurrent must be a whole number"),
        ({"requests": -1}, ValueError, "requests must be at least 0"),
        ({"tokens": "many"}, TypeError, "tokens must be a number"),
        ({"tokens": math.nan}, ValueError, "tokens must be at least 0"),
        ({"tokens": 10**400}, ValueError, "tokens must fit into a float"),
        ({"requests": 10**400}, ValueError, "requests must fit into a float"),
        ({"tokens": 1, "per": 10**400}, ValueError, "per must fit into a float"),
        ({"tokens": True}, TypeError, "tokens must be a number, not a bool"),
        ({"concurrent": True}, TypeError, "concurrent must be a whole number"),
        ({"concurrent": -(10**5000)}, ValueError, "concurrent must be at least 0"),
        ({"tokens": 1, "per": 0}, ValueError, "per must be more than 0"),
        ({"tokens": 1, "per": math.inf}, ValueError, "per must be finite"),
        ({"tokens": 1, "burst": 1}, ValueError, "burst requires requests"),
        ({"requests": 1, "burst": 1.5}, TypeError, "burst must be a whole number"),
    ],
)
def test_an_invalid_limit_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """At once, with the name of the argument."""
    with pytest.raises(error, match=message):
        RateLimit(**arguments)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ({"tokens": 101}, ValueError, "tokens=101 can never be admitted: the limit is 100$"),
        ({"requests": 11}, ValueError, "requests=11 can never be admitted: the limit is 10$"),
        ({"requests": 4}, ValueError, "requests=4 can never be admitted: the limit is 3$"),
        ({"tokens": -1}, ValueError, "tokens must be at least 0"),
        ({"tokens": 10**400}, ValueError, "tokens must fit into a float"),
        ({"requests": 10**5000}, ValueError, "requests must fit into a float"),
        ({"tokens": math.nan}, ValueError, "tokens must be at least 0"),
        ({"tokens": True}, TypeError, "tokens must be a number"),
        ({"tokens": None}, TypeError, "tokens must be a number"),
        ({"requests": -1}, ValueError, "requests must be at least 0"),
        ({"requests": None}, TypeError, "requests must be a number"),
    ],
)
def test_a_weight_that_can_never_fit_is_refused(
    weights: dict[str, Any], error: type[Exception], message: str
) -> None:
    """At once: it would wait forever."""
    limit = RateLimit(tokens=100, requests=10, burst=3 if weights.get("requests") == 4 else None)
    with pytest.raises(error, match=message):
        limit(**weights)


def test_a_burst_may_exceed_any_float() -> None:
    """It stands for everything that the window admits."""

    async def main() -> None:
        provider = Provider(RateLimit(requests=3, per=60, burst=10**400, concurrent=10**400))
        await gather_structured(*(provider.call(n) for n in range(3)))
        assert provider.times() == [0, 0, 0]

    run(main())


def test_a_rate_of_less_than_one_request_gets_a_hint() -> None:
    """One call in two seconds is not half a call in one."""
    with pytest.raises(
        ValueError, match=r"the limit is 0\.5; for less than one request, make `per`"
    ):
        RateLimit(requests=0.5, per=1)()


@pytest.mark.parametrize(("most", "weight"), [(1, 2), (1, 1.5), (2, 3), (1.5, 2)])
def test_a_weight_beyond_a_rate_of_one_or_more_gets_no_hint(most: float, weight: float) -> None:
    """A longer `per` would not help."""
    message = (
        f"^RateLimit: a call with requests={weight} can never be admitted: the limit is {most}$"
    )
    with pytest.raises(ValueError, match=message):
        RateLimit(requests=most)(requests=weight)


def test_entering_a_limit_that_was_not_called_raises() -> None:
    """`async with limit:` lacks the weights of the call."""

    async def main() -> None:
        limit: Any = RateLimit(concurrent=1)
        with pytest.raises(TypeError, match=r"not a context manager: use `async with limit\(\):`"):
            async with limit:
                pytest.fail("it was entered")
        with pytest.raises(TypeError, match=r"not a context manager: use `async with limit\(\):`"):
            await contextlib.AsyncExitStack().enter_async_context(limit)

    run(main())


def test_an_admission_is_entered_once_and_settled_afterwards() -> None:
    """The errors say what to do."""

    async def main() -> None:
        call = RateLimit(tokens=100)(tokens=5)
        with pytest.raises(RuntimeError, match="has not been admitted"):
            call.settle(tokens=1)
        async with call:
            with pytest.raises(ValueError, match="at least 0"):
                call.settle(tokens=-1)
        with pytest.raises(RuntimeError, match="can be entered only once"):
            await call.__aenter__()

    run(main())


@pytest.mark.parametrize("limited", ["concurrent", "requests", "tokens"])
def test_no_admission_is_entered_twice(limited: str) -> None:
    """Neither a running one nor a waiting one."""

    async def main() -> None:
        limit = RateLimit(**{limited: 5})
        calls = [limit(tokens=1) for _ in range(6)]
        entering = [asyncio.ensure_future(call.__aenter__()) for call in calls]
        await asyncio.sleep(0)
        assert [task.done() for task in entering] == [True] * 5 + [False]
        for call in calls:
            with pytest.raises(RuntimeError, match="can be entered only once"):
                await call.__aenter__()
        assert "5 running, 1 waiting" in repr(limit)
        await calls[0].__aexit__(None, None, None)
        await entering[-1]

    run(main())


@pytest.mark.parametrize("waits", [False, True])
@virtual
async def test_an_admission_after_a_pause_is_not_entered_twice(*, waits: bool) -> None:
    """Whether it waited for the end of the pause or came later."""
    limit = RateLimit(concurrent=1)
    limit.pause(1)
    if not waits:
        await asyncio.sleep(1)
    call = limit()
    async with call:
        pass
    with pytest.raises(RuntimeError, match="can be entered only once"):
        await call.__aenter__()


def test_another_loop_is_refused_while_the_first_one_is_open() -> None:
    """When that is closed, its admissions still count, on a clock that continues."""
    limit = RateLimit(requests=2, per=60)

    async def use() -> None:
        async with limit():
            pass

    with asyncio.Runner() as first:
        first.run(use())
        with asyncio.Runner() as second, pytest.raises(RuntimeError, match="different event loop"):
            second.run(use())
    with asyncio.Runner() as third:
        third.run(use())
    assert "2 requests" in repr(limit)
