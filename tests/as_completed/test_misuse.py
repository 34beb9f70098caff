"""What `as_completed_scoped` refuses, and its messages."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from structgather import Cancelled, Ok, as_completed_scoped
from support.virtual_tests import forever, never, virtual
from support.virtual_time import after

# Use outside the block

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
    """Before the block is entered every use raises RuntimeError; `add` closes its coroutine."""
    outcomes = as_completed_scoped([after(1, "a")])
    with pytest.raises(RuntimeError) as caught:
        use(outcomes)
    assert str(caught.value) == NOT_ENTERED
    async with outcomes:
        assert await anext(outcomes) == Ok("a", 0, 1.0)


@each_use
@virtual
async def test_use_after_leaving(use: Callable[[Any], Any]) -> None:
    """After the block every use raises RuntimeError."""
    async with as_completed_scoped([after(1, "a")]) as outcomes:
        pass
    with pytest.raises(RuntimeError) as caught:
        use(outcomes)
    assert str(caught.value) == LEFT
    assert len(outcomes) == 0


@virtual
async def test_entering_twice() -> None:
    """A stream can be entered once."""
    async with as_completed_scoped(NONE_YET) as outcomes:
        with pytest.raises(RuntimeError, match="can't be entered twice: make a new one"):
            await outcomes.__aenter__()
    with pytest.raises(RuntimeError, match="can't be entered twice: make a new one"):
        await outcomes.__aenter__()


@virtual
async def test_concurrent_anext_is_refused() -> None:
    """Of two tasks that await the next outcome at once, the second gets an error."""
    async with as_completed_scoped([after(1, "a"), after(2, "b")]) as outcomes:
        first = asyncio.ensure_future(anext(outcomes))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task is waiting for the next outcome"):
            await anext(outcomes)
        assert await first == Ok("a", 0, 1.0)
        assert await anext(outcomes) == Ok("b", 1, 2.0)


@virtual
async def test_another_task_that_iterates_when_the_block_exits() -> None:
    """It gets an error, and does not wait forever."""
    async with as_completed_scoped([forever()]) as outcomes:
        consumer = asyncio.ensure_future(anext(outcomes))
        await asyncio.sleep(1)
    with pytest.raises(RuntimeError) as caught:
        await consumer
    assert str(caught.value) == LEFT


@virtual
async def test_a_child_that_iterates_when_the_block_is_left() -> None:
    """A child may await its siblings' outcomes; it is cancelled like any other."""

    async def child() -> None:
        await anext(outcomes)

    async with as_completed_scoped([child(), forever()]) as outcomes:
        await asyncio.sleep(1)
    assert [type(outcome) for outcome in outcomes.undelivered] == [Cancelled, Cancelled]


@virtual
async def test_a_block_that_is_never_entered() -> None:
    """An async iterable is not iterated before the block is entered."""

    async def inputs() -> AsyncIterator[Any]:
        yield pytest.fail("it was asked for its first item")

    as_completed_scoped(inputs())


# Bad input, besides that of `core/test_bad_inputs.py`


@virtual
async def test_a_bad_item_of_a_lazy_input() -> None:
    """If inputs are pulled lazily it stops the iteration after running children are joined."""

    async def asynchronously() -> AsyncIterator[Any]:
        yield after(1, "a")
        yield 3

    lazy: list[Any] = [iter([after(1, "a"), 3]), asynchronously()]
    for inputs in lazy:
        async with as_completed_scoped(inputs, limit=1) as outcomes:
            assert await anext(outcomes) == Ok("a", 0, 1.0)
            with pytest.raises(TypeError) as caught:
                await anext(outcomes)
            assert "child 1 must be awaitable, not an int: 3" in str(caught.value)


@virtual
async def test_add_refuses_what_is_not_awaitable() -> None:
    """It refuses the calling task and a Future of another event loop, too."""
    other = asyncio.new_event_loop()
    async with as_completed_scoped(NONE_YET) as outcomes:
        with pytest.raises(TypeError, match=r"of add\(\) must be awaitable, not an int: 3$"):
            outcomes.add(3)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match=r"the argument of add\(\) is the calling task"):
            outcomes.add(asyncio.current_task())  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"the argument of add\(\) belongs to"):
            outcomes.add(other.create_future())
    other.close()


ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"timeout": -1}, ValueError, "timeout must be at least 0, not -1"),
    ({"timeout": True}, TypeError, "timeout must be a number of seconds or None, not a bool: True"),
]


@pytest.mark.parametrize(("options", "error", "message"), ARGUMENTS, ids=repr)
@virtual
async def test_a_bad_timeout(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Out of range is a ValueError, not a number a TypeError; the children are closed."""
    child = never()
    outcomes = as_completed_scoped([child], **options)
    with pytest.raises(error) as caught:
        await outcomes.__aenter__()
    assert str(caught.value) == f"as_completed_scoped(): {message}"
    assert inspect.getcoroutinestate(child) == inspect.CORO_CLOSED


@virtual
async def test_a_refused_block_cannot_be_used() -> None:
    """After a refusal the block can be neither entered nor used."""
    outcomes = as_completed_scoped([never()], limit=0)
    with pytest.raises(ValueError, match="limit"):
        await outcomes.__aenter__()
    with pytest.raises(RuntimeError, match="can't be entered twice"):
        await outcomes.__aenter__()
    assert len(outcomes) == 0
