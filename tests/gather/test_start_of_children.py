"""When, in which order and in which context children start: as with asyncio.gather."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from support.both_sides import Gather, over_both
from support.virtual_time import run

variable: ContextVar[str] = ContextVar("variable")


@over_both
def test_each_child_runs_in_a_copy_of_the_callers_context(gather: Gather) -> None:
    """A child sees the caller's context variables; no other task sees the child's."""

    async def child(name: str) -> str:
        before = variable.get()
        variable.set(name)
        await asyncio.sleep(1)
        assert variable.get() == name
        return before

    async def main() -> None:
        variable.set("task")
        task = asyncio.create_task(child("a"))
        variable.set("call")
        call = gather(child("b"), task, child("c"))
        assert await call == ["call", "task", "call"]
        assert variable.get() == "call"

    run(main())


@over_both
def test_children_start_in_order_in_the_same_loop_iteration(gather: Gather) -> None:
    """No callback that was scheduled after the call runs between the first steps."""
    log: list[str] = []

    async def child(name: str) -> None:
        log.append(f"{name} starts")
        asyncio.get_running_loop().call_soon(log.append, f"after the first step of {name}")
        await asyncio.sleep(0)
        log.append(f"{name} resumes")
        await asyncio.sleep(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(log.append, "called before")
        task = asyncio.create_task(child("task"))
        await gather(child("a"), task, child("b"), child("c"))

    run(main())
    assert log == [
        "called before",
        *(f"{name} starts" for name in ("task", "a", "b", "c")),
        *(
            line
            for name in ("task", "a", "b", "c")
            for line in (f"after the first step of {name}", f"{name} resumes")
        ),
    ]


class Loader:
    """Loads all keys of one loop iteration as one batch, as a DataLoader does."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._waiting: dict[int, asyncio.Future[int]] = {}

    def load(self, key: int) -> asyncio.Future[int]:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._send)
        return self._waiting.setdefault(key, loop.create_future())

    def _send(self) -> None:
        self.batches.append([*self._waiting])
        for key, future in self._waiting.items():
            future.set_result(key * 10)
        self._waiting.clear()


@over_both
def test_a_batching_loader_loads_one_batch(gather: Gather) -> None:
    """The keys of the children of one call, or of concurrent calls, are one batch."""
    loader = Loader()

    async def user(number: int) -> Any:
        await loader.load(number)
        return await gather(loader.load(number + 100), item(number + 200))

    async def item(key: int) -> int:
        return await loader.load(key)

    async def main() -> None:
        values = await gather(user(1), user(2), user(3))
        assert values == [[1010, 2010], [1020, 2020], [1030, 2030]]

    run(main())
    assert [len(batch) for batch in loader.batches] == [3, 3, 3]
