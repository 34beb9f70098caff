"""Tasks that wait for a block finish even if the garbage collector closes the block.

    async def events():
        async with as_completed_scoped(...) as outcomes:
            async for outcome in outcomes:
                yield await outcome

The event loop closes an async generator that is dropped half-way, in a Task of its own. In a
reference cycle the generator is garbage together with its children's Tasks.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from simloop.loop import current
from structgather import _stream, as_completed_scoped, gather_structured
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, now, run

Log: TypeAlias = list[str]
Block: TypeAlias = Callable[[Log], AsyncGenerator[Any, None]]


async def waits_for_a_queue(log: Log) -> AsyncGenerator[Any, None]:
    """The child waits for an object that is garbage as well."""
    queue: asyncio.Queue[Any] = asyncio.Queue()
    async with as_completed_scoped([queue.get()]):
        yield "first"
    log.append("left")


async def waits_for_a_timer(log: Log) -> AsyncGenerator[Any, None]:
    """The loop keeps the child alive, by its timer."""
    async with as_completed_scoped([asyncio.sleep(60)]):
        yield "first"
    log.append("left")


async def cleans_up(log: Log) -> AsyncGenerator[Any, None]:
    async with as_completed_scoped([forever(log), forever(log)]):
        yield "first"


async def cleans_up_slowly(log: Log) -> AsyncGenerator[Any, None]:
    async with as_completed_scoped([stops_slowly(log), after(60, "a")]):
        yield "first"


async def iterates(log: Log) -> AsyncGenerator[Any, None]:
    async with as_completed_scoped([after(0, "first"), forever(log), after(0, "b")]) as outcomes:
        async for outcome in outcomes:
            yield await outcome


async def iterates_with_a_limit(log: Log) -> AsyncGenerator[Any, None]:
    children = [after(0, "first"), forever(log), after(1, "b"), after(2, "c")]
    async with as_completed_scoped(children, limit=2) as outcomes:
        async for outcome in outcomes:
            yield await outcome


async def iterates_in_order(log: Log) -> AsyncGenerator[Any, None]:
    children = [after(0, "first"), forever(log), after(1, "b"), after(2, "c")]
    async with as_completed_scoped(children, limit=3, ordered=True) as outcomes:
        async for outcome in outcomes:
            yield await outcome


async def adopts(log: Log) -> AsyncGenerator[Any, None]:
    async with as_completed_scoped([asyncio.create_task(forever(log))]):
        yield "first"


async def pulls_an_async_source(log: Log) -> AsyncGenerator[Any, None]:
    async def inputs() -> AsyncIterator[Awaitable[Any]]:
        yield after(0, "first")
        await asyncio.sleep(60)

    async with as_completed_scoped(inputs()) as outcomes:
        async for outcome in outcomes:
            yield await outcome
    log.append("left")


async def nests(log: Log) -> AsyncGenerator[Any, None]:
    async with as_completed_scoped([gather_structured(forever(log), forever(log))]):
        yield "first"


async def blocks_in_a_block(log: Log) -> AsyncGenerator[Any, None]:
    async with as_completed_scoped([forever(log)]), as_completed_scoped([forever(log)]):
        yield "first"


BLOCKS: list[Block] = [
    waits_for_a_queue,
    waits_for_a_timer,
    cleans_up,
    cleans_up_slowly,
    iterates,
    iterates_with_a_limit,
    iterates_in_order,
    adopts,
    pulls_an_async_source,
    nests,
    blocks_in_a_block,
]
each_block = pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)


async def drops(block: Block, log: Log, *, cycle: bool) -> None:
    """Take one item from a block in a generator, and drop the generator."""
    generator = block(log)
    if cycle:  # a cycle, as exceptions and frames create them
        cyclic: list[Any] = [generator]
        cyclic.append(cyclic)
    assert await anext(generator) == "first"
    await asyncio.sleep(0)


@each_block
@pytest.mark.parametrize(
    ("cycle", "runs_on"), [(False, True), (True, True), (True, False)], ids=str
)
@virtual
async def test_a_collected_block_cancels_and_joins_its_children(
    block: Block, *, cycle: bool, runs_on: bool
) -> None:
    """Also if its caller has finished, and nothing refers to what its children wait for."""
    log: Log = []
    me = asyncio.current_task()
    caller = drops(block, log, cycle=cycle)
    await (caller if runs_on else asyncio.create_task(caller))
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(5)
    assert asyncio.all_tasks() == {me}
    assert now() == 5
    if block is cleans_up_slowly:
        assert log == ["cleaned up"]
    elif block not in {waits_for_a_queue, waits_for_a_timer, pulls_an_async_source}:
        assert set(log) == {"cancelled"}


def test_a_block_whose_caller_has_finished_is_forgotten_with_its_loop() -> None:
    """At the latest when the next caller finishes with its block open."""
    before = set(_stream._without_caller)

    async def leaves_it_open() -> None:
        async def caller() -> None:
            blocks.append(as_completed_scoped([forever()]))
            await blocks[-1].__aenter__()

        await asyncio.create_task(caller())
        await asyncio.sleep(0)

    blocks: list[Any] = []
    run(leaves_it_open())
    assert len(_stream._without_caller - before) == 1
    run(leaves_it_open())
    assert [stream.scope.loop.is_closed() for stream in _stream._without_caller - before] == [True]


@pytest.mark.parametrize(
    "block",
    [waits_for_a_queue, cleans_up, iterates, adopts, nests, blocks_in_a_block],
    ids=lambda block: block.__name__,
)
@virtual
async def test_aclose_of_a_block_that_is_collected_with_its_caller_finishes(block: Block) -> None:
    """Caller and children wait for what is garbage as well, so that their Tasks are."""

    async def caller() -> None:
        generator = block([])
        assert await anext(generator) == "first"
        await asyncio.get_running_loop().create_future()

    me = asyncio.current_task()
    asyncio.create_task(caller())  # noqa: RUF006 - nothing is to refer to it
    await asyncio.sleep(1)
    gc.collect()
    await asyncio.sleep(1)
    gc.collect()
    assert asyncio.all_tasks() == {me}
    current().handler_calls.clear()  # asyncio reports a Task that is collected before it is done


@each_block
@virtual
async def test_a_block_that_is_closed_joins(block: Block) -> None:
    """`aclose()` leaves the block like a `break`."""
    log: Log = []
    generator = block(log)
    assert await anext(generator) == "first"
    await asyncio.sleep(0)
    await generator.aclose()
    assert len(asyncio.all_tasks()) == 1
    assert "left" not in log
