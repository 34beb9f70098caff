"""The notes of the exception that a call raises: its child, and how the siblings failed.

They are bounded, however many siblings or nested calls there are, and however many calls raise
the same object.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Coroutine
from typing import Any

import pytest

from structgather import as_completed_scoped, first_n_within, gather_structured
from support.virtual_tests import forever, run_stock, virtual
from support.virtual_time import after


class FirstError(Exception):
    pass


async def fetch_orders() -> None:
    await asyncio.sleep(1)
    raise FirstError


async def fails_when_cancelled(number: int = 0) -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        raise KeyError(number) from None


class Query:
    def __await__(self) -> Any:
        yield from asyncio.sleep(1).__await__()
        raise FirstError


class Service:
    async def fetch(self) -> None:
        await asyncio.sleep(1)
        raise FirstError


async def notes(call: Coroutine[Any, Any, Any], kind: Any = FirstError) -> list[str]:
    """Return the notes of the exception that the call raises."""
    with pytest.raises(kind) as caught:
        await call
    return getattr(caught.value, "__notes__", [])


def raised_by(index: int, name: str) -> str:
    return f"gather_structured(): raised by child {index}, {name}"


# The child that raised it


@pytest.mark.parametrize("options", [{}, {"limit": 9}, {"child_timeout": 9}], ids=str)
@pytest.mark.parametrize("index", [0, 1, 3])
@virtual
async def test_a_note_names_the_child(index: int, options: dict[str, Any]) -> None:
    """It has the child's index, from 0, and its function."""
    children: list[Any] = [after(9, number) for number in range(3)]
    children.insert(index, fetch_orders())
    assert await notes(gather_structured(*children, **options)) == [
        raised_by(index, "fetch_orders")
    ]


@virtual
async def test_a_note_names_a_queued_child() -> None:
    """With a limit it may have started long after the call."""
    call = gather_structured(after(1, "a"), after(1, "b"), fetch_orders(), after(1, "d"), limit=1)
    assert await notes(call) == [raised_by(2, "fetch_orders")]


@virtual
async def test_a_note_names_a_method_an_object_and_a_task() -> None:
    """Methods by their qualified name, objects by their type, Tasks by their coroutine."""
    assert await notes(gather_structured(Service().fetch(), after(9, "b"))) == [
        raised_by(0, "Service.fetch")
    ]
    assert await notes(gather_structured(after(9, "a"), Query())) == [raised_by(1, "Query")]
    task = asyncio.create_task(fetch_orders(), name="orders")
    assert await notes(gather_structured(task, after(9, "b"))) == [
        raised_by(0, "fetch_orders (orders)")
    ]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
def test_a_note_names_a_task_that_finished_eagerly() -> None:
    """Its coroutine is no longer available, and 3.12 crashes when it is read."""

    async def fails() -> None:
        raise FirstError

    async def main() -> None:
        done = asyncio.create_task(fails())
        assert done.done()
        (note,) = await notes(gather_structured(after(0, "a"), done))
        assert note.startswith("gather_structured(): raised by child 1")
        assert "None" not in note

    run_stock(main(), eager=True)


@virtual
async def test_a_note_names_the_first_position_of_a_duplicate() -> None:
    """Its outcome has the same index."""
    twice = fetch_orders()
    call = gather_structured(after(9, "a"), twice, after(9, "b"), twice)
    assert await notes(call) == [raised_by(1, "fetch_orders")]


@virtual
async def test_a_note_names_a_late_child_and_one_that_was_cancelled() -> None:
    """A timeout and a cancellation by a third party are failures like any other."""
    call = gather_structured(after(1, "a"), forever(), child_timeout=2)
    assert await notes(call, TimeoutError) == [raised_by(1, "forever")]
    task = asyncio.create_task(forever(), name="theirs")
    asyncio.get_running_loop().call_later(1, task.cancel)
    assert await notes(gather_structured(forever(), task), asyncio.CancelledError) == [
        raised_by(1, "forever (theirs)")
    ]


@pytest.mark.parametrize("options", [{}, {"limit": 9}, {"child_timeout": 9}], ids=str)
@virtual
async def test_a_single_child_adds_no_note(options: dict[str, Any]) -> None:
    """It can only have been that one."""
    children: list[Any] = [fetch_orders()]
    assert await notes(gather_structured(*children, **options)) == []


@virtual
async def test_failures_in_a_group_or_in_a_list_have_no_note() -> None:
    """The group's message has the index, the list the position."""
    with pytest.raises(ExceptionGroup) as caught:
        await gather_structured(fetch_orders(), after(1, "b"), exception_group=True)
    (error,) = caught.value.exceptions
    assert not hasattr(error, "__notes__")
    values = await gather_structured(fetch_orders(), after(1, "b"), return_exceptions=True)
    assert not hasattr(values[0], "__notes__")
    found = await first_n_within([fetch_orders(), after(1, "b")])
    assert not hasattr(found.outcomes[0].exception(), "__notes__")


@virtual
async def test_an_exception_that_no_child_raised_has_no_note() -> None:
    """The caller's cancellation and an interrupt are not failures of a child."""
    task = asyncio.create_task(gather_structured(forever(), forever()))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert not hasattr(caught.value, "__notes__")


@virtual
async def test_nested_calls_each_name_their_child() -> None:
    """From the inner call to the outer one."""

    async def page() -> None:
        await gather_structured(after(9, "a"), fetch_orders())

    assert await notes(gather_structured(page(), after(9, "b"), after(9, "c"))) == [
        raised_by(1, "fetch_orders"),
        raised_by(0, "test_nested_calls_each_name_their_child.<locals>.page"),
    ]


@virtual
async def test_a_shared_failure_is_noted_once_per_position() -> None:
    """A thousand calls that raise the same object at the same index add one note."""
    shared = asyncio.create_task(fetch_orders(), name="shared")
    found: list[str] = []
    for _ in range(1_000):
        found = await notes(gather_structured(shared, after(9, "b")))
    assert found == [raised_by(0, "fetch_orders (shared)")]


@virtual
async def test_a_shared_failure_at_many_positions_keeps_few_notes() -> None:
    """The last ones."""
    shared = asyncio.create_task(fetch_orders(), name="shared")
    found: list[str] = []
    for index in range(100):
        others = [after(9, "a") for _ in range(index)]
        found = await notes(gather_structured(*others, shared, after(9, "b")))
    assert found == [raised_by(number, "fetch_orders (shared)") for number in range(95, 100)]


@virtual
async def test_notes_of_the_user_are_kept() -> None:
    """Notes of the user and of other libraries are never dropped, however many there are."""
    error = FirstError()
    own = [f"note {number}" for number in range(50)]
    for note in own:
        error.add_note(note)
    found: list[str] = []
    for index in range(20):
        others = [after(9, "a") for _ in range(index)]
        found = await notes(gather_structured(*others, after(1, error), after(9, "b")))
    assert found[:50] == own
    assert len(found) == 55


# How siblings failed


@pytest.mark.parametrize("count", [1, 5, 6, 25, 26, 1_000, 5_000])
@virtual
async def test_the_notes_of_many_siblings_are_bounded(count: int) -> None:
    """At most 5 tracebacks, then at most 20 lines, then a count."""
    siblings = [fails_when_cancelled(number) for number in range(count)]
    names, others = await notes(gather_structured(fetch_orders(), *siblings))
    assert names == raised_by(0, "fetch_orders")
    lines = others.splitlines()
    assert lines[0] == "gather_structured(): further children failed:"
    assert others.count("Traceback (most recent call last)") == min(count, 5)
    one_liners = [line for line in lines if line.startswith("child ") and "Traceback" not in line]
    assert len(one_liners) == max(0, min(count, 25) - 5)
    assert one_liners == [f"child {n + 1}: KeyError: {n}" for n in range(5, min(count, 25))]
    assert (lines[-1] == f"and {count - 25:,} more") is (count > 25)
    assert len(lines) < 80


@virtual
async def test_nested_calls_do_not_multiply_notes() -> None:
    """With thirty failing siblings on each of four levels the text is as long as four notes."""

    async def level(depth: int) -> None:
        inner = level(depth - 1) if depth else fetch_orders()
        siblings = [fails_when_cancelled(100 * depth + n) for n in range(30)]
        await gather_structured(inner, *siblings)

    with pytest.raises(FirstError) as caught:
        await level(3)
    text = "".join(traceback.format_exception(caught.value))
    assert text.count("further children failed") == 4
    assert text.count("KeyError: ") == 4 * 25
    assert text.count("and 5 more") == 4


@virtual
async def test_notes_of_a_nested_call_are_not_repeated() -> None:
    """A sibling that is a call itself shows its first failure, without the notes of that."""

    async def inner(delay: float) -> None:
        try:
            await forever()
        finally:
            await gather_structured(
                after(delay, ValueError("inner")), *[fails_when_cancelled(n) for n in range(30)]
            )

    with pytest.raises(FirstError) as caught:
        await gather_structured(fetch_orders(), *[inner(delay) for delay in range(1, 6)])
    text = "".join(traceback.format_exception(caught.value))
    assert text.count("ValueError: inner") == 5
    assert text.count("further children failed") == 1
    assert "KeyError" not in text


@virtual
async def test_notes_of_the_user_on_a_sibling_failure_are_shown() -> None:
    """With its traceback, as Python shows them."""

    async def refund() -> None:
        try:
            await forever()
        finally:
            error = KeyError("refund")
            error.add_note("order 7")
            raise error

    _, others = await notes(gather_structured(fetch_orders(), refund()))
    assert others.endswith("KeyError: 'refund'\n  order 7")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")


@virtual
async def test_a_failure_without_text_has_a_line() -> None:
    """After five tracebacks, of which Python says the same."""

    async def unprintable() -> None:
        try:
            await forever()
        finally:
            raise UnprintableError

    siblings = [unprintable() for _ in range(6)]
    _, others = await notes(gather_structured(fetch_orders(), *siblings))
    assert others.count("UnprintableError: <exception str() failed>") == 6
    assert others.endswith("child 6: UnprintableError: <exception str() failed>")


class Nameless:
    """Raises another exception for an unknown attribute, as some proxies do."""

    def __await__(self) -> Any:
        yield from asyncio.sleep(1).__await__()
        raise FirstError

    def __getattr__(self, name: str) -> Any:
        raise LookupError(name)


@virtual
async def test_a_note_names_a_proxy_by_its_type() -> None:
    """It can't be asked for the name of a function."""
    call = gather_structured(after(9, "a"), Nameless())
    assert await notes(call) == [raised_by(1, "Nameless")]


async def fails_in_a_block(count: int) -> None:
    async with as_completed_scoped([fails_when_cancelled(n) for n in range(count)]):
        await asyncio.sleep(1)
        raise FirstError


@virtual
async def test_the_notes_of_a_body_are_bounded() -> None:
    """An exception that leaves a block shows the failures not taken, within the same bounds."""
    (others,) = await notes(fails_in_a_block(5_000))
    lines = others.splitlines()
    assert lines[0] == "as_completed_scoped(): further children failed:"
    assert others.count("Traceback (most recent call last)") == 5
    assert lines[-1] == "and 4,975 more"


@virtual
async def test_an_exception_that_leaves_many_blocks_keeps_few_notes() -> None:
    """One exception object leaves block after block."""
    error = FirstError()

    async def body(number: int) -> None:
        async with as_completed_scoped([fails_when_cancelled(number)]):
            await asyncio.sleep(1)
            raise error

    found: list[str] = []
    for number in range(100):
        found = await notes(body(number))
    assert len(found) == 5
    assert "KeyError: 99" in found[-1]
