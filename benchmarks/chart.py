"""The figures as drawings, one for each question, which can be told apart in black and white."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from benchmarks.cases import FAMILIES
from benchmarks.contenders import GATHER, OUR_AS_COMPLETED, OUR_FIRST_N, OUR_GATHER
from benchmarks.drawing import GREY, INK, Drawing
from benchmarks.lines import (
    FIFTH,
    FOURTH,
    OURS,
    OURS_TOO,
    SECOND,
    THIRD,
    Chart,
    Panel,
    Point,
)
from benchmarks.memory import LAZILY, LIMIT
from benchmarks.report import counted, duration
from benchmarks.targets import MEGABYTE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.drawing import Style
    from benchmarks.results import Results, Row

LEFT, TOP = 48.0, 92.0
OVERHEAD = {
    OUR_GATHER: OURS,
    "TaskGroup": SECOND,
    "quattro.gather": THIRD,
    "aiotools.gather_safe": FOURTH,
    "anyio.gather": FIFTH,
}
DEADLINE = {
    OUR_FIRST_N: OURS,
    OUR_AS_COMPLETED: OURS_TOO,
    "timeout + gather + join": SECOND,
    "wait(timeout=) + join": THIRD,
    "timeout + TaskGroup": FOURTH,
    "anyio.move_on_after": FIFTH,
}
MEMORY = {
    LAZILY: OURS,
    OUR_GATHER: OURS_TOO,
    f"{OUR_GATHER}, limit={LIMIT}": FOURTH,
    GATHER: SECOND,
    "asyncio.as_completed": THIRD,
}


def charts(results: Results) -> dict[str, str]:
    """Draw all for which there are figures."""
    drawn = {
        "overhead.svg": overhead(results) if _rows(results, *OVERHEAD_FAMILIES) else "",
        "memory.svg": memory(results) if results.growths else "",
        "deadline.svg": deadline(results) if _rows(results, "deadline") else "",
        "service.svg": service(results) if results.tallies else "",
    }
    return {name: text for name, text in drawn.items() if text}


def where(results: Results) -> str:
    """Say where it was measured."""
    return f"{results.implementation} {results.python}, {results.loop} loop; {results.platform}"


def _rows(results: Results, *families: str) -> list[Row]:
    # No children at all is not on a logarithmic axis.
    return [row for row in results.rows if row.family in families and row.children]


def _lines(
    rows: Sequence[Row], styles: Mapping[str, Style], point: Callable[[Row], Point]
) -> dict[str, list[Point]]:
    return {
        name: [point(row) for row in rows if row.contender == name]
        for name in styles
        if any(row.contender == name for row in rows)
    }


OVERHEAD_FAMILIES = ("noop", "yield", "timer", "sockets")


def overhead(results: Results) -> str:
    """Draw the ratio to gather by the number of children, for each kind of child."""
    return Chart(
        "Time of a call as multiple of asyncio.gather's, by number of children",
        where(results),
        [
            Panel(
                FAMILIES[family],
                _lines(rows, OVERHEAD, lambda row: Point(row.children, *row.ratio)),
            )
            for family in OVERHEAD_FAMILIES
            if (rows := _rows(results, family))
        ],
        OVERHEAD,
        reference=GATHER,
        at_least=(0.7, 1.5),
    ).svg()


def deadline(results: Results) -> str:
    """Draw how late each comes back, for each kind of load."""

    def point(row: Row) -> Point:
        baseline = row.seconds / row.ratio.median
        return Point(row.children, row.seconds, row.ratio.low * baseline, row.ratio.high * baseline)

    rows = sorted(_rows(results, "deadline"), key=_load)
    return Chart(
        "How long after its deadline a call comes back, by number of children",
        where(results),
        [
            Panel(f"Children that are {load}", _lines(list(group), DEADLINE, point))
            for load, group in groupby(rows, _load)
        ],
        DEADLINE,
        label=lambda milliseconds: duration(milliseconds / 1e3),
        unit=1e-3,
    ).svg()


def _load(row: Row) -> str:
    return row.what.partition(" ")[2]


def memory(results: Results) -> str:
    """Draw how much memory children take, by their number."""
    growths = results.growths
    lines = {
        name: [
            Point(growth.children, *[growth.bytes / MEGABYTE] * 3)
            for growth in growths
            if growth.contender == name
        ]
        for name in MEMORY
        if any(growth.contender == name for growth in growths)
    }
    return Chart(
        "Memory that children take at the most, by their number",
        where(results),
        [Panel("Children that yield once", lines)],
        MEMORY,
        label="{:g} MB".format,
    ).svg()


# The agent service

BAR, WORDS, LONGEST = 20.0, 330.0, 380.0
HATCH = (
    "<defs><pattern id='hatch' width='6' height='6' patternUnits='userSpaceOnUse' "
    f"patternTransform='rotate(45)'><rect width='6' height='6' fill='white'/>"
    f"<line x1='0' y1='0' x2='0' y2='6' stroke='{INK}' stroke-width='2'/></pattern></defs>"
)


def service(results: Results) -> str:
    """Draw what was counted while the agents worked."""
    tallies = results.tallies
    counts = counted(tallies)
    most = max(1, *(count for _, of_each in counts for count in of_each))
    group = BAR * len(tallies) + 18
    first = tallies[0]
    drawing = Drawing(
        LEFT + WORDS + LONGEST + 60,
        TOP + group * len(counts) + 44,
        f"What is left behind: {first.agents} agents, {first.turns} turns",
    )
    drawing.pieces.append(HATCH)
    drawing.text(LEFT, 28, drawing.title, size=16, bold=True)
    drawing.text(LEFT, 47, where(results), size=11, colour=GREY)
    fills = ["url(#hatch)", OURS.colour]
    axis = LEFT + WORDS
    for place, (what, of_each) in enumerate(counts):
        top = TOP + place * group
        drawing.text(axis - 14, top + BAR * len(of_each) / 2 + 4, what, size=13, anchor="end")
        for number, (count, fill) in enumerate(zip(of_each, fills, strict=True)):
            _bar(drawing, axis, top + number * BAR, LONGEST * count / most, fill)
            words_at = axis + LONGEST * count / most + 8
            drawing.text(words_at, top + number * BAR + 14, str(count), bold=True)
    bottom = drawing.height - 40
    drawing.line(axis, TOP - 8, axis, bottom)
    left = axis
    for tally, fill in zip(tallies, fills, strict=True):
        _bar(drawing, left, bottom + 12, 30, fill)
        drawing.text(left + 38, bottom + 26, tally.contender)
        left += 80 + 7 * len(tally.contender)
    return drawing.svg()


def _bar(drawing: Drawing, x: float, y: float, width: float, fill: str) -> None:
    if width:
        drawing.pieces.append(
            f"<rect x='{x:.1f}' y='{y + 2:.1f}' width='{width:.1f}' height='{BAR - 4:.1f}' "
            f"fill='{fill}' stroke='{INK}'/>"
        )
