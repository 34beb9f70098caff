"""How asyncio, a bare TaskGroup, code by hand, this package and other libraries do the same job.

An operation is a job, such as "run these and return their values". Each contender does it in a
function with the same arguments; the first one is the baseline. `bare TaskGroup` is the limit: the
group that this package is built on, its results picked out by hand, without the guarantees.

Code by hand means well: it joins what it cancels.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, TypeAlias

from structgather import RateLimit, as_completed_scoped, first_n_within, gather_structured

Call: TypeAlias = Callable[..., Awaitable[Any]]
Operations: TypeAlias = dict[str, dict[str, Call]]

GATHER, GROUP = "asyncio.gather", "bare TaskGroup"
# The same function under a second name: the difference between the two is noise.
AGAIN = "gather again"
OUR_GATHER, OUR_AS_COMPLETED, OUR_FIRST_N, OUR_RATE_LIMIT = OURS = (
    "gather_structured",
    "as_completed_scoped",
    "first_n_within",
    "RateLimit",
)
PROVIDER = f"{OUR_RATE_LIMIT}, requests and tokens"

LIMIT = 20
LONG = 60.0  # a timeout that never expires


# Run all, return their values


async def group_gather(*aws: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run coroutines in a TaskGroup and pick out the results."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(aw) for aw in aws]
    return [task.result() for task in tasks]


def group_of(wrapper: Callable[[Any], Coroutine[Any, Any, Any]]) -> Call:
    """Return `group_gather` with a wrapper around each child."""
    return lambda *aws: group_gather(*map(wrapper, aws))


def gather_of(wrapper: Callable[[Any], Coroutine[Any, Any, Any]]) -> Call:
    """Return `asyncio.gather` with a wrapper around each child."""
    return lambda *aws: asyncio.gather(*map(wrapper, aws))


async def caught(aw: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever the child returns
    """Return the exception instead of raising it."""
    try:
        return await aw
    except Exception as error:  # noqa: BLE001 - as return_exceptions=True does
        return error


async def timed(aw: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever the child returns
    """Run a child under a timeout."""
    async with asyncio.timeout(LONG):
        return await aw


async def wait_for(aw: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever the child returns
    """Run a child in `asyncio.wait_for`."""
    return await asyncio.wait_for(aw, LONG)


def semaphore_and(run: Call) -> Call:
    """Return `run` with a semaphore around each child."""

    def limited(*aws: Awaitable[Any]) -> Awaitable[Any]:
        semaphore = asyncio.Semaphore(LIMIT)

        async def child(aw: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever the child returns
            async with semaphore:
                return await aw

        return run(*map(child, aws))

    return limited


async def workers(*aws: Awaitable[Any]) -> list[Any]:
    """Let a fixed number of workers take the children from an iterator."""
    numbered = iter(enumerate(aws))
    values: list[Any] = [None] * len(aws)

    async def worker() -> None:
        for index, aw in numbered:
            values[index] = await aw

    async with asyncio.TaskGroup() as group:
        for _ in range(LIMIT):
            group.create_task(worker())
    return values


# Cancel and join the rest


async def cancel_and_gather(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel and join as it is usually written."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def cancel_and_wait(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel and join only what has not finished."""
    unfinished = [task for task in tasks if not task.done()]
    for task in unfinished:
        task.cancel()
    if unfinished:
        await asyncio.wait(unfinished)


async def gather_and_join(*aws: Awaitable[Any]) -> list[Any]:
    """Call gather, and cancel and join what it leaves running."""
    tasks = [asyncio.ensure_future(aw) for aw in aws]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_and_gather(tasks)


async def wait_and_join(*aws: Awaitable[Any]) -> list[Any]:
    """Wait for all or the first failure; cancel and join the rest."""
    tasks = [asyncio.ensure_future(aw) for aw in aws]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        return [task.result() for task in tasks]
    finally:
        await cancel_and_wait(tasks)


# One by one


async def as_completed(*aws: Awaitable[Any]) -> list[Any]:
    """Collect values with asyncio.as_completed."""
    return [await earliest for earliest in asyncio.as_completed(aws)]


async def our_as_completed(*aws: Awaitable[Any]) -> list[Any]:
    """Collect values with as_completed_scoped."""
    async with as_completed_scoped(aws) as outcomes:
        return [await outcome async for outcome in outcomes]


async def group_as_completed(*aws: Coroutine[Any, Any, Any]) -> list[Any]:
    """Collect values through a queue that the Tasks of a TaskGroup put themselves into."""
    done = asyncio.Queue[asyncio.Task[Any]]()
    async with asyncio.TaskGroup() as group:
        for aw in aws:
            group.create_task(aw).add_done_callback(done.put_nowait)
        return [(await done.get()).result() for _ in aws]


async def first_completed(aws: Sequence[Awaitable[Any]], n: int) -> list[Any]:
    """Wait for one child after the other until there are n; cancel and join the rest."""
    pending = {asyncio.ensure_future(aw) for aw in aws}
    values: list[Any] = []
    try:
        while pending and len(values) < n:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            values += [task.result() for task in done if task.exception() is None]
    finally:
        await cancel_and_gather(pending)
    return values[:n]


async def our_first_n(aws: Sequence[Awaitable[Any]], n: int) -> list[Any]:
    """Collect the first values with first_n_within."""
    return (await first_n_within(aws, n)).values


async def group_first_n(aws: Sequence[Coroutine[Any, Any, Any]], n: int) -> list[Any]:
    """Take the first n from a queue as above; cancel the Tasks of the group."""
    done = asyncio.Queue[asyncio.Task[Any]]()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(aw) for aw in aws]
        for task in tasks:
            task.add_done_callback(done.put_nowait)
        values = [(await done.get()).result() for _ in range(n)]
        for task in tasks:
            task.cancel()
    return values


# What arrives within some seconds


def succeeded(tasks: Iterable[asyncio.Future[Any]]) -> list[Any]:
    """Return the values that have arrived."""
    return [t.result() for t in tasks if t.done() and not t.cancelled() and t.exception() is None]


async def timeout_and_gather(aws: Sequence[Awaitable[Any]], within: float) -> list[Any]:
    """Call gather under asyncio.timeout; join what it leaves running."""
    tasks = [asyncio.ensure_future(aw) for aw in aws]
    try:
        async with asyncio.timeout(within):
            return await asyncio.gather(*tasks)
    except TimeoutError:
        # gather has cancelled them all, but returns as soon as one of them has finished.
        await asyncio.wait(tasks)
        return succeeded(tasks)


async def timeout_and_group(aws: Sequence[Coroutine[Any, Any, Any]], within: float) -> list[Any]:
    """Use a TaskGroup under asyncio.timeout."""
    tasks: list[asyncio.Task[Any]] = []
    try:
        async with asyncio.timeout(within), asyncio.TaskGroup() as group:
            tasks += [group.create_task(aw) for aw in aws]
    except TimeoutError:
        pass
    return succeeded(tasks)


async def wait_within(aws: Sequence[Awaitable[Any]], within: float) -> list[Any]:
    """Call asyncio.wait with a timeout; cancel and join the rest."""
    tasks = [asyncio.ensure_future(aw) for aw in aws]
    try:
        await asyncio.wait(tasks, timeout=within)
        return succeeded(tasks)
    finally:
        await cancel_and_wait(tasks)


async def our_first_n_within(aws: Sequence[Awaitable[Any]], within: float) -> list[Any]:
    """Collect what arrives in time with first_n_within."""
    return (await first_n_within(aws, within=within)).values


async def our_as_completed_within(aws: Sequence[Awaitable[Any]], within: float) -> list[Any]:
    """Collect what arrives in time with as_completed_scoped."""
    values: list[Any] = []
    try:
        async with as_completed_scoped(aws, timeout=within) as outcomes:
            async for outcome in outcomes:
                values.append(await outcome)  # noqa: PERF401 - kept when the timeout expires
    except TimeoutError:
        pass
    return values


# Admission


async def semaphores(calls: int) -> int:
    """Acquire and release two semaphores for each call."""
    first, second = asyncio.Semaphore(LIMIT), asyncio.Semaphore(LIMIT)
    for _ in range(calls):
        async with first, second:
            pass
    return calls


async def rate_limit(calls: int) -> int:
    """Use a RateLimit of concurrency alone."""
    limit = RateLimit(concurrent=LIMIT)
    for _ in range(calls):
        async with limit():
            pass
    return calls


async def provider_limit(calls: int) -> int:
    """Use a RateLimit with a provider's limits, replaced before a call would have to wait."""
    fitting = 400  # calls of 200 tokens
    for done in range(0, calls, fitting):
        limit = RateLimit(concurrent=LIMIT, requests=500, tokens=90_000, per=60.0)
        for _ in range(min(fitting, calls - done)):
            async with limit(tokens=200):
                pass
    return calls


def own_operations() -> Operations:
    """Return the operations without peers."""
    gather, ours = asyncio.gather, gather_structured
    return {
        "gather": {GATHER: gather, OUR_GATHER: ours, GROUP: group_gather, AGAIN: gather},
        "adopt": {GATHER: gather, OUR_GATHER: ours},
        "exceptions": {
            GATHER: partial(gather, return_exceptions=True),
            OUR_GATHER: partial(ours, return_exceptions=True),
            GROUP: group_of(caught),
        },
        "limit": {
            "semaphore + gather": semaphore_and(gather),
            OUR_GATHER: partial(ours, limit=LIMIT),
            GROUP: semaphore_and(group_gather),
            "workers": workers,
        },
        "child_timeout": {
            "timeout each + gather": gather_of(timed),
            OUR_GATHER: partial(ours, child_timeout=LONG),
            GROUP: group_of(timed),
            "wait_for each + gather": gather_of(wait_for),
        },
        "join": {
            "gather + join": gather_and_join,
            OUR_GATHER: ours,
            GROUP: group_gather,
            "wait + join": wait_and_join,
        },
        "as_completed": {
            "asyncio.as_completed": as_completed,
            OUR_AS_COMPLETED: our_as_completed,
            GROUP: group_as_completed,
        },
        "first_n": {
            "FIRST_COMPLETED loop": first_completed,
            OUR_FIRST_N: our_first_n,
            GROUP: group_first_n,
        },
        "within": {
            "timeout + gather + join": timeout_and_gather,
            OUR_FIRST_N: our_first_n_within,
            OUR_AS_COMPLETED: our_as_completed_within,
            GROUP: timeout_and_group,
            "wait(timeout=) + join": wait_within,
        },
        "admit": {
            "two Semaphores": semaphores,
            OUR_RATE_LIMIT: rate_limit,
            PROVIDER: provider_limit,
        },
    }


# Peers. Each adds itself to the operations that it has a function for.


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

    operations["gather"]["anyio.gather"] = anyio.gather
    operations["join"]["anyio.gather"] = anyio.gather
    operations["as_completed"]["anyio.as_completed"] = anyio_as_completed
    operations["within"]["anyio.move_on_after"] = move_on_after


def add_quattro(operations: Operations) -> None:
    """Add quattro."""
    gather = importlib.import_module("quattro").gather
    operations["gather"]["quattro.gather"] = gather
    operations["join"]["quattro.gather"] = gather
    operations["exceptions"]["quattro.gather"] = partial(gather, return_exceptions=True)
    operations["limit"]["quattro.gather"] = partial(gather, concurrency_limit=LIMIT)


def add_aiotools(operations: Operations) -> None:
    """Add aiotools, whose gather_safe returns exceptions in place."""
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

    def same(aw: Awaitable[Any]) -> Awaitable[Any]:
        return aw

    def run_all(*aws: Awaitable[Any]) -> Awaitable[Any]:
        functions = [partial(same, aw) for aw in aws]
        result: Awaitable[Any] = aiometer.run_all(functions, max_at_once=LIMIT)
        return result

    operations["limit"]["aiometer.run_all"] = run_all


PEERS: dict[str, Callable[[Operations], None]] = {
    "aiometer": add_aiometer,
    "aiotools": add_aiotools,
    "anyio": add_anyio,
    "quattro": add_quattro,
}


def is_ours(contender: str) -> bool:
    """Return whether a contender is a function of this package."""
    return contender.partition(",")[0] in OURS


def is_peer(contender: str) -> bool:
    """Return whether a contender is a function of another library."""
    return contender.partition(".")[0] in PEERS


def operations_with(peers: Iterable[str]) -> tuple[Operations, dict[str, str], list[str]]:
    """Return the operations, the versions of the peers in them, and which peers are left out."""
    operations = own_operations()
    versions: dict[str, str] = {}
    left_out: list[str] = []
    for name in peers:
        try:
            PEERS[name](operations)
            versions[name] = version(name)
        except (ImportError, AttributeError) as error:  # not installed, or a version without it
            left_out.append(f"{name}: {error}")
    return operations, versions, left_out
