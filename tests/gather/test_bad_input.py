"""Bad arguments are refused before anything has started, and leave nothing "never awaited"."""

from __future__ import annotations

import asyncio
import gc
import inspect
import math
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from structgather import (
    as_completed_scoped,
    first_n_within,
    gather_structured,
    warn_stuck_after,
)
from structgather._timers import ChildTimeouts
from support.virtual_time import run

Coro = Coroutine[Any, Any, None]
call: Any = gather_structured  # type checkers reject these calls


class Children:
    """Three children that must not run."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.coroutines: list[Coro] = [self._child(number) for number in range(3)]

    async def _child(self, number: int) -> None:
        self.ran.append(number)

    def check_untouched(self) -> None:
        """Check that none has run, and that each is closed."""
        assert self.ran == []
        states = [inspect.getcoroutinestate(coroutine) for coroutine in self.coroutines]
        assert states == [inspect.CORO_CLOSED] * 3


async def refused(error: type[Exception], message: str, *bad: Any, **options: Any) -> None:
    """Call with three children and `bad` at each position in turn, and expect `message`."""
    for position in range(4 if bad else 1):
        children = Children()
        arguments = [*children.coroutines[:position], *bad, *children.coroutines[position:]]
        with pytest.raises(error) as raised:
            await call(*arguments, **options)
        assert raised.type is error
        expected = message.replace("POSITION", f"child {position}")
        assert re.fullmatch(expected, str(raised.value)), str(raised.value)
        children.check_untouched()
        await asyncio.sleep(0)
        children.check_untouched()


async def child() -> None:
    """A child that was not called."""


async def stream() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (3, r"an int: 3"),
        (None, r"a NoneType: None"),
        ("name", r"a str: 'name'"),
        (
            child,
            r"a function: <function child at .+>\. Did you forget to call it: child\(\.\.\.\)\?",
        ),
        ([], r"a list: \[\]\. Did you forget the star: \(\*awaitables\)\?"),
        ((), r"a tuple: \(\)\. Did you forget the star: \(\*awaitables\)\?"),
        ({}, r"a dict: \{\}\. Did you mean its values: \(\*awaitables\.values\(\)\)\?"),
        ((_ for _ in ()), r"a generator: .+\. Did you forget the star: \(\*awaitables\)\?"),
        (iter(()), r"a tuple_iterator: .+\. Did you forget the star: \(\*awaitables\)\?"),
        (stream(), r"an async_generator: .+\. An async generator is iterated, not awaited"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_is_not_awaitable(bad: object, told: str) -> None:
    """The TypeError names the argument, its index, and the likely mistake."""
    message = rf"gather_structured\(\): POSITION must be awaitable, not {told}"
    run(refused(TypeError, message, bad))


def by_name(coroutines: list[Coro]) -> dict[str, Coro]:
    return dict(zip("abc", coroutines, strict=True))


def nested(coroutines: list[Coro]) -> list[Any]:
    one, two, three = coroutines
    return [one, [two, [three]]]


def mixed(coroutines: list[Coro]) -> tuple[Any, ...]:
    one, two, three = coroutines
    return {"a": [one]}, {two}, deque([(three, 3, None, "text", b"bytes")])


def values(coroutines: list[Coro]) -> Any:
    return by_name(coroutines).values()


def cyclic(coroutines: list[Coro]) -> list[Any]:
    collection: list[Any] = [*coroutines]
    collection.append(collection)
    return collection


STAR = "Did you forget the star"
VALUES = "Did you mean its values"
COLLECTIONS: list[tuple[Any, str]] = [
    (list, STAR),
    (tuple, STAR),
    (set, STAR),
    (frozenset, STAR),
    (deque, STAR),
    (nested, STAR),
    (mixed, STAR),
    (cyclic, STAR),
    (dict.fromkeys, VALUES),
    (by_name, VALUES),
    (values, STAR),
]
each_collection = pytest.mark.parametrize(("collection", "hint"), COLLECTIONS)


@each_collection
@pytest.mark.parametrize("options", [{}, {"limit": 0}, {"limit": 2}], ids=str)
def test_a_collection_in_place_of_arguments_is_closed(
    collection: Any, hint: str, options: dict[str, Any]
) -> None:
    """A forgotten star is one error, without "never awaited" warnings on top."""

    async def main() -> None:
        children = Children()
        message = "limit must be" if options.get("limit") == 0 else hint
        with pytest.raises((TypeError, ValueError), match=message):
            await call(collection(children.coroutines), **options)
        children.check_untouched()

    run(main())


async def first_of(inputs: Any) -> None:
    await first_n_within(inputs)


async def stream_of(inputs: Any) -> None:
    await as_completed_scoped(inputs).__aenter__()


async def stream_with_a_limit(inputs: Any) -> None:
    await as_completed_scoped(inputs, limit=1).__aenter__()


async def adding(inputs: Any) -> None:
    empty: list[Any] = []
    async with as_completed_scoped(empty) as outcomes:
        outcomes.add(inputs)


@each_collection
@pytest.mark.parametrize("refusing", [first_of, stream_of, stream_with_a_limit])
def test_a_collection_in_a_collection_is_closed(refusing: Any, collection: Any, hint: str) -> None:
    """The other functions close the coroutines in it as well."""

    async def main() -> None:
        children = Children()
        with pytest.raises(TypeError, match=hint):
            await refusing([collection(children.coroutines)])
        children.check_untouched()

    run(main())


@pytest.mark.parametrize("collection", [collection for collection, _ in COLLECTIONS])
def test_a_block_that_is_never_entered_closes_its_coroutines(collection: Any) -> None:
    """In whatever containers they are."""
    children = Children()
    block: Any = as_completed_scoped
    for inputs in (collection(children.coroutines), [collection(children.coroutines)]):
        block(inputs)
    gc.collect()
    children.check_untouched()


@pytest.mark.parametrize("collection", [collection for collection, _ in COLLECTIONS])
def test_a_collection_that_is_added_is_closed(collection: Any) -> None:
    """`add` takes one awaitable."""

    async def main() -> None:
        children = Children()
        with pytest.raises(TypeError, match=r"the argument of add\(\) must be awaitable"):
            await adding(collection(children.coroutines))
        children.check_untouched()

    run(main())


class Homemade(Coroutine[Any, Any, None]):
    """A coroutine of a class of its own, as compilers create them."""

    def __init__(self) -> None:
        self.closed = False

    def send(self, _: Any) -> Any:
        raise AssertionError("it must not run")

    def throw(self, *_: Any) -> Any:
        raise AssertionError("it must not run")

    def __await__(self) -> Any:
        yield self.send(None)

    def close(self) -> None:
        self.closed = True


class BrokenHash:
    """An awaitable that can't be compared with the others."""

    def __hash__(self) -> int:
        raise ValueError("no hash")

    def __await__(self) -> Any:
        return iter(())


def test_an_awaitable_whose_hash_raises() -> None:
    """Its own exception is raised."""
    asyncio.run(refused(ValueError, "no hash", BrokenHash()))


def test_a_coroutine_of_another_class_is_left_alone() -> None:
    """Only plain coroutines are closed: `close()` of anything else may run arbitrary code."""
    homemade = Homemade()

    async def main() -> None:
        with pytest.raises(TypeError, match="must be awaitable"):
            await call(homemade, 3)

    run(main())
    assert not homemade.closed


# Also on a loop whose Tasks are asyncio's own, which take a faster path.
on_each_loop = pytest.mark.parametrize("run", [run, asyncio.run], ids=["virtual", "asyncio"])


@on_each_loop
@pytest.mark.parametrize("make", ["create_future", "create_task"])
def test_a_future_of_another_loop(make: str, run: Callable[[Coro], None]) -> None:
    """A Future or a Task of a different event loop is a ValueError."""
    other = asyncio.new_event_loop()
    try:
        future = getattr(other, make)(*([child()] if make == "create_task" else []))
        message = r"gather_structured\(\): POSITION belongs to a different event loop: <.+"
        run(refused(ValueError, message, future))
        assert not future.done()
        future.cancel()
        other.run_until_complete(asyncio.wait([future]))
    finally:
        other.close()


@on_each_loop
def test_the_calling_task_itself(run: Callable[[Coro], None]) -> None:
    """The calling task would wait for itself: a RuntimeError."""

    async def main() -> None:
        message = r"gather_structured\(\): POSITION is the calling task; waiting for it would .+"
        await refused(RuntimeError, message, asyncio.current_task())

    run(main())


@pytest.mark.parametrize(
    ("limit", "error", "told"),
    [
        (0, ValueError, "limit must be at least 1, not 0"),
        (-1, ValueError, "limit must be at least 1, not -1"),
        pytest.param(
            -(10**5000), ValueError, r"limit must be at least 1, not \(its repr .*", id="long"
        ),
        (1.5, TypeError, r"limit must be a whole number or None, not a float: 1\.5"),
        ("3", TypeError, "limit must be a whole number or None, not a str: '3'"),
        (True, TypeError, "limit must be a whole number or None, not a bool: True"),
    ],
)
def test_a_bad_limit(limit: object, error: type[Exception], told: str) -> None:
    """A limit is an integer of at least 1, or None."""
    run(refused(error, rf"gather_structured\(\): {told}", limit=limit))


@pytest.mark.parametrize(
    ("seconds", "error", "told"),
    [
        (-1, ValueError, "must be at least 0.*, not -1"),
        (math.nan, ValueError, "must be at least 0.*, not nan"),
        pytest.param(10**400, ValueError, "must fit into a float, not 10+", id="large"),
        (Decimal("sNaN"), ValueError, "must fit into a float, not Decimal.*"),
        pytest.param(
            10**5000, ValueError, r"must fit into a float, not \(its repr failed\)", id="long"
        ),
        ("3", TypeError, "must be a number of seconds or None, not a str: '3'"),
        (True, TypeError, "must be a number of seconds or None, not a bool: True"),
        (
            timedelta(seconds=3),
            TypeError,
            r"must be a number of seconds or None, not a timedelta: .+; use \.total_seconds\(\)",
        ),
    ],
)
def test_a_bad_child_timeout(seconds: object, error: type[Exception], told: str) -> None:
    """It is a number of seconds, at least 0, or None."""
    message = rf"gather_structured\(\): child_timeout {told}"
    run(refused(error, message, child_timeout=seconds))


@pytest.mark.parametrize("argument", ["within", "timeout", "seconds"])
def test_more_seconds_than_a_float_can_hold(argument: str) -> None:
    """Every argument with seconds raises an error that names it."""

    async def main() -> None:
        if argument == "within":
            await first_n_within([], within=10**400)
        elif argument == "timeout":
            async with as_completed_scoped([], timeout=10**400):
                pass
        else:
            warn_stuck_after(10**400)

    with pytest.raises(ValueError, match=rf"\(\): {argument} must fit into a float"):
        run(main())


@pytest.mark.parametrize("seconds", [None, math.inf])
def test_no_time_limit(seconds: float | None) -> None:
    """None and infinity mean no limit."""
    late = asyncio.sleep(1e9, "late")
    assert run(call(late, child_timeout=seconds)) == ["late"]


def test_return_exceptions_and_exception_group() -> None:
    """They exclude each other."""
    message = (
        r"gather_structured\(\): return_exceptions and exception_group exclude each other; .+"
        r"\.exception_group\(\) and \.raise_failures\(\)"
    )
    run(refused(ValueError, message, return_exceptions=True, exception_group=True))


def test_tasks_of_a_refused_call_are_left_alone() -> None:
    """A Task beside a bad argument is not adopted: it runs on."""

    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(1, "done"))
        with pytest.raises(TypeError):
            await call(task, 3)
        assert not task.cancelling()
        assert await task == "done"

    run(main())


def step(coroutine: Coro) -> None:
    """Drive a coroutine by hand."""
    coroutine.send(None)


def test_outside_an_event_loop() -> None:
    """Without a running event loop it raises RuntimeError, and closes its coroutines."""
    children = Children()
    with pytest.raises(RuntimeError, match=r"gather_structured\(\) needs a running asyncio event"):
        step(call(*children.coroutines))
    children.check_untouched()


def test_outside_a_task() -> None:
    """In a callback, outside any task, it raises RuntimeError, and closes its coroutines."""
    children = Children()

    async def main() -> None:
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def callback() -> None:
            try:
                step(call(*children.coroutines))
            except RuntimeError as error:
                failed.set_exception(error)

        asyncio.get_running_loop().call_soon(callback)
        with pytest.raises(RuntimeError, match=r"gather_structured\(\) must be awaited in a task"):
            await failed

    run(main())
    children.check_untouched()


@pytest.mark.parametrize("limit", [None, 1])
def test_a_call_that_is_cancelled_before_its_first_step(limit: int | None) -> None:
    """It closes its coroutines: none is reported as never awaited."""
    children = Children()

    async def main() -> None:
        task = asyncio.create_task(gather_structured(*children.coroutines, limit=limit))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main())
    children.check_untouched()


def test_a_call_that_is_never_awaited() -> None:
    """The call is reported as never awaited, once; its children are not."""
    children = Children()
    with pytest.warns(RuntimeWarning) as warned:
        call(*children.coroutines)
    assert [str(warning.message) for warning in warned] == [
        "coroutine 'gather_structured' was never awaited"
    ]
    warned.clear()  # the warnings refer to the coroutine that was dropped
    children.check_untouched()


def test_a_bad_argument_beside_a_child_that_has_started() -> None:
    """A coroutine that a third party is running is not closed."""

    async def main() -> None:
        started = asyncio.sleep(0)
        step(started)
        with pytest.raises(TypeError):
            await call(started, 3)
        assert inspect.getcoroutinestate(started) == inspect.CORO_SUSPENDED
        started.close()

    run(main())


def test_options_that_exclude_each_other_without_children() -> None:
    """They are refused all the same."""
    with pytest.raises(ValueError, match="exclude each other"):
        run(call(return_exceptions=True, exception_group=True))


async def enter(bad: Any, **options: Any) -> None:
    await as_completed_scoped([bad], **options).__aenter__()


async def race(bad: Any, **options: Any) -> None:
    await first_n_within([bad], **options)


@pytest.mark.parametrize("refused_call", [call, race, enter])
def test_a_refused_call_is_freed_without_the_collector(refused_call: Any) -> None:
    """Also with a `child_timeout`, whose timers refer to the call."""

    async def main() -> None:
        with pytest.raises(TypeError):
            await refused_call(3, child_timeout=5)
        await asyncio.sleep(0)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
        assert [thing for thing in gc.get_objects() if isinstance(thing, ChildTimeouts)] == []
    finally:
        gc.enable()


def test_a_call_without_children_needs_a_running_loop_too() -> None:
    """As the call with children does, and asyncio.gather."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        gather_structured().send(None)
