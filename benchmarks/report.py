"""What a run has found, as tables: aligned for a terminal, or in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from benchmarks.cases import FAMILIES
from benchmarks.contenders import is_ours
from benchmarks.targets import MEGABYTE, targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.results import Growth, Ratio, Results, Row, Tally

# A little less, so that what is rounded up is written with the larger unit.
MILLISECOND, SECOND = 0.9995e-3, 0.9995


@dataclass(frozen=True)
class Table:
    """A table with a title. The first column says what, the others how much."""

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]

    def plain(self) -> str:
        """Align it for a terminal."""
        cells = [self.header, *self.lines]
        widths = [max(len(line[column]) for line in cells) for column in range(len(self.header))]
        aligned = [
            "  ".join(
                cell.ljust(width) if not column else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        ]
        return "\n".join([self.title, "-" * len(self.title), *aligned])

    def markdown(self) -> str:
        """Write it for a document."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        cells = [self.header, rule, *self.lines]
        return "\n".join([f"**{self.title}**", "", *["| " + " | ".join(c) + " |" for c in cells]])


def duration(seconds: float) -> str:
    """Write a time with the unit that suits it."""
    if seconds >= SECOND:
        return f"{seconds:.2f} s"
    if seconds >= MILLISECOND:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds * 1e6:.3g} µs"


def spread(ratio: Ratio, rounds: int) -> str:
    """Write a ratio, with the distance to the farther end of its interval."""
    if rounds == 1:
        return f"{ratio.median:.2f}"
    distance = max(ratio.high - ratio.median, ratio.median - ratio.low)
    return f"{ratio.median:.2f} ±{distance:.2f}"


def tables(results: Results) -> Iterator[Table]:
    """Yield all tables, in the order in which they are read."""
    for family, rows in groupby(results.rows, lambda row: row.family):
        table = {"scale": per_child, "deadline": lateness}.get(family, timings)
        yield table(FAMILIES[family], list(rows))
    if results.growths:
        yield memory(results.growths)
    if results.tallies:
        yield agents(results.tallies)
    if reached := list(targets(results)):
        yield Table(
            "What is to be reached",
            ["", "at most", "measured", "", "why not"],
            [line.cells() for line in reached],
        )


def timings(title: str, rows: Sequence[Row]) -> Table:
    """Show one family: a line for each case, a column for each contender."""
    names = list(dict.fromkeys(row.contender for row in rows))
    lines: list[list[str]] = []
    for what, group in groupby(rows, lambda row: row.what):
        of = {row.contender: row for row in group}
        baseline = of[names[0]]
        cells = [spread(of[name].ratio, of[name].rounds) if name in of else "" for name in names]
        lines.append([what, duration(baseline.seconds), *cells[1:]])
    return Table(title, ["", *names], lines)


def lateness(title: str, rows: Sequence[Row]) -> Table:
    """Show how late each was, and the ratio: a line for each case, a column for each contender."""
    names = list(dict.fromkeys(row.contender for row in rows))
    lines: list[list[str]] = []
    for what, group in groupby(rows, lambda row: row.what):
        of = {row.contender: row for row in group}
        late = {name: duration(row.seconds) for name, row in of.items()}
        ratios = {name: f" ({spread(row.ratio, row.rounds)})" for name, row in of.items()}
        ratios[names[0]] = ""
        lines.append([what, *[late[name] + ratios[name] if name in of else "" for name in names]])
    return Table(title, ["", *names], lines)


def per_child(title: str, rows: Sequence[Row]) -> Table:
    """Show what one child costs: a line for each number of children."""
    names = list(dict.fromkeys(row.contender for row in rows))
    cost = {(row.contender, row.children): duration(row.seconds / row.children) for row in rows}
    lines = [
        [f"{count:,}", *(cost.get((name, count), "") for name in names)]
        for count in dict.fromkeys(row.children for row in rows)
    ]
    return Table(title, ["", *names], lines)


def memory(growths: Sequence[Growth]) -> Table:
    """Show how much memory was taken: a line for each number of children."""
    names = list(dict.fromkeys(growth.contender for growth in growths))
    of = {(growth.contender, growth.children): growth.bytes for growth in growths}
    lines = [
        [
            f"{count:,}",
            *(
                f"{of[name, count] / MEGABYTE:.2f} MB" if (name, count) in of else ""
                for name in names
            ),
        ]
        for count in sorted({growth.children for growth in growths})
    ]
    return Table("Memory that so many children take at the most", ["", *names], lines)


def agents(tallies: Sequence[Tally]) -> Table:
    """Show what the agents' service counted."""
    first = tallies[0]
    lines = [[what, *map(str, counts)] for what, counts in counted(tallies)]
    lines += [
        ["seconds of work for nobody", *[f"{t.unwanted_seconds:.2f}" for t in tallies]],
        [
            "e-mails sent twice, both before the call was over",
            *[str(t.twice_unavoidable) for t in tallies],
        ],
        ["turns answered", *[str(t.answered) for t in tallies]],
        ["tries", *[str(t.tries) for t in tallies]],
        ["requests", *[str(t.requests) for t in tallies]],
        ["seconds until the last agent was done", *[f"{t.seconds:.2f}" for t in tallies]],
    ]
    title = f"The agent service: {first.agents} agents, {first.turns} turns"
    return Table(title, ["", *[t.contender for t in tallies]], lines)


def counted(tallies: Sequence[Tally]) -> list[tuple[str, list[int]]]:
    """List the counts that should be zero."""
    return [
        ("tasks still alive after their call was over", [t.alive for t in tallies]),
        ("connections still held after their call was over", [t.held for t in tallies]),
        ("requests served after nobody wanted them", [t.unwanted for t in tallies]),
        ("e-mails sent twice", [t.twice for t in tallies]),
    ]


# Several versions of Python side by side


def versions(of: Sequence[Results]) -> Iterator[Table]:
    """Yield what is compared: the targets, and what this package's functions took."""
    names = [f"{results.implementation} {results.python}" for results in of]
    judged = [{target.what: target for target in targets(results)} for results in of]
    lines: list[list[str]] = []
    for what in dict.fromkeys(what for targets_ in judged for what in targets_):
        found = [targets_.get(what) for targets_ in judged]
        most = next(target.most for target in found if target)
        cells = [f"{target.figure}, {target.verdict}" if target else "" for target in found]
        reasons = dict.fromkeys(target.why for target in found if target and target.why)
        lines.append([what, f"{most:.2f}", *cells, "; ".join(reasons)])
    yield Table("What is to be reached", ["", "at most", *names, "why not"], lines)
    ratios: dict[tuple[str, str], list[str]] = {}
    for place, results in enumerate(of):
        for row in results.rows:
            if is_ours(row.contender) and row.family != "scale":
                case = f"{FAMILIES[row.family]}: {row.what}", row.contender
                ratios.setdefault(case, [""] * len(of))[place] = spread(row.ratio, row.rounds)
    yield Table(
        "Times the first contender's time",
        ["", "", *names],
        [[*case, *cells] for case, cells in ratios.items()],
    )


# The whole


def comparison(old: Results, new: Results) -> Table:
    """Show where two runs differ by more than their spread."""
    before = {(row.family, row.what, row.contender): row for row in old.rows}
    lines: list[list[str]] = []
    for row in new.rows:
        was = before.get((row.family, row.what, row.contender))
        if was is None or not is_ours(row.contender):
            continue
        apart = row.ratio.low > was.ratio.high or row.ratio.high < was.ratio.low
        change = row.ratio.median / was.ratio.median - 1
        lines.append(
            [
                f"{row.family} {row.what}",
                row.contender,
                spread(was.ratio, was.rounds),
                spread(row.ratio, row.rounds),
                f"{change:+.0%}",
                ("dearer" if change > 0 else "cheaper") if apart else "",
            ]
        )
    title = f"Ratios on {old.implementation} {old.python} and on {new.implementation} {new.python}"
    return Table(title, ["", "", "before", "after", "change", ""], lines)


def heading(results: Results) -> str:
    """Say where, with what and for how long it was measured."""
    counts = [row.rounds for row in results.rows]
    parts = [
        f"{results.implementation} {results.python}, {results.loop} loop",
        results.platform,
        ", ".join(f"{name} {version}" for name, version in results.versions.items()),
        f"{results.clock}, {min(counts)} to {max(counts)} rounds a case" if counts else "",
        f"{results.seconds:.0f} s",
    ]
    return "; ".join(part for part in parts if part)


EXPLANATION = (
    "First column of figures: time of a call. The others: times as long, median of the rounds, "
    "± the 95% interval."
)


def report(results: Results, *, markdown: bool = False) -> str:
    """Write everything."""
    parts = [heading(results), *(f"Left out: {reason}" for reason in results.left_out)]
    if results.rows:
        parts.append(EXPLANATION)
    parts += [table.markdown() if markdown else table.plain() for table in tables(results)]
    return "\n\n".join(parts)
