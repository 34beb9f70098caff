"""Every schedule of the three-child world, counted: ours, asyncio.gather's and TaskGroup's.

    python tests/search.py          a minute: with 0, 1 and 2 outer cancellations, as Markdown
    python tests/search.py --full   ten: also with events racing, and sampled where there are more

The tests assert the same of many more worlds, in test_*_every_schedule.py.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

import structgather
from harness.behaviours import three_children
from harness.calls import first, stream
from harness.choosers import explore, sample
from harness.oracles import violated
from harness.run import Program, Run
from harness.worlds import Call

Coro = Coroutine[Any, Any, Any]

ORPHANS = "no_child_pending"
LOST = "outer_cancel_surfaces"


async def task_group(*coroutines: Coro) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
    return [task.result() for task in tasks]


async def gather(*coroutines: Coro) -> list[Any]:
    return await asyncio.gather(*coroutines)


CALLS: dict[str, Call] = {
    "`asyncio.gather`": gather,
    "`asyncio.TaskGroup`": task_group,
    "`gather_structured`": structgather.gather_structured,
    "`gather_structured(return_exceptions=True)`": partial(
        structgather.gather_structured, return_exceptions=True
    ),
    "`first_n_within(n=2)`": partial(first, n=2),
    "`first_n_within(n=2, within=1)`": partial(first, n=2, within=1),
    "`as_completed_scoped`": stream,
    "`as_completed_scoped(timeout=1)`": partial(stream, timeout=1),
}


def judge(runs: Iterable[Run]) -> Counter[str]:
    """Count the schedules, and those that break a promise."""
    found = Counter[str]()
    for run in runs:
        found["schedules"] += 1
        names = violated(run)
        found["wrong"] += bool(names)
        found.update(names)
    return found


def searches(program: Program, *, full: bool, runs: int) -> Iterator[tuple[str, Iterable[Run]]]:
    for cancels in range(3):
        yield f"{cancels}", explore(program, cancels=cancels)
    if full:
        yield "0, racing", explore(program, mode="racy", cancels=0)
        yield "1, racing, sampled", sample(program, runs, mode="racy", cancels=1)
        yield "3, sampled", sample(program, runs, cancels=3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--full", action="store_true", help="also with events racing: minutes")
    parser.add_argument("--runs", type=int, default=50_000, help="how many are sampled (50,000)")
    options = parser.parse_args()
    structgather.warn_stuck_after(None)  # its timers would be choices
    print(f"CPython {platform.python_version()}\n")
    print("| call | outer cancels | schedules | leave orphans | lose a cancellation |")
    print("|---|---|---:|---:|---:|")
    begin, total, wrong = time.monotonic(), 0, 0
    for name, call in CALLS.items():
        ours = not name.startswith("`asyncio")
        for cancels, runs in searches(three_children(call), full=options.full, runs=options.runs):
            found = judge(runs)
            print(
                f"| {name} | {cancels} | {found['schedules']:,} | {found[ORPHANS]:,} "
                f"| {found[LOST]:,} |",
                flush=True,
            )
            total += found["schedules"] if ours else 0
            wrong += found["wrong"] if ours else 0
    seconds = time.monotonic() - begin
    print(f"\nOf structgather's {total:,} schedules {wrong:,} break any promise. {seconds:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
