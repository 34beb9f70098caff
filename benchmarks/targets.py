"""The targets, what was measured for each, and the guard: a case far beyond its target."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import geometric_mean
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.cases import FAMILIES, SLOW
from benchmarks.contenders import (
    GATHER,
    GROUP,
    LIMIT,
    OUR_AS_COMPLETED,
    OUR_FIRST_N,
    OUR_GATHER,
    OUR_RATE_LIMIT,
    PROVIDER,
)
from benchmarks.memory import LAZILY
from benchmarks.results import ONE, Ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Measured, Results

MEGABYTE = 1_000_000
Selection = Callable[["Measured"], bool]


class Figure(NamedTuple):
    """What was measured for a target: a mean of several cases, or the worst of them."""

    value: float
    low: float = math.inf  # of the interval, if there is one
    case: str = ""  # the worst, if there are several


class Target(NamedTuple):
    """What a ratio must not exceed (`reach`), and what it had better not exceed (`aim`)."""

    what: str
    against: str
    reach: float
    aim: float
    cases: Selection
    contender: str = OUR_GATHER
    other: str = ""  # the contender that it is compared with, if that is not the baseline
    mean: bool = False  # of the cases; else the worst of them
    words: str = ""  # what it is compared with, in the project's README

    def ratios(self, results: Results) -> Iterator[tuple[Measured, Ratio]]:
        """Yield the cases that the target is about, and the ratio of each."""
        for case in results.measured:
            if self.cases(case) and (ratio := case.ratio(self.contender, self.other)):
                yield case, ratio

    def figure(self, results: Results) -> Figure | None:
        """Return what was measured, if anything was."""
        if self is MEMORY:
            fed = [g for g in results.growths if g.contender == LAZILY]
            most = max(fed, key=lambda growth: growth.children, default=None)
            return Figure(most.bytes / MEGABYTE, case=f"{most.children:,}") if most else None
        found = list(self.ratios(results))
        if not found:
            return None
        if self.mean:
            return Figure(geometric_mean(ratio.median for _, ratio in found))
        case, ratio = max(found, key=lambda pair: pair[1].median)
        what = f"{case.family}: {case.what}" if len(found) > 1 else ""
        return Figure(ratio.median, ratio.low, what)

    def verdict(self, figure: Figure) -> str:
        """Return whether the target is reached."""
        if figure.value <= self.aim:
            return "aim met"
        if figure.value <= self.reach:
            return "reached"
        return "missed, within noise" if figure.low <= self.reach else "missed"


def among(*families: str, least: int = 0, most: float = math.inf) -> Selection:
    """Select the cases of some families by the number of children."""
    return lambda case: case.family in families and least <= case.children <= most


MANY, ONE_CHILD = among("noop", "yield", least=10), among("noop", "yield", least=1, most=1)
MEMORY = Target(f"`{LAZILY}`, children fed lazily: MB of memory", "", 5.0, 1.0, among())
TARGETS = (
    Target(
        "`gather_structured`, 10 children or more: mean",
        GATHER,
        1.06,
        1.00,
        MANY,
        mean=True,
        words="`gather` of ten or more children",
    ),
    Target(
        "`gather_structured`, 10 children or more: worst",
        GATHER,
        1.15,
        1.05,
        MANY,
        words="its worst case",
    ),
    Target(
        "`gather_structured`, 10 children or more: mean",
        GROUP,
        1.15,
        1.06,
        MANY,
        other=GROUP,
        mean=True,
    ),
    Target("no child", GATHER, 1.00, 0.50, among("noop", most=0)),
    Target("one child", GATHER, 1.25, 1.10, ONE_CHILD, words="`gather` of one child"),
    Target(
        "`return_exceptions=True`, 10 or more, all succeed",
        GATHER,
        1.10,
        1.05,
        among("exceptions", least=10),
    ),
    Target(
        "`return_exceptions=True`, 10 or more, half fail",
        GATHER,
        1.20,
        1.05,
        among("half-fail", least=10),
        words="`return_exceptions=True` if half of the children fail",
    ),
    Target("adopted Tasks, 10 or more", "gather of Tasks", 1.12, 1.05, among("adopted", least=10)),
    Target("adopted Task, one", "gather of a Task", 1.25, 1.05, among("adopted", most=1)),
    Target(
        f"`limit={LIMIT}`, 100 or more",
        "semaphore + gather",
        0.85,
        0.70,
        among("limit"),
        words="a semaphore around `gather`",
    ),
    Target(
        f"`{OUR_AS_COMPLETED}`: mean",
        "asyncio.as_completed",
        1.20,
        1.05,
        among("as-completed"),
        OUR_AS_COMPLETED,
        mean=True,
        words="`asyncio.as_completed`",
    ),
    Target(
        f"`{OUR_FIRST_N}`, 1,000 of 10,000, one finishes each iteration",
        "FIRST_COMPLETED loop",
        0.10,
        0.05,
        among("first-single", least=SLOW),
        OUR_FIRST_N,
    ),
    Target(
        f"`{OUR_FIRST_N}`, 10 of 1,000 or 10,000, in batches",
        "FIRST_COMPLETED loop",
        1.20,
        1.00,
        among("first-batches"),
        OUR_FIRST_N,
    ),
    Target("cancelling 1,000 and joining", "gather + join, by hand", 1.15, 1.00, among("cancel")),
    Target(
        "`gather_structured`, 10 children or more: mean",
        "anyio.gather",
        0.35,
        0.25,
        MANY,
        other="anyio.gather",
        mean=True,
    ),
    Target(
        "`gather_structured`, 10 children or more: mean",
        "aiotools.gather_safe",
        0.80,
        0.65,
        MANY,
        other="aiotools.gather_safe",
        mean=True,
    ),
    Target(
        f"`{OUR_RATE_LIMIT}`, concurrency only, an admission",
        "two Semaphores",
        1.00,
        0.75,
        among("rate-limit"),
        OUR_RATE_LIMIT,
    ),
    Target(
        f"`{PROVIDER}`, an admission",
        "two Semaphores",
        1.25,
        1.00,
        among("rate-limit"),
        PROVIDER,
    ),
    MEMORY,
)


def beyond(results: Results, factor: float) -> dict[tuple[str, str], str]:
    """Find the cases whose whole interval is beyond their target by the factor; say how far.

    The whole interval: another program can move the median of a run.
    """
    found: dict[tuple[str, str], str] = {}
    for target in TARGETS:
        if target.mean:
            continue
        for case, ratio in target.ratios(results):
            if ratio != ONE and ratio.low > target.reach * factor:
                found[case.key] = (
                    f"{FAMILIES[case.family]}, {case.what}: {target.contender} takes "
                    f"{ratio.low:.2f} times {target.against} or more, the guard allows "
                    f"{target.reach * factor:.2f}"
                )
    return found
