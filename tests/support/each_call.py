"""The three functions with one signature, for tests of what holds for each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias

import pytest

from structgather import (
    Ok,
    Outcome,
    as_completed_scoped,
    first_n_within,
    gather_structured,
)
from support.virtual_time import after

Call: TypeAlias = Callable[..., Coroutine[Any, Any, list[Any]]]
Leave: TypeAlias = Callable[..., Coroutine[Any, Any, None]]


def value_or_error(outcome: Outcome[Any]) -> Any:
    """Return what gather would return: the value or the exception."""
    return outcome.value if isinstance(outcome, Ok) else outcome.error


# All children run to completion. The calls return values and exceptions in argument order.


async def gather(*children: Awaitable[Any], **options: Any) -> list[Any]:
    return [*await gather_structured(*children, return_exceptions=True, **options)]


async def first(*children: Awaitable[Any], **options: Any) -> list[Any]:
    return [*map(value_or_error, (await first_n_within(children, **options)).outcomes)]


async def stream(*children: Awaitable[Any], **options: Any) -> list[Any]:
    async with as_completed_scoped(children, **options) as outcomes:
        found = [outcome async for outcome in outcomes]
    return [*map(value_or_error, sorted(found, key=lambda outcome: outcome.index))]


CALLS: list[Call] = [gather, first, stream]
each_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
# With one child, a plain `gather_structured` has a path of its own.
each_call_and_one_child = pytest.mark.parametrize(
    "call", [gather_structured, *CALLS], ids=lambda call: call.__name__
)
with_and_without_limit = pytest.mark.parametrize("limit", [None, 2])


# After some seconds the call returns, and cancels the children that still run.


class EnoughError(Exception):
    """The failure that makes gather cancel the others."""


async def gather_leaves(*children: Awaitable[Any], seconds: float = 1) -> None:
    with suppress(EnoughError):
        await gather_structured(*children, after(seconds, EnoughError()))


async def first_leaves(*children: Awaitable[Any], seconds: float = 1) -> None:
    assert (await first_n_within([*children, after(seconds, "enough")], 1)).values == ["enough"]


async def stream_leaves(*children: Awaitable[Any], seconds: float = 1) -> None:
    async with as_completed_scoped([*children, after(seconds, "enough")]) as outcomes:
        assert (await anext(outcomes)).result() == "enough"


LEAVES: list[Leave] = [gather_leaves, first_leaves, stream_leaves]
each_way_to_leave = pytest.mark.parametrize("leave", LEAVES, ids=lambda leave: leave.__name__)
