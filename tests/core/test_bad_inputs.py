"""`first_n_within` and `as_completed_scoped` refuse bad input before anything has started.

`gather_structured` takes arguments instead of an iterable: see `gather/test_bad_input.py`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from structgather import as_completed_scoped, first_n_within
from support.virtual_tests import never, virtual

Function: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


async def enter(inputs: Any, **options: Any) -> None:
    async with as_completed_scoped(inputs, **options):
        pytest.fail("it was entered")


each_function = pytest.mark.parametrize(
    ("call", "name"),
    [(first_n_within, "first_n_within"), (enter, "as_completed_scoped")],
    ids=["first_n_within", "as_completed_scoped"],
)
TAKES = {
    "first_n_within": "an iterable of awaitables",
    "as_completed_scoped": "an iterable or async iterable of awaitables",
}


def check_closed(*coroutines: Coroutine[Any, Any, Any]) -> None:
    assert {*map(inspect.getcoroutinestate, coroutines)} == {inspect.CORO_CLOSED}


@each_function
@pytest.mark.parametrize(
    ("bad", "what"),
    [(3, "an int: 3"), ("abc", "a str: 'abc'"), (None, "a NoneType: None")],
)
@virtual
async def test_an_input_that_is_not_iterable(
    call: Function, name: str, bad: object, what: str
) -> None:
    """Anything but an iterable is a TypeError that describes it; a string is refused as well."""
    with pytest.raises(TypeError) as caught:
        await call(bad)
    assert str(caught.value) == f"{name}() takes {TAKES[name]}, not {what}"


@each_function
@pytest.mark.parametrize("container", [list, iter])
@virtual
async def test_an_item_that_is_not_awaitable(
    call: Function, name: str, container: Callable[[list[Any]], Any]
) -> None:
    """The TypeError has its index; coroutines before it are closed, not "never awaited"."""
    children = [never(), never()]
    with pytest.raises(TypeError) as caught:
        await call(container([*children, 3]))
    assert str(caught.value) == f"{name}(): child 2 must be awaitable, not an int: 3"
    check_closed(*children)


@each_function
@virtual
async def test_a_coroutine_in_place_of_an_iterable(call: Function, name: str) -> None:
    """A single coroutine is refused and closed; the message says to put it into a list."""
    child = never()
    with pytest.raises(TypeError, match=rf"not a coroutine: .*: {name}\(\[awaitable\]\)$"):
        await call(child)
    check_closed(child)


@each_function
@virtual
async def test_a_function_in_place_of_its_result(call: Function, name: str) -> None:
    """A generator function or a coroutine function is refused; the message says to call it."""

    def children() -> Any:
        yield never()

    with pytest.raises(TypeError, match=r"not a function: .*\. Did you forget to call it\?$"):
        await call(children)
    with pytest.raises(TypeError, match=rf"forget to call it: {name}\(\[never\(\.\.\.\)\]\)\?$"):
        await call(never)


@each_function
@virtual
async def test_the_same_coroutine_twice(call: Function, name: str) -> None:
    """The same object twice is refused with both indices: it has one result."""
    child = never()
    with pytest.raises(ValueError, match=rf"{name}\(\): children 0 and 2 are the same object: <co"):
        await call([child, never(), child])
    check_closed(child)


@each_function
@virtual
async def test_a_future_of_another_loop(call: Function, name: str) -> None:
    """A Future of a different event loop is refused, with its index."""
    other = asyncio.new_event_loop()
    try:
        child = never()
        with pytest.raises(ValueError, match=rf"{name}\(\): child 1 belongs to a different event"):
            await call([child, other.create_future()])
        check_closed(child)
    finally:
        other.close()


@each_function
@virtual
async def test_the_calling_task_itself(call: Function, name: str) -> None:
    """The calling task would wait for itself: a RuntimeError."""
    inputs: list[Awaitable[Any] | None] = [asyncio.current_task()]
    with pytest.raises(RuntimeError, match=rf"{name}\(\): child 0 is the calling task"):
        await call(inputs)


@each_function
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"limit": 0}, ValueError, "limit must be at least 1, not 0"),
        ({"limit": "1"}, TypeError, "limit must be a whole number or None, not a str: '1'"),
        ({"limit": True}, TypeError, "limit must be a whole number or None, not a bool: True"),
        ({"child_timeout": -1}, ValueError, "child_timeout must be at least 0, not -1"),
        (
            {"child_timeout": True},
            TypeError,
            "child_timeout must be a number of seconds or None, not a bool: True",
        ),
    ],
    ids=repr,
)
@virtual
async def test_a_bad_limit_or_child_timeout(
    call: Function, name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Out of range is a ValueError, not a number a TypeError; the children are closed."""
    child = never()
    with pytest.raises(error) as caught:
        await call([child], **options)
    assert str(caught.value) == f"{name}(): {message}"
    check_closed(child)
