"""Where `gather_structured` is meant to differ from asyncio.gather, side by side."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from virtual_time import after, now, run

from structgather import gather_structured

Gather = Callable[..., Awaitable[Any]]


class Difference(NamedTuple):
    """What `observe` sees with asyncio.gather, and what it sees with `gather_structured`."""

    observe: Callable[[Gather], Awaitable[Any]]
    with_asyncio: Any
    with_structgather: Any


async def siblings_after_a_failure(gather: Gather) -> list[str]:
    log: list[str] = []

    async def sibling() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(1)
            log.append("cleaned up")

    with pytest.raises(ValueError, match="first"):
        await gather(sibling(), after(1, ValueError("first")))
    seen = [*log, f"after {now():g} s"]
    await asyncio.sleep(9)
    return seen


async def started_beside_a_bad_argument(gather: Gather) -> list[str]:
    log: list[str] = []

    async def child() -> None:
        log.append("has run")

    with pytest.raises(TypeError):
        await gather(child(), 3)
    await asyncio.sleep(0)
    return log


async def without_await(gather: Gather) -> str:
    call: Any = gather(after(1, "a"))
    kind = "a coroutine" if inspect.iscoroutine(call) else "a Future"
    assert await asyncio.ensure_future(call) == ["a"]
    return kind


async def fails_in_cleanup() -> None:
    try:
        await asyncio.sleep(5)
    finally:
        raise TypeError


async def failures_of_siblings(gather: Gather) -> int:
    error = ValueError("first")
    cleanup = asyncio.create_task(fails_in_cleanup())
    with pytest.raises(ValueError, match="first"):
        await gather(after(1, error), cleanup)
    cleanup.cancel()
    await asyncio.wait([cleanup])
    assert isinstance(cleanup.exception(), TypeError)
    return len(getattr(error, "__notes__", []))


async def context_while_something_is_handled(gather: Gather) -> type:
    error = KeyError("first")
    try:
        int("no number")
    except ValueError:
        with pytest.raises(KeyError, match="first"):
            await gather(after(1, error))
    return type(error.__context__)


async def type_of_the_list(gather: Gather) -> str:
    values: object = await gather(return_exceptions=True)
    return type(values).__name__


DIFFERENCES = {
    "a failure ends the siblings": Difference(
        siblings_after_a_failure, ["after 1 s"], ["cleaned up", "after 2 s"]
    ),
    "a bad argument starts nothing": Difference(started_beside_a_bad_argument, ["has run"], []),
    "nothing runs that is not awaited": Difference(without_await, "a Future", "a coroutine"),
    "no failure is dropped": Difference(failures_of_siblings, 0, 1),
    "a context is left alone": Difference(
        context_while_something_is_handled, ValueError, type(None)
    ),
    "failures can be had as a group": Difference(type_of_the_list, "list", "Gathered"),
}


@pytest.mark.parametrize("difference", DIFFERENCES.values(), ids=DIFFERENCES)
def test_what_is_meant_to_differ(difference: Difference) -> None:
    """Where it differs from gather, it does so as it is meant to."""

    async def main(gather: Gather) -> Any:
        return await difference.observe(gather)

    assert run(main(asyncio.gather)) == difference.with_asyncio
    assert run(main(gather_structured)) == difference.with_structgather


def test_a_coroutine_fits_where_a_future_does_not() -> None:
    """The call can be handed to create_task, TaskGroup and asyncio.run as it is."""

    async def main() -> None:
        task = asyncio.create_task(gather_structured(after(1, "a")), name="both")
        async with asyncio.TaskGroup() as group:
            other = group.create_task(gather_structured(after(1, "b")))
        assert [*await task, *other.result()] == ["a", "b"]

    run(main())
    assert [*asyncio.run(gather_structured(after(0, "c")))] == ["c"]
