"""How each library does the same thing, beside the code that people write by hand.

An operation is one thing to do, such as "run these and give me their values". Each contender does
it in a function with the same arguments; the first one is what the others are compared with.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
from typing import TYPE_CHECKING, Any, TypeAlias

import structgather
from benchmarks import by_hand
from benchmarks.by_hand import LIMIT, LONG, Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

Operations: TypeAlias = dict[str, dict[str, Call]]

GATHER = "asyncio.gather"
# The same function under a second name: what differs between the two is noise.
AGAIN = "gather again"
# The names of this package are the names of what does the work in it.
OURS = ("gather_structured", "as_completed_scoped", "first_n_within", "RateLimit")
OUR_GATHER, OUR_AS_COMPLETED, OUR_FIRST_N, OUR_RATE_LIMIT = OURS
ALL_LAYERS = f"{OUR_RATE_LIMIT}, all layers"
USUAL_LIMITS = f"{OUR_RATE_LIMIT}, 500 requests and 90,000 tokens"
FITTING = 400  # calls of 200 tokens, within these limits


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


async def first_n_in_time(aws: Sequence[Awaitable[Any]], within: float) -> list[Any]:
    """Collect what arrives in time with first_n_within."""
    first = await getattr(structgather, OUR_FIRST_N)(aws, within=within)
    values: list[Any] = first.values
    return values


async def as_completed_in_time(aws: Sequence[Awaitable[Any]], within: float) -> list[Any]:
    """Collect what arrives in time with as_completed_scoped."""
    values: list[Any] = []
    try:
        async with getattr(structgather, OUR_AS_COMPLETED)(aws, timeout=within) as outcomes:
            async for outcome in outcomes:
                values.append(await outcome)  # noqa: PERF401 - what came before the end is kept
    except TimeoutError:
        pass
    return values


async def rate_limit(calls: int, **layers: float) -> int:
    """Pass through a RateLimit so many times."""
    limit = getattr(structgather, OUR_RATE_LIMIT)(concurrent=LIMIT, **layers)
    for _ in range(calls):
        async with limit():
            pass
    return calls


async def rate_limit_as_usual(calls: int) -> int:
    """Pass through a RateLimit with the limits of a provider. Before one is full, take a new one.

    So nobody waits, though the calls say how many tokens they will use.
    """
    for done in range(0, calls, FITTING):
        limit = getattr(structgather, OUR_RATE_LIMIT)(
            concurrent=LIMIT, requests=500, tokens=90_000, per=60.0
        )
        for _ in range(min(FITTING, calls - done)):
            async with limit(tokens=200):
                pass
    return calls


async def rate_limit_of_all(calls: int) -> int:
    """Pass through a RateLimit with all layers, none of which is ever full."""
    return await rate_limit(calls, requests=1e12, tokens=1e12, per=1.0)


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
            "TaskGroup": by_hand.task_group,
        },
        "adopt": {GATHER: gather, OUR_GATHER: ours},
        "exceptions": {
            GATHER: functools.partial(gather, return_exceptions=True),
            OUR_GATHER: functools.partial(ours, return_exceptions=True),
        },
        "limit": {
            "semaphore + gather": by_hand.semaphore_and_gather,
            OUR_GATHER: functools.partial(ours, limit=LIMIT),
            "queue of workers": by_hand.workers,
        },
        "join": {
            "gather + join": by_hand.gather_and_join,
            OUR_GATHER: ours,
            "wait + join": by_hand.wait_and_join,
            "TaskGroup": by_hand.task_group,
        },
        "as_completed": {
            "asyncio.as_completed": by_hand.as_completed,
            OUR_AS_COMPLETED: as_completed_scoped,
            "as_completed + join": by_hand.as_completed_and_join,
        },
        "first": {"FIRST_COMPLETED loop": by_hand.first_completed, OUR_FIRST_N: first_n_within},
        "child_timeout": {
            "wait_for each + gather": by_hand.wait_for_each,
            OUR_GATHER: functools.partial(ours, child_timeout=LONG),
            "timeout each + gather": by_hand.timeout_each,
        },
        "within": {
            "timeout + gather + join": by_hand.timeout_and_gather,
            OUR_FIRST_N: first_n_in_time,
            OUR_AS_COMPLETED: as_completed_in_time,
            "wait(timeout=) + join": by_hand.wait_within,
            "timeout + TaskGroup": by_hand.timeout_and_group,
        },
        "admit": {
            "two Semaphores": by_hand.semaphores,
            OUR_RATE_LIMIT: rate_limit,
            ALL_LAYERS: rate_limit_of_all,
            USUAL_LIMITS: rate_limit_as_usual,
        },
    }
    for name in missing():
        for contenders in operations.values():
            for contender in (name, *(key for key in contenders if key.startswith(f"{name}, "))):
                contenders.pop(contender, None)
    return operations


# The peers. Each adds itself to the operations that it can do.


def add_anyio(operations: Operations) -> None:
    """Add anyio."""
    anyio = importlib.import_module("anyio")

    async def anyio_as_completed(*aws: Awaitable[Any]) -> list[Any]:
        async with anyio.as_completed(*aws) as finished:
            return [handle.return_value async for handle in finished]

    async def move_on_after(aws: Sequence[Awaitable[Any]], within: float) -> list[Any]:
        values: list[Any] = []

        async def keep(aw: Awaitable[Any]) -> None:
            values.append(await aw)

        with anyio.move_on_after(within):
            async with anyio.create_task_group() as group:
                for aw in aws:
                    group.start_soon(keep, aw)
        return values

    operations["within"]["anyio.move_on_after"] = move_on_after
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


def is_ours(contender: str) -> bool:
    """Tell whether a contender is a function of this package."""
    return contender.partition(",")[0] in OURS


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
