"""`RateLimit.update`: limits that change while calls run and wait."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
from typing import Any

import pytest

from structgather import RateLimit
from structgather._gate import Gate
from support.rate_limits import admitted
from support.virtual_tests import virtual
from support.virtual_time import now, run


async def takes(limit: RateLimit, seconds: float, **weights: float) -> float:
    """Be admitted, run for so many seconds, and return the time of the admission."""
    async with limit(**weights):
        at = now()
        await asyncio.sleep(seconds)
        return at


def tasks(*calls: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(call) for call in calls]


# Higher limits


@pytest.mark.parametrize("layer", ["concurrent", "requests", "tokens"])
@virtual
async def test_a_higher_limit_admits_waiting_calls_at_once(layer: str) -> None:
    """As many as there is room for, in order; the others wait on."""
    limit = RateLimit(**{layer: 2}, per=60)
    waiting = tasks(*(takes(limit, 100, tokens=1) for _ in range(5)))
    await asyncio.sleep(5)
    limit.update(**{layer: 4})
    due = 100 if layer == "concurrent" else 60
    assert [await task for task in waiting] == [0, 0, 5, 5, due]


@virtual
async def test_a_higher_limit_for_new_calls() -> None:
    """A call that was too large before is admitted now."""
    limit = RateLimit(tokens=10, per=60)
    with pytest.raises(ValueError, match="the limit is 10"):
        limit(tokens=20)
    limit.update(tokens=20)
    assert await admitted(limit, tokens=20) == 0


@virtual
async def test_a_higher_limit_goes_to_owed_tokens_first() -> None:
    """Of 250 used of 100, the other 150 count from 5; then a waiting call fits beside them."""
    limit = RateLimit(tokens=100, per=60)
    async with limit() as call:
        call.settle(tokens=250)
    waiting = tasks(admitted(limit, tokens=100), admitted(limit, tokens=50))
    await asyncio.sleep(5)
    limit.update(tokens=300)
    assert [await task for task in waiting] == [60, 60]
    assert await admitted(limit, tokens=300) == 120


@virtual
async def test_owed_tokens_come_before_new_calls_after_an_update() -> None:
    """Also if no call was waiting: 250 count, and 900 more do not fit into 1,000."""
    limit = RateLimit(tokens=100, per=60)
    async with limit() as call:
        call.settle(tokens=250)
    limit.update(tokens=1_000)
    assert await admitted(limit, tokens=900) == 60


@virtual
async def test_owed_tokens_that_were_due_before_an_update_keep_their_time() -> None:
    """Of 300 used of 100, 100 count from 60, and the last 100 from the update at 90."""
    limit = RateLimit(tokens=100, per=60)
    async with limit() as call:
        call.settle(tokens=300)
    await asyncio.sleep(90)
    limit.update(tokens=300)
    assert await admitted(limit, tokens=250) == 150


# Lower limits


@pytest.mark.parametrize("layer", ["requests", "tokens"])
@virtual
async def test_a_lower_limit_holds_calls_back_until_the_window_has_room(layer: str) -> None:
    """Admitted at 0, 10, 20, 30; with 2 at a time there is room when two have left."""
    limit = RateLimit(**{layer: 4}, per=60)
    for at in (0, 10, 20, 30):
        await asyncio.sleep(at - now())
        await admitted(limit, tokens=1)
    limit.update(**{layer: 2})
    waiting = tasks(*(admitted(limit, tokens=1) for _ in range(3)))
    assert [await task for task in waiting] == [80, 90, 140]


@virtual
async def test_a_lower_concurrency_holds_calls_back_until_enough_have_finished() -> None:
    """Four run until 10, 20, 30, 40; with one at a time the next starts when all have."""
    limit = RateLimit(concurrent=4)
    running = tasks(*(takes(limit, seconds) for seconds in (10, 20, 30, 40)))
    await asyncio.sleep(1)
    limit.update(concurrent=1)
    waiting = tasks(takes(limit, 5), takes(limit, 5))
    assert [await task for task in running] == [0] * 4
    assert [await task for task in waiting] == [40, 45]


@virtual
async def test_a_lower_concurrency_holds_new_calls_back() -> None:
    """Two of four run, no call waits, and now at most two may run."""
    limit = RateLimit(concurrent=4)
    running = tasks(takes(limit, 10), takes(limit, 20))
    await asyncio.sleep(1)
    limit.update(concurrent=2)
    assert await admitted(limit) == 10
    assert [await task for task in running] == [0, 0]


@virtual
async def test_a_lower_limit_puts_back_calls_that_have_not_resumed() -> None:
    """Admitted when a block was left, they go back to the queue if they do not fit any more."""
    limit = RateLimit(concurrent=3, requests=10, per=60)
    async with limit(), limit():
        running = asyncio.create_task(takes(limit, 10))
        waiting = tasks(takes(limit, 10), takes(limit, 10))
        await asyncio.sleep(1)
    assert "3 running, 0 waiting" in repr(limit)
    limit.update(concurrent=2)
    assert "2 running, 1 waiting; 4 requests" in repr(limit)
    assert [await task for task in (running, *waiting)] == [0, 1, 10]


@virtual
async def test_an_even_pace_becomes_slower_and_faster() -> None:
    """The part of the burst that is used stays used, and comes back at the new pace."""
    limit = RateLimit(requests=60, per=60, burst=2)
    assert [await admitted(limit) for _ in range(2)] == [0, 0]
    limit.update(requests=6)
    assert [await admitted(limit) for _ in range(2)] == [10, 20]
    limit.update(requests=30)
    assert [await admitted(limit) for _ in range(2)] == [22, 24]


def test_an_even_pace_that_changes_without_a_loop() -> None:
    """The part of the burst that the last program used is still used."""
    limit = RateLimit(requests=60, per=60, burst=2)

    async def two(at: float) -> list[float]:
        await asyncio.sleep(at)
        return [await admitted(limit), await admitted(limit)]

    assert run(two(100)) == [100, 100]
    limit.update(requests=6)
    assert run(two(100)) == [110, 120]
    fresh = RateLimit(requests=60, per=60, burst=2)
    fresh.update(requests=6)
    assert run(admitted(fresh)) == 0


def test_an_even_pace_that_changes_after_its_window() -> None:
    """The window of the last program is over; the next one has an even pace."""
    limit = RateLimit(requests=60, tokens=100, per=60, burst=2)

    async def use() -> None:
        async with limit(tokens=10) as call:
            pass
        await asyncio.sleep(100)
        call.settle(tokens=5)

    async def three() -> list[float]:
        return [await admitted(limit) for _ in range(3)]

    run(use())
    limit.update(requests=6)
    assert run(three()) == [0, 1, 11]


@virtual
async def test_the_maximum_of_one_call_is_the_burst_or_the_limit() -> None:
    """The lower of the two, also after an update."""
    limit = RateLimit(requests=60, per=60, burst=5)
    limit.update(requests=3)
    with pytest.raises(ValueError, match=r"requests=4 can never be admitted: the limit is 3$"):
        limit(requests=4)
    limit.update(requests=100)
    with pytest.raises(ValueError, match=r"requests=6 can never be admitted: the limit is 5$"):
        limit(requests=6)


@virtual
async def test_less_than_one_request() -> None:
    """A plain call does not fit, and the error says why."""
    limit = RateLimit(requests=1)
    limit.update(requests=0.5)
    with pytest.raises(
        ValueError, match=r"the limit is 0.5; for less than one request, make `per`"
    ):
        limit()
    limit.update(requests=1)
    assert await admitted(limit) == 0


# Calls that can never be admitted any more


@pytest.mark.parametrize(
    ("layers", "weights", "update", "message"),
    [
        (
            {"tokens": 10},
            {"tokens": 8},
            {"tokens": 7.5},
            r"tokens=8 can never be admitted: update\(\) has lowered the limit to 7.5$",
        ),
        ({"requests": 10}, {"requests": 8}, {"requests": 7}, r"requests=8 .* to 7$"),
        ({"tokens": 9_000_000}, {"tokens": 8_500_000}, {"tokens": 8_000_000}, "to 8000000$"),
    ],
    ids=["tokens", "requests", "millions"],
)
@virtual
async def test_a_waiter_that_can_never_fit_raises_and_those_behind_move_up(
    layers: dict[str, Any], weights: dict[str, Any], update: dict[str, Any], message: str
) -> None:
    """At once, with an error that says so; the next one is admitted in the same instant."""
    (layer,) = layers
    limit = RateLimit(**layers, per=60)
    await admitted(limit, **{layer: layers[layer] * 0.6})
    too_large, behind = tasks(admitted(limit, **weights), admitted(limit, **{layer: 1}))
    await asyncio.sleep(5)
    limit.update(**update)
    with pytest.raises(ValueError, match=message):
        await too_large
    assert [now(), await behind] == [5, 5]
    assert "0 running, 0 waiting" in repr(limit)


@virtual
async def test_a_call_made_before_an_update_is_refused_when_it_is_entered() -> None:
    """It would wait forever. It may be entered when the limit is higher again."""
    limit = RateLimit(tokens=10, requests=10)
    calls = [limit(tokens=8), limit(requests=8)]
    limit.update(tokens=7, requests=7)
    for call in calls:
        with pytest.raises(ValueError, match=r"=8 can never be admitted: update\(\) has lowered"):
            await call.__aenter__()
    assert "0 running, 0 waiting; 0 requests" in repr(limit)
    limit.update(tokens=8)
    async with calls[0]:
        assert now() == 0


@virtual
async def test_each_refused_waiter_has_an_error_of_its_own() -> None:
    """No traceback is shared, and no reference cycle is left."""
    limit = RateLimit(tokens=10)
    await admitted(limit, tokens=10)
    waiting = tasks(*(admitted(limit, tokens=9) for _ in range(3)))
    await asyncio.sleep(1)
    limit.update(tokens=5)
    await asyncio.wait(waiting)
    errors = {id(task.exception()) for task in waiting}
    assert len(errors) == 3
    gc.collect()
    gc.disable()
    try:
        del waiting
        await asyncio.sleep(0)
        assert gc.collect() == 0
    finally:
        gc.enable()


@virtual
async def test_a_waiter_refused_and_cancelled_in_the_same_iteration() -> None:
    """Its cancellation is not lost, and no exception is "never retrieved"."""
    limit = RateLimit(tokens=10)
    await admitted(limit, tokens=10)
    for cancel_first in (True, False):
        (waiting,) = tasks(admitted(limit, tokens=9))
        await asyncio.sleep(1)
        if cancel_first:
            waiting.cancel()
        limit.update(tokens=5)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert "0 running, 0 waiting" in repr(limit)
        limit.update(tokens=10)


@virtual
async def test_a_call_that_was_refused_is_refused_though_the_limit_rises_again() -> None:
    """Calls behind it have moved up: the error has the limit at that time."""
    limit = RateLimit(tokens=10, per=60)
    await admitted(limit, tokens=10)
    (waiting,) = tasks(admitted(limit, tokens=9))
    await asyncio.sleep(1)
    limit.update(tokens=5)
    limit.update(tokens=10)
    with pytest.raises(ValueError, match=r"lowered the limit to 5$"):
        await waiting


@virtual
async def test_a_call_that_was_admitted_and_has_not_resumed_may_be_refused() -> None:
    """Its tokens and its place are free for the next one."""
    limit = RateLimit(concurrent=1, tokens=10, per=60)
    async with limit(tokens=2):
        large, small = tasks(admitted(limit, tokens=8), admitted(limit, tokens=2))
        await asyncio.sleep(1)
    limit.update(tokens=4)
    with pytest.raises(ValueError, match="lowered the limit to 4"):
        await large
    assert await small == 1
    assert "0 running, 0 waiting; 2 requests and 4 tokens" in repr(limit)


# Settling


@virtual
async def test_more_tokens_than_the_new_limit_are_settled_and_repaid() -> None:
    """200 used, 80 estimated, and now the limit is 50: the 120 are repaid in order."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=80) as call:
        limit.update(tokens=50)
        call.settle(tokens=200)
    assert "200 tokens" in repr(limit)
    # 80 until 60; 50 until 120; 50 until 180; 20 until 240.
    assert [await admitted(limit, tokens=30), await admitted(limit, tokens=50)] == [180, 240]


@virtual
async def test_tokens_owed_before_an_update_are_repaid_by_the_new_limit() -> None:
    """Of 500 used of 100, 50 a window are repaid from the second window on."""
    limit = RateLimit(tokens=100, per=60)
    async with limit() as call:
        call.settle(tokens=300)
    limit.update(tokens=50)
    assert await admitted(limit, tokens=1) == 300


@virtual
async def test_unused_tokens_are_returned_under_the_new_limit() -> None:
    """20 of 80 were used: there is room for 30 at once, and the sums stay right."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=80) as call:
        limit.update(tokens=50)
        (waiting,) = tasks(admitted(limit, tokens=30))
        await asyncio.sleep(5)
        call.settle(tokens=20)
    assert await waiting == 5
    assert [await admitted(limit, tokens=20), await admitted(limit, tokens=50)] == [60, 120]


@virtual
async def test_a_settlement_within_the_estimate_is_valid_under_any_limit() -> None:
    """Only tokens to be repaid are compared with the limit."""
    limit = RateLimit(tokens=1_000_000, per=60)
    async with limit(tokens=1_000_000) as call:
        limit.update(tokens=1)
        call.settle(tokens=900_000)
    assert "900000 tokens" in repr(limit)
    assert await admitted(limit, tokens=1) == 60


# Pauses, and an update that changes nothing


@virtual
async def test_a_higher_limit_during_a_pause_admits_no_call() -> None:
    """The room is available when the pause is over."""
    limit = RateLimit(concurrent=1, requests=1, per=60)
    await admitted(limit)
    waiting = tasks(*(takes(limit, 5) for _ in range(3)))
    await asyncio.sleep(1)
    limit.pause(10)
    limit.update(concurrent=2, requests=9)
    assert [await task for task in waiting] == [11, 11, 16]


@virtual
async def test_an_update_to_the_same_limits_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider may announce them with each response, while thousands of calls wait."""
    limit = RateLimit(concurrent=1, requests=10, tokens=10)
    updates: list[Any] = []

    def update(_: Gate, *limits: float) -> None:
        updates.append(limits)

    monkeypatch.setattr(Gate, "update", update)
    limit.update(concurrent=1, requests=10.0, tokens=10)
    assert updates == []
    limit.update(requests=11)
    assert updates == [(1, 11, 10)]


# Loops and threads


def test_an_update_needs_no_loop_while_none_is_in_use() -> None:
    """Before the first call, and between two programs."""
    limit = RateLimit(concurrent=5, requests=5, tokens=5, per=60)
    limit.update(requests=2)

    async def three() -> list[float]:
        return [await admitted(limit) for _ in range(3)]

    assert run(three()) == [0, 0, 60]
    limit.update(requests=1)
    assert run(three()) == [60, 120, 180]


def test_an_update_after_a_loop_was_closed_affects_no_call_of_it() -> None:
    """Its waiting calls can't resume."""
    limit = RateLimit(concurrent=1, tokens=10)

    async def leave() -> Any:
        async with limit(tokens=5):
            waiting = limit(tokens=8).__aenter__()
            waiting.send(None)
            (waiter,) = limit._gate.queue.values()
            waiter.add_done_callback(print)  # it would be a task's callback
            return waiting

    waiting = run(leave())
    limit.update(tokens=3, concurrent=2)
    waiting.close()
    assert run(admitted(limit, tokens=3)) == 60


def test_an_update_from_another_thread_is_refused() -> None:
    """The error says how to do it, and no limit was changed."""
    errors: list[str] = []

    async def main() -> None:
        limit = RateLimit(requests=5)
        await admitted(limit)

        def elsewhere() -> None:
            try:
                limit.update(requests=1)
            except RuntimeError as error:
                errors.append(str(error))

        await asyncio.to_thread(elsewhere)
        limit(requests=5)

    with asyncio.Runner() as runner:
        runner.run(main())
    assert len(errors) == 1
    assert "call_soon_threadsafe" in errors[0]


# Bad input


@pytest.mark.parametrize(
    ("layers", "update", "error", "message"),
    [
        ({"tokens": 9}, {}, ValueError, r"RateLimit.update\(\): give at least one of concurrent"),
        ({"tokens": 9}, {"tokens": None}, ValueError, "give at least one of"),
        ({"tokens": 9}, {"requests": 5}, ValueError, "was made without requests"),
        ({"tokens": 9}, {"tokens": 5, "concurrent": 5}, ValueError, "was made without concurrent"),
        ({"requests": 9}, {"tokens": 5}, ValueError, "make it with requests, tokens$"),
        ({"tokens": math.inf, "requests": 9}, {"tokens": 5}, ValueError, "made without tokens"),
        ({"tokens": 9, "requests": 9}, {"tokens": 5, "requests": 0}, ValueError, "more than 0"),
        ({"tokens": 9, "requests": 9}, {"tokens": -5, "requests": 5}, ValueError, "at least 0"),
        ({"tokens": 9}, {"tokens": math.nan}, ValueError, "tokens must be at least 0, not nan"),
        ({"tokens": 9}, {"tokens": math.inf}, ValueError, "tokens must be finite"),
        ({"requests": 9}, {"requests": math.inf}, ValueError, "requests must be finite"),
        ({"tokens": 9}, {"tokens": 10**400}, ValueError, "must fit into a float"),
        ({"tokens": 9}, {"tokens": "5"}, TypeError, r"RateLimit.update\(\): tokens must be a num"),
        ({"tokens": 9}, {"tokens": True}, TypeError, "tokens must be a number, not a bool"),
        ({"concurrent": 9}, {"concurrent": 1.5}, TypeError, "must be a whole number"),
        ({"concurrent": 9}, {"concurrent": 0}, ValueError, "concurrent must be more than 0"),
        ({"tokens": 9}, {"per": 5}, TypeError, "per"),
    ],
    ids=str,
)
@virtual
async def test_an_invalid_update_changes_nothing(
    layers: dict[str, Any], update: dict[str, Any], error: type[Exception], message: str
) -> None:
    """All or nothing: a bad value for one layer leaves the others as they were."""
    limit = RateLimit(**layers)
    with pytest.raises(error, match=message):
        limit.update(**update)
    for name, most in layers.items():
        if name != "concurrent" and most == 9:
            limit(**{name: 9})
            with pytest.raises(ValueError, match="the limit is 9"):
                limit(**{name: 10})
    assert limit._gate.max_concurrent >= 9


@virtual
async def test_update_takes_keyword_arguments_only() -> None:
    """A number alone does not say what it limits."""
    update: Any = RateLimit(requests=1).update
    with pytest.raises(TypeError):
        update(5)
    with contextlib.suppress(ValueError):
        update()
