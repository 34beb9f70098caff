"""A pytest plugin: `asyncio.gather` is `gather_structured`, for the project and all that it uses.

    PYTHONPATH=tests/swapped python -m pytest -p swapped_gather

What is awaited where it is called, `await gather(...)`, becomes `await gather_structured(...)`. Any
other call expects a Future: it gets `asyncio.ensure_future(gather_structured(...))`, a Task.
"""

from __future__ import annotations

import asyncio
import dis
import itertools
import sys
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

# The clone has folders whose names a project may use as well: it doesn't stay on the path.
ROOT = str(Path(__file__).parents[2])
sys.path.insert(0, ROOT)
from structgather import gather_structured  # noqa: E402

sys.path.remove(ROOT)

#: How often each kind of call was made.
calls = {"awaited": 0, "kept": 0}


@cache
def is_awaited(code: CodeType, offset: int) -> bool:
    """Tell whether the call at an offset is followed by `await`."""
    instructions = dis.get_instructions(code)
    following = itertools.dropwhile(lambda it: it.offset <= offset, instructions)
    return next(following).opname == "GET_AWAITABLE"


def gather(*children: Any, return_exceptions: bool = False) -> Any:
    """Call `gather_structured` in place of `asyncio.gather`."""
    caller = sys._getframe(1)
    if is_awaited(caller.f_code, caller.f_lasti):
        calls["awaited"] += 1
        return gather_structured(*children, return_exceptions=return_exceptions)
    calls["kept"] += 1
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # `loop.run_until_complete(gather(*tasks))`
        given = [child.get_loop() for child in children if asyncio.isfuture(child)]
        loop = given[0] if given else asyncio.get_event_loop()
    call = gather_structured(*children, return_exceptions=return_exceptions)
    return asyncio.ensure_future(call, loop=loop)


# Before anything else is imported, so that `from asyncio import gather` finds it too.
asyncio.gather = asyncio.tasks.gather = gather
