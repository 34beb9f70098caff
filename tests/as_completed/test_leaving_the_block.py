"""Leaving the block of `as_completed_scoped`, in every way."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Any

import pytest

from structgather import Cancelled, Failed, Ok, as_completed_scoped
from support.virtual_tests import forever, run_stock, stops_slowly, virtual
from support.virtual_time import after, now

BROKEN = ValueError("broken")


class BodyError(Exception):
    """What the body raises."""


def notes(error: BaseException | None) -> str:
    return "\n".join(getattr(error, "__notes__", []))


# Leaving early


@virtual
async def test_break_joins() -> None:
    """After a `break` the other children are cancelled and joined before the block exits."""
    log: list[str] = []
    async with as_completed_scoped([after(1, "a"), stops_slowly(log, 5)]) as outcomes:
        async for outcome in outcomes:
            assert await outcome == "a"
            break
        assert log == []
    assert (log, now()) == (["cleaned up"], 6)


@virtual
async def test_return_joins() -> None:
    """A `return` inside the loop joins as well."""
    log: list[str] = []

    async def fastest() -> Any:
        async with as_completed_scoped([after(1, "a"), stops_slowly(log)]) as outcomes:
            async for outcome in outcomes:
                return await outcome
        raise AssertionError

    assert (await fastest(), log) == ("a", ["cleaned up"])


@virtual
async def test_reaching_the_end_of_the_block_joins() -> None:
    """So does reaching the end of the block with outcomes left, none of them taken."""
    log: list[str] = []
    async with as_completed_scoped([stops_slowly(log)]):
        await asyncio.sleep(1)
    assert log == ["cleaned up"]


@virtual
async def test_an_exception_of_the_body_propagates_unchanged() -> None:
    """The body's exception propagates as the same object, not in a group, after the join."""
    log: list[str] = []
    error = BodyError("body")

    async def leave() -> None:
        async with as_completed_scoped([after(0, BROKEN), stops_slowly(log)]):
            await asyncio.sleep(1)
            raise error

    with pytest.raises(BodyError) as caught:
        await leave()
    assert (caught.value is error, error.__context__, log) == (True, None, ["cleaned up"])


@virtual
async def test_failures_that_were_not_taken_are_in_its_notes() -> None:
    """The notes of the body's exception have the failures not taken, and no others."""

    async def leave() -> None:
        children = [after(1, ValueError("seen")), after(2, ValueError("unseen")), forever()]
        async with as_completed_scoped(children) as outcomes:
            await anext(outcomes)
            await asyncio.sleep(5)
            raise BodyError

    with pytest.raises(BodyError) as caught:
        await leave()
    shown = notes(caught.value)
    assert shown.startswith("as_completed_scoped(): further children failed:\nchild 1: Traceback")
    assert shown.endswith("ValueError: unseen")


@virtual
async def test_a_cancellation_of_the_body_propagates() -> None:
    """All children are cancelled and joined, then the CancelledError propagates."""
    log: list[str] = []

    async def body() -> None:
        async with as_completed_scoped([stops_slowly(log)]) as outcomes:
            async for _ in outcomes:
                pass

    task = asyncio.create_task(body())
    await asyncio.sleep(1)
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match=r"^enough$"):
        await task
    assert (log, task.cancelling()) == (["cleaned up"], 1)


@pytest.mark.parametrize("error", [None, BodyError("body")])
@virtual
async def test_a_cancellation_during_the_join_is_not_lost(error: Exception | None) -> None:
    """It propagates after the join, and the exception of the body is in its cause."""
    log: list[str] = []

    async def body() -> None:
        async with as_completed_scoped([stops_slowly(log, 5)]):
            await asyncio.sleep(1)
            if error is not None:
                raise error

    task = asyncio.create_task(body())
    await asyncio.sleep(3)
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match=r"^enough$") as caught:
        await task
    assert (log, now()) == (["cleaned up"], 6)
    assert caught.value.__context__ is error
    cause: Any = caught.value.__cause__
    if error is None:
        assert cause is None
    else:
        assert cause.message == "as_completed_scoped(): the body failed"
        assert cause.exceptions == (error,)


@virtual
async def test_children_receive_the_message_of_the_callers_cancellation() -> None:
    """The children are cancelled with the message of the caller's cancellation."""
    heard: list[tuple[Any, ...]] = []

    async def child() -> None:
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError as error:
            heard.append(error.args)
            raise

    async def owner() -> None:
        async with as_completed_scoped([child()]):
            await asyncio.sleep(9)

    task = asyncio.create_task(owner())
    await asyncio.sleep(1)
    task.cancel("shutting down")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == [("shutting down",)]


@virtual
async def test_a_timeout_around_the_block_is_not_lost() -> None:
    """`asyncio.timeout` around the block raises its TimeoutError after the join."""
    log: list[str] = []

    async def body() -> None:
        async with asyncio.timeout(2), as_completed_scoped([stops_slowly(log)]) as outcomes:
            async for _ in outcomes:
                pass

    with pytest.raises(TimeoutError):
        await body()
    assert (log, now()) == (["cleaned up"], 3)


@pytest.mark.parametrize("from_outside", ["cancel", "timeout"])
@virtual
async def test_a_cancellation_is_not_lost_while_the_input_is_closed(from_outside: str) -> None:
    """The body raised before the input was pulled, and the input's cleanup takes a while."""

    async def inputs() -> AsyncGenerator[Any]:
        try:
            yield "header"
            yield after(1, "a")
        finally:
            await asyncio.sleep(5)

    async def caller() -> None:
        source = inputs()
        assert await anext(source) == "header"
        async with asyncio.timeout(1 if from_outside == "timeout" else None):
            async with as_completed_scoped(source):
                raise BodyError

    task = asyncio.create_task(caller())
    await asyncio.sleep(1)
    if from_outside == "cancel":
        task.cancel("the user left")
    await asyncio.wait([task])
    assert now() == 1
    if from_outside == "timeout":
        assert isinstance(task.exception(), TimeoutError)
    else:
        with pytest.raises(asyncio.CancelledError, match="the user left") as info:
            task.result()
        assert isinstance(info.value.__context__, BodyError)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@virtual
async def test_an_interrupt_is_not_lost_while_the_input_is_closed(
    interrupt: type[BaseException],
) -> None:
    """It takes precedence over the exception of the body."""

    def inputs() -> Generator[Any]:
        try:
            while True:
                yield after(1, "a")
        finally:
            raise interrupt

    with pytest.raises(interrupt) as info:
        async with as_completed_scoped(inputs(), limit=1):
            raise BodyError
    assert isinstance(info.value.__context__, BodyError)


@virtual
async def test_the_exception_of_the_body_is_no_context_of_a_childs_cancellation() -> None:
    """The Future was cancelled by a third party, in the iteration in which the body raised."""
    future = asyncio.get_running_loop().create_future()
    outcomes = as_completed_scoped([future])

    async def raises() -> None:
        async with outcomes:
            future.cancel("the job was dropped")
            raise BodyError

    with pytest.raises(BodyError):
        await raises()
    (outcome,) = outcomes.undelivered
    assert isinstance(outcome, Cancelled)
    assert outcome.error.args == ("the job was dropped",)
    assert outcome.error.__context__ is None


@virtual
async def test_closing_a_generator_around_it_joins() -> None:
    """An async generator that yields inside the block joins when it is closed."""
    log: list[str] = []

    async def values() -> AsyncGenerator[str, None]:
        async with as_completed_scoped([after(1, "a"), stops_slowly(log)]) as outcomes:
            async for outcome in outcomes:
                yield await outcome

    async with aclosing(values()) as stream:
        async for value in stream:
            assert value == "a"
            break
        assert log == []
    assert log == ["cleaned up"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
def test_an_interrupt_in_an_eager_first_step_is_not_lost() -> None:
    """It is not raised by the event loop then, so it replaces the body's exception."""

    async def child() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        async with asyncio.timeout(0), as_completed_scoped([child()]):
            await asyncio.sleep(9)

    async def adds() -> None:
        async with as_completed_scoped([forever()]) as outcomes:
            outcomes.add(child())
            raise BodyError

    for use in (main, adds):
        with pytest.raises(KeyboardInterrupt):
            run_stock(use(), eager=True)


def test_an_interrupt_that_the_loop_has_raised_is_not_reported_twice() -> None:
    """The cancellation that follows does not have it as its cause."""
    causes: list[BaseException | None] = []

    async def main() -> None:
        try:
            async with as_completed_scoped([after(0, KeyboardInterrupt())]):
                await forever()
        except asyncio.CancelledError as error:
            causes.append(error.__cause__)
            raise

    with pytest.raises(KeyboardInterrupt):
        run_stock(main())
    assert causes == [None]


# `undelivered`


@virtual
async def test_undelivered_has_the_outcomes_not_taken() -> None:
    """They settled without being taken, were cancelled or never started."""
    children = [after(1, "a"), after(1, "b"), after(1, BROKEN), forever(), after(1, "c")]
    async with as_completed_scoped(children, limit=4) as outcomes:
        assert outcomes.undelivered == []
        await asyncio.sleep(2)
    assert outcomes.undelivered[:3] == [Ok("a", 0, 1.0), Ok("b", 1, 1.0), Failed(BROKEN, 2, 1.0)]
    cancelled = {outcome.index: outcome for outcome in outcomes.undelivered[3:]}
    assert all(isinstance(outcome, Cancelled) for outcome in cancelled.values())
    assert {index: outcome.elapsed for index, outcome in cancelled.items()} == {3: 2.0, 4: 0.0}


@virtual
async def test_undelivered_has_no_outcome_that_was_taken() -> None:
    """It has the value that a cancelled child returned."""

    async def stubborn() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            return "paid already"
        raise AssertionError

    async with as_completed_scoped([after(1, "a"), stubborn()]) as outcomes:
        assert await anext(outcomes) == Ok("a", 0, 1.0)
    assert outcomes.undelivered == [Ok("paid already", 1, 1.0)]


@virtual
async def test_add_is_refused_while_the_block_exits() -> None:
    """A child that calls `add` in its cleanup gets an error; the coroutine it added is closed."""
    late = after(1, "late")
    refused: list[RuntimeError] = []

    async def child() -> None:
        try:
            await forever()
        finally:
            try:
                outcomes.add(late)
            except RuntimeError as error:
                refused.append(error)

    async with as_completed_scoped([child()]) as outcomes:
        await asyncio.sleep(1)
    assert [str(error) for error in refused] == [
        "as_completed_scoped(): the `async with` block has been left"
    ]
    assert inspect.getcoroutinestate(late) == inspect.CORO_CLOSED
    refused.clear()
