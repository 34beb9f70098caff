"""The figures as drawings: SVG by hand, which can be told apart in black and white."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from benchmarks.cases import FAMILIES
from benchmarks.contenders import GATHER, OUR_GATHER
from benchmarks.report import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.results import Results, Row

FONT = "font-family='Helvetica, Arial, sans-serif'"
INK, GREY, PALE = "#111", "#555", "#ddd"


@dataclass(frozen=True)
class Style:
    """A colour for those who see it, a dash and a marker for all."""

    colour: str
    dash: str
    marker: str


STYLES = {
    OUR_GATHER: Style("#0b3d91", "", "disc"),
    "TaskGroup": Style("#b34700", "6 3", "square"),
    "quattro.gather": Style("#00705a", "2 3", "diamond"),
    "aiotools.gather_safe": Style("#8a2f7a", "10 3 2 3", "triangle"),
    "anyio.gather": Style("#666", "1 4", "cross"),
}


@dataclass
class Drawing:
    """A picture that grows piece by piece."""

    width: float
    height: float
    title: str
    pieces: list[str] = field(default_factory=list[str])

    def line(  # noqa: PLR0913 - two points and a look
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        colour: str = INK,
        *,
        width: float = 1,
        dash: str = "",
    ) -> None:
        """Draw a line."""
        self.pieces.append(
            f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' "
            f"stroke-width='{width}' stroke-dasharray='{dash or 'none'}'/>"
        )

    def path(
        self, points: Sequence[tuple[float, float]], style: Style, *, width: float = 1.5
    ) -> None:
        """Draw a line through points."""
        d = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.pieces.append(
            f"<path d='{d}' fill='none' stroke='{style.colour}' stroke-width='{width}' "
            f"stroke-dasharray='{style.dash or 'none'}'/>"
        )

    def text(  # noqa: PLR0913 - a place and a look
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 12,
        anchor: str = "start",
        colour: str = INK,
        bold: bool = False,
    ) -> None:
        """Write words."""
        self.pieces.append(
            f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' "
            f"fill='{colour}' font-weight='{'bold' if bold else 'normal'}'>{escape(words)}</text>"
        )

    def marker(self, x: float, y: float, style: Style) -> None:
        """Draw the mark of a contender: each has a shape of its own."""
        look = f"stroke='{style.colour}' stroke-width='1.5' fill='white'"
        shapes = {
            "disc": f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4.5' fill='{style.colour}'/>",
            "square": f"<rect x='{x - 3.5:.1f}' y='{y - 3.5:.1f}' width='7' height='7' {look}/>",
            "diamond": f"<path d='M{x:.1f} {y - 5:.1f} l5 5 l-5 5 l-5 -5 z' {look}/>",
            "triangle": f"<path d='M{x:.1f} {y - 5:.1f} l5 9 l-10 0 z' {look}/>",
            "cross": f"<path d='M{x - 4:.1f} {y - 4:.1f} l8 8 m0 -8 l-8 8' {look}/>",
        }
        self.pieces.append(shapes[style.marker])

    def svg(self) -> str:
        """Return the picture as the text of a file."""
        width, height = self.width, self.height
        size = f"viewBox='0 0 {width:g} {height:g}' width='{width:g}' height='{height:g}'"
        return "\n".join(
            [
                f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' {FONT}>",
                f"<title>{escape(self.title)}</title>",
                "<rect width='100%' height='100%' fill='white'/>",
                *self.pieces,
                "</svg>\n",
            ]
        )


# What gather_structured costs

PANEL, GAP, LEFT, TOP, HIGH = 290.0, 24.0, 48.0, 92.0, 280.0
TICKS = (0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10)


def overhead(results: Results) -> str:
    """Draw the ratio to gather by the number of children, for each kind of child."""
    kinds = [_rows(results, family) for family in ("noop", "yield", "timer")]
    kinds = [rows for rows in kinds if rows]
    rows = [row for rows in kinds for row in rows]
    counts = sorted({row.children for row in rows})
    low = min(0.7, *(row.ratio.low for row in rows)) / 1.05
    high = max(1.5, *(row.ratio.high for row in rows)) * 1.05

    def up(ratio: float) -> float:
        return TOP + HIGH * (1 - math.log(ratio / low) / math.log(high / low))

    drawing = Drawing(
        max(LEFT + len(kinds) * (PANEL + GAP), 800.0),
        TOP + HIGH + 92,
        "Time of a call as multiple of asyncio.gather's, by number of children",
    )
    _head(drawing, results)
    for place, rows_of_kind in enumerate(kinds):
        left = LEFT + place * (PANEL + GAP)
        for tick in (tick for tick in TICKS if low <= tick <= high):
            drawing.line(left, up(tick), left + PANEL, up(tick), PALE)
            if not place:
                drawing.text(left - 8, up(tick) + 4, f"{tick:g}", size=11, anchor="end")
        drawing.line(left, up(1), left + PANEL, up(1), width=1.5)
        _panel(drawing, left, counts, rows_of_kind, up)
    contenders = {row.contender for row in rows}
    drawing.line(LEFT, drawing.height - 24, LEFT + 36, drawing.height - 24, width=1.5)
    drawing.text(LEFT + 42, drawing.height - 20, GATHER, size=11)
    left = LEFT + _entry(GATHER)
    for name in [name for name in STYLES if name in contenders]:
        style, y = STYLES[name], drawing.height - 24
        drawing.path([(left, y), (left + 36, y)], style, width=_width(name))
        drawing.marker(left + 18, y, style)
        drawing.text(left + 42, y + 4, name, size=11, bold=name == OUR_GATHER)
        left += _entry(name)
    return drawing.svg()


def _entry(name: str) -> float:
    """Say how wide an entry of the legend is."""
    return 58 + 6.4 * len(name)


def _rows(results: Results, family: str) -> list[Row]:
    # No children at all is not on a logarithmic axis.
    return [
        row
        for row in results.rows
        if row.family == family and row.contender in STYLES and row.children
    ]


def _width(name: str) -> float:
    return 2.5 if name == OUR_GATHER else 1.5


def _head(drawing: Drawing, results: Results) -> None:
    drawing.text(LEFT, 28, drawing.title, size=16, bold=True)
    where = f"{results.implementation} {results.python}, {results.loop} loop; {results.platform}"
    drawing.text(LEFT, 47, where, size=11, colour=GREY)


def _panel(
    drawing: Drawing,
    left: float,
    counts: Sequence[int],
    rows: Sequence[Row],
    up: Callable[[float], float],
) -> None:
    step = PANEL / len(counts)
    across = {count: left + step * (place + 0.5) for place, count in enumerate(counts)}
    drawing.text(left, TOP - 10, FAMILIES[rows[0].family], size=12, bold=True)
    for count, x in across.items():
        drawing.text(x, TOP + HIGH + 18, f"{count:,}", size=11, anchor="middle")
    # This package's line last, on top of the others.
    for name in reversed(STYLES):
        mine = [row for row in rows if row.contender == name]
        points = [(across[row.children], up(row.ratio.median)) for row in mine]
        style = STYLES[name]
        if len(points) > 1:
            drawing.path(points, style, width=_width(name))
        for row, (x, y) in zip(mine, points, strict=True):
            drawing.line(x, up(row.ratio.low), x, up(row.ratio.high), style.colour)
            drawing.marker(x, y, style)


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
    _head(drawing, results)
    fills = ["url(#hatch)", STYLES[OUR_GATHER].colour]
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
