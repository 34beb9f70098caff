"""Each child runs in a copy of the context of the call, or of the `add`, whatever starts it.

A queued child is started when a sibling finishes, when the consumer takes an outcome, or by the
async source; it sees none of their context variables.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any, TypeAlias

import pytest

from simloop.every_schedule import either_start
from structgather import as_completed_scoped, first_n_within, gather_structured
from support.virtual_tests import virtual
from support.virtual_time import run

span: ContextVar[str] = ContextVar("span")

Call: TypeAlias = Callable[[int | None], Coroutine[Any, Any, list[Any]]]


async def child(number: int) -> str:
    """Return the span in which it starts, and set another one."""
    seen = span.get()
    span.set(f"child {number}")
    await asyncio.sleep(number % 3)
    assert span.get() == f"child {number}"
    return seen


def children(count: int = 6) -> list[Any]:
    return [child(number) for number in range(count)]


def generated() -> Iterator[Any]:
    yield from children()


async def pulled() -> AsyncIterator[Any]:
    for number in range(6):
        span.set("source")
        await asyncio.sleep(number % 2)
        yield child(number)


async def gather(limit: int | None) -> list[Any]:
    return [*await gather_structured(*children(), limit=limit)]


async def gather_with_adopted(limit: int | None) -> list[Any]:
    adopted = asyncio.create_task(child(1))
    return [*await gather_structured(*children(), adopted, limit=limit)]


async def first(limit: int | None) -> list[Any]:
    return (await first_n_within(children(), limit=limit)).values


async def first_generated(limit: int | None) -> list[Any]:
    return (await first_n_within(generated(), limit=limit)).values


async def iterate(inputs: Any, limit: int | None, *, ordered: bool = False) -> list[Any]:
    found: list[Any] = []
    async with as_completed_scoped(inputs, limit=limit, ordered=ordered) as outcomes:
        async for outcome in outcomes:
            found.append(await outcome)
            span.set(f"body {outcome.index}")
    return found


async def stream(limit: int | None) -> list[Any]:
    return await iterate(children(), limit)


async def stream_ordered(limit: int | None) -> list[Any]:
    return await iterate(children(), limit, ordered=True)


async def stream_generated(limit: int | None) -> list[Any]:
    return await iterate(generated(), limit)


async def stream_pulled(limit: int | None) -> list[Any]:
    return await iterate(pulled(), limit)


async def stream_pulled_ordered(limit: int | None) -> list[Any]:
    return await iterate(pulled(), limit, ordered=True)


@either_start
@pytest.mark.parametrize("limit", [None, 1, 2, 3])
@pytest.mark.parametrize(
    "call",
    [
        gather,
        gather_with_adopted,
        first,
        first_generated,
        stream,
        stream_ordered,
        stream_generated,
        stream_pulled,
        stream_pulled_ordered,
    ],
    ids=lambda call: call.__name__,
)
def test_each_child_runs_in_the_context_of_the_call(
    call: Call, limit: int | None, *, eager: bool
) -> None:
    """It sees nothing that its siblings, the body or the source have set."""

    async def main() -> None:
        span.set("call")
        assert set(await call(limit)) == {"call"}

    run(main(), eager=eager)


@pytest.mark.parametrize("limit", [None, 1, 2])
@virtual
async def test_the_caller_does_not_see_what_its_children_set(limit: int | None) -> None:
    """Each child has a copy of its own."""
    span.set("call")
    await gather_structured(*children(), limit=limit)
    await first_n_within(children(), limit=limit)
    async with as_completed_scoped(children(), limit=limit) as outcomes:
        async for outcome in outcomes:
            assert await outcome == "call"
            assert span.get() == "call"
    assert span.get() == "call"


@either_start
@pytest.mark.parametrize("limit", [None, 1, 2, 3])
@pytest.mark.parametrize("ordered", [False, True])
def test_an_added_child_runs_in_the_context_of_the_add(
    limit: int | None, *, ordered: bool, eager: bool
) -> None:
    """Also if it was queued: not in the context of the child that finished and made room."""
    seen: dict[str, str] = {}

    async def main() -> None:
        span.set("call")
        empty: list[Awaitable[None]] = []
        async with as_completed_scoped(empty, limit=limit, ordered=ordered) as outcomes:

            async def page(name: str, links: list[str]) -> None:
                seen[name] = span.get()
                span.set(name)
                for link in links:
                    outcomes.add(page(link, []))
                    await asyncio.sleep(1)
                span.set("behind the links")

            for name in "AB":
                span.set(f"body {name}")
                outcomes.add(page(name, [f"{name}1", f"{name}2", f"{name}3"]))
            span.set("body")
            async for outcome in outcomes:
                await outcome
                span.set("body again")

    run(main(), eager=eager)
    assert {name: seen[name] for name in ("A", "B")} == {"A": "body A", "B": "body B"}
    assert {name: seen[name] for name in seen if len(name) == 2} == {
        f"{name}{number}": name for name in "AB" for number in (1, 2, 3)
    }


@pytest.mark.parametrize("limit", [1, 2])
@virtual
async def test_a_child_that_a_callback_adds(limit: int) -> None:
    """It runs in the context in which the callback was scheduled."""
    span.set("call")
    found: list[Any] = []
    async with as_completed_scoped([child(4), child(5)], limit=limit) as outcomes:
        added: list[Awaitable[Any]] = [child(1)]
        span.set("callback")
        asyncio.get_running_loop().call_later(0.5, lambda: outcomes.add(added.pop()))
        span.set("body")
        async for outcome in outcomes:
            found.append((outcome.index, await outcome))
            span.set("body again")
    assert sorted(found) == [(0, "call"), (1, "call"), (2, "callback")]
