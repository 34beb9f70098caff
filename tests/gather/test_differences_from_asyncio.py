"""Where `gather_structured` differs from asyncio.gather on purpose.

Each test runs over both and asserts what each of them does. `differences.py` lists what they
prove; the documentation's table has the same rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import sys
import warnings
from collections.abc import Generator
from typing import Any

import pytest

from support.both_sides import Gather, cancels_itself, gathers_differ
from support.virtual_tests import stops_slowly, virtual
from support.virtual_time import after, now

# A child raises


@gathers_differ(["after 1 s"], ["cleaned up", "after 2 s"])
@virtual
async def test_a_failure_cancels_and_joins_the_siblings(
    gather: Gather, expected: list[str]
) -> None:
    """When the failure is raised, asyncio's siblings run on; ours have finished."""
    log: list[str] = []
    sibling = asyncio.create_task(stops_slowly(log))
    with pytest.raises(ValueError, match="first"):
        await gather(sibling, after(1, ValueError("first")))
    assert [*log, f"after {now():g} s"] == expected
    sibling.cancel()
    await asyncio.wait([sibling])


@gathers_differ(ValueError, type(None))
@virtual
async def test_a_context_is_left_alone(gather: Gather, expected: type) -> None:
    """The exception that the caller handles becomes the context of asyncio's failure, not ours."""
    error = KeyError("first")
    try:
        int("no number")
    except ValueError:
        with pytest.raises(KeyError, match="first"):
            await gather(after(1, error))
    assert type(error.__context__) is expected


async def fails_in_cleanup() -> None:
    try:
        await asyncio.sleep(5)
    finally:
        raise TypeError


@gathers_differ(0, 1)
@virtual
async def test_no_failure_is_dropped(gather: Gather, expected: int) -> None:
    """Asyncio drops a sibling's failure; ours puts it into the notes."""
    error = ValueError("first")
    cleanup = asyncio.create_task(fails_in_cleanup())
    with pytest.raises(ValueError, match="first"):
        await gather(after(1, error), cleanup)
    cleanup.cancel()
    await asyncio.wait([cleanup])
    assert isinstance(cleanup.exception(), TypeError)
    notes = getattr(error, "__notes__", [])
    assert len([note for note in notes if "TypeError" in note]) == expected


@gathers_differ("ValueError, TypeError", "ChildFailures of ValueError, TypeError")
@virtual
async def test_all_failures_in_one_group(gather: Gather, expected: str) -> None:
    """For `except*`, asyncio's caller builds the group by hand; ours raises it."""
    children = [after(1, ValueError()), fails_in_cleanup()]
    if gather is asyncio.gather:
        kinds = [type(e).__name__ for e in await gather(*children, return_exceptions=True)]
        seen = ", ".join(kinds)
    else:
        with pytest.raises(ExceptionGroup) as raised:
            await gather(*children, exception_group=True)
        kinds = [type(e).__name__ for e in raised.value.exceptions]
        seen = f"{type(raised.value).__name__} of {', '.join(kinds)}"
    assert seen == expected


@gathers_differ([False, False], [True, True])
@virtual
async def test_failures_as_a_group(gather: Gather, expected: list[bool]) -> None:
    """Asyncio's list is a plain list; ours can return its failures as a group, or raise it."""
    values: object = await gather(after(1, ValueError()), return_exceptions=True)
    assert [hasattr(values, name) for name in ("exception_group", "raise_failures")] == expected


@gathers_differ([], ["cleaned up"])
@virtual
async def test_a_child_that_cancels_itself_cancels_the_siblings(
    gather: Gather, expected: list[str]
) -> None:
    """Asyncio's siblings run on after the CancelledError; ours are joined first."""
    log: list[str] = []
    sibling = asyncio.create_task(stops_slowly(log))
    with pytest.raises(asyncio.CancelledError, match="by itself"):
        await gather(sibling, after(1, asyncio.CancelledError("by itself")))
    assert log == expected
    sibling.cancel()
    await asyncio.wait([sibling])


@gathers_differ(asyncio.CancelledError, "value")
@virtual
async def test_a_child_that_cancels_itself_and_returns(gather: Gather, expected: Any) -> None:
    """Its Task is cancelled, but the child has returned: its value counts."""
    (got, _) = await gather(cancels_itself(), after(1, "a"), return_exceptions=True)
    assert got == expected or type(got) is expected


@gathers_differ("child", "run_child")
@virtual
async def test_the_coroutine_of_a_childs_task(gather: Gather, expected: str) -> None:
    """It has the name of the child, and its line is where it awaits the child."""
    tasks: list[Any] = []

    async def child() -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(2)

    async def looks() -> tuple[str, str]:
        await asyncio.sleep(1)
        (frame,) = tasks[0].get_stack()
        return tasks[0].get_coro().__name__, frame.f_code.co_name

    assert await gather(child(), looks()) == [None, ("child", expected)]


# The caller is cancelled


@gathers_differ(["cleaned up"], ["cleaned up", "cleaned up"])
@virtual
async def test_a_cancelled_caller_waits_for_its_children(
    gather: Gather, expected: list[str]
) -> None:
    """Asyncio's call returns when the first child has finished; ours when all have."""
    log: list[str] = []

    async def caller() -> None:
        await gather(stops_slowly(log, 1), stops_slowly(log, 2))

    task = asyncio.create_task(caller())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == expected
    await asyncio.sleep(9)


@gathers_differ("a value", "raised")
def test_an_interrupt_never_becomes_a_value(gather: Gather, expected: str) -> None:
    """If the loop runs on after a KeyboardInterrupt, asyncio's returns it in the list."""

    async def child() -> None:
        raise KeyboardInterrupt

    async def main() -> str:
        try:
            return "a value" if await gather(child(), return_exceptions=True) else "nothing"
        except KeyboardInterrupt:
            return "raised"

    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        task = loop.create_task(main())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        assert loop.run_until_complete(task) == expected


# A bad argument


@gathers_differ(["has run"], [])
@virtual
async def test_a_bad_argument_starts_nothing(gather: Gather, expected: list[str]) -> None:
    """Children before a bad argument run on with asyncio's; ours starts nothing."""
    log: list[str] = []

    async def child() -> None:
        log.append("has run")

    with pytest.raises(TypeError):
        await gather(child(), 3)
    await asyncio.sleep(0)
    assert log == expected


@gathers_differ(["coroutine 'child' was never awaited"], [])
@virtual
async def test_a_bad_argument_leaves_no_coroutine(gather: Gather, expected: list[str]) -> None:
    """Asyncio leaves a coroutine after a bad argument "never awaited"; ours closes it."""

    async def child() -> None:
        pytest.fail("it has started")

    child.__qualname__ = "child"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(TypeError):
            await gather(3, child())
        gc.collect()
        assert [str(warning.message) for warning in warned] == expected
        warned.clear()


class Unhashable:
    """An awaitable that is not hashable."""

    __hash__ = None  # type: ignore[assignment]

    def __await__(self) -> Generator[Any, None, str]:
        yield from asyncio.sleep(1).__await__()
        return "a value"


@gathers_differ(TypeError, ["a value"])
@virtual
async def test_an_awaitable_that_cannot_be_hashed(gather: Gather, expected: Any) -> None:
    """Asyncio's requires hashable awaitables; ours does not."""
    try:
        seen: Any = await gather(Unhashable())
    except TypeError:
        seen = TypeError
    assert seen == expected


@gathers_differ(["a value"] if sys.version_info < (3, 12) else TypeError, TypeError)
@virtual
async def test_a_plain_generator_is_not_a_coroutine(gather: Gather, expected: Any) -> None:
    """Until 3.11 asyncio's accepted generators as coroutines; ours never does."""

    def generator() -> Generator[Any, None, str]:
        yield from asyncio.sleep(1).__await__()
        return "a value"

    try:
        seen: Any = await gather(generator())
    except TypeError:
        seen = TypeError
    assert seen == expected


# Without `await`


@gathers_differ(["a Future", "has run"], ["a coroutine"])
@virtual
async def test_nothing_runs_before_it_is_awaited(gather: Gather, expected: list[str]) -> None:
    """Asyncio's returns a Future whose children run; ours a coroutine that has not started."""
    log: list[str] = []

    async def child() -> str:
        log.append("has run")
        return "a"

    call: Any = gather(child())
    log.append("a coroutine" if inspect.iscoroutine(call) else "a Future")
    await asyncio.sleep(0)
    assert log == expected
    assert await call == ["a"]


@gathers_differ(TypeError, ["a"])
@virtual
async def test_it_can_be_passed_to_create_task(gather: Gather, expected: Any) -> None:
    """A Task and a TaskGroup take a coroutine like ours; they refuse asyncio's Future."""

    async def in_a_group(call: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(call)
        return await task

    async def in_a_task(call: Any) -> Any:
        return await asyncio.create_task(call, name="gathers")

    for around in (in_a_group, in_a_task):
        call = gather(after(1, "a"))
        try:
            seen = await around(call)
        except (TypeError, ExceptionGroup):
            seen = TypeError
            await call
        assert seen == expected


@gathers_differ("refused", ["a"])
def test_it_can_be_passed_to_asyncio_run(gather: Gather, expected: Any) -> None:
    """`asyncio.run(gather_structured(...))` is a program; a Future is refused."""
    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        # Without a running loop, asyncio's takes only Futures of one loop.
        call: Any = gather(loop.create_future() if gather is asyncio.gather else after(0, "a"))
        try:
            seen: Any = asyncio.run(call)
        except (RuntimeError, TypeError, ValueError):
            seen = "refused"
    assert seen == expected


@gathers_differ(["a"], RuntimeError)
@virtual
async def test_awaiting_it_twice(gather: Gather, expected: Any) -> None:
    """A Future may be awaited again, a coroutine may not."""
    call = gather(after(1, "a"))
    assert await call == ["a"]
    try:
        seen: Any = await call
    except RuntimeError:
        seen = RuntimeError
    assert seen == expected
