"""`gather_structured` does what asyncio.gather does and its users rely on.

Each test runs over both. Intended differences are in `test_differences_from_asyncio.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support.both_sides import Awaited, Gather, both_modes, over_both
from support.virtual_tests import virtual
from support.virtual_time import after, now, run

# Values


@over_both
@both_modes
def test_values_are_in_argument_order(gather: Gather, *, return_exceptions: bool) -> None:
    """The values are a list in argument order, whichever child finished first."""

    async def main() -> None:
        values = await gather(
            after(3, "a"), after(1, "b"), after(2, "c"), return_exceptions=return_exceptions
        )
        assert isinstance(values, list)
        assert values == ["a", "b", "c"]
        assert now() == 3

    run(main())


@over_both
@both_modes
def test_no_arguments(gather: Gather, *, return_exceptions: bool) -> None:
    """It returns an empty list."""

    async def main() -> Any:
        return await gather(return_exceptions=return_exceptions)

    assert run(main()) == []


@over_both
def test_one_child(gather: Gather) -> None:
    """A single value is in a list as well, also that of a Task that runs or has finished."""

    async def main() -> Any:
        task = asyncio.create_task(after(1, "a"))
        return [await gather(after(1, "a")), await gather(task), await gather(task)]

    assert run(main()) == [["a"]] * 3


@over_both
def test_a_duplicate_runs_once_and_fills_each_place(gather: Gather) -> None:
    """Coroutines, Tasks and Futures may be given several times."""

    async def main() -> None:
        coroutine = after(1, object())
        task = asyncio.create_task(after(2, object()))
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(3, future.set_result, object())
        a, b, c, d, e, f = await gather(coroutine, task, future, future, task, coroutine)
        assert a is f
        assert b is e is task.result()
        assert c is d is future.result()
        assert len({a, b, c}) == 3

    run(main())


@over_both
def test_all_kinds_of_awaitables(gather: Gather) -> None:
    """Coroutines, Tasks, Futures, done or not, and objects with `__await__` are awaited."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done, pending = loop.create_future(), loop.create_future()
        done.set_result("done")
        loop.call_later(2, pending.set_result, "future")
        task = asyncio.create_task(after(1, "task"))
        values = await gather(
            after(1, "coroutine"), task, done, pending, Awaited(), asyncio.shield(after(1, "s"))
        )
        assert values == ["coroutine", "task", "done", "future", "awaited", "s"]

    run(main())


# Failures


@over_both
def test_the_first_failure_by_time_is_raised(gather: Gather) -> None:
    """It is the object that the child raised, with its cause and context."""
    cause, context = OSError(), KeyError()
    error = ValueError("first")
    error.__cause__, error.__context__ = cause, context

    async def main() -> None:
        with pytest.raises(ValueError, match="first") as raised:
            await gather(after(3, TypeError("late")), after(1, error), after(2, "a"))
        assert raised.value is error
        assert (error.__cause__, error.__context__) == (cause, context)
        assert now() == 1
        await asyncio.sleep(9)

    run(main())


@over_both
def test_a_task_that_failed_first_is_raised(gather: Gather) -> None:
    """Of failures in one loop iteration the first is raised, also that of an adopted Task."""

    async def main() -> None:
        task = asyncio.create_task(after(1, ValueError("first")))
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="first"):
            await gather(after(1, TypeError("second")), task)
        await asyncio.sleep(0)

    run(main())


@over_both
def test_return_exceptions(gather: Gather) -> None:
    """Every child runs to completion, and exceptions are at their positions."""
    error = ValueError()

    async def main() -> None:
        values = await gather(
            after(1, error),
            after(3, "late"),
            after(2, asyncio.CancelledError()),
            return_exceptions=True,
        )
        assert values[0] is error
        assert values[1] == "late"
        assert isinstance(values[2], asyncio.CancelledError)
        assert now() == 3

    run(main())


@over_both
def test_a_child_that_cancels_itself(gather: Gather) -> None:
    """It has failed with CancelledError; the caller is not cancelled."""

    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(5))
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await gather(after(1, "a"), task)
        this = asyncio.current_task()
        assert this is not None
        assert this.cancelling() == 0
        await asyncio.sleep(9)

    run(main())


@over_both
@both_modes
def test_a_cancelled_caller(gather: Gather, *, return_exceptions: bool) -> None:
    """Its children are cancelled, and the CancelledError propagates with its message."""
    seen: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError as error:
            seen.append(str(error))
            raise

    async def caller() -> None:
        await gather(child(), child(), return_exceptions=return_exceptions)

    async def main() -> None:
        task = asyncio.create_task(caller())
        await asyncio.sleep(1)
        task.cancel("the user has left")
        with pytest.raises(asyncio.CancelledError, match="the user has left"):
            await task
        assert now() == 1

    run(main())
    assert seen == ["the user has left"] * 2


@over_both
@both_modes
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_propagate(
    gather: Gather, error: type[BaseException], *, return_exceptions: bool
) -> None:
    """KeyboardInterrupt and SystemExit end the program."""
    values: list[Any] = []

    async def main() -> None:
        values.append(
            await gather(after(1, error()), after(2, "a"), return_exceptions=return_exceptions)
        )

    with pytest.raises(error):
        run(main())
    assert values == []


@over_both
@virtual
async def test_a_cancelled_child_does_not_cancel_its_siblings(gather: Gather) -> None:
    """With `return_exceptions` the CancelledError of one child is a value like any other."""
    first, second = (asyncio.create_task(after(2, name)) for name in "ab")
    asyncio.get_running_loop().call_later(1, first.cancel)
    values = await gather(first, second, return_exceptions=True)
    assert isinstance(values[0], asyncio.CancelledError)
    assert values[1] == "b"
    assert now() == 2


@over_both
@virtual
async def test_a_shielded_child_outlives_the_call(gather: Gather) -> None:
    """`asyncio.shield` protects its argument from the cancellation of the call."""
    task = asyncio.create_task(after(2, "a"))

    async def caller() -> None:
        await gather(asyncio.shield(task), after(2, "b"))

    call = asyncio.create_task(caller())
    await asyncio.sleep(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert now() == 1
    assert await task == "a"


@over_both
@virtual
async def test_a_finished_call_cannot_be_cancelled(gather: Gather) -> None:
    """`cancel()` after it has raised returns False, and cancels no child."""
    protected = asyncio.create_task(after(2, "b"))
    call = asyncio.ensure_future(gather(after(1, ValueError("first")), asyncio.shield(protected)))
    with pytest.raises(ValueError, match="first"):
        await call
    assert not call.cancel()
    assert await protected == "b"


@over_both
@both_modes
@virtual
async def test_a_cancelled_call_does_not_cancel_finished_children(
    gather: Gather, *, return_exceptions: bool
) -> None:
    """Only children that are not done are cancelled with the call."""
    done, running = asyncio.create_task(after(1, "a")), asyncio.create_task(after(3, "b"))
    call = asyncio.ensure_future(gather(done, running, return_exceptions=return_exceptions))
    await asyncio.sleep(2)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert done.result() == "a"
    assert running.cancelled()


@over_both
@virtual
async def test_a_failure_after_the_call_is_not_reported(gather: Gather) -> None:
    """An exception of a child after the call has failed is not logged as never retrieved."""

    async def fails_twice() -> None:
        await gather(after(1, ValueError("first")), after(1, TypeError("second")))

    with pytest.raises(ValueError, match="first"):
        await fails_twice()
    await asyncio.sleep(9)
    gc.collect()  # the test fails if the loop's exception handler is called


# Refused arguments


@over_both
@pytest.mark.parametrize("bad", [3, None, "name", [], print], ids=repr)
@virtual
async def test_an_argument_that_is_not_awaitable(gather: Gather, bad: Any) -> None:
    """A TypeError."""
    with pytest.raises(TypeError):
        await gather(bad)


@over_both
@virtual
async def test_all_futures_are_of_the_same_loop(gather: Gather) -> None:
    """A Future of another event loop is a ValueError."""
    other = asyncio.new_event_loop()
    with contextlib.closing(other):
        here, there = asyncio.get_running_loop().create_future(), other.create_future()
        with pytest.raises(ValueError, match="loop"):
            await gather(here, there)
        here.cancel()


@over_both
def test_futures_can_be_gathered_outside_the_loop(gather: Gather) -> None:
    """`loop.run_until_complete` accepts a call made before the loop runs."""
    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        futures = [loop.create_future() for _ in range(2)]
        call: Any = gather(*futures)
        for value, future in enumerate(futures):
            loop.call_soon(future.set_result, value)
        assert loop.run_until_complete(call) == [0, 1]


# Timeouts, shields and Tasks around it


async def in_wait_for(call: Any) -> Any:
    return await asyncio.wait_for(call, 2)


async def in_a_timeout(call: Any) -> Any:
    async with asyncio.timeout(2):
        return await call


async def in_a_timeout_within_a_task(call: Any) -> Any:
    return await asyncio.wait_for(asyncio.ensure_future(call), 2)


async def in_a_shield(call: Any) -> Any:
    return await asyncio.wait_for(asyncio.shield(call), 2)


@over_both
@pytest.mark.parametrize(
    "around", [in_wait_for, in_a_timeout, in_a_timeout_within_a_task, in_a_shield]
)
def test_a_call_in_a_timeout_a_shield_or_a_task(
    gather: Gather, around: Callable[[Any], Awaitable[Any]]
) -> None:
    """They take our call as they take gather's."""

    async def main() -> None:
        assert await around(gather(after(1, "a"), after(0, "b"))) == ["a", "b"]
        with pytest.raises(ValueError, match="first"):
            await around(gather(after(0, ValueError("first")), after(1, "b")))
        before = now()
        with pytest.raises(TimeoutError):
            await around(gather(after(1, "a"), after(5, "b")))
        assert now() - before == 2
        await asyncio.sleep(9)

    run(main())
