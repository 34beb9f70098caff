"""How it is timed.

The machine is never quiet, and never the same for two seconds. So nothing is compared that was not
measured at nearly the same time: in each round of a case, each contender runs for a block of some
milliseconds, one right after the other, in an order that changes from round to round; the ratios
are taken within the round, and the rounds of all cases are spread over the whole run.

What is taken is the time for which the processor worked on it, where the system tells that exactly:
an event loop has one thread, and what another program takes from it meanwhile is nobody's overhead.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.contenders import is_ours, is_peer
from benchmarks.results import Ratio, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.cases import Case
    from benchmarks.drivers import Clock


def cpu_clock() -> Clock:
    """Return the clock of this thread's work, or of the wall where the former is coarse."""
    try:
        exact = time.get_clock_info("thread_time").resolution <= 1e-6  # noqa: PLR2004 - seconds
    except ValueError:  # there is none
        exact = False
    return time.thread_time if exact else time.perf_counter


@dataclass(frozen=True)
class Effort:
    """How long to measure, and by which clock."""

    block: float = 0.003  # seconds that the first contender runs at a stretch, at least
    case: float = 0.2  # seconds for a case, once the least number of rounds is done
    least: int = 9  # one outlier on either side does not widen the interval then
    most: int = 31
    limit: float = 50.0  # seconds for all cases; on a busy machine there are fewer rounds
    fewest: int = 3  # but these
    clock: Clock = field(default_factory=cpu_clock)


DEFAULT = Effort()
QUICK = Effort(block=0.002, case=0.1, limit=10.0)
FULL = Effort(block=0.02, case=2.5, least=11, most=101, limit=math.inf)


class WrongResultError(Exception):
    """A contender did not do what it was timed for."""


async def block(case: Case, name: str, repetitions: int, clock: Clock) -> float:
    """Let one contender work and check what it did; return the seconds that a call took."""
    gc.collect()
    if not case.collector:
        gc.disable()
    try:
        seconds, result = await case.drive(case.contenders[name], repetitions, clock)
    finally:
        gc.enable()
    shaped = case.shape(result)
    if shaped != case.expected:
        message = f"{case.family} {case.what}: {name} gave {shaped!r:.200}"
        raise WrongResultError(message)
    if len(asyncio.all_tasks()) > 1:
        message = f"{case.family} {case.what}: {name} left tasks behind"
        raise WrongResultError(message)
    return seconds / repetitions


@dataclass
class Series:
    """The blocks of one case: how many calls make a block, and how long they took."""

    case: Case
    effort: Effort
    names: list[str]
    repetitions: int = 1
    rounds: int = 1
    seconds: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    async def calibrate(self, left_out: list[str]) -> None:
        """Find out how many calls make a block and how many rounds can be had; warm up on the way.

        A peer that fails here is left out. Where anyone else fails, so does the run.
        """
        wall = time.perf_counter
        if self.case.rounds is None:
            await self.fill_a_block()
        elif self.case.rounds == 1:
            return
        start = wall()
        for name in self.case.contenders:
            try:
                await block(self.case, name, self.repetitions, self.effort.clock)
            except Exception as error:
                if not is_peer(name):
                    raise
                self.names.remove(name)
                what = f"{name} in {self.case.family}, {self.case.what}"
                left_out.append(f"{what}: {type(error).__name__} {error}")
        rounds = int(self.effort.case / (wall() - start))
        rounds = max(self.effort.least, min(self.effort.most, rounds))
        self.rounds = rounds if self.case.rounds is None else min(rounds, self.case.rounds)

    async def fill_a_block(self) -> None:
        """Find out how many calls make a block."""
        wall = time.perf_counter
        await block(self.case, self.case.baseline, 1, wall)
        while True:
            seconds = await block(self.case, self.case.baseline, self.repetitions, wall)
            short = self.case.stretch * self.effort.block / max(seconds * self.repetitions, 1e-9)
            if short <= 1:
                return
            self.repetitions = math.ceil(self.repetitions * min(10, 1.1 * short))

    def order(self) -> list[str]:
        """Say who comes when in the next round: by turns, and backwards every other time around."""
        turn, place = divmod(len(self.seconds), len(self.names))
        order = self.names[place:] + self.names[:place]
        return order[::-1] if turn % 2 else order

    async def round(self) -> None:
        """Let each contender run for a block."""
        clock = self.effort.clock
        self.seconds.append(
            {name: await block(self.case, name, self.repetitions, clock) for name in self.order()}
        )

    def rows(self) -> Iterator[Row]:
        """Sum up."""
        case = self.case
        for name in self.names:
            ratios = [taken[name] / taken[case.baseline] for taken in self.seconds]
            yield Row(
                family=case.family,
                what=case.what,
                children=case.children,
                contender=name,
                seconds=median(taken[name] for taken in self.seconds),
                ratio=Ratio.of(ratios),
                rounds=len(ratios),
                repetitions=self.repetitions,
                target=case.target if is_ours(name) else None,
            )


def schedule(rounds: Sequence[int]) -> list[int]:
    """Spread the rounds of each case evenly over the run: whose turn it is, one after the other."""
    turns = [
        ((number + 0.5) / count, index)
        for index, count in enumerate(rounds)
        for number in range(count)
    ]
    return [index for _, index in sorted(turns)]


async def measure(
    cases: Sequence[Case],
    effort: Effort,
    progress: Callable[[float, str], None],
    left_out: list[str],
) -> list[Row]:
    """Time all cases."""
    end = time.perf_counter() + effort.limit
    loop = asyncio.get_running_loop()
    # One of the peers reports each failure there. To write them to a terminal would take longer
    # than all the rest.
    loop.set_exception_handler(lambda _loop, _context: None)
    # What was made before is nothing for the collector to look at in the middle of a block.
    gc.collect()
    gc.freeze()
    try:
        all_series = [Series(case, effort, list(case.contenders)) for case in cases]
        for number, series in enumerate(all_series):
            case = series.case
            progress(0.2 * number / len(cases), f"warming up: {case.family}, {case.what}")
            await series.calibrate(left_out)
        turns = schedule([series.rounds for series in all_series])
        for number, index in enumerate(turns):
            case = all_series[index].case
            if time.perf_counter() > end and len(all_series[index].seconds) >= effort.fewest:
                continue  # the rounds of all cases being spread, each has had nearly the same share
            progress(0.2 + 0.8 * number / len(turns), f"measuring: {case.family}, {case.what}")
            await all_series[index].round()
        return [row for series in all_series if series.seconds for row in series.rows()]
    finally:
        gc.unfreeze()
        loop.set_exception_handler(None)
