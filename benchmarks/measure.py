"""How it is timed.

A machine does not run at the same speed for two seconds. So only what was measured at nearly the
same time is compared: in each round of a case every contender runs for a block of some
milliseconds, one right after the other, in an order that changes from round to round. Ratios are
taken within a round, and the rounds of all cases are spread over the whole run.

The clock is the processor time of the thread, where the system has an exact one: an event loop is
one thread, and what other programs take from it is not overhead.
"""

from __future__ import annotations

import asyncio
import gc
import math
import selectors
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.contenders import is_peer
from benchmarks.results import Measured, Ratio, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cases import Case
    from benchmarks.drivers import Clock


def processor_clock() -> Clock:
    """Return the clock of this thread's processor time, or the wall clock where it is coarse."""
    try:
        exact = time.get_clock_info("thread_time").resolution <= 1e-6  # noqa: PLR2004 - seconds
    except ValueError:  # there is none
        exact = False
    return time.thread_time if exact else time.perf_counter


class _SkippingSelector(selectors.DefaultSelector):
    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; where the loop would sleep, note for how long."""
        ready = super().select(timeout if timeout is None else 0)
        if timeout is not None and timeout > 0 and not ready:
            self.skipped += timeout
        return ready


class ProcessorTimeLoop(asyncio.SelectorEventLoop):
    """An event loop for deadlines that other programs cannot make late.

    Its time is the processor time of the thread, and what it would have slept.
    """

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Return the time of this loop in seconds."""
        return time.thread_time() + self._skipping.skipped


@dataclass(frozen=True)
class Effort:
    """How long to measure, and by which clock."""

    block: float = 0.005  # seconds for which the baseline runs in a round, at least
    case: float = 1.5  # seconds for a case, if these suffice for the least number of rounds
    least: int = 9  # one outlier on either side does not widen the interval
    most: int = 51
    limit: float = math.inf  # seconds for all cases; afterwards, only the fewest rounds
    fewest: int = 3
    clock: Clock = field(default_factory=processor_clock)


FULL = Effort()
QUICK = Effort(block=0.003, case=0.6, most=31, limit=75.0)


class WrongResultError(Exception):
    """A contender did not do what it was timed for."""


async def block(case: Case, name: str, repetitions: int, clock: Clock) -> float:
    """Let one contender work, check its result, and return the seconds that a call took."""
    gc.collect()
    seconds, result = await case.drive(case.contenders[name], repetitions, clock)
    shaped = case.shape(result)
    if shaped != case.expected:
        message = f"{case.family} {case.what}: {name} returned {shaped!r:.200}"
        raise WrongResultError(message)
    if len(asyncio.all_tasks()) > 1:
        message = f"{case.family} {case.what}: {name} left tasks running"
        raise WrongResultError(message)
    return seconds / repetitions


@dataclass
class Series:
    """The rounds of one case."""

    case: Case
    effort: Effort
    names: list[str] = field(default_factory=list[str])
    repetitions: int = 1  # calls in a block
    rounds: int = 1
    taken: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    def __post_init__(self) -> None:
        self.names = self.names or list(self.case.contenders)

    async def calibrate(self, left_out: list[str]) -> None:
        """Find out how many calls make a block and how many rounds there is time for; warm up.

        A peer that fails here is left out; a failure of any other contender ends the run.
        """
        if self.case.rounds is None:
            await self._fill_a_block()
        start = time.perf_counter()
        for name in [*self.names]:
            try:
                await block(self.case, name, self.repetitions, self.effort.clock)
            except Exception as error:
                if not is_peer(name):
                    raise
                self.names.remove(name)
                what = f"{name} in {self.case.family}, {self.case.what}"
                left_out.append(f"{what}: {type(error).__name__} {error}")
        rounds = int(self.effort.case / (time.perf_counter() - start))
        self.rounds = min(
            max(self.effort.least, min(self.effort.most, rounds)),
            self.case.rounds or self.effort.most,
        )

    async def _fill_a_block(self) -> None:
        baseline, clock = self.names[0], self.effort.clock
        await block(self.case, baseline, 1, clock)
        while True:
            seconds = await block(self.case, baseline, self.repetitions, clock)
            missing = self.effort.block / max(seconds * self.repetitions, 1e-9)
            if missing <= 1:
                return
            self.repetitions = math.ceil(self.repetitions * min(10, 1.1 * missing))

    def order(self) -> list[str]:
        """Return the order of the next round: rotated, and reversed in every other rotation."""
        rotation, place = divmod(len(self.taken), len(self.names))
        order = self.names[place:] + self.names[:place]
        return order[::-1] if rotation % 2 else order

    async def round(self) -> None:
        """Let each contender run for a block."""
        clock = self.effort.clock
        self.taken.append(
            {name: await block(self.case, name, self.repetitions, clock) for name in self.order()}
        )

    def measured(self) -> Measured:
        """Sum up."""
        case, (baseline, *others) = self.case, self.names
        return Measured(
            family=case.family,
            what=case.what,
            children=case.children,
            baseline=baseline,
            seconds=rounded(median(taken[baseline] for taken in self.taken)),
            rounds=len(self.taken),
            ratios={
                name: Ratio.of([taken[name] / taken[baseline] for taken in self.taken])
                for name in others
            },
        )


def schedule(rounds: Sequence[int]) -> list[int]:
    """Spread the rounds of each case evenly over the run; return the case of each round."""
    places = [
        ((number + 0.5) / count, index)
        for index, count in enumerate(rounds)
        for number in range(count)
    ]
    return [index for _, index in sorted(places)]


async def measure(
    cases: Sequence[Case],
    effort: Effort,
    progress: Callable[[str], None],
    left_out: list[str],
) -> list[Measured]:
    """Time all cases."""
    end = time.perf_counter() + effort.limit
    loop = asyncio.get_running_loop()
    # aiotools reports each failure there; printing them would take longer than everything else.
    loop.set_exception_handler(lambda _loop, _context: None)
    # What was allocated before is nothing that the collector must look at while the clock runs.
    gc.collect()
    gc.freeze()
    try:
        all_series = [Series(case, effort) for case in cases]
        for series in all_series:
            progress(f"warming up: {series.case.family}, {series.case.what}")
            await series.calibrate(left_out)
        order = schedule([series.rounds for series in all_series])
        for number, index in enumerate(order):
            series = all_series[index]
            if time.perf_counter() > end and len(series.taken) >= effort.fewest:
                continue  # the rounds are spread: every case has had about the same share
            progress(f"measuring, {number / len(order):.0%}: {series.case.family}")
            await series.round()
        return [series.measured() for series in all_series]
    finally:
        gc.unfreeze()
        loop.set_exception_handler(None)
