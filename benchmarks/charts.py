"""The published figures as SVG charts, with a column of panels for each Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from benchmarks.cases import FAMILIES
from benchmarks.contenders import AGAIN, GATHER, GROUP, is_ours
from benchmarks.targets import MEGABYTE

if TYPE_CHECKING:
    from benchmarks.results import Measured, Results

TITLES = {
    "overhead.svg": "Time of a call, gather = 1: lower is better",
    "deadline.svg": "Time from the deadline until the call returns: lower is better",
    "memory.svg": "Peak of the memory allocated for children: lower is better",
}
INK, GREY, PALE = "#111", "#555", "#ddd"
LEFT, TOP, WIDTH, HEIGHT, GAP, BETWEEN = 76.0, 96.0, 272.0, 230.0, 22.0, 128.0
LINE = 15.0


class Style(NamedTuple):
    """How a line looks; dash and mark tell lines apart without colour."""

    colour: str
    dash: str
    mark: str  # an SVG path around 0, 0


DISC, RING = "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z"
OUR_STYLES = (
    Style("#0b3d91", "none", DISC),
    Style("#0b3d91", "9 3", "M0 -5l5 9h-10z"),
    Style("#0b3d91", "12 3 2 3", "M0 5l5 -9h-10z"),
)
OTHER_STYLES = (
    Style("#b34700", "6 3", "M-3.5 -3.5h7v7h-7z"),
    Style("#00705a", "2 3", "M0 -5l5 5l-5 5l-5 -5z"),
    Style("#8a2f7a", "10 3 2 3", RING),
    Style("#444", "1 4", "M-4 -4l8 8m0 -8l-8 8"),
)


class Point(NamedTuple):
    """A median and its interval."""

    children: int
    value: float
    low: float
    high: float


Lines = Mapping[str, Sequence[Point]]


class Panel(NamedTuple):
    """One set of axes, with notes about what is not drawn."""

    python: str
    lines: Lines
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Axis:
    """The vertical axis, linear or logarithmic."""

    title: str
    low: float
    high: float
    ticks: Sequence[float]
    log: bool = True

    def down(self, value: float) -> float:
        """Return 0 at the upper end, 1 at the lower; what is beyond stays at the end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(self.high / value) / math.log(self.high / self.low)
        return (self.high - value) / (self.high - self.low)


def draw(of: Sequence[Results]) -> dict[str, str]:
    """Return the charts for which there are figures."""
    drawn = {"overhead.svg": overhead(of), "deadline.svg": deadline(of), "memory.svg": memory(of)}
    return {name: text for name, text in drawn.items() if text}


def overhead(of: Sequence[Results]) -> str:
    """Draw ratios to gather, linear; contenders that are never within the scale are named."""
    axis = Axis("time, gather = 1", 0.7, 1.3, [n / 10 for n in range(7, 14)], log=False)
    rows: dict[str, list[Panel]] = {}
    for family in ("yield", "noop", "sockets"):
        row: list[Panel] = []
        for results in of:
            cases = [c for c in results.measured if c.family == family and c.children]
            lines, notes = _ratio_lines(cases), list[str]()
            for name, points in list(lines.items()):
                values = [point.value for point in points]
                if not is_ours(name) and min(values) > axis.high:
                    del lines[name]
                    notes.append(f"beyond: {name}, {min(values):.1f} to {max(values):.1f}")
            row.append(Panel(results.minor, lines, notes))
        rows[FAMILIES[family]] = row
    return Chart("overhead.svg", rows, axis, GATHER).svg()


def _ratio_lines(cases: Sequence[Measured]) -> dict[str, list[Point]]:
    lines: dict[str, list[Point]] = {}
    for case in cases:
        for name, ratio in case.ratios.items():
            if name != AGAIN:
                lines.setdefault(name, []).append(Point(case.children, *ratio))
    return lines


def deadline(of: Sequence[Results]) -> str:
    """Draw how late calls return, in milliseconds."""
    rows: dict[str, list[Panel]] = {}
    for load in ("busy", "busy, cleanups of 10 ms"):
        row: list[Panel] = []
        for results in of:
            lines: dict[str, list[Point]] = {}
            for case in results.measured:
                if case.family == "deadline" and case.what == f"{case.children:,} {load}":
                    scale = case.seconds * 1e3
                    for name, ratio in {case.baseline: (1.0,) * 3, **case.ratios}.items():
                        point = Point(case.children, *(scale * value for value in ratio))
                        lines.setdefault(name, []).append(point)
            notes = ["not drawn: anyio, which cuts short", "a cleanup that is not shielded"]
            cleaning = load != "busy" and "anyio" in results.versions
            row.append(Panel(results.minor, lines, notes if cleaning else ()))
        rows[f"Children that are {load}"] = row
    return Chart("deadline.svg", rows, _log_axis("ms after the deadline", rows)).svg()


def memory(of: Sequence[Results]) -> str:
    """Draw the peak of the memory, in megabytes."""
    row: list[Panel] = []
    for results in of:
        lines: dict[str, list[Point]] = {}
        for growth in results.growths:
            point = Point(growth.children, *[growth.bytes / MEGABYTE] * 3)
            lines.setdefault(growth.contender, []).append(point)
        row.append(Panel(results.minor, lines))
    rows = {"Children that yield once": row}
    return Chart("memory.svg", rows, _log_axis("MB", rows)).svg()


def _points(row: Sequence[Panel]) -> list[Point]:
    return [point for panel in row for line in panel.lines.values() for point in line]


def _log_axis(title: str, rows: Mapping[str, Sequence[Panel]]) -> Axis:
    points = [point for row in rows.values() for point in _points(row)]
    low = min((point.low for point in points), default=1) / 1.2
    high = max((point.high for point in points), default=10) * 1.2
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 3)]
    return Axis(title, low, high, [tick for tick in ticks if low <= tick <= high])


def styles(names: Sequence[str]) -> dict[str, Style]:
    """Give each contender of a chart a style of its own, this package's a common colour."""
    ours, others = iter(OUR_STYLES), iter(OTHER_STYLES)
    ordered = sorted(names, key=lambda name: (not is_ours(name), name != GROUP))
    return {name: next(ours) if is_ours(name) else next(others) for name in ordered}


# SVG


def _text(x: float, y: float, words: str, look: str = "") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' {look}>{escape(words)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = INK) -> str:
    return f"<path d='M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}' stroke='{colour}'/>"


def _short(count: int) -> str:
    """Write 1,000,000 as 1M."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= size:
            return f"{count // size}{unit}"
    return f"{count}"


def _curve(points: Sequence[tuple[float, float]], style: Style, *, bold: bool) -> list[str]:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    look = f"stroke='{style.colour}' stroke-width='{2.5 if bold else 1.5}'"
    marks = [
        f"<path d='{style.mark}' transform='translate({x:.1f} {y:.1f})' {look} "
        f"fill='{style.colour if style.mark is DISC else 'white'}'/>"
        for x, y in points
    ]
    return [f"<path d='{path}' fill='none' {look} stroke-dasharray='{style.dash}'/>", *marks]


@dataclass(frozen=True)
class Chart:
    """Rows of panels by title, with a common axis; `reference` names the line at 1."""

    name: str
    rows: Mapping[str, Sequence[Panel]]
    axis: Axis
    reference: str = ""

    def svg(self) -> str:
        """Draw it; return nothing if there is nothing to draw."""
        panels = [panel for row in self.rows.values() for panel in row]
        names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
        if not names:
            return ""
        look = styles(names)
        pieces: list[str] = []
        for number, (title, row) in enumerate(self.rows.items()):
            top = TOP + number * (HEIGHT + BETWEEN)
            pieces.append(_text(LEFT, top - 30, title, "font-size='14' font-weight='bold'"))
            counts = sorted({point.children for point in _points(row)})
            middle = top + HEIGHT / 2
            turned = f"text-anchor='middle' transform='rotate(-90 20 {middle:.1f})'"
            pieces.append(_text(20, middle, self.axis.title, turned))
            for tick in self.axis.ticks:
                y = top + HEIGHT * self.axis.down(tick) + 4
                pieces.append(_text(LEFT - 8, y, f"{tick:g}", "text-anchor='end'"))
            for column, panel in enumerate(row):
                left = LEFT + column * (WIDTH + GAP)
                pieces += self._panel(panel, look, counts, left, top)
        width = LEFT + max(2, *map(len, self.rows.values())) * (WIDTH + GAP)
        bottom = TOP + len(self.rows) * (HEIGHT + BETWEEN) - 36
        legend, height = self._legend(look, width, bottom)
        size = f"width='{width:.0f}' height='{height:.0f}' viewBox='0 0 {width:.0f} {height:.0f}'"
        font = f"font-family='Helvetica, Arial, sans-serif' font-size='12' fill='{INK}'"
        return "\n".join(
            [
                f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' {font}>",
                f"<title>{TITLES[self.name]}</title>",
                "<rect width='100%' height='100%' fill='white'/>",
                _text(16, 28, TITLES[self.name], "font-size='17' font-weight='bold'"),
                *pieces,
                *legend,
                "</svg>\n",
            ]
        )

    def _panel(
        self,
        panel: Panel,
        look: Mapping[str, Style],
        counts: Sequence[int],
        left: float,
        top: float,
    ) -> list[str]:
        def y(value: float) -> float:
            return top + HEIGHT * self.axis.down(value)

        right, bottom, step = left + WIDTH, top + HEIGHT, WIDTH / len(counts)
        x = {count: left + step * (n + 0.5) for n, count in enumerate(counts)}
        centred = "text-anchor='middle'"
        pieces = [
            _text(left, top - 10, f"Python {panel.python}"),
            *(_line(left, y(tick), right, y(tick), PALE) for tick in self.axis.ticks),
            *(_text(x[count], bottom + 17, _short(count), centred) for count in counts),
            _text(left + WIDTH / 2, bottom + 35, "number of children", centred),
        ]
        if self.reference:
            pieces.append(_line(left, y(1), right, y(1)))
        for number, note in enumerate(panel.notes):
            below = bottom + 35 + LINE * (number + 1)
            pieces.append(_text(left + WIDTH / 2, below, note, f"{centred} fill='{GREY}'"))
        for name in sorted(panel.lines, key=is_ours):  # this package's lines are on top
            style, points = look[name], panel.lines[name]
            for p in points:
                at = x[p.children]
                interval = _line(at, y(p.low), at, y(p.high), style.colour)
                pieces.append(f"<g opacity='0.4'>{interval}</g>")
                if not self.axis.low <= p.value <= self.axis.high:
                    pieces.append(_text(at + 7, y(p.value) + 12, f"{p.value:.2f}"))
            curve = [(x[p.children], y(p.value)) for p in points]
            pieces += _curve(curve, style, bold=is_ours(name))
        return pieces

    def _legend(self, look: Mapping[str, Style], width: float, y: float) -> tuple[list[str], float]:
        pieces: list[str] = []
        x = LEFT
        for name in [*([self.reference] if self.reference else []), *look]:
            if x + 58 + 7 * len(name) > width:
                x, y = LEFT, y + 22
            if name in look:
                ends = [(x, y), (x + 18, y), (x + 36, y)]
                line, _, mark, _ = _curve(ends, look[name], bold=is_ours(name))
                pieces += [line, mark]
            else:
                pieces.append(_line(x, y, x + 36, y))
            pieces.append(_text(x + 42, y + 4, name))
            x += 58 + 7 * len(name)
        return pieces, y + 24
