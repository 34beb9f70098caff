"""`limit`: how many children run at a time. `child_timeout`: how long each of them may run."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Awaitable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from structgather import as_completed_scoped, gather_structured
from structgather._timers import ChildTimeouts
from support.each_call import Call, each_call
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now, run, still_to_ring, timers_from_now_on

EAGER = [
    False,
    pytest.param(
        True,
        marks=pytest.mark.skipif(
            sys.version_info < (3, 12), reason="there are no eager tasks before 3.12"
        ),
    ),
]
lazy_and_eager = pytest.mark.parametrize("eager", EAGER)


class Crowd:
    """Children that record how many of them run, and when and in which order they started."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.started: list[tuple[str, float]] = []
        self.tasks: set[int] = set()

    async def child(self, name: str, seconds: float) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.append((name, now()))
        self.tasks.add(len(asyncio.all_tasks()))
        try:
            await asyncio.sleep(seconds)
        finally:
            self.running -= 1
        return name


# limit


@lazy_and_eager
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_at_most_limit_children_run(limit: int, *, eager: bool) -> None:
    """As many children run as the limit allows; values are in argument order."""
    crowd = Crowd()

    async def main() -> None:
        names = "abcdefg"
        children = [crowd.child(name, 1 + index % 3) for index, name in enumerate(names)]
        assert await gather_structured(*children, limit=limit) == list(names)

    run(main(), eager=eager)
    assert crowd.most == min(limit, 7)


class Lazy:
    """Awaitable, and neither a coroutine nor a Future."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Any:
        return self.coroutine.__await__()


@lazy_and_eager
def test_an_awaitable_object_is_queued_like_a_coroutine(*, eager: bool) -> None:
    """It starts running when it is awaited, so it waits for the limit."""
    crowd = Crowd()
    run(gather_all(*[Lazy(crowd.child(name, 1)) for name in "abc"]), eager=eager)
    assert crowd.started == [("a", 0), ("b", 0), ("c", 1)]


@lazy_and_eager
def test_queued_children_start_in_argument_order(*, eager: bool) -> None:
    """The next one starts in the moment when one has finished."""
    crowd = Crowd()
    children = [("a", 3), ("b", 1), ("c", 1), ("d", 5), ("e", 1)]
    run(gather_all(*[crowd.child(name, seconds) for name, seconds in children]), eager=eager)
    assert crowd.started == [("a", 0), ("b", 0), ("c", 1), ("d", 2), ("e", 3)]


@lazy_and_eager
def test_queued_children_start_after_those_that_there_is_room_for(*, eager: bool) -> None:
    """Also if one of these finishes in its first step, while the others are being started."""
    started: list[str] = []

    async def returns_at_once(name: str) -> None:
        started.append(name)

    run(gather_all(*map(returns_at_once, "abcd")), eager=eager)
    assert started == ["a", "b", "c", "d"]


async def gather_all(*children: Awaitable[Any]) -> Any:
    return await gather_structured(*children, limit=2)


def test_a_task_is_created_when_there_is_room() -> None:
    """Of a thousand children at most `limit` are tasks at any time."""
    crowd = Crowd()
    run(gather_all(*[crowd.child("", 1) for _ in range(1000)]))
    assert max(crowd.tasks) == 2 + 1  # and the caller
    assert len(crowd.started) == 1000


variable: ContextVar[str] = ContextVar("variable")


@pytest.mark.parametrize("lazy_object", [False, True])
@lazy_and_eager
def test_a_queued_child_has_the_callers_context(*, eager: bool, lazy_object: bool) -> None:
    """It runs in a copy of the caller's context at the call, not of its sibling's."""

    async def child(name: str) -> str:
        seen = variable.get()
        variable.set(name)
        await asyncio.sleep(1)
        return seen

    async def main() -> None:
        variable.set("caller")
        children: list[Any] = [child(name) for name in "abcd"]
        if lazy_object:
            children = [Lazy(coroutine) for coroutine in children]
        seen = await gather_structured(*children, limit=1)
        assert [*seen] == ["caller"] * 4
        assert variable.get() == "caller"

    run(main(), eager=eager)


@lazy_and_eager
def test_adopted_tasks_do_not_count_towards_the_limit(*, eager: bool) -> None:
    """Nor do Futures, whether they are done or not, at any position."""
    crowd = Crowd()

    async def main() -> None:
        done = asyncio.get_running_loop().create_future()
        done.set_result("done")
        tasks = [asyncio.create_task(after(seconds, "task")) for seconds in (0, 2, 9)]
        await asyncio.sleep(0.5)
        values = await gather_structured(
            done, crowd.child("a", 3), *tasks, crowd.child("b", 3), done, limit=1
        )
        assert values == ["done", "a", "task", "task", "task", "b", "done"]

    run(main(), eager=eager)
    assert crowd.started == [("a", 0.5), ("b", 3.5)]


@lazy_and_eager
def test_a_duplicate_counts_once_towards_the_limit(*, eager: bool) -> None:
    """A coroutine that fills several positions runs once."""
    crowd = Crowd()

    async def main() -> None:
        child = crowd.child("a", 1)
        values = await gather_structured(child, child, crowd.child("b", 1), child, limit=1)
        assert [*values] == ["a", "a", "b", "a"]

    run(main(), eager=eager)
    assert crowd.started == [("a", 0), ("b", 1)]


@lazy_and_eager
@pytest.mark.parametrize("adopted", [False, True])
def test_queued_children_do_not_start_after_a_failure(*, adopted: bool, eager: bool) -> None:
    """They are closed, also after an adopted child that had failed before the call."""
    crowd = Crowd()

    async def main() -> None:
        waiting = [crowd.child("b", 1), crowd.child("c", 1)]
        first: Awaitable[Any]
        if adopted:  # a Future that has failed already
            first = asyncio.get_running_loop().create_future()
            first.set_exception(ValueError("first"))
        else:
            first = after(1, ValueError("first"))
        with pytest.raises(ValueError, match="first"):
            await gather_structured(first, *waiting, limit=1)
        assert [*map(inspect.getcoroutinestate, waiting)] == [inspect.CORO_CLOSED] * 2

    run(main(), eager=eager)
    assert crowd.started == []


def test_queued_children_do_not_start_after_a_cancellation() -> None:
    """They are closed."""
    crowd = Crowd()

    async def main() -> None:
        children = [crowd.child(name, 2) for name in "abc"]
        call = asyncio.create_task(gather_structured(*children, limit=1))
        await asyncio.sleep(3)
        call.cancel()
        await asyncio.wait([call])
        assert inspect.getcoroutinestate(children[2]) == inspect.CORO_CLOSED

    run(main())
    assert crowd.started == [("a", 0), ("b", 2)]


@lazy_and_eager
def test_a_failure_makes_room_with_return_exceptions(*, eager: bool) -> None:
    """A failed child, or one that timed out, makes room for the next."""
    crowd = Crowd()

    async def main() -> None:
        values = await gather_structured(
            after(1, ValueError()),
            after(0, TypeError()),
            crowd.child("late", 9),
            crowd.child("d", 1),
            limit=1,
            child_timeout=3,
            return_exceptions=True,
        )
        assert [type(value) for value in values] == [ValueError, TypeError, TimeoutError, str]

    run(main(), eager=eager)
    assert crowd.started == [("late", 1), ("d", 4)]


# child_timeout


@lazy_and_eager
def test_child_timeout_counts_from_the_childs_own_start(*, eager: bool) -> None:
    """The time in the queue does not count."""

    async def main() -> None:
        values = await gather_structured(*[after(2, n) for n in range(4)], limit=1, child_timeout=3)
        assert values == [0, 1, 2, 3]
        assert now() == 8

    run(main(), eager=eager)


def test_a_late_child_is_cancelled_at_its_timeout() -> None:
    """It is cancelled, joined, and fails with TimeoutError."""

    async def late() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(now())
            await asyncio.sleep(1)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await gather_structured(after(1, "a"), late(), child_timeout=2)
        ended.append(now())

    ended: list[float] = []
    run(main())
    assert ended == [2, 3]


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("adopted", [False, True])
def test_a_value_in_the_tick_of_its_timeout_is_in_time(steps: int, *, adopted: bool) -> None:
    """A value that arrives in the tick of the timeout is kept."""

    async def child(name: str) -> str:
        for _ in range(steps):
            await asyncio.sleep(2 / steps)
        return name

    async def main() -> None:
        children = [child(name) for name in "ab"]
        values = await gather_structured(
            *(map(asyncio.create_task, children) if adopted else children), child_timeout=2
        )
        assert values == ["a", "b"]

    run(main())


@lazy_and_eager
@pytest.mark.parametrize("limit", [None, 1])
def test_child_timeout_0(limit: int | None, *, eager: bool) -> None:
    """With `child_timeout=0` nothing is started: each child times out."""
    crowd = Crowd()

    async def main() -> None:
        children = [crowd.child("a", 0), crowd.child("b", 0)]
        values = await gather_structured(
            *children, limit=limit, child_timeout=0, return_exceptions=True
        )
        assert [type(value) for value in values] == [TimeoutError] * 2
        assert [*map(inspect.getcoroutinestate, children)] == [inspect.CORO_CLOSED] * 2

    run(main(), eager=eager)
    assert crowd.started == []


@each_call
@virtual
async def test_child_timeout_0_of_tasks_and_futures(call: Call) -> None:
    """What is done has its value, and what still runs is cancelled."""
    loop = asyncio.get_running_loop()
    done, pending = loop.create_future(), loop.create_future()
    done.set_result("value")
    value, late = await call(done, pending, child_timeout=0)
    assert value == "value"
    assert isinstance(late, TimeoutError)
    assert pending.cancelled()


@each_call
@virtual
async def test_a_future_cancelled_in_the_tick_of_its_timeout_is_not_late(call: Call) -> None:
    """A third party cancels it in the very iteration in which it would time out."""
    loop: Any = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(1, loop.call_soon, loop.call_soon, future.cancel)
    (error,) = await call(future, child_timeout=1)
    assert isinstance(error, asyncio.CancelledError)


@each_call
@virtual
async def test_a_child_that_starts_when_no_other_has_a_deadline(call: Call) -> None:
    """It times out as well: the first one at 1, and it starts after the cleanup of that, at 3."""
    late = await call(stops_slowly([], 2), forever(), limit=1, child_timeout=1)
    assert [type(error) for error in late] == [TimeoutError] * 2
    assert now() == 4


async def returns_all_the_same() -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "partial"
    return "complete"


async def fails_all_the_same() -> str:
    try:
        await asyncio.sleep(60)
    finally:
        raise OSError("in its cleanup")


def test_the_value_or_exception_of_a_late_child_is_kept() -> None:
    """A late child that returns has succeeded, and one that raises has failed with that."""
    values: Any = run(
        gather_structured(
            returns_all_the_same(),
            fails_all_the_same(),
            after(1, "c"),
            child_timeout=2,
            return_exceptions=True,
        )
    )
    assert [str(value) for value in values] == ["partial", "in its cleanup", "c"]


def test_a_timeout_error_of_the_childs_own() -> None:
    """A TimeoutError that the child itself raises propagates unchanged."""
    own = TimeoutError("its own")

    async def main() -> None:
        with pytest.raises(TimeoutError) as raised:
            await gather_structured(after(1, own), child_timeout=2)
        assert raised.value is own

    run(main())


def test_no_timer_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call leaves no timer in the loop."""

    async def main() -> None:
        timers = timers_from_now_on(monkeypatch)
        await gather_structured(after(1, "a"), after(2, "b"), child_timeout=60)
        assert still_to_ring(timers) == []
        assert 60 in [timer.when() for timer in timers]

    run(main())


@lazy_and_eager
def test_a_failure_makes_room_for_another_failure(*, eager: bool) -> None:
    """An eager child starts, and fails, in the last step of another: both are retrieved."""

    async def at_once() -> None:
        raise KeyError

    async def main() -> None:
        failing = [after(1, ValueError()), at_once()]
        gathered = await gather_structured(*failing, limit=1, return_exceptions=True)
        assert [*map(type, gathered)] == [ValueError, KeyError]

    run(main(), eager=eager)


@lazy_and_eager
def test_children_that_finish_at_once_beside_one_that_does_not(*, eager: bool) -> None:
    """Thousands of them start and finish one after the other when there is room."""

    async def at_once(number: int) -> int:
        return number

    async def main() -> None:
        children = [after(1, 0), *map(at_once, range(1, 3_000))]
        assert await gather_structured(*children, limit=1) == [*range(3_000)]

    run(main(), eager=eager)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_cancelled_child_that_cleans_up_is_not_late(fails_at: int) -> None:
    """It was cancelled before or in the tick of its `child_timeout`, for another reason."""

    async def main() -> BaseException:
        children = after(fails_at, ValueError("first")), stops_slowly([], 5)
        with pytest.raises(ValueError, match="first") as caught:
            await gather_structured(*children, child_timeout=2)
        assert now() == fails_at + 5
        return caught.value

    assert run(main()).__notes__ == ["gather_structured(): raised by child 0, after"]


@virtual
async def test_siblings_of_a_late_child_that_cleans_up_are_cancelled() -> None:
    """A failure cancels each child that has not been cancelled already, behind a late one too."""
    log: list[str] = []

    async def logs_when() -> None:
        try:
            await forever()
        finally:
            log.append(f"cancelled at {now():g}")

    first = stops_slowly(log, 5), after(1, "a"), after(1.5, "b")
    with pytest.raises(ValueError, match="first"):
        await gather_structured(
            *first, after(1.5, ValueError("first")), logs_when(), limit=3, child_timeout=2
        )
    assert (log, now()) == (["cancelled at 2.5", "cleaned up"], 7)


@each_call
@virtual
async def test_finished_children_have_no_deadline(call: Call) -> None:
    """With a long child_timeout, memory does not grow with the number of children."""
    kept: list[int] = []

    async def child(*, last: bool) -> None:
        await asyncio.sleep(0)
        if last:
            found = [each for each in gc.get_objects() if isinstance(each, ChildTimeouts)]
            kept.extend(len(each._deadlines) for each in found)

    await call(*(child(last=number == 49) for number in range(50)), limit=3, child_timeout=3600)
    assert 1 <= max(kept) <= 3


def test_children_adopted_by_a_stop_have_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block is left in the tick of a timeout, while a Future waits for room."""

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        timers = timers_from_now_on(monkeypatch)
        async with as_completed_scoped([after(5, 0), future], limit=1, child_timeout=1):
            await asyncio.sleep(1)
        assert future.cancelled()
        assert still_to_ring(timers) == []

    run(main())
