"""Runs a plan search by search and piece by piece, in one process or several."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searches.plan import Item, Plan, Programs, Sample, load
from searches.state import Record, State
from searches.work import BLOCK, PROGRAMS, Piece, Result, begin_process, work
from simloop.choosers import split

SAVE_EVERY = 10.0  # seconds


@dataclass
class Budget:
    """When to stop."""

    samples: int = 0  # random schedules, all worlds together
    programs: int = 0
    minutes: float | None = None


@dataclass
class Campaign:
    """A plan, its results, and the pieces that are running."""

    plan: str
    state: State
    budget: Budget = field(default_factory=Budget)
    path: Path | None = None  # where the state is saved
    jobs: int = 1
    tell: Callable[[str], None] = lambda _line: None  # failures, as they are found, and progress
    stopping: bool = False
    items: Plan = field(init=False)
    running: dict[Future[Result], tuple[Item, Piece]] = field(
        init=False, default_factory=dict[Future[Result], tuple[Item, Piece]]
    )
    runs: int = field(init=False, default=0)  # schedules and programs of this session

    def __post_init__(self) -> None:
        self.items = load(self.plan)
        self._begun = self._saved = time.monotonic()
        self._seconds = self.state.seconds
        samples = sum(isinstance(item, Sample) for item in self.items)
        self._blocks = -(-self.budget.samples // (BLOCK * max(1, samples)))

    def go(self) -> None:
        """Run what is left until the budget is spent or `stopping` is set; then save the state."""
        try:
            with _workers(self.jobs) as submit:
                while True:
                    while len(self.running) < self.jobs and (task := self._next()) is not None:
                        item, piece = task
                        self.running[submit(work, self.plan, item.key, piece)] = task
                    if not self.running:
                        return
                    for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                        self._take(future)
                    if time.monotonic() - self._saved > SAVE_EVERY:
                        self._save()
                        self._tell_progress()
        finally:
            self._save()

    def _next(self) -> tuple[Item, Piece] | None:
        """Return the next piece of the first search that has one."""
        minutes = self.budget.minutes
        late = minutes is not None and time.monotonic() - self._begun > 60 * minutes
        if self.stopping or late:
            return None
        for item in self.items:
            record = self.state.record(item.key)
            if not isinstance(item, Sample | Programs) and not record.begun:
                record.begun, record.left = True, [([], 0)]
            if record.left:
                return item, record.left.pop()
            if record.blocks < self._blocks_of(item):
                record.blocks += 1
                return item, record.blocks - 1
        return None

    def _blocks_of(self, item: Item) -> int:
        if isinstance(item, Sample):
            return self._blocks
        return -(-self.budget.programs // PROGRAMS) if isinstance(item, Programs) else 0

    def _take(self, future: Future[Result]) -> None:
        item, _ = self.running.pop(future)
        result, record = future.result(), self.state.record(item.key)
        told = len(record.found)
        record.add(result)
        # The last search is split so that every process has a part.
        few = len(record.left) < self.jobs > 1
        record.left += [part for left in result.left for part in (split(left) if few else [left])]
        self.runs += sum(kinds["schedules"] for kinds in result.counts.values())
        for line in record.found[told:]:
            self.tell(line)

    def _save(self) -> None:
        """Save the results; pieces that are running count as not done."""
        self._saved = time.monotonic()
        self.state.seconds = self._seconds + self._saved - self._begun
        if self.path is None:
            return
        for item, piece in self.running.values():
            self.state.record(item.key).left.append(piece)
        self.state.save(self.path)
        for item, piece in self.running.values():
            self.state.record(item.key).left.remove(piece)

    def _tell_progress(self) -> None:
        seconds = time.monotonic() - self._begun
        done = sum(self.is_done(item) for item in self.items)
        self.tell(
            f"... {self.runs:,} in {seconds:,.0f} s, {self.runs / seconds:,.0f} a second; "
            f"{done} of {len(self.items)} searches are done"
        )

    def is_done(self, item: Item) -> bool:
        """Whether nothing is left in this budget."""
        record: Record = self.state.record(item.key)
        if isinstance(item, Sample | Programs):
            return not record.left and record.blocks >= self._blocks_of(item)
        return record.complete and all(item is not other for other, _ in self.running.values())


@contextmanager
def _workers(jobs: int) -> Generator[Callable[..., Future[Any]]]:
    if jobs == 1:
        yield _here
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=begin_process) as pool:
        yield pool.submit


def _here(function: Callable[..., Any], *args: Any) -> Future[Any]:
    future = Future[Any]()
    future.set_result(function(*args))
    return future
