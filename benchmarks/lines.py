"""Charts of lines over the number of children: two panels to a row, one scale for all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.drawing import GREY, PALE, Drawing, Style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WIDTH, GAP, LEFT, TOP, BETWEEN = 820.0, 24.0, 64.0, 92.0, 66.0
HIGH, LOW = 280.0, 210.0  # of a panel, in one row and in more
LEGEND_LINE = 22.0
STEPS = (1, 2, 3, 5, 7)

OURS = Style("#0b3d91", "", "disc")
OURS_TOO = Style("#0b3d91", "8 3", "ring")
SECOND = Style("#b34700", "6 3", "square")
THIRD = Style("#00705a", "2 3", "diamond")
FOURTH = Style("#8a2f7a", "10 3 2 3", "triangle")
FIFTH = Style("#666", "1 4", "cross")


class Point(NamedTuple):
    """A median and its interval, with so many children."""

    children: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """What belongs together: a line for each contender."""

    title: str
    lines: Mapping[str, Sequence[Point]]


@dataclass(frozen=True)
class Chart:
    """Some panels, and how they are to look."""

    title: str
    subtitle: str
    panels: Sequence[Panel]
    styles: Mapping[str, Style]
    label: Callable[[float], str] = "{:g}".format
    unit: float = 1.0  # what stands for 1 on the axis
    reference: str = ""  # the name of the line at 1, if it is one of them
    at_least: tuple[float, float] = (math.inf, 0.0)  # what the axis shows in any case

    def svg(self) -> str:
        """Draw it."""
        values = [p for panel in self.panels for line in panel.lines.values() for p in line]
        low = min(self.at_least[0], *(point.low for point in values)) / 1.05
        high = max(self.at_least[1], *(point.high for point in values)) * 1.05
        counts = sorted({point.children for point in values})
        legend = self.legend()
        columns = min(2, len(self.panels))
        rows = math.ceil(len(self.panels) / columns)
        wide, tall = (WIDTH - LEFT) / columns - GAP, HIGH if rows == 1 else LOW
        bottom = TOP + rows * (tall + BETWEEN) - BETWEEN + 48
        drawing = Drawing(WIDTH, bottom + LEGEND_LINE * len(legend), self.title)
        drawing.text(LEFT, 28, self.title, size=16, bold=True)
        drawing.text(LEFT, 47, self.subtitle, size=11, colour=GREY)
        for place, panel in enumerate(self.panels):
            left = LEFT + place % columns * (wide + GAP)
            top = TOP + place // columns * (tall + BETWEEN)

            def up(value: float, top: float = top) -> float:
                return top + tall * (1 - math.log(value / low) / math.log(high / low))

            for tick in ticks(low / self.unit, high / self.unit):
                y = up(tick * self.unit)
                drawing.line(left, y, left + wide, y, PALE)
                if not place % columns:
                    drawing.text(left - 8, y + 4, self.label(tick), size=11, anchor="end")
            if self.reference:
                drawing.line(left, up(1), left + wide, up(1), width=1.5)
            drawing.text(left, top - 10, panel.title, size=12, bold=True)
            step = wide / len(counts)
            across = {count: left + step * (n + 0.5) for n, count in enumerate(counts)}
            for count, x in across.items():
                drawing.text(x, top + tall + 18, f"{count:,}", size=11, anchor="middle")
            self._lines(drawing, panel, across, up)
        for number, entries in enumerate(legend):
            self._entries(drawing, entries, bottom + LEGEND_LINE * number)
        return drawing.svg()

    def _lines(
        self,
        drawing: Drawing,
        panel: Panel,
        across: Mapping[int, float],
        up: Callable[[float], float],
    ) -> None:
        # This package's lines last, on top of the others.
        for name in sorted(panel.lines, key=lambda name: self.styles[name].colour == OURS.colour):
            line, style = panel.lines[name], self.styles[name]
            points = [(across[point.children], up(point.value)) for point in line]
            if len(points) > 1:
                drawing.path(points, style, width=thickness(style))
            for point, (x, y) in zip(line, points, strict=True):
                drawing.line(x, up(point.low), x, up(point.high), style.colour)
                drawing.marker(x, y, style)

    def legend(self) -> list[list[str]]:
        """Say which names are in which line of the legend."""
        names = [self.reference] if self.reference else []
        shown = {name for panel in self.panels for name in panel.lines}
        names += [name for name in self.styles if name in shown]
        lines: list[list[str]] = [[]]
        for name in names:
            if sum(map(entry_width, [*lines[-1], name])) > WIDTH - LEFT:
                lines.append([])
            lines[-1].append(name)
        return lines

    def _entries(self, drawing: Drawing, names: Sequence[str], y: float) -> None:
        left = LEFT
        for name in names:
            if name == self.reference:
                drawing.line(left, y, left + 36, y, width=1.5)
            else:
                style = self.styles[name]
                drawing.path([(left, y), (left + 36, y)], style, width=thickness(style))
                drawing.marker(left + 18, y, style)
            bold = name in self.styles and self.styles[name].colour == OURS.colour
            drawing.text(left + 42, y + 4, name, size=11, bold=bold)
            left += entry_width(name)


def thickness(style: Style) -> float:
    """Say how thick a line is: this package's stand out."""
    return 2.5 if style.colour == OURS.colour else 1.5


def entry_width(name: str) -> float:
    """Say how wide an entry of the legend is."""
    return 62 + 7.0 * len(name)


def ticks(low: float, high: float) -> list[float]:
    """Choose round numbers for an axis: the farther it reaches, the fewer of each power of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = STEPS if high / low < 100 else (1, 3) if high / low < 10_000 else (1,)  # noqa: PLR2004
    exact = [step * 10.0**power for power in powers for step in steps]
    if high / low < 5:  # noqa: PLR2004
        exact += [1.5 * 10.0**power for power in powers]
    return sorted(tick for tick in exact if low <= tick <= high)
