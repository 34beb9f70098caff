"""What users of other projects have reported of asyncio's calls, and what ours do instead.

Each test is the smallest program of one public report. The link leads to its thread; the docstring
says what the user saw. `tests/README.md` has the table.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

import pytest

from structgather import (
    Ok,
    Outcome,
    RateLimit,
    as_completed_scoped,
    first_n_within,
    gather_structured,
)
from support.virtual_tests import forever, run_stock, virtual
from support.virtual_time import after, now, run

Coro: TypeAlias = Coroutine[Any, Any, Any]
#: `asyncio.gather` or `gather_structured`.
Gather: TypeAlias = Callable[..., Any]

EAGER_TASKS = sys.version_info >= (3, 12)


def tasks() -> int:
    """Return how many other Tasks there are."""
    return len(asyncio.all_tasks()) - 1


def reports_of(program: Callable[[], Coro]) -> list[str]:
    """Return what asyncio reports to the exception handler of its loop, of one program."""
    messages: list[str] = []

    async def listen() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: messages.append(context["message"]))
        await program()
        gc.collect()

    asyncio.run(listen())
    return messages


async def some_iterations() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# Tasks and coroutines that are left behind


# https://github.com/permitio/fastapi_websocket_rpc/issues/15
@virtual
async def test_a_race_against_an_event_leaves_no_task_behind() -> None:
    """Each call leaves a Task that waits for the close event: `as_completed` cancels none."""
    closed = asyncio.Event()

    async def with_as_completed() -> Any:
        return await next(iter(asyncio.as_completed([after(1, "reply"), closed.wait()])))

    async def with_first_n() -> Any:
        (first,) = (await first_n_within([after(1, "reply"), closed.wait()], 1)).values
        return first

    for _ in range(5):
        assert await with_as_completed() == "reply"
    assert tasks() == 5
    closed.set()
    await some_iterations()
    assert tasks() == 0
    closed.clear()
    for _ in range(5):
        assert await with_first_n() == "reply"
    assert tasks() == 0


# https://github.com/python/cpython/issues/152569
@virtual
async def test_a_race_against_a_shared_future_keeps_no_caller_alive() -> None:
    """Each `asyncio.wait` with a Future that is never done keeps the Task that waited (3.14)."""
    closed = asyncio.get_running_loop().create_future()
    callers: list[weakref.ref[asyncio.Task[Any]]] = []

    async def call() -> None:
        task = asyncio.current_task()
        assert task is not None
        callers.append(weakref.ref(task))
        await first_n_within([asyncio.sleep(0), asyncio.shield(closed)], 1)

    for _ in range(5):
        await asyncio.create_task(call())
    await some_iterations()
    gc.collect()
    assert [caller() for caller in callers] == [None] * 5
    assert not closed.done()


# https://github.com/davep/oshit/issues/26
def test_queued_children_are_not_reported_as_never_awaited() -> None:
    """Quitting while requests wait for a Semaphore in `gather`: each is "never awaited"."""

    async def request() -> None:
        await asyncio.sleep(3600)

    async def with_semaphore() -> None:
        semaphore = asyncio.Semaphore(1)

        async def one(aw: Coro) -> None:
            async with semaphore:
                await aw

        await asyncio.gather(*(one(request()) for _ in range(4)))

    async def with_limit() -> None:
        await gather_structured(*(request() for _ in range(4)), limit=1)

    def quit_while(load: Callable[[], Coro]) -> None:
        async def main() -> None:
            loading.append(asyncio.create_task(load()))
            await some_iterations()

        loading: list[asyncio.Task[None]] = []
        asyncio.run(main())
        assert loading.pop().cancelled()
        gc.collect()

    with pytest.warns(RuntimeWarning, match="request' was never awaited") as warnings:
        quit_while(with_semaphore)
    assert len(warnings) == 3
    quit_while(with_limit)


# https://github.com/taskiq-python/taskiq/pull/97
@virtual
async def test_queued_inputs_have_no_task() -> None:
    """A Semaphore limits what runs, but each waiting input has its Task: out of memory."""
    most = 0

    async def work() -> None:
        nonlocal most
        await asyncio.sleep(1)
        most = max(most, tasks())

    async def limited(semaphore: asyncio.Semaphore) -> None:
        async with semaphore:
            await work()

    semaphore = asyncio.Semaphore(2)
    await asyncio.gather(*(limited(semaphore) for _ in range(100)))
    assert most >= 98
    most = 0
    async with as_completed_scoped((work() for _ in range(100)), limit=2) as outcomes:
        assert [outcome.index async for outcome in outcomes] == list(range(100))
    assert most <= 2


# https://github.com/aio-libs/aiohappyeyeballs/pull/143
@virtual
async def test_the_value_of_a_loser_is_in_the_outcomes() -> None:
    """A connection made in spite of its cancellation, when another has won, is never closed."""
    opened: set[str] = set()

    async def connects() -> str:
        await asyncio.sleep(1)
        opened.add("first")
        return "first"

    async def connects_although_cancelled() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        opened.add("second")
        return "second"

    race = await first_n_within([connects(), connects_although_cancelled()], 1)
    assert race.values == ["first"]
    assert opened == {"first", "second"}
    made = {outcome.value for outcome in race.outcomes if isinstance(outcome, Ok)}
    assert made - set(race.values) == {"second"}  # to be closed


# Failures, results, timeouts and cancellations that are lost


# https://github.com/microsoft/playwright-python/issues/1210
def test_a_loser_that_raises_when_it_is_cancelled_has_an_outcome() -> None:
    """The exception of a cancelled loser is logged as "exception was never retrieved"."""

    async def never_found() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ConnectionError("target closed")

    async def with_wait() -> None:
        children = [asyncio.create_task(aw) for aw in (asyncio.sleep(0), never_found())]
        _, pending = await asyncio.wait(children, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await some_iterations()

    async def with_first_n() -> None:
        race = await first_n_within([asyncio.sleep(0, "found"), never_found()], 1)
        assert race.values == ["found"]
        assert str(race.outcomes[1].exception()) == "target closed"
        assert race.exception_group() is not None

    assert reports_of(with_wait) == ["Task exception was never retrieved"]
    assert reports_of(with_first_n) == []


# https://github.com/ethereum/trinity/pull/1061
def test_a_cancelled_call_is_cancelled() -> None:
    """A cancelled `gather` has not `cancelled()`, and its error "was never retrieved"."""
    cancelled: list[bool] = []

    async def shuts_down(gather: Gather) -> None:
        waiting = asyncio.ensure_future(gather(asyncio.sleep(3600), asyncio.sleep(3600)))
        await some_iterations()
        waiting.cancel()
        await some_iterations()
        cancelled.append(waiting.cancelled())

    never_retrieved = ["_GatheringFuture exception was never retrieved"]
    assert reports_of(lambda: shuts_down(asyncio.gather)) == never_retrieved
    assert reports_of(lambda: shuts_down(gather_structured)) == []
    assert cancelled == [False, True]


# https://github.com/MagicStack/asyncpg/pull/1046
def test_a_generator_without_the_star_is_refused_also_if_exceptions_are_returned() -> None:
    """`gather(close(c) for c in pool)` closed nothing, and `return_exceptions` hid that."""
    closed: list[str] = []

    async def close(connection: str) -> None:
        closed.append(connection)

    def closes() -> Iterator[Coro]:
        return (close(connection) for connection in "ab")

    async def all_closed(gather: Gather) -> Any:
        return await gather(closes(), return_exceptions=True)

    if EAGER_TASKS:  # since 3.12 a generator is no coroutine
        with pytest.raises(TypeError, match="a coroutine or an awaitable is required"):
            run(all_closed(asyncio.gather))
    else:
        with pytest.warns(RuntimeWarning, match="close' was never awaited"):
            (hidden,) = asyncio.run(all_closed(asyncio.gather))
        assert isinstance(hidden, RuntimeError)
    with pytest.raises(TypeError, match=r"forget the star: \(\*awaitables\)\?$"):
        run(all_closed(gather_structured))
    assert closed == []


# https://github.com/Rapptz/discord.py/issues/494
@virtual
async def test_a_deadline_can_be_raised() -> None:
    """`asyncio.wait(timeout=...)` never raises TimeoutError: the handler of it is never called."""
    late = asyncio.create_task(asyncio.sleep(9))
    done, pending = await asyncio.wait([late], timeout=1)
    assert (done, pending) == (set(), {late})
    late.cancel()

    replies = await first_n_within([asyncio.sleep(9)], 1, within=1)
    assert replies.reason == "deadline"
    with pytest.raises(ExceptionGroup, match="0 of 1 values arrived within 1 s") as caught:
        replies.raise_if_short()
    assert [type(error) for error in caught.value.exceptions] == [TimeoutError]


# https://github.com/pydantic/pydantic-ai/issues/6370
@virtual
async def test_values_of_siblings_are_not_lost_with_a_failure() -> None:
    """One tool crashes, and the approval that another one has asked for is dropped."""

    async def approval() -> str:
        return "needs approval"

    with pytest.raises(ValueError, match="crashed"):
        await asyncio.gather(approval(), after(1, ValueError("crashed")))
    with pytest.raises(ExceptionGroup, match="child 1 failed") as caught:
        await gather_structured(
            approval(), after(1, ValueError("crashed")), forever(), exception_group=True
        )
    failures: Any = caught.value
    outcomes: tuple[Outcome[str], ...] = failures.outcomes
    assert [o.value for o in outcomes if isinstance(o, Ok)] == ["needs approval"]


# https://github.com/google/adk-python/pull/6469
@virtual
async def test_the_first_of_simultaneous_failures_is_raised() -> None:
    """Two branches fail at once: which failure is raised depends on the order of a set."""

    def branches() -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(after(1, ValueError(str(index)))) for index in range(5)]

    failed = branches()
    done, _ = await asyncio.wait(failed, return_when=asyncio.FIRST_EXCEPTION)
    assert type(done) is set
    assert done == set(failed)
    assert [str(task.exception()) for task in failed] == list("01234")

    async def raised(children: list[asyncio.Task[Any]]) -> tuple[str, list[str]]:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - its message is returned
            await gather_structured(*children)
        return str(caught.value), caught.value.__notes__

    assert (await raised(branches()))[0] == "0"
    message, (which, others) = await raised(failed)
    assert message == "0"
    assert which.startswith("gather_structured(): raised by child 0")
    assert all(f"ValueError: {index}" in others for index in range(1, 5))


# https://github.com/redis/redis-py/pull/4123
@virtual
async def test_a_second_cancellation_does_not_interrupt_cleanups() -> None:
    """A second cancellation interrupts the release: the connection is lost to its pool."""

    async def released(gather: Gather) -> list[int]:
        pool: list[int] = [1, 2]

        async def command() -> None:
            connection = pool.pop(0)
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(1)  # reads the reply that is still to come
                pool.append(connection)

        async def pipeline() -> None:
            await gather(command(), command())

        task = asyncio.create_task(pipeline())
        for _ in range(2):
            await asyncio.sleep(0.5)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return pool

    assert await released(asyncio.gather) == []
    assert await released(gather_structured) == [1, 2]


# https://github.com/ccxt/ccxt/issues/29926
@virtual
async def test_a_shielded_task_is_kept_for_its_other_users() -> None:
    """One of the callers that wait for a shared load is cancelled, and so are all the others."""

    async def others_result(gather: Gather, wrap: Callable[[Any], Any], *, fail: bool) -> Any:
        shared = asyncio.create_task(after(5, "markets"))

        async def caller(aw: Coro) -> Any:
            return await gather(wrap(shared), aw)

        other = asyncio.create_task(caller(asyncio.sleep(0)))
        leaves = asyncio.create_task(caller(after(1, KeyError()) if fail else forever()))
        await asyncio.sleep(1)
        if not fail:
            leaves.cancel()
        await asyncio.wait([other, leaves])
        with suppress(KeyError, asyncio.CancelledError):
            leaves.result()
        return "cancelled" if other.cancelled() else other.result()[0]

    for gather in (asyncio.gather, gather_structured):
        assert await others_result(gather, lambda task: task, fail=False) == "cancelled"
        assert await others_result(gather, asyncio.shield, fail=False) == "markets"
        assert await others_result(gather, asyncio.shield, fail=True) == "markets"
    # Here ours differ: an adopted Task is cancelled with its siblings in any case.
    assert await others_result(asyncio.gather, lambda task: task, fail=True) == "markets"
    assert await others_result(gather_structured, lambda task: task, fail=True) == "cancelled"


# Calls that hang


# https://github.com/wool-labs/wool/issues/421
@virtual
async def test_two_tasks_that_join_each_other_do_not_hang() -> None:
    """Two drains of one loop gather each other: both hang, and `cancel()` is a RecursionError."""

    async def drain(gather: Gather, drains: list[Any], release: Any) -> Any:
        others = [task for task in drains if task is not asyncio.current_task()]
        return await gather(*others, release)

    def start(gather: Gather) -> tuple[asyncio.Task[Any], asyncio.Task[Any], Any]:
        drains: list[Any] = []
        release = asyncio.get_running_loop().create_future()
        drains += [asyncio.create_task(drain(gather, drains, release)) for _ in range(2)]
        return drains[0], drains[1], release

    first, second, release = start(asyncio.gather)
    await asyncio.sleep(60)
    assert not first.done()
    assert not second.done()
    with pytest.raises(RecursionError):
        first.cancel()
    release.set_exception(LookupError())
    await asyncio.wait([first, second])
    assert {type(task.exception()) for task in (first, second)} == {LookupError}

    first, second, release = start(gather_structured)
    await asyncio.wait([first, second])
    with pytest.raises(RuntimeError, match="child 0 is an ancestor of the calling task"):
        second.result()
    assert first.exception() is second.exception()
    assert release.cancelled()


# https://github.com/banteg/multicall.py/issues/93
@virtual
async def test_nested_calls_with_limits_do_not_wait_for_each_other() -> None:
    """Calls on two levels share a Semaphore: the outer ones hold it, and no inner one gets it."""
    semaphore = asyncio.Semaphore(2)

    async def call() -> None:
        await asyncio.sleep(1)

    async def holding(work: Callable[[], Coro]) -> None:
        async with semaphore:
            await work()

    async def batch_under_a_semaphore() -> None:
        await asyncio.gather(*(holding(call) for _ in range(2)))

    async def batch_under_a_limit() -> None:
        await gather_structured(*(call() for _ in range(2)), limit=2)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await asyncio.gather(*(holding(batch_under_a_semaphore) for _ in range(4)))
    start = now()
    await gather_structured(*(batch_under_a_limit() for _ in range(4)), limit=2)
    assert now() - start == 2


# https://github.com/pytest-dev/pytest-asyncio/issues/1083
def test_a_block_may_be_entered_and_left_by_different_tasks() -> None:
    """A TaskGroup in a fixture, left by another Task than entered it, ignores a failure: hangs."""

    async def with_group() -> None:
        group = asyncio.TaskGroup()
        await asyncio.create_task(group.__aenter__())
        sibling = group.create_task(asyncio.sleep(3600))
        group.create_task(after(0, ValueError()))
        leaves = asyncio.create_task(group.__aexit__(None, None, None))
        await some_iterations()
        assert not leaves.done()
        sibling.cancel()
        await asyncio.wait([leaves])
        assert isinstance(leaves.exception(), ExceptionGroup)

    (reported,) = reports_of(with_group)
    assert "has errored out but its parent task" in reported
    run(enter_and_leave_in_different_tasks())


async def enter_and_leave_in_different_tasks() -> None:
    block = as_completed_scoped([forever(), after(1, ValueError())])

    async def set_up() -> None:
        await block.__aenter__()  # as a generator does up to its `yield`

    async def tear_down() -> None:
        await block.__aexit__(None, None, None)

    await asyncio.create_task(set_up())
    await asyncio.sleep(2)  # the test
    await asyncio.create_task(tear_down())
    assert tasks() == 0
    cancelled, failed = sorted(block.undelivered, key=lambda outcome: outcome.index)
    assert cancelled.cancelled()
    assert isinstance(failed.exception(), ValueError)


# https://github.com/python/cpython/issues/155418
@pytest.mark.skipif(not EAGER_TASKS, reason="there are no eager tasks before 3.12")
def test_a_child_that_cancels_all_before_it_is_suspended_is_cancelled() -> None:
    """With eager tasks, a child that cancels its TaskGroup at once is not cancelled: it hangs."""

    async def child(cancel_all: Callable[[], object]) -> None:
        cancel_all()
        await asyncio.sleep(3600)

    async def the_stream() -> None:
        async with as_completed_scoped([asyncio.sleep(3600)]) as outcomes:
            outcomes.add(child(outcomes.cancel))
            assert [outcome.cancelled() async for outcome in outcomes] == [True, True]

    async def the_caller() -> None:
        async def call() -> None:
            caller = asyncio.current_task()
            assert caller is not None
            await gather_structured(asyncio.sleep(3600), child(caller.cancel))

        # Not eager itself: an eager Task is cancelled in its own first step.
        task = asyncio.Task(call())
        await asyncio.wait([task])
        assert task.cancelled()
        assert tasks() == 0

    run_stock(the_stream(), eager=True)
    run_stock(the_caller(), eager=True)


# Timeouts, limits and rates


# https://github.com/encode/httpx/issues/1171
@virtual
async def test_child_timeout_does_not_include_the_time_in_the_queue() -> None:
    """Requests beyond the size of the pool time out: their time includes the wait for a place."""

    async def request(semaphore: asyncio.Semaphore) -> str:
        async with semaphore:
            await asyncio.sleep(3)
        return "page"

    pool = asyncio.Semaphore(2)
    pages = await asyncio.gather(
        *(asyncio.wait_for(request(pool), 5) for _ in range(6)), return_exceptions=True
    )
    assert [type(page) for page in pages] == [str, str, *[TimeoutError] * 4]

    requests = (after(3, "page") for _ in range(6))
    assert await gather_structured(*requests, limit=2, child_timeout=5) == ["page"] * 6


# https://github.com/fsspec/filesystem_spec/pull/1544
@virtual
async def test_a_finished_child_makes_room_beside_a_slow_one() -> None:
    """Transfers in chunks of two: each chunk waits for its slowest, with room left unused."""
    seconds = [10, 1, 1, 1, 10, 1, 1, 1]
    for first in range(0, 8, 2):
        await asyncio.gather(*map(asyncio.sleep, seconds[first : first + 2]))
    assert now() == 22
    await gather_structured(*map(asyncio.sleep, seconds), limit=2)
    assert now() - 22 == 13


# https://github.com/port-labs/ocean/pull/3413
@virtual
async def test_a_call_cancelled_while_it_waits_for_the_window_holds_no_place() -> None:
    """A request that times out while it waits for the rate limit keeps its Semaphore forever."""

    class Limiter:
        def __init__(self) -> None:
            self.places, self.admitted = asyncio.Semaphore(2), 0

        async def __aenter__(self) -> None:
            await self.places.acquire()
            self.admitted += 1
            if self.admitted > 2:
                await asyncio.sleep(60)  # the window

        async def __aexit__(self, *_: object) -> None:
            self.places.release()

    async def admitted(admission: Any) -> bool:
        async def call() -> None:
            async with admission:
                pass

        try:
            await asyncio.wait_for(call(), 5)
        except TimeoutError:
            return False
        return True

    theirs, limit = Limiter(), RateLimit(concurrent=2, requests=2, per=60)
    assert [await admitted(theirs) for _ in range(4)] == [True, True, False, False]
    assert theirs.places.locked()  # forever
    assert [await admitted(limit()) for _ in range(4)] == [True, True, False, False]
    await asyncio.sleep(60)
    assert await admitted(limit())


# https://github.com/run-llama/llama_index/issues/23202
@virtual
async def test_a_call_larger_than_the_limit_is_refused_at_once() -> None:
    """A prompt of more tokens than a minute has: one limiter waits forever, another admits it."""
    limit = RateLimit(tokens=100, per=60)
    with pytest.raises(ValueError, match="can never be admitted: the limit is 100"):
        async with limit(tokens=200):
            pass
    async with limit(tokens=100):
        assert now() == 0
