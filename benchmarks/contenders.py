"""How each library does the same thing, beside the code that people write by hand.

An operation is one thing to do, such as "run these and give me their values". Each contender does
it in a function with the same arguments; the first one is what the others are compared with.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeAlias, cast

import structgather

Call: TypeAlias = Callable[..., Awaitable[Any]]
Operations: TypeAlias = dict[str, dict[str, Call]]

LIMIT = 20
GATHER = "asyncio.gather"
# The same function under a second name: what differs between the two is noise.
AGAIN = "gather again"
# The names of this package are the names of what does the work in it.
OURS = ("gather_structured", "as_completed_scoped", "first_n_within")
OUR_GATHER, OUR_AS_COMPLETED, OUR_FIRST_N = OURS


# By hand


async def task_group(*aws: Awaitable[Any]) -> list[Any]:
    """Run coroutines in a bare TaskGroup and collect the values by hand."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(cast("Coroutine[Any, Any, Any]", aw)) for aw in aws]
    return [task.result() for task in tasks]


async def gather_and_join(*aws: Awaitable[Any]) -> list[Any]:
    """Call gather, and cancel and join what it leaves behind."""
    tasks = [asyncio.ensure_future(aw) for aw in aws]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def semaphore_and_gather(*aws: Awaitable[Any]) -> list[Any]:
    """Call gather with a semaphore around each child."""
    semaphore = asyncio.Semaphore(LIMIT)

    async def limited(aw: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever the child returns
        async with semaphore:
            return await aw

    return await asyncio.gather(*[limited(aw) for aw in aws])


async def as_completed(*aws: Awaitable[Any]) -> list[Any]:
    """Collect values with asyncio.as_completed."""
    return [await earliest for earliest in asyncio.as_completed(aws)]


async def first_completed(aws: Sequence[Awaitable[Any]], n: int) -> list[Any]:
    """Wait for one child after the other until there are enough, cancel and join the rest."""
    pending = {asyncio.ensure_future(aw) for aw in aws}
    values: list[Any] = []
    try:
        while pending and len(values) < n:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            values += [task.result() for task in done if task.exception() is None]
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return values[:n]


# This package


async def as_completed_scoped(*aws: Awaitable[Any]) -> list[Any]:
    """Collect values with as_completed_scoped."""
    async with getattr(structgather, OUR_AS_COMPLETED)(aws) as outcomes:
        return [await outcome async for outcome in outcomes]


async def first_n_within(aws: Sequence[Awaitable[Any]], n: int) -> list[Any]:
    """Collect the first values with first_n_within."""
    first = await getattr(structgather, OUR_FIRST_N)(aws, n)
    values: list[Any] = first.values
    return values


def missing() -> list[str]:
    """Name the functions that this version of structgather does not have."""
    return [name for name in OURS if not hasattr(structgather, name)]


def own_operations() -> Operations:
    """List what needs no peer: the standard library, code by hand, this package."""
    gather, ours = asyncio.gather, structgather.gather_structured
    operations: Operations = {
        "gather": {
            GATHER: gather,
            OUR_GATHER: ours,
            AGAIN: gather,
            "TaskGroup": task_group,
        },
        "adopt": {GATHER: gather, OUR_GATHER: ours},
        "exceptions": {
            GATHER: functools.partial(gather, return_exceptions=True),
            OUR_GATHER: functools.partial(ours, return_exceptions=True),
        },
        "limit": {
            "semaphore + gather": semaphore_and_gather,
            OUR_GATHER: functools.partial(ours, limit=LIMIT),
        },
        "join": {
            "gather + join": gather_and_join,
            OUR_GATHER: ours,
            "TaskGroup": task_group,
        },
        "as_completed": {
            "asyncio.as_completed": as_completed,
            OUR_AS_COMPLETED: as_completed_scoped,
        },
        "first": {"FIRST_COMPLETED loop": first_completed, OUR_FIRST_N: first_n_within},
    }
    for name in missing():
        for contenders in operations.values():
            contenders.pop(name, None)
    return operations


# The peers. Each adds itself to the operations that it can do.


def add_anyio(operations: Operations) -> None:
    """Add anyio."""
    anyio = importlib.import_module("anyio")

    async def anyio_as_completed(*aws: Awaitable[Any]) -> list[Any]:
        async with anyio.as_completed(*aws) as finished:
            return [handle.return_value async for handle in finished]

    operations["gather"]["anyio.gather"] = anyio.gather
    operations["join"]["anyio.gather"] = anyio.gather
    operations["as_completed"]["anyio.as_completed"] = anyio_as_completed


def add_quattro(operations: Operations) -> None:
    """Add quattro."""
    gather = importlib.import_module("quattro").gather
    operations["gather"]["quattro.gather"] = gather
    operations["join"]["quattro.gather"] = gather
    operations["exceptions"]["quattro.gather"] = functools.partial(gather, return_exceptions=True)
    operations["limit"]["quattro.gather"] = functools.partial(gather, concurrency_limit=LIMIT)


def add_aiotools(operations: Operations) -> None:
    """Add aiotools."""
    aiotools = importlib.import_module("aiotools")

    def gather_safe(*aws: Awaitable[Any]) -> Awaitable[Any]:
        result: Awaitable[Any] = aiotools.gather_safe(aws)
        return result

    async def as_completed_safe(*aws: Awaitable[Any]) -> list[Any]:
        return [await task async for task in aiotools.as_completed_safe(aws)]

    operations["gather"]["aiotools.gather_safe"] = gather_safe
    operations["exceptions"]["aiotools.gather_safe"] = gather_safe
    operations["as_completed"]["aiotools.as_completed_safe"] = as_completed_safe


def add_aiometer(operations: Operations) -> None:
    """Add aiometer, which takes functions rather than coroutines."""
    aiometer = importlib.import_module("aiometer")

    def run_all(*aws: Awaitable[Any]) -> Awaitable[Any]:
        functions = [functools.partial(_same, aw) for aw in aws]
        result: Awaitable[Any] = aiometer.run_all(functions, max_at_once=LIMIT)
        return result

    operations["limit"]["aiometer.run_all"] = run_all


def _same(aw: Awaitable[Any]) -> Awaitable[Any]:
    return aw


PEERS: dict[str, Callable[[Operations], None]] = {
    "aiometer": add_aiometer,
    "aiotools": add_aiotools,
    "anyio": add_anyio,
    "quattro": add_quattro,
}


def is_peer(contender: str) -> bool:
    """Tell whether a contender is a function of one of the peers."""
    return contender.partition(".")[0] in PEERS


def operations_with(peers: Iterable[str]) -> tuple[Operations, dict[str, str], list[str]]:
    """List all operations, the versions of the peers in them, and what had to be left out."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - costs much

    operations = own_operations()
    left_out = [f"{name}: this structgather does not have it" for name in missing()]
    versions: dict[str, str] = {}
    for name in peers:
        try:
            PEERS[name](operations)
            versions[name] = version(name)
        except (ImportError, AttributeError, PackageNotFoundError) as error:
            left_out.append(f"{name}: {error}")
    return operations, versions, left_out
