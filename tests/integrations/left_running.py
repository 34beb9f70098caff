"""Tasks that a call has left running."""

from __future__ import annotations

import asyncio


async def left_running() -> int:
    """Count the tasks that run beside the caller, and cancel and join them."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
    return len(left)
