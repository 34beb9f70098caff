"""The result of `first_n_within`, and its bad arguments."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from structgather import ChildFailures, first_n_within
from support.virtual_tests import forever, never, stops_slowly, virtual
from support.virtual_time import after

BROKEN, OTHER = ValueError("broken"), KeyError("other")


# FirstN


@virtual
async def test_all_failures_in_input_order() -> None:
    """`exception_group()` has all failures in input order, without losers and values."""
    found = await first_n_within([after(2, BROKEN), after(1, OTHER), after(3, "a"), forever()], 1)
    group = found.exception_group()
    assert group is not None
    assert {ChildFailures, ExceptionGroup} <= {*type(group).__mro__}
    assert (group.exceptions, group.message) == (
        (BROKEN, OTHER),
        "first_n_within(): children 0, 1 failed",
    )
    assert found.exception_group() is not group


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@virtual
async def test_it_can_be_pickled_and_copied(protocol: int) -> None:
    """With any protocol; a copy knows why there are too few values."""
    found = await first_n_within([after(2, BROKEN), after(1, "a"), after(3, "b")], within=2.5)
    dumped = pickle.dumps(found, protocol)
    for twin in (pickle.loads(dumped), copy.deepcopy(found)):  # noqa: S301 - made right here
        assert (twin.values, twin.reason) == (found.values, found.reason)
        assert list(map(type, twin.outcomes)) == list(map(type, found.outcomes))
        with pytest.raises(ExceptionGroup, match="values arrived within") as caught:
            twin.raise_if_short()
        assert list(map(str, caught.value.exceptions)) == [
            "broken",
            str(found.outcomes[2].exception()),
        ]


@virtual
async def test_without_failures_there_is_no_group() -> None:
    """`exception_group()` returns None."""
    found = await first_n_within([after(1, "a"), forever()], 1)
    assert found.exception_group() is None


@virtual
async def test_timeouts_and_self_cancellations_are_failures() -> None:
    """They are in the group, a BaseExceptionGroup if a child cancelled itself."""

    async def gives_up() -> None:
        raise asyncio.CancelledError("enough")

    found = await first_n_within([forever(), gives_up()], within=1)
    group = found.exception_group()
    assert group is not None
    assert not isinstance(group, ExceptionGroup)
    assert [type(error) for error in group.exceptions] == [TimeoutError, asyncio.CancelledError]


@virtual
async def test_raise_if_short_returns_the_values() -> None:
    """With n values, `raise_if_short()` returns them, whatever else has failed."""
    found = await first_n_within([after(0, BROKEN), after(1, "a")], 1)
    assert found.raise_if_short() is found.values


@virtual
async def test_raise_if_short_raises_the_failures() -> None:
    """With fewer than n values, it raises the failures."""
    found = await first_n_within([after(0, BROKEN), after(1, "a")], 2)
    with pytest.raises(ExceptionGroup, match="1 of 2 values arrived before all") as caught:
        found.raise_if_short()
    assert caught.value.exceptions == (BROKEN,)


@virtual
async def test_raise_if_short_at_the_deadline_raises_a_timeout_error() -> None:
    """The group has a TimeoutError, also if nothing had started."""
    found = await first_n_within([after(0, BROKEN), forever()], 2, within=1)
    with pytest.raises(ExceptionGroup, match="0 of 2 values arrived within 1 s") as caught:
        found.raise_if_short()
    assert [type(error) for error in caught.value.exceptions] == [ValueError, TimeoutError]
    found = await first_n_within([after(0, "a"), after(0, "b")], within=0)
    with pytest.raises(ExceptionGroup, match="0 of 2 values arrived within 0 s") as caught:
        found.raise_if_short()
    assert [type(error) for error in caught.value.exceptions] == [TimeoutError]


@virtual
async def test_the_timeout_error_comes_before_the_failures() -> None:
    """The failures follow in input order."""

    async def returns_too_late() -> None:
        with suppress(asyncio.CancelledError):
            await forever()

    children = [after(1, BROKEN), after(0, LookupError()), returns_too_late()]
    found = await first_n_within(children, 4, within=2)
    with pytest.raises(ExceptionGroup) as caught:
        found.raise_if_short()
    kinds = [type(error) for error in caught.value.exceptions]
    assert kinds == [TimeoutError, ValueError, LookupError]


@virtual
async def test_raise_if_short_without_failures_raises_a_lookup_error() -> None:
    """If nothing failed and there were too few children, it raises a LookupError."""
    found = await first_n_within([after(0, "a")], 2)
    with pytest.raises(ExceptionGroup) as caught:
        found.raise_if_short()
    assert [repr(error) for error in caught.value.exceptions] == [
        "LookupError('first_n_within(): 1 of 2 values arrived before all children had finished')"
    ]


@virtual
async def test_repr() -> None:
    """The repr shows values, reason and outcomes."""
    found = await first_n_within([after(1, "a")])
    assert repr(found) == (
        "FirstN(values=['a'], reason='met', outcomes=[Ok('a', index=0, elapsed=1.000)])"
    )


# What it raises


@virtual
async def test_a_cancellation_of_the_caller_propagates() -> None:
    """All children are cancelled and joined, then the CancelledError propagates."""
    log: list[str] = []
    call = asyncio.create_task(first_n_within([stops_slowly(log), after(0, "a")]))
    await asyncio.sleep(0.5)
    call.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match=r"^enough$"):
        await call
    assert log == ["cleaned up"]


# What it refuses, besides `core/test_bad_inputs.py`


@virtual
async def test_an_async_generator_in_place_of_an_iterable() -> None:
    """The message names the function that takes one."""

    async def children() -> Any:
        yield never()

    inputs: Any = children()
    with pytest.raises(TypeError, match=r"as_completed_scoped\(\) takes async iterables$"):
        await first_n_within(inputs)


NUMBER, SECONDS = (
    "must be a whole number or None, not ",
    "must be a number of seconds or None, not ",
)
ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"n": -1}, ValueError, "n must be at least 0, not -1"),
    ({"n": True}, TypeError, f"n {NUMBER}a bool: True"),
    ({"n": 1.0}, TypeError, f"n {NUMBER}a float: 1.0"),
    ({"within": -0.5}, ValueError, "within must be at least 0, not -0.5"),
    ({"within": float("nan")}, ValueError, "within must be at least 0, not nan"),
    ({"within": False}, TypeError, f"within {SECONDS}a bool: False"),
    ({"within": "1"}, TypeError, f"within {SECONDS}a str: '1'"),
    (
        {"within": timedelta(1)},
        TypeError,
        f"within {SECONDS}a timedelta: datetime.timedelta(days=1); use .total_seconds()",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), ARGUMENTS, ids=repr)
@virtual
async def test_a_bad_n_or_deadline(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Out of range is a ValueError, not a number a TypeError; the children are closed."""
    child = never()
    with pytest.raises(error) as caught:
        await first_n_within([child], **options)
    assert str(caught.value) == f"first_n_within(): {message}"
    assert inspect.getcoroutinestate(child) == inspect.CORO_CLOSED


def test_it_needs_a_running_loop() -> None:
    """Without a running loop it is a RuntimeError, and nothing is left unawaited."""
    child: Coroutine[Any, Any, None] = never()
    call = first_n_within([child])
    with pytest.raises(RuntimeError, match="needs a running asyncio event loop"):
        call.send(None)
    assert inspect.getcoroutinestate(child) == inspect.CORO_CLOSED


@virtual
async def test_a_call_that_is_cancelled_before_its_first_step() -> None:
    """The call closes its coroutines."""
    call = asyncio.create_task(first_n_within([never(), never()]))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
