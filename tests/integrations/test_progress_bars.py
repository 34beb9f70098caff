"""Progress bars of tqdm and rich over `as_completed_scoped`, compared with tqdm's own gather."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest

from support.virtual_tests import virtual
from support.virtual_time import after, now

pytest.importorskip("rich", exc_type=ImportError)

from rich.console import Console
from rich.progress import Progress

from structgather import as_completed_scoped

tqdm: Any = pytest.importorskip("tqdm.asyncio", exc_type=ImportError).tqdm


@dataclass
class Bar:
    """What a bar has counted, and what it has written."""

    done: float
    total: float | None
    text: str


class Children:
    """One finishes each second, or fails. Each logs that it has finished."""

    def __init__(self, fails: int | None = None) -> None:
        self.over = 0
        self.fails = fails
        self.all = [self.child(number) for number in range(1, 21)]

    async def child(self, number: int) -> int:
        try:
            await asyncio.sleep(number)
        finally:
            self.over += 1
        if number == self.fails:
            raise LookupError(number)
        return number


async def with_tqdm(children: Children, leave_after: int | None = None) -> Bar:
    screen = StringIO()
    async with as_completed_scoped(children.all) as outcomes:
        async for outcome in (bar := tqdm(outcomes, file=screen, mininterval=0)):
            if outcome.index + 1 == leave_after:
                break
    bar.close()
    return Bar(bar.n, bar.total, screen.getvalue())


async def with_rich(children: Children, leave_after: int | None = None) -> Bar:
    console = Console(file=StringIO(), force_terminal=True)
    with Progress(console=console) as progress:
        async with as_completed_scoped(children.all) as outcomes:
            bar = progress.add_task("", total=len(outcomes))
            async for outcome in outcomes:
                progress.advance(bar)
                if outcome.index + 1 == leave_after:
                    break
    task = progress.tasks[bar]
    assert isinstance(console.file, StringIO)
    return Bar(task.completed, task.total, console.file.getvalue())


each_bar = pytest.mark.parametrize("with_bar", [with_tqdm, with_rich])


@each_bar
@virtual
async def test_the_count_reaches_the_total(with_bar: Any) -> None:
    """The bar knows the total at once, counts each child, also failed ones, and reaches 100%."""
    bar = await with_bar(Children(fails=6))
    assert (bar.done, bar.total) == (20, 20)
    assert "100%" in bar.text


@each_bar
@virtual
async def test_leaving_early_leaves_no_orphan(with_bar: Any) -> None:
    """When the loop over a bar is left, running children are cancelled and joined."""
    children = Children()
    bar = await with_bar(children, leave_after=3)
    # tqdm counts an item when the next one is requested.
    assert bar.done in {2, 3}
    assert bar.total == 20
    assert children.over == 20
    assert now() == 3


@asynccontextmanager
async def cancelled_after_three_seconds() -> AsyncGenerator[None]:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3.5):
            yield


@each_bar
@virtual
async def test_a_cancelled_bar_leaves_no_orphan(with_bar: Any) -> None:
    """All children have finished before the caller's CancelledError propagates."""
    children = Children()
    async with cancelled_after_three_seconds():
        await with_bar(children)
    assert children.over == 20


@virtual
async def test_tqdms_gather_leaves_orphans_when_it_is_cancelled() -> None:
    """Cancelling `tqdm.gather` cancels no child: they all run to completion."""
    children = Children()
    async with cancelled_after_three_seconds():
        await tqdm.gather(*children.all, file=StringIO())
    assert children.over == 3
    assert len(asyncio.all_tasks()) == 1 + 17
    await asyncio.sleep(60)
    assert children.over == 20


@virtual
async def test_tqdms_gather_leaves_orphans_when_a_child_fails() -> None:
    """`tqdm.gather` raises the first failure, and the siblings run on."""
    children = Children(fails=6)
    with pytest.raises(LookupError):
        await tqdm.gather(*children.all, file=StringIO())
    assert children.over == 6
    assert len(asyncio.all_tasks()) == 1 + 14
    await asyncio.sleep(60)


@virtual
async def test_a_total_that_grows() -> None:
    """If children are added, the total is updated from `len()` and the outcomes taken."""
    async with as_completed_scoped([after(1, n) for n in range(3)]) as outcomes:
        with tqdm(total=len(outcomes), file=StringIO()) as bar:
            async for outcome in outcomes:
                bar.update()
                if outcome.index < 3:
                    outcomes.add(after(1, "more"))
                bar.total = bar.n + len(outcomes)
                assert bar.total == 4 + min(outcome.index, 2)
    assert (bar.n, bar.total) == (6, 6)
