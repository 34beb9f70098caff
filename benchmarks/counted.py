"""What is counted in instructions; the process in which it is counted imports little."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

from benchmarks.contenders import own_operations
from benchmarks.drivers import (
    ToolError,
    admissions,
    blocked,
    calling,
    cancelled,
    done_tasks,
    failing,
    noop,
    running_tasks,
    yield_once,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.by_hand import Call
    from benchmarks.drivers import Drive

WARM_UP = 12  # calls; the interpreter specialises what it has run a few times


class Case(NamedTuple):
    """What is counted: so many calls, and twice as many."""

    operation: str
    children: int
    calls: int
    drive: Drive
    around: Callable[[Call], Call] | None = None


async def fail(number: int) -> int:
    """Fail at once."""
    raise ToolError(number)


async def fail_first(number: int) -> int:
    """Fail if it is the first child, or else wait for ever."""
    return await (blocked(number) if number else fail(number))


CASES = {
    "none": Case("gather", 0, 3_000, calling(noop, 0)),
    "one": Case("gather", 1, 500, calling(noop, 1)),
    "ten": Case("gather", 10, 100, calling(noop, 10)),
    "plain": Case("gather", 100, 12, calling(noop, 100)),
    "yield": Case("gather", 100, 12, calling(yield_once, 100)),
    "done": Case("adopt", 100, 12, done_tasks(100)),
    "running": Case("adopt", 100, 12, running_tasks(100)),
    "exceptions": Case("exceptions", 100, 12, calling(noop, 100)),
    "all-fail": Case("exceptions", 100, 12, calling(fail, 100)),
    "first-fails": Case("join", 100, 12, calling(fail_first, 100), failing),
    "cancelled": Case("join", 100, 12, calling(blocked, 100), cancelled),
    "limit": Case("limit", 100, 12, calling(yield_once, 100)),
    "as-completed": Case("as_completed", 100, 12, calling(yield_once, 100)),
    "rate-limit": Case("admit", 100, 12, admissions(100)),
}
MEANING = {
    "none": "no child",
    "one": "one child that does nothing",
    "ten": "10 children that do nothing",
    "plain": "100 children that do nothing",
    "yield": "100 children that yield once",
    "done": "100 Tasks handed over, all done",
    "running": "100 Tasks handed over, running; making them is counted, too",
    "exceptions": "return_exceptions=True, 100 children that do nothing",
    "all-fail": "return_exceptions=True, 100 children that fail at once",
    "first-fails": "the first of 100 fails, the others are cancelled and joined",
    "cancelled": "the caller is cancelled, and 100 children with it",
    "limit": "limit=20, 100 children that yield once",
    "as-completed": "one by one, 100 children that yield once",
    "rate-limit": "100 admissions, one after the other, that nobody holds up",
}


def work(case: Case, name: str, calls: int, *, collector: bool, eager: bool = False) -> None:
    """Warm up, then make so many calls."""
    call = own_operations()[case.operation][name]
    if case.around is not None:
        call = case.around(call)

    async def main() -> None:
        if sys.version_info >= (3, 12) and eager:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await case.drive(call, WARM_UP, time.perf_counter)
        gc.collect()
        gc.freeze()
        if not collector:
            gc.disable()
        await case.drive(call, calls, time.perf_counter)

    asyncio.run(main())


if __name__ == "__main__":
    _, _, name, contender, calls, *options = sys.argv
    work(
        CASES[name],
        contender,
        int(calls),
        collector="collector" in options,
        eager="eager" in options,
    )
