"""Children that misbehave harm neither their siblings nor the caller."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import closing, suppress
from typing import Any

import pytest

from simloop.choosers import First
from simloop.run import run as run_on
from structgather import (
    Cancelled,
    TimedOut,
    as_completed_scoped,
    first_n_within,
    gather_structured,
)
from support import real_loops
from support.each_call import (
    CALLS,
    Call,
    Leave,
    each_call,
    each_way_to_leave,
    with_and_without_limit,
)
from support.virtual_tests import forever, run_stock, stops_slowly, virtual
from support.virtual_time import after, now, run


class Proxy:
    """Returns another proxy for every attribute; makes its call when it is awaited."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __getattr__(self, name: str) -> Any:
        return type(self)(f"{self.path}.{name}")

    def __await__(self) -> Generator[Any, Any, str]:
        yield from asyncio.sleep(1).__await__()
        return self.path


class Detached(Proxy):
    """Raises for every attribute."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"detached: {name}")


@each_call
@with_and_without_limit
@virtual
async def test_a_proxy_is_a_child_like_any_other(call: Call, limit: int | None) -> None:
    """An awaitable with every attribute, or with none, is awaited."""
    children = [after(2, "a"), Proxy("users").get, Detached("users"), after(1, "d")]
    assert await call(*children, limit=limit) == ["a", "users.get", "users", "d"]


class FutureProxy:
    """Passes attributes and done callbacks on to a Future: callbacks get that Future."""

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future

    _asyncio_future_blocking = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._future, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._future.__await__()


@each_call
@with_and_without_limit
@virtual
async def test_a_proxy_of_a_future(call: Call, limit: int | None) -> None:
    """Its done callbacks are called with the Future, not with the proxy."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(1, future.set_result, "b")
    assert await call(after(2, "a"), FutureProxy(future), limit=limit) == ["a", "b"]


class OwnError(BaseException):
    """Not an Exception."""


eager_too = pytest.mark.parametrize(
    "eager", [False, True] if sys.version_info > (3, 12) else [False]
)


@each_call
@eager_too
@pytest.mark.parametrize("iterations", [0, 1])
@pytest.mark.parametrize("kind", [GeneratorExit, OwnError, StopAsyncIteration, MemoryError])
def test_whatever_a_child_raises_is_its_failure(
    call: Call, kind: type[BaseException], iterations: int, *, eager: bool
) -> None:
    """GeneratorExit and any other BaseException is a failure, in the first step and later."""

    async def child() -> None:
        for _ in range(iterations):
            await asyncio.sleep(0)
        raise kind("own")

    one, two, three = run(call(after(1, "a"), child(), after(2, "c")), eager=eager)
    assert (one, type(two), two.args, three) == ("a", kind, ("own",), "c")


async def iterates(child: Coroutine[Any, Any, Any], sibling: Any) -> None:
    async with as_completed_scoped([sibling, child]) as outcomes:
        async for outcome in outcomes:
            await outcome


@each_call
@eager_too
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupts_propagate(call: Call, kind: type[BaseException], *, eager: bool) -> None:
    """KeyboardInterrupt and SystemExit of a child are raised, and never become an outcome."""

    async def child() -> None:
        raise kind

    with pytest.raises(kind):
        run_stock(call(child(), forever()), eager=eager)


@pytest.mark.parametrize("iterations", [0, 1])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_a_cancellation(kind: type[BaseException], iterations: int) -> None:
    """If the loop runs on after a child's interrupt, the iteration raises it, too."""
    log: list[str] = []

    async def child() -> None:
        for _ in range(iterations):
            await asyncio.sleep(0)
        raise kind

    result = run_on(lambda: iterates(child(), stops_slowly(log)), First())
    assert type(result.error) is kind
    assert (log, result.pending) == (["cleaned up"], [])


@each_call
def test_each_of_two_interrupts_is_raised(call: Call) -> None:
    """Where two children raise one in eager first steps, neither hides the other."""

    async def child(error: BaseException) -> None:
        raise error

    async def main() -> None:
        await call(child(KeyboardInterrupt("one")), child(SystemExit("two")))

    raised: list[str] = []
    with closing(real_loops.eager()) as loop:
        task = loop.create_task(main())
        for _ in range(3):
            try:
                loop.run_until_complete(asyncio.sleep(0) if task.done() else task)
            except (KeyboardInterrupt, SystemExit) as error:
                raised.append(str(error))
    assert set(raised) == {"one", "two"}
    assert str(task.exception()) == "one"


# Children that cancel: themselves, each other, the caller, everything


async def cancels(tasks: Callable[[], Any], *, waits: bool = True) -> str:
    for task in tasks():
        task.cancel("by a child")
    if waits:
        await asyncio.sleep(1)
    return "cancelled them"


@each_call
@with_and_without_limit
@virtual
async def test_a_child_that_cancels_itself(call: Call, limit: int | None) -> None:
    """It failed with that CancelledError; its siblings and the caller are not affected."""
    itself = cancels(lambda: [asyncio.current_task()])
    first, second = await call(itself, after(1, "b"), limit=limit)
    assert (type(first), first.args, second) == (asyncio.CancelledError, ("by a child",), "b")
    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


@each_call
@virtual
async def test_a_child_that_cancels_itself_and_returns(call: Call) -> None:
    """If it awaits nothing after that, its value is kept."""
    itself = cancels(lambda: [asyncio.current_task()], waits=False)
    assert await call(itself, after(1, "b")) == ["cancelled them", "b"]


@each_call
@virtual
async def test_a_child_that_cancels_its_sibling(call: Call) -> None:
    """The sibling failed with that CancelledError, and the others run on."""
    tasks: list[Any] = []

    async def sibling() -> None:
        tasks.append(asyncio.current_task())
        await forever()

    first, second, third = await call(sibling(), cancels(lambda: tasks), after(2, "c"))
    assert (type(first), first.args) == (asyncio.CancelledError, ("by a child",))
    assert (second, third) == ("cancelled them", "c")


@each_call
@pytest.mark.parametrize("waits", [True, False])
@virtual
async def test_a_child_that_cancels_the_caller(call: Call, *, waits: bool) -> None:
    """The caller's cancellation propagates with its message when all children have finished."""
    log: list[str] = []
    callers: list[asyncio.Task[Any]] = []
    children = [stops_slowly(log), stops_slowly(log), cancels(lambda: callers, waits=waits)]
    callers.append(asyncio.create_task(call(*children)))
    with pytest.raises(asyncio.CancelledError, match="by a child"):
        await callers[0]
    assert log == ["cleaned up"] * 2


@each_call
@virtual
async def test_a_child_that_cancels_every_task(call: Call) -> None:
    """All tasks finish, and the call raises CancelledError."""
    me = asyncio.current_task()
    child = cancels(lambda: asyncio.all_tasks() - {me})
    caller = asyncio.create_task(call(forever(), child, forever()))
    await asyncio.wait([caller])
    assert caller.cancelled()


async def swallows(times: int) -> str:
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
    await asyncio.sleep(1)
    return "swallowed it"


async def uncancels() -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
    await asyncio.sleep(1)
    return "took it back"


@each_way_to_leave
@virtual
async def test_children_that_uncancel(leave: Leave) -> None:
    """They are joined all the same, and `cancelling()` of the caller is balanced."""
    await leave(swallows(1), uncancels())
    assert now() == 2
    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


async def within(seconds: float, call: Coroutine[Any, Any, Any]) -> None:
    async with asyncio.timeout(seconds):
        await call


@each_call
@virtual
async def test_children_that_swallow_the_cancellation_of_a_timeout(call: Call) -> None:
    """The timeout is raised when they have finished, however often they are cancelled again."""
    with pytest.raises(TimeoutError):
        await within(3, within(2, call(swallows(1), uncancels())))
    assert now() == 3


@each_call
@virtual
async def test_a_child_that_waits_for_its_caller(call: Call) -> None:
    """It would wait forever; a timeout around the call cancels both."""
    me = asyncio.current_task()
    assert me is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await call(asyncio.wait([me]))
    assert now() == 1


# One exception object in several calls


async def fails_in_cleanup(message: str) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise TypeError(message)


@virtual
async def test_an_exception_raised_by_many_calls_keeps_few_notes() -> None:
    """One object that call after call raises, like that of a cached Future."""
    error = ConnectionError("the cached one")
    for request in range(50):
        with pytest.raises(ConnectionError):
            await gather_structured(after(1, error), fails_in_cleanup(f"of request {request}"))
    others = [note for note in error.__notes__ if "further children failed" in note]
    raised_by = [note for note in error.__notes__ if "raised by child" in note]
    assert len(others) == 5
    assert "of request 49" in others[-1]
    assert raised_by == ["gather_structured(): raised by child 0, after"]


@virtual
async def test_an_exception_that_several_children_raise() -> None:
    """It is not in its own notes."""
    error = ConnectionError("the shared one")
    with pytest.raises(ConnectionError) as caught:
        await gather_structured(*[after(1, error) for _ in range(20)], fails_in_cleanup("other"))
    assert caught.value is error
    raised_by, others = error.__notes__
    assert raised_by == "gather_structured(): raised by child 0, after"
    assert "TypeError: other" in others
    assert "shared" not in others


# A cancelled `asyncio.gather(...)` is not `cancelled()`: its exception is a CancelledError


@each_call
@virtual
async def test_a_future_of_asyncio_gather_that_is_late(call: Call) -> None:
    """It has timed out, and has not failed."""
    (error,) = await call(asyncio.gather(forever(), forever()), child_timeout=1)
    assert type(error) is TimeoutError
    assert type(error.__cause__) is asyncio.CancelledError


@virtual
async def test_a_future_of_asyncio_gather_that_first_n_within_cancels() -> None:
    """A loser is Cancelled and no failure; at the deadline it is TimedOut."""
    found = await first_n_within([after(1, "a"), asyncio.gather(forever())], 1)
    assert isinstance(found.outcomes[1], Cancelled)
    assert found.exception_group() is None
    found = await first_n_within([asyncio.gather(forever())], within=1)
    assert isinstance(found.outcomes[0], TimedOut)


@virtual
async def test_a_future_of_asyncio_gather_beside_a_failure() -> None:
    """It is not among the failures in the notes."""
    with pytest.raises(ValueError, match="own") as caught:
        await gather_structured(asyncio.gather(forever()), after(1, ValueError("own")))
    assert caught.value.__notes__ == ["gather_structured(): raised by child 1, after"]


@pytest.mark.parametrize("call", [*CALLS, gather_structured], ids=lambda call: call.__name__)
@virtual
async def test_a_future_of_asyncio_gather_whose_caller_is_cancelled(call: Any) -> None:
    """The caller's CancelledError has no cause."""
    task = asyncio.create_task(call(asyncio.gather(forever(), forever())))
    await asyncio.sleep(1)
    task.cancel("the user has left")
    with pytest.raises(asyncio.CancelledError, match="the user has left") as caught:
        await task
    assert caught.value.__cause__ is None
