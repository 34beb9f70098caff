"""`Gathered`, the list that `return_exceptions=True` returns: it knows the failures."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Awaitable
from typing import Any

import pytest

from structgather import ChildFailures, Gathered, _gathered_types, gather_structured
from support.virtual_time import after, run


def gathered(*children: Awaitable[Any], child_timeout: float | None = None) -> Gathered[Any]:
    async def main() -> Gathered[Any]:
        return await gather_structured(
            *children, return_exceptions=True, child_timeout=child_timeout
        )

    return run(main())


def test_it_is_a_list() -> None:
    """It compares, prints and unpacks like the list that asyncio.gather returns."""
    error = ValueError("first")
    values = gathered(after(1, "a"), after(1, error))
    assert isinstance(values, list)
    assert values == ["a", error]
    assert repr(values) == "['a', ValueError('first')]"
    first, second = values
    assert (first, second) == ("a", error)


def test_a_slice_is_a_plain_list() -> None:
    """It does not know the failures."""
    values = gathered(after(1, "a"), after(1, ValueError()))
    assert type(values[:1]) is list
    assert type(values + values) is list


def test_the_failures_as_a_group() -> None:
    """`exception_group()` has all failures in argument order, and is a new group each time."""
    errors = [ValueError("late"), TypeError("early")]
    values = gathered(after(2, errors[0]), after(3, "a"), after(1, errors[1]))
    group = values.exception_group()
    assert group is not None
    assert {ChildFailures, ExceptionGroup} <= {*type(group).__mro__}
    assert list(group.exceptions) == errors
    assert group.message == "gather_structured(): children 0, 2 failed"
    assert values.exception_group() is not group


def test_a_child_that_cancelled_itself_is_a_failure() -> None:
    """The group is a BaseExceptionGroup then."""
    group = gathered(after(1, asyncio.CancelledError())).exception_group()
    assert isinstance(group, ChildFailures)
    assert not isinstance(group, Exception)


def test_no_failures() -> None:
    """`exception_group()` returns None, and `raise_failures()` the list itself."""
    values = gathered(after(1, "a"), after(1, "b"))
    assert values.exception_group() is None
    assert values.raise_failures() is values


def test_failures_can_be_raised() -> None:
    """`raise_failures()` raises the group."""
    error = OSError("cannot close")
    with pytest.raises(ExceptionGroup) as raised:
        gathered(after(1, None), after(1, error)).raise_failures()
    assert list(raised.value.exceptions) == [error]


def test_an_exception_that_a_child_returned_is_not_a_failure() -> None:
    """Only an exception that was raised is a failure."""

    async def child() -> Exception:
        return ValueError("a value")

    values = gathered(child())
    assert isinstance(values[0], ValueError)
    assert values.exception_group() is None


def test_a_failure_in_several_places_is_one_failure() -> None:
    """A child that fills several positions failed once."""
    error = ValueError()
    child = after(1, error)
    values = gathered(child, child)
    assert values == [error, error]
    group = values.exception_group()
    assert group is not None
    assert list(group.exceptions) == [error]


def test_a_timeout_is_a_failure() -> None:
    """A late child's value is a TimeoutError, which is in the group, too."""
    values = gathered(after(9, "a"), after(1, "b"), child_timeout=2)
    assert isinstance(values[0], TimeoutError)
    assert values[1] == "b"
    group = values.exception_group()
    assert group is not None
    assert list(group.exceptions) == [values[0]]


def pickled(values: Any) -> Any:
    return pickle.loads(pickle.dumps(values))  # noqa: S301 - made right here


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, pickled],
)
def test_a_copy_knows_the_failures(again: Any) -> None:
    """Copies, deep copies and pickles are `Gathered` as well."""
    copied: Gathered[Any] = again(gathered(after(1, "a"), after(1, ValueError("first"))))
    assert type(copied) is Gathered
    assert repr(copied) == "['a', ValueError('first')]"
    group = copied.exception_group()
    assert group is not None
    assert [str(error) for error in group.exceptions] == ["first"]
    assert group.exceptions[0] is copied[1]


def test_changing_the_list_does_not_change_the_failures() -> None:
    """The list is the caller's to change; the failures are not."""
    values = gathered(after(1, "a"), after(1, ValueError("first")))
    values.clear()
    group = values.exception_group()
    assert group is not None
    assert len(group.exceptions) == 1


@pytest.mark.parametrize("number", range(1, 7))
def test_the_typed_tuples_have_the_methods_of_a_gathered(number: int) -> None:
    """Type checkers see a tuple in place of the list, with all of its public names."""
    tuples: type[Any] = getattr(_gathered_types, f"Gathered{number}")
    assert tuple in tuples.__mro__
    public = {name for name in dir(tuples) if not name.startswith("_")} - set(dir(tuple))
    assert public == {name for name in vars(Gathered) if not name.startswith("_")}
