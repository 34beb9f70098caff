"""Exceptions that are raised: the first failure, bare, or a `ChildFailures` with all of them."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import structgather
from structgather import ChildFailures, gather_structured
from support.virtual_tests import virtual
from support.virtual_time import after, run

PACKAGE = str(Path(structgather.__file__).parent)


async def fails_in_cleanup(message: str) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise TypeError(message)


async def fails_from_a_cause(message: str) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise TypeError(message) from OSError("the cause")


async def failure(*children: Any, **options: Any) -> Any:
    """Return what the call raises."""
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - looked at by the test
        await gather_structured(*children, **options)
    return raised.value


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


# The first failure, raised bare


def test_sibling_failures_are_in_the_notes() -> None:
    """The notes of the exception raised have the other failures, with index, line and cause."""
    first = ValueError("first")
    error = run(failure(fails_in_cleanup("second"), after(1, first), fails_from_a_cause("third")))
    assert error is first
    text = shown(error)
    assert "ValueError: first\ngather_structured(): raised by child 1, after\n" in text
    assert "\ngather_structured(): further children failed:\n" in text
    assert "\nchild 0: Traceback (most recent call last):\n" in text
    assert "in fails_in_cleanup\n" in text
    assert "\n  TypeError: second\n" in text
    assert "\nchild 2: OSError: the cause\n" in text
    assert text.index("TypeError: second") < text.index("TypeError: third")
    assert "\nchild 1: " not in text


def test_cause_and_context_are_unchanged() -> None:
    """Nothing but notes is added to the exception that is raised."""
    first, cause, context = ValueError("first"), KeyError(), OSError()
    first.__cause__, first.__context__ = cause, context
    assert run(failure(fails_in_cleanup("second"), after(1, first))) is first
    assert (first.__cause__, first.__context__) == (cause, context)
    assert first.args == ("first",)


def test_at_most_five_siblings_have_a_traceback() -> None:
    """From the sixth on a sibling is one line."""
    error = run(failure(after(1, ValueError()), *[fails_in_cleanup(str(n)) for n in range(9)]))
    raised_by, note = error.__notes__
    assert raised_by == "gather_structured(): raised by child 0, after"
    assert note.count(": Traceback (most recent call last)") == 5
    assert note.splitlines()[-4:] == [f"child {n + 1}: TypeError: {n}" for n in range(5, 9)]


def test_failures_of_a_cancelled_call_are_in_the_notes() -> None:
    """The CancelledError of the caller shows what its children raised."""

    async def main() -> Any:
        task = asyncio.create_task(failure(fails_in_cleanup("second"), after(60, None)))
        await asyncio.sleep(1)
        task.cancel("the user has left")
        return await task

    error = run(main())
    assert isinstance(error, asyncio.CancelledError)
    assert error.args == ("the user has left",)
    assert "TypeError: second" in shown(error)


@virtual
async def test_a_single_task_that_fails() -> None:
    """The call raises its exception, as often as the Task is shared."""
    error = ValueError("first")
    task = asyncio.create_task(after(1, error))
    for _ in range(3):
        with pytest.raises(ValueError, match="first") as caught:
            await gather_structured(task)
        assert caught.value is error
        names = [frame.name for frame in traceback.extract_tb(caught.tb)]
        assert names.count("after") == 1


@pytest.mark.parametrize("children", [1, 2])
@virtual
async def test_the_traceback_of_a_task_that_awaits_another_call(children: int) -> None:
    """It has the lines of the Task, and of the child that failed in it."""

    async def fetches() -> None:
        await gather_structured(after(1, ValueError("first")), after(2, "b"))

    tasks = [asyncio.create_task(fetches()) for _ in range(children)]
    with pytest.raises(ValueError, match="first") as caught:
        await gather_structured(*tasks)
    names = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert names.count("fetches") == names.count("after") == 1


@pytest.mark.parametrize("children", [1, 2])
@virtual
async def test_the_task_of_a_cancelled_child_is_cancelled(children: int) -> None:
    """Monitors and done callbacks of a task factory see it as asyncio's own."""
    tasks: list[Any] = []

    async def child() -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(9)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await gather_structured(*(child() for _ in range(children)))
    assert [task.cancelled() for task in tasks] == [True] * children


@virtual
async def test_a_single_future_that_is_cancelled() -> None:
    """The call raises its CancelledError, with its message."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(1, future.cancel, "the job was dropped")
    with pytest.raises(asyncio.CancelledError, match="the job was dropped"):
        await gather_structured(future)


@virtual
async def test_the_failure_of_a_single_child_of_a_cancelled_call_is_its_cause() -> None:
    """As with several children."""
    call = asyncio.create_task(gather_structured(fails_in_cleanup("second")))
    await asyncio.sleep(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call
    cause = caught.value.__cause__
    assert isinstance(cause, ChildFailures)
    assert cause.message == "gather_structured(): child 0 failed"
    assert "TypeError: second" in shown(caught.value)


def test_failures_inside_a_failed_call_are_kept() -> None:
    """The notes have the siblings' failures of the inner call and those of the outer call."""

    async def inner() -> Any:
        return await gather_structured(after(1, ValueError("first")), fails_in_cleanup("second"))

    error = run(failure(inner(), fails_in_cleanup("third")))
    assert type(error) is ValueError
    assert shown(error).count("TypeError: second") == 1
    assert shown(error).count("TypeError: third") == 1


def test_an_exception_raised_by_many_calls_does_not_accumulate_notes() -> None:
    """One exception object, like that of a cached Future, keeps few notes."""
    error = ValueError("first")

    async def main() -> None:
        for _ in range(3):
            assert await failure(after(1, error), fails_in_cleanup("second")) is error

    run(main())
    assert shown(error).count("TypeError: second") == 1


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int


def test_an_exception_that_cannot_be_changed_is_raised_unchanged() -> None:
    """The exception refuses attributes."""
    error = FrozenError(404)
    assert run(failure(after(1, error), fails_in_cleanup("second"))) is error


def frames(error: BaseException) -> list[str]:
    """Return the functions of the traceback, "ours" for those of the package."""
    return [
        "ours" if frame.filename.startswith(PACKAGE) else frame.name
        for frame in traceback.extract_tb(error.__traceback__)
    ]


@pytest.mark.parametrize("adopted", [False, True])
def test_the_traceback_leads_from_the_caller_to_the_child(*, adopted: bool) -> None:
    """It has the caller's frames, then ours, then the child's own."""

    async def main() -> list[str]:
        child: Any = after(1, ValueError())
        child = asyncio.create_task(child) if adopted else child
        return frames(await failure(child, after(60, None)))

    found = run(main())
    assert found[0] == "failure"
    assert found[-1] == "after"
    assert set(found[1:-1]) == {"ours"}
    assert len(found) <= 5


@virtual
async def test_the_traceback_is_that_of_the_first_failure() -> None:
    """Two Tasks fail in the loop iteration of a child, before the call can take note of them."""
    errors = [ValueError("first"), ValueError("second"), ValueError("third")]
    tasks = [asyncio.create_task(after(1, error)) for error in errors[:2]]
    await asyncio.sleep(0)

    async def third() -> None:
        await asyncio.sleep(1)
        raise errors[2]

    error = await failure(third(), *tasks)
    assert error is errors[0]
    assert frames(error)[-1] == "after"
    raised_by, others = error.__notes__
    assert raised_by.startswith("gather_structured(): raised by child 1, after")
    assert [others.count(f"ValueError: {error}") for error in errors] == [0, 1, 1]


# All failures, as one group


def test_a_group_of_all_failures() -> None:
    """With `exception_group` all failures are raised as one group, in argument order."""
    first = ValueError("first")
    error: Any = run(
        failure(
            fails_in_cleanup("zeroth"),
            after(9, "a"),
            after(1, first),
            fails_in_cleanup("third"),
            exception_group=True,
        )
    )
    assert {ChildFailures, ExceptionGroup} <= {*type(error).__mro__}
    assert error.message == "gather_structured(): children 0, 2, 3 failed"
    assert [str(each) for each in error.exceptions] == ["zeroth", "first", "third"]
    assert error.exceptions[1] is first
    assert not hasattr(first, "__notes__")


def test_a_single_failure_is_a_group_as_well() -> None:
    """So `except*` handles it no matter how many children fail."""

    async def main() -> list[str]:
        caught: list[str] = []
        try:
            await gather_structured(after(1, ValueError("only")), exception_group=True)
        except* ValueError as group:
            caught += [group.message, *map(str, group.exceptions)]
        return caught

    assert run(main()) == ["gather_structured(): child 0 failed", "only"]


@virtual
async def test_values_where_a_group_would_be_raised() -> None:
    """Without a failure, `exception_group` changes nothing."""
    values = await gather_structured(after(2, "a"), after(1, "b"), exception_group=True)
    assert [*values] == ["a", "b"]


def test_a_base_exception_group() -> None:
    """With a child that cancelled itself the group is not an Exception."""
    error: Any = run(failure(after(1, asyncio.CancelledError()), exception_group=True))
    assert {ChildFailures, Exception} & {*type(error).__mro__} == {ChildFailures}
    assert [type(each) for each in error.exceptions] == [asyncio.CancelledError]


def test_a_cancelled_call_raises_no_group() -> None:
    """The CancelledError of the caller propagates bare, whatever its children raise."""

    async def main() -> Any:
        task = asyncio.create_task(failure(fails_in_cleanup("second"), exception_group=True))
        await asyncio.sleep(1)
        task.cancel()
        return await task

    assert type(run(main())) is asyncio.CancelledError


# A child that times out


@pytest.mark.parametrize("adopted", [False, True])
def test_a_late_child_is_named(*, adopted: bool) -> None:
    """The TimeoutError of a late child names the child, the function and the timeout."""

    async def main() -> Any:
        late: Any = slow_search()
        return await failure(
            after(1, "a"), asyncio.create_task(late) if adopted else late, child_timeout=2.5
        )

    async def slow_search() -> None:
        await asyncio.sleep(60)

    error = run(main())
    assert type(error) is TimeoutError
    assert str(error).startswith("gather_structured(): child 1, ")
    assert "slow_search" in str(error)
    assert str(error).endswith("took longer than its child_timeout of 2.5 s")
    assert isinstance(error.__cause__, asyncio.CancelledError)
    assert "slow_search" in frames(error.__cause__)
    assert "ours" not in frames(error.__cause__)


@virtual
async def test_the_traceback_names_the_public_function() -> None:
    """It has the caller, the public function, and the child."""
    with pytest.raises(ValueError, match="broken") as caught:
        await gather_structured(after(0, ValueError("broken")))
    names = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert names[:2] == ["test_the_traceback_names_the_public_function", "gather_structured"]
    assert names[-1] == "after"
