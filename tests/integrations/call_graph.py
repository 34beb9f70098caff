"""A program whose children wait: `test_call_graph.py` inspects it from outside.

It prints its process id, and stops when its input is closed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from structgather import as_completed_scoped, first_n_within, gather_structured


async def tool() -> None:
    await asyncio.get_running_loop().create_future()


async def streams() -> None:
    async with as_completed_scoped([tool(), tool()]) as outcomes:
        async for _ in outcomes:
            pass


async def races() -> None:
    await first_n_within([tool(), tool()], limit=1)


async def turn() -> None:
    await gather_structured(tool(), races(), streams())


async def main() -> None:
    running = asyncio.create_task(turn(), name="turn")
    for _ in range(5):  # each child, and the children of each child, have started
        await asyncio.sleep(0)
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main())
