"""What `as_completed_scoped` refuses, and in which words."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from structgather import Cancelled, Ok, as_completed_scoped, first_n_within
from support.virtual_tests import forever, virtual
from support.virtual_time import after

# Using it in the wrong place.

NONE_YET: list[Awaitable[Any]] = []
NOT_ENTERED = "as_completed_scoped(): the `async with` block has not been entered"
LEFT = "as_completed_scoped(): the `async with` block has been left"
USES: dict[str, Callable[[Any], Any]] = {
    "iterate": lambda outcomes: anext(outcomes).send(None),
    "add": lambda outcomes: outcomes.add(forever()),
    "cancel": lambda outcomes: outcomes.cancel(),
}
each_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@each_use
@virtual
async def test_use_before_entering(use: Callable[[Any], Any]) -> None:
    """Before the block is entered, every use is a RuntimeError that says so; add closes."""
    outcomes = as_completed_scoped([after(1, "a")])
    with pytest.raises(RuntimeError) as caught:
        use(outcomes)
    assert str(caught.value) == NOT_ENTERED
    async with outcomes:
        assert await anext(outcomes) == Ok("a", 0, 1.0)


@each_use
@virtual
async def test_use_after_leaving(use: Callable[[Any], Any]) -> None:
    """After the block every use is a RuntimeError that says so."""
    async with as_completed_scoped([after(1, "a")]) as outcomes:
        pass
    with pytest.raises(RuntimeError) as caught:
        use(outcomes)
    assert str(caught.value) == LEFT
    assert len(outcomes) == 0


@virtual
async def test_entering_twice() -> None:
    """Each block needs one of its own."""
    async with as_completed_scoped(NONE_YET) as outcomes:
        with pytest.raises(RuntimeError, match="was entered before: make a new one for each block"):
            await outcomes.__aenter__()
    with pytest.raises(RuntimeError, match="was entered before: make a new one for each block"):
        await outcomes.__aenter__()


@virtual
async def test_two_tasks_at_once() -> None:
    """Of two tasks that wait for the next outcome at once, the second one is refused."""
    async with as_completed_scoped([after(1, "a"), after(2, "b")]) as outcomes:
        first = asyncio.ensure_future(anext(outcomes))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task is waiting for the next outcome"):
            await anext(outcomes)
        assert await first == Ok("a", 0, 1.0)
        assert await anext(outcomes) == Ok("b", 1, 2.0)


@virtual
async def test_a_task_that_iterates_when_the_block_is_left() -> None:
    """It is told so, and doesn't wait for ever."""
    async with as_completed_scoped([forever()]) as outcomes:
        consumer = asyncio.ensure_future(anext(outcomes))
        await asyncio.sleep(1)
    with pytest.raises(RuntimeError) as caught:
        await consumer
    assert str(caught.value) == LEFT


@virtual
async def test_a_child_that_iterates_when_the_block_is_left() -> None:
    """A child may wait for its siblings' outcomes; leaving cancels it like any other."""

    async def child() -> None:
        await anext(outcomes)

    async with as_completed_scoped([child(), forever()]) as outcomes:
        await asyncio.sleep(1)
    assert [type(outcome) for outcome in outcomes.undelivered] == [Cancelled, Cancelled]


@virtual
async def test_a_block_that_is_never_entered() -> None:
    """An async iterable is not touched before the block is entered."""

    async def inputs() -> AsyncIterator[Any]:
        yield pytest.fail("it was asked for its first item")

    as_completed_scoped(inputs())


# Bad input. Nothing starts.

ITERABLE = "as_completed_scoped() takes an iterable or async iterable of awaitables, not "
ITEM = "as_completed_scoped(): child 1 must be awaitable, not "


async def never() -> None:
    pytest.fail("it has started")


async def enter(*arguments: Any, **options: Any) -> None:
    async with as_completed_scoped(*arguments, **options):
        pytest.fail("it was entered")


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a number": (lambda _: 3, ITERABLE + "an int: 3"),
    "text": (lambda _: "abc", ITERABLE + "a str: 'abc'"),
    "a list with a number": (lambda child: [child, 3], ITEM + "an int: 3"),
    "a generator of a number": (lambda child: iter([child, 3]), ITEM + "an int: 3"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
@virtual
async def test_bad_inputs(make: Callable[[Any], Any], message: str) -> None:
    """What is no iterable of awaitables is a TypeError that says what and where it is."""
    child = never()
    with pytest.raises(TypeError) as caught:
        await enter(make(child))
    assert str(caught.value) == message
    child.close()


@virtual
async def test_a_coroutine_in_place_of_an_iterable() -> None:
    """A single coroutine is refused with the advice to put it into a list, and closed."""
    child = never()
    with pytest.raises(TypeError, match=r"not a coroutine: .*\[awaitable\]\)$"):
        await enter(child)
    assert inspect.getcoroutinestate(child) == inspect.CORO_CLOSED


@virtual
@pytest.mark.parametrize("call", [enter, first_n_within])
async def test_a_bad_item_of_a_generator(call: Any) -> None:
    """What the generator has made before it is closed, and reported by nobody."""
    made = [never(), never()]
    with pytest.raises(TypeError, match="child 2 must be awaitable"):
        await call(child for child in [*made, 3])
    assert {*map(inspect.getcoroutinestate, made)} == {inspect.CORO_CLOSED}


@virtual
async def test_the_same_coroutine_twice() -> None:
    """One object in two places is refused, with both places."""
    child = never()
    with pytest.raises(ValueError, match="children 0 and 2 are the same object: <cor"):
        await enter([child, never(), child])
    assert inspect.getcoroutinestate(child) == inspect.CORO_CLOSED


@virtual
async def test_a_future_of_another_loop() -> None:
    """A Future of a different loop is refused, in the input and in `add`."""
    other = asyncio.new_event_loop()
    try:
        future = other.create_future()
        with pytest.raises(ValueError, match="child 1 belongs to a different event"):
            await enter([never(), future])
        async with as_completed_scoped(NONE_YET) as outcomes:
            with pytest.raises(ValueError, match="what is added belongs to a different event loop"):
                outcomes.add(future)
    finally:
        other.close()


@virtual
async def test_a_bad_item_of_a_lazy_input() -> None:
    """Where inputs are pulled lazily a bad item ends the iteration, when what runs was joined."""

    async def asynchronously() -> AsyncIterator[Any]:
        yield after(1, "a")
        yield 3

    lazy: list[Any] = [iter([after(1, "a"), 3]), asynchronously()]
    for inputs in lazy:
        async with as_completed_scoped(inputs, limit=1) as outcomes:
            assert await anext(outcomes) == Ok("a", 0, 1.0)
            with pytest.raises(TypeError) as caught:
                await anext(outcomes)
            assert str(caught.value) == ITEM + "an int: 3"


@virtual
async def test_adding_what_cannot_be_awaited() -> None:
    """`add` refuses what is not awaitable, and the calling task."""
    async with as_completed_scoped(NONE_YET) as outcomes:
        with pytest.raises(TypeError, match=r"what is added must be awaitable, not an int: 3$"):
            outcomes.add(3)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="what is added is the calling task"):
            outcomes.add(asyncio.current_task())  # type: ignore[arg-type]


ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"timeout": -1}, ValueError, "timeout must be at least 0, not -1"),
    ({"timeout": True}, TypeError, "timeout must be a number of seconds or None, not a bool: True"),
    ({"limit": 0}, ValueError, "limit must be at least 1, not 0"),
    ({"limit": "1"}, TypeError, "limit must be a whole number or None, not a str: '1'"),
    ({"child_timeout": -1}, ValueError, "child_timeout must be at least 0, not -1"),
]


@pytest.mark.parametrize(("options", "error", "message"), ARGUMENTS, ids=repr)
@virtual
async def test_bad_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """A number out of range is a ValueError, what is no number a TypeError; children are closed."""
    child = never()
    with pytest.raises(error) as caught:
        await enter([child], **options)
    assert str(caught.value) == f"as_completed_scoped(): {message}"
    assert inspect.getcoroutinestate(child) == inspect.CORO_CLOSED


@virtual
async def test_a_refused_block_stays_closed() -> None:
    """After a refusal the block can be neither entered nor used."""
    outcomes = as_completed_scoped([never()], limit=0)
    with pytest.raises(ValueError, match="limit"):
        await outcomes.__aenter__()
    with pytest.raises(RuntimeError, match="was entered before"):
        await outcomes.__aenter__()
    assert len(outcomes) == 0
