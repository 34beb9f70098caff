"""Usual code with asyncio alone, and beside it the code that replaces it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from integrations.left_running import left_running

from structgather import (
    Failed,
    Ok,
    TimedOut,
    as_completed_scoped,
    first_n_within,
    gather_structured,
)
from support.each_call import Call
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now

# A caller that is cancelled


@virtual
async def test_a_request_that_times_out() -> None:
    """With gather the timeout is raised during the children's cleanups, with ours after them."""

    async def cleaned_up_in_time(gather: Callable[..., Awaitable[Any]]) -> list[str]:
        log: list[str] = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await gather(forever(), stops_slowly(log), stops_slowly(log))
        seen = [*log]
        await asyncio.sleep(5)
        return seen

    assert await cleaned_up_in_time(asyncio.gather) == []
    assert await cleaned_up_in_time(gather_structured) == ["cleaned up"] * 2


# TaskGroup and `except*`


async def with_a_group(*aws: Any) -> list[Any]:
    """The results are collected by hand."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(aw) for aw in aws]
    return [task.result() for task in tasks]


async def with_one_call(*aws: Any) -> list[Any]:
    return [*await gather_structured(*aws, exception_group=True)]


async def fails_when_cancelled() -> None:
    try:
        await forever()
    finally:
        raise OSError("second")


@pytest.mark.parametrize("call", [with_a_group, with_one_call])
@virtual
async def test_a_handler_of_groups(call: Call) -> None:
    """`except*` catches the same as from a TaskGroup, and the call returns the results."""
    assert await call(after(1, "a"), after(2, "b")) == ["a", "b"]
    log: list[str] = []
    caught: list[Any] = []
    try:
        await call(after(1, LookupError("first")), fails_when_cancelled(), stops_slowly(log))
    except* LookupError as group:
        caught += group.exceptions
    except* OSError as group:
        caught += group.exceptions
    assert [*map(str, caught)] == ["first", "second"]
    assert log == ["cleaned up"]


@pytest.mark.parametrize("call", [with_a_group, with_one_call])
@virtual
async def test_a_cancellation_that_a_group_loses(call: Call) -> None:
    """On 3.11 and 3.12 a TaskGroup loses a cancellation that follows a child's failure."""
    log: list[str] = []

    async def turn() -> str:
        try:
            await call(after(1, LookupError()), stops_slowly(log))
        except* LookupError:
            log.append("failed")
        await asyncio.sleep(0)
        return "went on"

    task = asyncio.create_task(turn())
    await asyncio.sleep(1.5)  # during the join
    task.cancel()
    await asyncio.wait([task])
    assert log[0] == "cleaned up"
    forgotten = call is with_a_group and sys.version_info < (3, 13)
    assert task.cancelled() != forgotten


# Races


async def race_by_hand(replicas: list[Any]) -> Any:
    """Return the first answer, in the usual way: the losers run on."""
    tasks = [asyncio.create_task(replica) for replica in replicas]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return done.pop().result()


@virtual
async def test_a_race() -> None:
    """With FIRST_COMPLETED losers run on, and a failure wins; `first_n_within` does neither."""
    log: list[str] = []
    assert await race_by_hand([after(1, "a"), stops_slowly(log), stops_slowly(log)]) == "a"
    assert await left_running() == 2
    log.clear()
    race = await first_n_within([after(1, "a"), stops_slowly(log), stops_slowly(log)], 1)
    assert race.values == ["a"]
    assert log == ["cleaned up"] * 2
    assert await left_running() == 0

    with pytest.raises(LookupError):
        await race_by_hand([after(1, LookupError()), after(2, "b")])
    assert await left_running() == 1
    race = await first_n_within([after(1, LookupError()), after(2, "b")], 1)
    assert race.raise_if_short() == ["b"]


# Streaming


@virtual
async def test_a_page_whose_reader_leaves() -> None:
    """After a `break` as_completed and its `wait_for`s run on; as_completed_scoped does not."""
    searches = [1, 60, 4, 5]

    def fetch(seconds: float) -> Any:
        return after(seconds, seconds)

    page: list[float] = []
    for future in asyncio.as_completed([asyncio.wait_for(fetch(s), 2) for s in searches]):
        page.append(await future)
        break
    assert page == [1]
    await asyncio.sleep(0)
    # Each search has two tasks on 3.11, where `wait_for` creates another one.
    assert await left_running() >= 3

    begin = now()
    timed_out: list[int] = []
    async with as_completed_scoped(map(fetch, searches), child_timeout=2) as outcomes:
        async for outcome in outcomes:
            match outcome:
                case Ok(seconds):
                    page.append(seconds)
                case TimedOut():
                    timed_out.append(outcome.index)
                    break
                case other:
                    pytest.fail(repr(other))
    assert (page, timed_out) == ([1, 1], [1])
    assert now() - begin == 2
    assert await left_running() == 0


@virtual
async def test_what_failed_in_a_list() -> None:
    """Failures in gather's list are available as a group, or raised."""
    aws = [after(1, LookupError("a")), after(2, "b"), after(3, OSError("c"))]
    answers = await gather_structured(*aws, return_exceptions=True)
    assert answers[1] == "b"
    with pytest.raises(ExceptionGroup) as caught:
        answers.raise_failures()
    assert [*map(str, caught.value.exceptions)] == ["a", "c"]
    found = await first_n_within([after(1, LookupError("a")), after(2, "b")])
    assert [type(outcome) for outcome in found.outcomes] == [Failed, Ok]
