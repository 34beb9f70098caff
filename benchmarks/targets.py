"""What is to be reached, and whether it was."""

from __future__ import annotations

from statistics import geometric_mean
from typing import TYPE_CHECKING

from benchmarks.cases import FAMILIES
from benchmarks.contenders import LIMIT, OUR_GATHER, is_ours

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.results import Results, Row

MEGABYTE = 1_000_000


def verdict(measured: float, target: float, low: float) -> str:
    """Say whether a target was reached; low is where the measured value's interval begins."""
    if measured <= target:
        return "reached"
    return "MISSED" if low > target else "in doubt"


def targets(results: Results) -> Iterator[list[str]]:
    """Yield a line for each thing that is to be reached and was measured."""
    ours = [row for row in results.rows if is_ours(row.contender)]
    groups = [
        ("gather_structured, 10 children or more", [r for r in _gathers(ours) if r.children > 1]),
        ("the same, no child or one", [r for r in _gathers(ours) if r.children <= 1]),
        ("Tasks handed over", _family(ours, "tasks")),
        ("return_exceptions=True", _family(ours, "exceptions")),
        (f"limit={LIMIT}, 100 children or more", _family(ours, "limit")),
        ("as_completed_scoped", _family(ours, "as-completed")),
        *[(f"first_n_within, {row.what}", [row]) for row in _family(ours, "first-n")],
    ]
    for what, rows in groups:
        if judged := [row for row in rows if row.target is not None]:
            worst = max(judged, key=lambda row: row.ratio.low / (row.target or 1))
            ratio = worst.ratio
            yield _line(f"{what}, at its worst", ratio.median, worst.target or 0, ratio.low)
    for what, rows, target in (
        (groups[0][0], groups[0][1], 0.95),
        (groups[5][0], groups[5][1], 1.00),
    ):
        if rows:
            yield _line(f"{what}, mean", geometric_mean(r.ratio.median for r in rows), target)
    yield from _against_anyio(results.rows)
    yield from _flat(ours)
    for growth in results.growths:
        if growth.target is not None:
            measured = growth.bytes / MEGABYTE
            yield _line(f"{growth.contender}: MB", measured, growth.target / MEGABYTE)


def _line(what: str, measured: float, target: float, low: float | None = None) -> list[str]:
    low = measured if low is None else low
    return [what, f"{target:.2f}", f"{measured:.2f}", verdict(measured, target, low)]


def _family(rows: Iterable[Row], family: str) -> list[Row]:
    return [row for row in rows if row.family == family]


def _gathers(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.family in {"noop", "yield", "timer"}]


def _against_anyio(rows: Iterable[Row]) -> Iterator[list[str]]:
    cpu = [row for row in _gathers(rows) if row.family != "timer" and row.children > 1]
    seconds = {(row.family, row.children, row.contender): row.seconds for row in cpu}
    ratios = [
        seconds[row.family, row.children, OUR_GATHER] / row.seconds
        for row in cpu
        if row.contender == "anyio.gather" and (row.family, row.children, OUR_GATHER) in seconds
    ]
    if ratios:
        yield _line("gather_structured against anyio.gather, mean", geometric_mean(ratios), 0.35)


def _flat(rows: Iterable[Row]) -> Iterator[list[str]]:
    costs = [r.seconds / r.children for r in _family(rows, "scale")]
    if len(costs) > 1:
        yield _line("cost of a child, dearest to cheapest", max(costs) / min(costs), 1.3)


def beyond(rows: Iterable[Row], factor: float) -> list[str]:
    """Name the cases in which a function of this package is beyond its target by the factor."""
    return [
        f"{FAMILIES[row.family]}, {row.what}: {row.contender} takes "
        f"{row.ratio.median:.2f}, the guard stands at {row.target * factor:.2f}"
        for row in rows
        if row.target is not None and row.ratio.median > row.target * factor
    ]
