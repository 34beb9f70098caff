"""What is to be reached, and whether it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import geometric_mean
from typing import TYPE_CHECKING

from benchmarks.by_hand import LIMIT
from benchmarks.cases import FAMILIES
from benchmarks.contenders import OUR_GATHER, is_ours
from benchmarks.results import Ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.results import Results, Row

MEGABYTE = 1_000_000

# Why what is not reached is not. `benchmarks.instructions` shows where the work is.
REASONS = {
    "many": "a scope keeps more for each child than gather does, and the collector looks at it",
    "first-n": "each child has an outcome, also those that are cancelled",
    "flat": "so many children are more than the caches of the processor hold",
    "none or one": "a scope is opened and closed for a single child; by instructions it is less "
    "than gather",
    "tasks": "a running Task that was handed over is watched to its end, so that it can be "
    "cancelled and joined; gather only adds a callback",
    "exceptions": "each failure is noted a second time, for `.exception_group()` and "
    "`.raise_failures()`, and what the child raised keeps no frame of ours",
    "limit": "each child is started in the context of the call; by instructions it is below 0.70",
    "as-completed": "each child has an outcome with its index and its time, asyncio's iterator the "
    "bare Task; by instructions it is below 1.00 from 10 children on",
    "cancel": "each child's end is looked at, to tell our cancelling from its own",
    "rate-limit": "the clock is read, and the running loop asked for, on Python 3.11 by a system "
    "call; by instructions it is below 1.00",
}


@dataclass(frozen=True)
class Target:
    """A line of the table: what was to be reached, and what was measured."""

    what: str
    most: float
    measured: Ratio
    reason: str = ""
    case: str = ""  # where it was at its worst, if there are several

    @property
    def reached(self) -> bool:
        """Tell whether it is no more than it may be."""
        return self.measured.median <= self.most

    @property
    def verdict(self) -> str:
        """Say so."""
        return "reached" if self.reached else "not reached"

    @property
    def why(self) -> str:
        """Say why it is not reached, if it is not."""
        if self.reached:
            return ""
        if self.measured.low <= self.most:
            return "within the interval"
        return self.reason

    @property
    def figure(self) -> str:
        """Write what was measured, with the interval where there is one."""
        median, low, high = self.measured
        distance = max(high - median, median - low)
        return f"{median:.2f}" + (f" ±{distance:.2f}" if distance else "")

    def cells(self) -> list[str]:
        """Return the line."""
        worst = f", at its worst: {self.case}" if self.case else ""
        return [self.what + worst, f"{self.most:.2f}", self.figure, self.verdict, self.why]


def targets(results: Results) -> Iterator[Target]:
    """Yield a line for each thing that is to be reached and was measured."""
    ours = [row for row in results.rows if is_ours(row.contender)]
    many = [row for row in _gathers(ours) if row.children > 1]
    as_completed = _family(ours, "as-completed")
    groups: list[tuple[str, Sequence[Row], str]] = [
        ("gather_structured, 10 children or more", many, "many"),
        ("no child", [row for row in _gathers(ours) if not row.children], "none or one"),
        ("one child", [row for row in _gathers(ours) if row.children == 1], "none or one"),
        ("return_exceptions=True", _family(ours, "exceptions"), "exceptions"),
        (f"limit={LIMIT}, 100 children or more", _family(ours, "limit"), "limit"),
        ("Tasks handed over", _family(ours, "tasks"), "tasks"),
        ("as_completed_scoped", as_completed, "as-completed"),
        *[(f"first_n_within, {row.what}", [row], "first-n") for row in _family(ours, "first-n")],
        *[
            (f"cancelling {row.what} and joining, against doing so by hand", [row], "cancel")
            for row in _family(ours, "cancel")
        ],
        *[
            (f"an admission: {row.contender}, against two Semaphores", [row], "rate-limit")
            for row in _family(ours, "rate-limit")
        ],
    ]
    for what, rows, reason in groups:
        if judged := [row for row in rows if row.target is not None]:
            # Where two are as bad, the one that is sure to be.
            worst = max(judged, key=lambda row: row.ratio.low / (row.target or 1))
            case = f"{worst.family} {worst.what}" if len(judged) > 1 else ""
            yield Target(what, worst.target or 0, worst.ratio, REASONS.get(reason, ""), case)
    for what, rows, most, reason in (
        ("gather_structured, 10 children or more, mean", many, 0.95, "many"),
        ("as_completed_scoped, mean", as_completed, 1.00, "as-completed"),
    ):
        if rows:
            yield Target(what, most, _mean([row.ratio for row in rows]), REASONS.get(reason, ""))
    yield from _against_anyio(results.rows)
    yield from _flat(ours)
    fed = [growth for growth in results.growths if growth.target is not None]
    if fed:
        growth = max(fed, key=lambda growth: growth.children)
        megabytes = growth.bytes / MEGABYTE
        what = f"{growth.contender}, {growth.children:,} children fed lazily: MB"
        yield Target(what, (growth.target or 0) / MEGABYTE, Ratio(megabytes, megabytes, megabytes))


def _family(rows: Iterable[Row], family: str) -> list[Row]:
    return [row for row in rows if row.family == family]


def _gathers(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.family in {"noop", "yield", "timer", "sockets"}]


def _mean(ratios: Sequence[Ratio]) -> Ratio:
    """Return the geometric mean, and its interval: the ratios err independently of each other."""
    middle = geometric_mean(ratio.median for ratio in ratios)
    below = math.hypot(*(math.log(ratio.median / ratio.low) for ratio in ratios)) / len(ratios)
    above = math.hypot(*(math.log(ratio.high / ratio.median) for ratio in ratios)) / len(ratios)
    return Ratio(middle, middle * math.exp(-below), middle * math.exp(above))


def _against_anyio(rows: Iterable[Row]) -> Iterator[Target]:
    cpu = [row for row in rows if row.family in {"noop", "yield"} and row.children > 1]
    ours = {(row.family, row.children): row.ratio for row in cpu if row.contender == OUR_GATHER}
    ratios = [
        Ratio(ratio.median / anyio.median, ratio.low / anyio.high, ratio.high / anyio.low)
        for row in cpu
        for anyio in [row.ratio]
        if row.contender == "anyio.gather" and (ratio := ours.get((row.family, row.children)))
    ]
    if ratios:
        yield Target("gather_structured against anyio.gather, mean", 0.35, _mean(ratios))


def _flat(rows: Iterable[Row]) -> Iterator[Target]:
    costs = [row.seconds / row.children for row in _family(rows, "scale")]
    if len(costs) > 1:
        apart = max(costs) / min(costs)
        counts = sorted(row.children for row in _family(rows, "scale"))
        what = f"cost of a child from {counts[0]:,} to {counts[-1]:,}, dearest to cheapest"
        yield Target(what, 1.3, Ratio(apart, apart, apart), REASONS["flat"])


def beyond(rows: Iterable[Row], factor: float) -> list[Row]:
    """Find the cases in which a function of this package is surely beyond its target by the factor.

    Surely: the whole interval is. What another program does to a run can move the median.
    """
    return [row for row in rows if row.target is not None and row.ratio.low > row.target * factor]


def complaint(row: Row, factor: float) -> str:
    """Say what the guard has found."""
    return (
        f"{FAMILIES[row.family]}, {row.what}: {row.contender} takes {row.ratio.low:.2f} or more, "
        f"the guard stands at {(row.target or 0) * factor:.2f}"
    )
