"""The results as tables: aligned for a terminal, or in the pages for one or several Pythons."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks import charts
from benchmarks.cases import FAMILIES
from benchmarks.contenders import GATHER, OUR_GATHER, is_ours
from benchmarks.results import Results
from benchmarks.targets import MEGABYTE, TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.results import Measured, Tally

NOISY = 0.05  # a ratio whose interval is wider than ±5% is marked in the pages
REGION = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOTHING = "Nothing is published yet: `python -m benchmarks --publish` measures and writes this.\n"


@dataclass(frozen=True)
class Table:
    """A table with a title; the first columns have words, the others figures."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1

    def plain(self) -> str:
        """Align it for a terminal."""
        cells = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if column < self.words else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([self.title, "-" * len(self.title), *lines]) + "\n"

    def markdown(self) -> str:
        """Write it for a page."""
        rule = ["---" if n < self.words else "---:" for n, _ in enumerate(self.header)]
        lines = ["| " + " | ".join(row) + " |" for row in [self.header, rule, *self.rows]]
        return "\n".join([f"**{self.title}**", "", *lines] if self.title else lines) + "\n"


def duration(seconds: float) -> str:
    """Write a time with three digits and the unit that suits it."""
    for unit, factor in (("µs", 1e6), ("ms", 1e3)):
        if seconds * factor < 999.5:  # noqa: PLR2004 - which would be written as 1000
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def tables(of: Sequence[Results]) -> Iterator[Table]:
    """Yield the tables: a row for each case, in each cell a figure for each Python."""
    by_family: dict[str, dict[str, list[Measured | None]]] = {}
    for place, results in enumerate(of):
        for case in results.measured:
            row = by_family.setdefault(case.family, {}).setdefault(case.what, [None] * len(of))
            row[place] = case
    for family, title in FAMILIES.items():
        if family in by_family:
            yield _ratios(title, by_family[family])
    if any(results.growths for results in of):
        yield _memory(of)


def _ratios(title: str, cases: dict[str, list[Measured | None]]) -> Table:
    measured = [case for row in cases.values() for case in row if case]
    names = list(dict.fromkeys(name for case in measured for name in case.ratios))
    rows: list[list[str]] = []
    for what, row in cases.items():
        times = " / ".join(duration(case.seconds) if case else "-" for case in row)
        rows.append([what, times, *[_ratio(row, name) for name in names]])
    return Table(title, ["", measured[0].baseline, *names], rows)


def _ratio(row: Sequence[Measured | None], name: str) -> str:
    ratios = [case.ratios.get(name) if case else None for case in row]
    if not any(ratios):
        return ""
    if len(ratios) == 1:
        return "".join(f"{ratio.median:.2f} ±{ratio.spread:.2f}" for ratio in ratios if ratio)
    return " / ".join(
        ("~" if ratio.spread > NOISY * ratio.median else "") + f"{ratio.median:.2f}"
        if ratio
        else "-"
        for ratio in ratios
    )


def _memory(of: Sequence[Results]) -> Table:
    sizes = [{(g.contender, g.children): g.bytes for g in results.growths} for results in of]
    names = list(dict.fromkeys(name for found in sizes for name, _ in found))
    counts = sorted({count for found in sizes for _, count in found})

    def cell(name: str, count: int) -> str:
        found = [of_python.get((name, count)) for of_python in sizes]
        if not any(found):
            return ""
        return " / ".join("-" if size is None else f"{size / MEGABYTE:.2f}" for size in found)

    rows = [[f"{count:,}", *(cell(name, count) for name in names)] for count in counts]
    return Table(
        "Peak of the memory allocated for children that yield once, MB", ["", *names], rows
    )


def service(of: Sequence[Results]) -> Table:
    """Return what the agents of the service have left behind."""
    columns = [
        (f"{results.minor} {tally.contender}", tally) for results in of for tally in results.tallies
    ]
    counted = [
        ("tasks alive after their call had returned", "alive"),
        ("connections held after their call had returned", "held"),
        ("requests served after their call had returned", "unwanted"),
        ("seconds of work on these", "unwanted_seconds"),
        ("e-mails sent twice", "twice"),
        ("of these, both sent before the call had returned", "twice_unavoidable"),
        ("turns answered", "answered"),
        ("tries", "tries"),
        ("requests", "requests"),
        ("seconds until the last agent was done", "seconds"),
    ]
    rows = [[what, *(_count(tally, name) for _, tally in columns)] for what, name in counted]
    title = "The agent service"
    if columns:
        title += f": {columns[0][1].agents} agents, {columns[0][1].turns} turns"
    return Table(title, ["", *(name for name, _ in columns)], rows)


def _count(tally: Tally, name: str) -> str:
    value: object = getattr(tally, name)
    return f"{value:.2f}" if isinstance(value, float) else f"{value}"


def summary(of: Sequence[Results]) -> Table:
    """Return what is measured against the targets, and what a child costs more."""
    rows: list[list[str]] = []
    for target in TARGETS:
        figures = [target.figure(results) for results in of]
        if any(figures):
            cells = [f"{figure.value:.2f}" if figure else "" for figure in figures]
            rows.append([target.what, target.against, *cells])
    for family, what in (("yield", "yields once"), ("sockets", "makes a round trip over a socket")):
        added = [_added(results, family) for results in of]
        if any(added):
            rows.append([f"µs more for each of 100 children that {what}", GATHER, *added])
    return Table("", ["cost of", "relative to", *(results.minor for results in of)], rows, 2)


def _added(results: Results, family: str) -> str:
    for case in results.measured:
        ratio = case.ratio(OUR_GATHER)
        if case.key == (family, "100") and ratio:
            return f"{(ratio.median - 1) * case.seconds / case.children * 1e6:+.2f}"
    return ""


def judged(of: Sequence[Results]) -> Table:
    """Return the targets, what was measured and whether they are reached."""
    rows: list[list[str]] = []
    for target in TARGETS:
        figures = [target.figure(results) for results in of]
        if any(figures):
            cells = [
                f"{figure.value:.2f} {target.verdict(figure)}"
                + (f" ({figure.case})" if figure.case else "")
                if figure
                else ""
                for figure in figures
            ]
            goals = [f"{target.reach:.2f}", f"{target.aim:.2f}"]
            rows.append([target.what, target.against, *goals, *cells])
    header = ["cost of", "relative to", "to reach", "to aim for"]
    return Table("", [*header, *(results.minor for results in of)], rows, 2)


def costs(of: Sequence[Results]) -> str:
    """Return the figures of the project's README, as one paragraph."""
    parts: list[str] = []
    for target in TARGETS:
        figures = [target.figure(results) for results in of]
        values = [f"{figure.value:.2f}" for figure in figures if figure]
        if target.words and values:
            parts.append(f"{target.words}: {' / '.join(values)}")
    pythons = " / ".join(results.minor for results in of)
    text = f"Multiples of what asyncio takes, on {pythons}: {'; '.join(parts)}."
    return textwrap.fill(text, 150, break_long_words=False, break_on_hyphens=False) + "\n"


def comparison(old: Results, new: Results) -> Table:
    """Return where two runs differ, and whether by more than their intervals."""
    before = {case.key: case for case in old.measured}
    rows: list[list[str]] = []
    for case in new.measured:
        for name, ratio in case.ratios.items():
            was = before[case.key].ratios.get(name) if case.key in before else None
            if was and is_ours(name):
                apart = ratio.low > was.high or ratio.high < was.low
                change = ratio.median / was.median - 1
                verdict = ("slower" if change > 0 else "faster") if apart else ""
                figures = [f"{r.median:.2f} ±{r.spread:.2f}" for r in (was, ratio)]
                what = f"{case.family} {case.what}"
                rows.append([what, name, *figures, f"{change:+.0%}", verdict])
    title = f"Ratios on Python {old.python} and on Python {new.python}"
    return Table(title, ["", "", "before", "after", "change", ""], rows, 2)


def heading(results: Results) -> str:
    """Return on what was measured, with what, and for how long."""
    rounds = [case.rounds for case in results.measured]
    parts = [
        f"CPython {results.python}, {results.loop} loop",
        results.machine,
        ", ".join(f"{name} {version}" for name, version in results.versions.items()),
        f"{results.clock}, {min(rounds)} to {max(rounds)} rounds a case" if rounds else "",
        f"{results.seconds:.0f} s",
        *(f"left out: {reason}" for reason in results.left_out),
    ]
    return "; ".join(part for part in parts if part)


def report(results: Results) -> str:
    """Write everything for a terminal."""
    explanation = (
        "First column of figures: time of a call. The others: multiples of it, median of the\n"
        "rounds, ± the 95% confidence interval. Lower is better.\n"
    )
    parts = [*tables([results])]
    if results.tallies:
        parts.append(service([results]))
    targets = judged([results])
    if targets.rows:
        parts.append(replace(targets, title="Targets"))
    return "\n".join([heading(results), "", explanation, *(table.plain() for table in parts)])


# The pages that are kept with the code


def published(folder: Path) -> list[Results]:
    """Return what is kept, by version."""
    found = [Results.load(path) for path in (folder / "published").glob("python-*.json")]
    return sorted(found, key=lambda results: [int(part) for part in results.python.split(".")[:2]])


def regions(of: Sequence[Results], drawn: Sequence[str]) -> dict[str, str]:
    """Return the text of each generated region of the pages."""
    if not of:
        names = ("summary", "charts", "tables", "service", "targets", "costs")
        return dict.fromkeys(names, NOTHING)
    headings = "".join(f"- {heading(results)}\n" for results in of)
    pythons = " / ".join(results.minor for results in of)
    return {
        "summary": summary(of).markdown(),
        "charts": "".join(f"![{charts.TITLES[name]}](published/{name})\n\n" for name in drawn),
        "tables": f"{headings}\nEach cell: {pythons}.\n\n"
        + "\n".join(table.markdown() for table in tables(of)),
        "service": service(of).markdown(),
        "targets": judged(of).markdown(),
        "costs": costs(of),
    }


def render(folder: Path) -> None:
    """Write the charts, and the generated regions of the pages and of the project's README."""
    of = published(folder)
    drawings = charts.draw(of)
    for name, text in drawings.items():
        (folder / "published" / name).write_text(text, "utf-8")
    parts = regions(of, list(drawings))
    for path in (folder / "README.md", folder / "TARGETS.md", folder.parent / "README.md"):
        if path.exists():
            page = path.read_text("utf-8")
            filled = REGION.sub(lambda match: match[1] + parts[match[2]] + match[3], page)
            path.write_text(filled, "utf-8")
