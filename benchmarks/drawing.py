"""SVG by hand: lines, words and marks that can be told apart in black and white."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

FONT = "font-family='Helvetica, Arial, sans-serif'"
INK, GREY, PALE = "#111", "#555", "#ddd"


@dataclass(frozen=True)
class Style:
    """A colour for those who see it, a dash and a marker for all."""

    colour: str
    dash: str
    marker: str


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
            "ring": f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' {look}/>",
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
