"""An exception propagates as the same object, whatever its class does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from structgather import as_completed_scoped, first_n_within, gather_structured
from support.each_call import Call, each_call, with_and_without_limit
from support.virtual_tests import virtual
from support.virtual_time import after


@dataclass(frozen=True)
class FrozenError(Exception):
    """Raises when any attribute is set."""

    code: int = 404


class SlottedError(Exception):
    """The same, by hand."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class UnnotedError(Exception):
    """Forbids notes."""

    def add_note(self, note: str) -> None:
        raise NotImplementedError


class FalseError(Exception):
    """Is false."""

    def __bool__(self) -> bool:
        return False


class EmptyError(Exception):
    """Is false, as a container of errors without any."""

    def __len__(self) -> int:
        return 0


class UndecidedError(Exception):
    """Is neither true nor false."""

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


class UnspeakableError(Exception):
    """Can't be converted to a string."""

    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class MisnotedError(Exception):
    """Has notes that are not a list."""

    __notes__: Any = 3


class MixednotesError(Exception):
    """Has notes that are not strings."""

    def __init__(self) -> None:
        self.__notes__: Any = [None, 3]


class NotesRaiseError(Exception):
    """Raises when its notes are read."""

    @property
    def __notes__(self) -> Any:  # type: ignore[override]  # that is the point
        raise RuntimeError("no notes")


class NamelessError(Exception):
    """Raises another exception for an unknown attribute."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class EqualError(Exception):
    """Can't be compared, nor hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")


class UntracedError(Exception):
    """Raises when its traceback is set."""

    def with_traceback(self, traceback: object) -> Any:
        raise RuntimeError("no traceback")


class HiddenError(Exception):
    """Hides all attributes that exceptions have."""

    def __getattribute__(self, name: str) -> Any:
        if name in {"__traceback__", "__context__", "__cause__", "with_traceback"}:
            raise RuntimeError(name)
        return super().__getattribute__(name)


class ContextRaisesError(Exception):
    """Raises when its context is read."""

    @property
    def __context__(self) -> Any:  # type: ignore[override]  # that is the point
        raise RuntimeError("no context")


ODD = [
    FrozenError,
    SlottedError,
    UnnotedError,
    FalseError,
    EmptyError,
    UndecidedError,
    UnspeakableError,
    MisnotedError,
    MixednotesError,
    NotesRaiseError,
    NamelessError,
    EqualError,
    UntracedError,
    HiddenError,
    ContextRaisesError,
]
each_odd_one = pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)


async def fails_in_cleanup(error: Exception) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise error


def in_order(odd: type[Exception], place: str) -> list[Exception]:
    """Return the exception of the first and of the second child that fails."""
    errors = [odd(), ValueError("usual")]
    return errors if place == "first" else errors[::-1]


def check_raised(
    raised: BaseException | None, errors: list[Exception], odd: type[Exception], place: str
) -> None:
    assert raised is errors[0]
    if place == "second":
        assert raised is not None
        assert odd.__name__ in raised.__notes__[-1]


@each_odd_one
@pytest.mark.parametrize("place", ["first", "second"])
@virtual
async def test_gather_raises_the_first_failure(odd: type[Exception], place: str) -> None:
    """The same object is raised, whether it is the unusual one or shows the unusual one."""
    errors = in_order(odd, place)
    raised: BaseException | None = None
    try:
        await gather_structured(after(1, errors[0]), fails_in_cleanup(errors[1]))
    except BaseException as error:  # noqa: BLE001 - looked at below
        raised = error
    check_raised(raised, errors, odd, place)


@each_odd_one
@virtual
async def test_unusual_failures_are_returned(odd: type[Exception]) -> None:
    """With `return_exceptions` each is the same object, in the list and in the group."""
    errors = [odd(), odd(), asyncio.CancelledError()]
    children = [after(1, errors[0]), after(2, errors[1]), after(3, errors[2]), after(4, "d")]
    gathered = await gather_structured(*children, return_exceptions=True)
    assert [*map(id, gathered[:3])] == [*map(id, errors)]
    group = gathered.exception_group()
    assert group is not None
    assert [*map(id, group.exceptions)] == [*map(id, errors)]


@each_odd_one
@virtual
async def test_unusual_failures_are_outcomes(odd: type[Exception]) -> None:
    """A failed child is Failed with the same object, and values are kept."""
    errors = [odd(), odd()]
    children = [after(1, errors[0]), after(2, "b"), fails_in_cleanup(errors[1])]
    found = await first_n_within(children, 1)
    assert found.values == ["b"]
    assert [id(found.outcomes[place].exception()) for place in (0, 2)] == [*map(id, errors)]
    group = found.exception_group()
    assert group is not None
    assert [*map(id, group.exceptions)] == [*map(id, errors)]


@each_odd_one
@pytest.mark.parametrize("place", ["first", "second"])
@virtual
async def test_an_unusual_failure_that_leaves_a_block(odd: type[Exception], place: str) -> None:
    """What `await outcome` raises leaves the block as the same object."""
    errors = in_order(odd, place)
    raised: BaseException | None = None
    children = [after(1, errors[0]), fails_in_cleanup(errors[1])]
    try:
        async with as_completed_scoped(children) as outcomes:
            async for outcome in outcomes:
                await outcome
    except BaseException as error:  # noqa: BLE001 - looked at below
        raised = error
    check_raised(raised, errors, odd, place)


@pytest.mark.parametrize(
    "odd",
    [FrozenError, SlottedError, UnnotedError, FalseError, EmptyError, UndecidedError],
    ids=lambda odd: odd.__name__,
)
@virtual
async def test_an_unusual_failure_shows_the_others(odd: type[Exception]) -> None:
    """Its siblings' failures are in its notes, although it refuses to set or add them."""
    error = odd()
    with pytest.raises(odd) as caught:
        await gather_structured(after(1, error), fails_in_cleanup(ValueError("the other one")))
    assert caught.value is error
    assert "ValueError: the other one" in error.__notes__[-1]


@each_call
@with_and_without_limit
@pytest.mark.parametrize("odd", [FalseError, EmptyError], ids=lambda odd: odd.__name__)
@virtual
async def test_a_task_factory_that_raises_a_false_exception(
    call: Call, limit: int | None, odd: type[Exception]
) -> None:
    """The call raises it, although it is false."""
    error = odd()

    def factory(_loop: object, _coroutine: object, **_: object) -> Any:
        raise error

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    with pytest.raises(odd) as caught:
        await call(after(1, "a"), after(1, "b"), limit=limit)
    loop.set_task_factory(None)
    assert caught.value is error
