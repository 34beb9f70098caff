"""`ChildFailures`: the failures of a call as an exception group, with every child's outcome."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from structgather import (
    Cancelled,
    ChildFailures,
    Failed,
    Gathered,
    Ok,
    TimedOut,
    first_n_within,
    gather_structured,
)
from support.virtual_tests import forever, virtual
from support.virtual_time import after

#: A call in which some children fail, and which raises all failures.
Raises: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


async def gather(*children: Any, **options: Any) -> None:
    await gather_structured(*children, exception_group=True, **options)


async def gathered(*children: Any, **options: Any) -> Any:
    return await gather_structured(*children, return_exceptions=True, **options)


async def gather_all(*children: Any, **options: Any) -> None:
    (await gathered(*children, **options)).raise_failures()


async def first(*children: Any, **options: Any) -> None:
    (await first_n_within(children, **options)).raise_if_short()


each_call = pytest.mark.parametrize(
    "call", [gather, gather_all, first], ids=lambda call: call.__name__
)
# The calls in which a failure cancels no sibling.
each_call_of_all = pytest.mark.parametrize(
    "call", [gather_all, first], ids=lambda call: call.__name__
)


async def raised(call: Coroutine[Any, Any, Any]) -> Any:
    with pytest.raises(BaseExceptionGroup) as caught:
        await call
    assert issubclass(caught.type, ChildFailures)
    return caught.value


class ChargeError(Exception):
    pass


BROKEN = ChargeError("declined")


@each_call
@virtual
async def test_the_outcome_of_every_child_is_kept(call: Raises) -> None:
    """The value of a sibling, such as the id of a charge, is not lost with the failure."""
    failures = await raised(call(after(1, "charge 1"), after(2, BROKEN), after(1, "charge 3")))
    assert failures.outcomes == (
        Ok("charge 1", 0, 1.0),
        Failed(BROKEN, 1, 2.0),
        Ok("charge 3", 2, 1.0),
    )
    assert failures.exceptions == (BROKEN,)


@virtual
async def test_siblings_that_were_cancelled_have_an_outcome() -> None:
    """They are not failures, unless they raise while they are cancelled."""

    async def fails_in_cleanup() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise KeyError("cleanup") from None

    async def returns_late() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        return "charge 2"

    children = [after(1, BROKEN), forever(), returns_late(), fails_in_cleanup()]
    failures = await raised(gather(*children))
    assert [type(outcome) for outcome in failures.outcomes] == [Failed, Cancelled, Ok, Failed]
    assert [outcome.index for outcome in failures.outcomes] == [0, 1, 2, 3]
    assert failures.outcomes[2].result() == "charge 2"
    assert str(failures) == "gather_structured(): children 0, 3 failed (2 sub-exceptions)"


@each_call
@virtual
async def test_a_late_child_is_timed_out(call: Raises) -> None:
    """Its TimeoutError is the failure."""
    failures = await raised(call(after(9, "late"), after(1, "b"), child_timeout=2))
    late, in_time = failures.outcomes
    assert isinstance(late, TimedOut)
    assert in_time == Ok("b", 1, 1.0)
    assert failures.exceptions == (late.error,)


@each_call
@pytest.mark.parametrize("limit", [1, 2])
@virtual
async def test_elapsed_is_the_childs_own_time(call: Raises, limit: int) -> None:
    """With a limit it counts from the child's own start."""
    children = [after(1, "a"), after(2, "b"), after(1, "c"), after(3, BROKEN)]
    failures = await raised(call(*children, limit=limit))
    assert [outcome.elapsed for outcome in failures.outcomes] == [1, 2, 1, 3]


@virtual
async def test_a_child_that_was_never_started_is_cancelled() -> None:
    """It was queued when a sibling failed, and has not succeeded."""
    failures = await raised(gather(after(1, BROKEN), after(1, "b"), after(1, "c"), limit=1))
    started, *others = failures.outcomes
    assert started == Failed(BROKEN, 0, 1.0)
    assert [(type(outcome), outcome.index, outcome.elapsed) for outcome in others] == [
        (Cancelled, 1, 0.0),
        (Cancelled, 2, 0.0),
    ]


@virtual
async def test_a_duplicate_has_its_outcome_at_each_position() -> None:
    """It failed once."""
    twice = after(1, BROKEN)
    failures = await raised(gather_all(twice, after(2, "b"), twice))
    assert failures.outcomes == (Failed(BROKEN, 0, 1.0), Ok("b", 1, 2.0), Failed(BROKEN, 0, 1.0))
    assert failures.exceptions == (BROKEN,)


@each_call
@virtual
async def test_adopted_tasks_have_outcomes(call: Raises) -> None:
    """Tasks that were done before the call, too."""
    done, running = asyncio.create_task(after(1, "a")), asyncio.create_task(after(5, BROKEN))
    await asyncio.sleep(2)
    failures = await raised(call(done, running, after(1, "c")))
    assert [type(outcome) for outcome in failures.outcomes] == [Ok, Failed, Ok]


# The group


@each_call_of_all
@virtual
async def test_it_is_an_exception_group(call: Raises) -> None:
    """`except Exception` and `except*` catch it."""
    caught: list[str] = []
    try:
        await call(after(1, BROKEN), after(2, KeyError("other")))
    except* ChargeError as group:
        caught += map(str, group.exceptions)
    except* KeyError as group:
        caught += map(repr, group.exceptions)
    assert caught == ["declined", "KeyError('other')"]
    with pytest.raises(Exception, match=r"failed|1 of 2 values"):
        await call(after(1, BROKEN), after(2, "b"))


@virtual
async def test_a_base_exception_makes_it_a_base_exception_group() -> None:
    """`except Exception` must not catch a child's CancelledError."""

    class OwnError(BaseException):
        pass

    for error in (asyncio.CancelledError("own"), OwnError("own")):
        failures = await raised(gather_all(after(1, error), after(1, BROKEN)))
        assert not isinstance(failures, Exception)
        assert set(failures.exceptions) == {error, BROKEN}


@each_call_of_all
@virtual
async def test_split_subgroup_and_derive_keep_the_outcomes(call: Raises) -> None:
    """The parts are ChildFailures, a part that can be an ExceptionGroup is one."""
    other = KeyError("other")
    failures = await raised(call(after(1, BROKEN), after(1, other), after(1, "c")))
    matched, rest = failures.split(ChargeError)
    part = failures.subgroup(KeyError)
    derived = failures.derive([other])
    groups: list[tuple[Any, Exception]] = [(matched, BROKEN), (rest, other), (part, other)]
    for group, error in (*groups, (derived, other)):
        assert {ChildFailures, ExceptionGroup} <= {*type(group).__mro__}
        assert group.exceptions == (error,)
        assert group.message == failures.message
        assert group.outcomes == failures.outcomes


@virtual
async def test_split_of_a_base_exception_group() -> None:
    """The part without the CancelledError is an ExceptionGroup."""
    failures = await raised(gather_all(after(1, asyncio.CancelledError()), after(1, BROKEN)))
    assert not isinstance(failures, Exception)
    cancelled, rest = failures.split(asyncio.CancelledError)
    assert isinstance(cancelled, ChildFailures)
    assert isinstance(rest, ChildFailures)
    assert isinstance(rest, ExceptionGroup)
    assert rest.outcomes == failures.outcomes


@virtual
async def test_except_star_keeps_the_outcomes() -> None:
    """In the part that is handled, and in the part that propagates."""
    seen: list[Any] = []
    try:
        try:
            await gather_all(after(1, BROKEN), after(1, KeyError()), after(1, "c"))
        except* ChargeError as group:
            seen.append(group)
    except ExceptionGroup as rest:
        seen.append(rest)
    assert [type(group).__name__ for group in seen] == ["ChildFailures"] * 2
    assert [group.outcomes[2] for group in seen] == [Ok("c", 2, 1.0)] * 2


def pickled(failures: Any) -> Any:
    return pickle.loads(pickle.dumps(failures))  # noqa: S301 - made right here


@each_call
@pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy])
@virtual
async def test_a_copy_is_complete(call: Raises, again: Callable[[Any], Any]) -> None:
    """It has the message, failures, outcomes and notes."""
    failures = await raised(call(after(1, ChargeError("declined")), after(0, "b")))
    failures.add_note("for the support")
    twin = again(failures)
    assert type(twin) is type(failures)
    assert (twin.message, str(twin)) == (failures.message, str(failures))
    assert [repr(error) for error in twin.exceptions] == ["ChargeError('declined')"]
    assert [type(outcome) for outcome in twin.outcomes] == [Failed, Ok]
    assert twin.outcomes[1] == Ok("b", 1, 0.0)
    assert twin.__notes__ == ["for the support"]


@virtual
async def test_its_traceback_shows_its_name() -> None:
    """Both classes have the public name."""
    for error in (BROKEN, asyncio.CancelledError()):
        failures = await raised(gather(after(1, error)))
        text = "".join(traceback.format_exception(failures))
        assert "structgather.ChildFailures: gather_structured(): child 0 failed" in text
        assert repr(failures).startswith("ChildFailures('gather_structured(): child 0 failed', [")


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "child 0 failed"),
        (2, "children 0, 1 failed"),
        (20, f"children {', '.join(map(str, range(20)))} failed"),
        (21, f"children {', '.join(map(str, range(20)))} and 1 more failed"),
        (3_000, f"children {', '.join(map(str, range(20)))} and 2,980 more failed"),
    ],
)
@virtual
async def test_the_message_is_bounded(count: int, said: str) -> None:
    """It lists at most twenty of the children that failed, and counts the others."""
    failures = await raised(gather_all(*[after(1, KeyError(n)) for n in range(count)]))
    assert failures.message == f"gather_structured(): {said}"
    assert len(failures.exceptions) == len(failures.outcomes) == count


@virtual
async def test_a_group_in_a_group() -> None:
    """A nested call's ChildFailures is one failure of the outer call, with its own outcomes."""
    outer = await raised(gather(gather(after(1, BROKEN), after(1, "b")), after(1, "c")))
    inner: Any = outer.exceptions[0]
    assert isinstance(inner, ChildFailures)
    assert (len(outer.outcomes), len(inner.outcomes)) == (2, 2)
    part: Any = outer.subgroup(ChargeError)
    (nested,) = part.exceptions
    assert isinstance(nested, ChildFailures)
    assert nested.outcomes == inner.outcomes


# `Gathered.outcomes` and `FirstN.exception_group()`


@virtual
async def test_gathered_has_the_outcomes() -> None:
    """In argument order, those of children that succeeded, too."""
    values = await gathered(after(1, "a"), after(2, BROKEN), after(9, "late"), child_timeout=5)
    assert isinstance(values, Gathered)
    a, broken, late = values.outcomes
    assert (a, broken) == (Ok("a", 0, 1.0), Failed(BROKEN, 1, 2.0))
    assert isinstance(late, TimedOut)
    assert values.outcomes is values.outcomes


@virtual
async def test_gathered_has_outcomes_without_failures() -> None:
    """And none without children."""
    values = await gathered(after(1, "a"), after(1, "b"))
    assert values.outcomes == (Ok("a", 0, 1.0), Ok("b", 1, 1.0))
    nothing = await gathered()
    assert nothing.outcomes == ()
    assert nothing.exception_group() is None


@virtual
async def test_a_returned_exception_is_a_value() -> None:
    """Its outcome is Ok."""

    async def child() -> Exception:
        return BROKEN

    values = await gathered(child())
    assert values.outcomes == (Ok(BROKEN, 0, 0.0),)


@virtual
async def test_outcomes_do_not_change_with_the_list() -> None:
    """They belong to the call; the list is the caller's."""
    values = await gathered(after(1, "a"), after(1, BROKEN))
    values.reverse()
    values.pop()
    assert values.outcomes == (Ok("a", 0, 1.0), Failed(BROKEN, 1, 1.0))


@virtual
async def test_first_n_has_a_group_with_outcomes() -> None:
    """A new group each time, with the outcome of every child, losers included."""
    found = await first_n_within([after(1, BROKEN), after(2, "b"), forever()], 1)
    group = found.exception_group()
    assert isinstance(group, ChildFailures)
    assert group.outcomes == tuple(found.outcomes)
    assert group.message == "first_n_within(): child 0 failed"
    assert group is not found.exception_group()


@virtual
async def test_raise_if_short_says_why() -> None:
    """The message does; the failures and outcomes are those of the children."""
    found = await first_n_within([after(1, BROKEN), after(2, "b")], 2)
    failures = await raised(short(found))
    told = "1 of 2 values arrived before all children had finished"
    assert failures.message == f"first_n_within(): {told}"
    assert failures.exceptions == (BROKEN,)
    assert failures.outcomes == (Failed(BROKEN, 0, 1.0), Ok("b", 1, 2.0))


async def short(found: Any) -> None:
    found.raise_if_short()
