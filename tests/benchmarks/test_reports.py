"""What the benchmarks show and judge: targets, the guard, charts, published pages, instructions."""

import argparse
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import chart, counted, instructions, lines, memory, publish, targets
from benchmarks.contenders import GATHER, OUR_GATHER, own_operations
from benchmarks.drawing import Style
from benchmarks.instructions import Count
from benchmarks.progress import Progress
from benchmarks.publish import BEGIN, END
from benchmarks.results import Growth, Ratio, Results, Row, Tally

README = command.README


def row(  # noqa: PLR0913 - as the row has
    contender: str,
    ratio: float,
    children: int = 10,
    target: float | None = None,
    *,
    family: str = "noop",
    what: str = "",
) -> Row:
    spread = Ratio(ratio, ratio - 0.01, ratio + 0.01)
    what = what or f"{children:,}"
    return Row(family, what, children, contender, ratio / 1e4, spread, 9, 50, target)


@pytest.fixture
def results() -> Results:
    rows = [
        row(name, ratio, children, 1.03 if name == OUR_GATHER else None)
        for children in (10, 1_000)
        for name, ratio in ((GATHER, 1.0), (OUR_GATHER, 0.88), ("anyio.gather", 4.0))
    ]
    rows += [
        row(name, 1.5, children, family="deadline", what=f"{children} {load}")
        for load in ("busy", "busy, with cleanups")
        for children in (10, 100)
        for name in chart.DEADLINE
    ]
    growths = [
        Growth(name, children, children * 100, memory.TARGET if name == memory.LAZILY else None)
        for name in memory.CONSUMERS
        for children in (100, 1_000)
    ]
    tallies = [
        Tally(name, 2, 4, 5, 4, 20, alive, alive, alive, alive / 10, 3, 1, 0, 0.5)
        for name, alive in ((GATHER, 7), (OUR_GATHER, 0))
    ]
    return Results(python="3.11.7", rows=rows, growths=growths, tallies=tallies)


# Targets


def judged(results: Results) -> dict[str, targets.Target]:
    return {target.what: target for target in targets.targets(results)}


def test_targets_are_judged(results: Results) -> None:
    """What is to be reached is compared with the worst case, with the mean, with anyio."""
    many = "gather_structured, 10 children or more"
    assert (judged(results)[many].most, judged(results)[many].figure) == (1.03, "0.88 ±0.01")
    assert judged(results)["gather_structured against anyio.gather, mean"].figure == "0.22 ±0.00"
    megabytes = judged(results)[f"{memory.LAZILY}, 1,000 children fed lazily: MB"]
    assert megabytes.cells()[1:] == ["5.00", "0.10", "reached", ""]
    results.rows.append(row(OUR_GATHER, 1.5, 100, 1.03))
    missed = judged(results)[many]
    assert missed.cells()[:4] == [
        f"{many}, at its worst: noop 100",
        "1.03",
        "1.50 ±0.01",
        "not reached",
    ]
    assert judged(results)[f"{many}, mean"].measured.median == pytest.approx(
        (0.88 * 0.88 * 1.5) ** (1 / 3)
    )


@pytest.mark.parametrize(
    ("median", "low", "verdict", "why"),
    [
        (1.0, 0.9, "reached", ""),
        (1.1, 0.9, "not reached", "within the interval"),
        (1.1, 1.05, "not reached", "the reason"),
    ],
)
def test_what_is_not_reached_has_a_reason(
    median: float, low: float, verdict: str, why: str
) -> None:
    """The median decides; a reason is given where the target is below the whole interval."""
    target = targets.Target("it", 1.0, Ratio(median, low, 1.2), "the reason")
    assert (target.verdict, target.why) == (verdict, why)


def test_every_line_that_can_be_missed_has_a_reason() -> None:
    """What each kind of case is judged by names a reason that exists."""
    for family in ("first-n", "tasks", "exceptions", "limit", "as-completed", "cancel"):
        results = Results(rows=[row(OUR_GATHER, 9.0, 100, 1.0, family=family)])
        (first, *_) = targets.targets(results)
        assert first.why == targets.REASONS[family]
    for children in (0, 1):
        (first,) = targets.targets(Results(rows=[row(OUR_GATHER, 9.0, children, 1.0)]))
        assert first.why == targets.REASONS["none or one"]


# The guard


def test_the_guard_strikes_beyond_its_factor() -> None:
    """The guard names what is beyond its target by the factor with its whole interval."""
    rows = [
        row(GATHER, 9.0),
        row(OUR_GATHER, 1.2, 1, 1.0),
        row(OUR_GATHER, 1.305, 2, 1.0),
        row(OUR_GATHER, 1.5, 10, 1.0),
    ]
    (found,) = targets.beyond(rows, 1.3)
    assert targets.complaint(found, 1.3) == (
        "Children that do nothing, 10: gather_structured takes 1.49 or more, "
        "the guard stands at 1.30"
    )


@pytest.mark.parametrize(("again", "strikes"), [(1.0, 0), (1.5, 1)])
def test_the_guard_measures_twice(
    again: float, strikes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond the guard is measured once more, and named only if it is so again."""
    asked: list[list[str]] = []

    def measured(options: argparse.Namespace, _: Progress) -> Results:
        asked.append(options.only)
        return Results(rows=[row(OUR_GATHER, again, 10, 1.0), row(OUR_GATHER, 9.0, 1, 1.0)])

    monkeypatch.setattr(command, "measured", measured)
    options = command.parser().parse_args(["--guard", "1.3"])
    progress = Progress(terminal=False)
    first = Results(rows=[row(OUR_GATHER, 1.5, 10, 1.0), row(OUR_GATHER, 1.0, 1, 1.0)])
    assert len(command.guard(options, first, progress)) == strikes
    assert asked == [["noop"]]
    assert command.guard(options, replace(first, rows=[]), progress) == []
    assert len(asked) == 1


# Charts


def test_charts_are_well_formed(results: Results) -> None:
    """There is a chart for each question; each is XML and names all that it shows."""
    drawn = chart.charts(results)
    assert list(drawn) == ["overhead.svg", "memory.svg", "deadline.svg", "service.svg"]
    words = {
        name: {element.text for element in ET.fromstring(text).iter() if element.text}  # noqa: S314 - our own
        for name, text in drawn.items()
    }
    assert {GATHER, OUR_GATHER, "anyio.gather"} <= words["overhead.svg"]
    assert set(memory.CONSUMERS) <= words["memory.svg"]
    assert set(chart.DEADLINE) <= words["deadline.svg"]
    assert {GATHER, OUR_GATHER, "7", "0"} <= words["service.svg"]
    assert chart.charts(Results()) == {}


@pytest.mark.parametrize("styles", [chart.OVERHEAD, chart.DEADLINE, chart.MEMORY])
def test_lines_are_told_apart_without_colour(styles: Mapping[str, Style]) -> None:
    """In each chart no two lines have the same dash, and no two the same mark."""
    dashes = {style.dash for style in styles.values()}
    marks = {style.marker for style in styles.values()}
    assert len(dashes) == len(marks) == len(styles)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9, 1.6, [1, 1.5]),
        (0.7, 5.0, [0.7, 1, 2, 3, 5]),
        (0.1, 20.0, [0.1, 0.3, 1, 3, 10]),
        (0.1, 2_000.0, [0.1, 1, 10, 100, 1_000]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, expected: list[float]) -> None:
    """The farther an axis reaches, the fewer of each power of ten it shows."""
    assert lines.ticks(low, high) == pytest.approx(expected)


# Pages


def test_published_figures_replace_the_old(results: Results, tmp_path: Path) -> None:
    """What --publish writes has a column and a page for each Python, and replaces its own only."""
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}old\n{END}after\n", "utf-8")
    worse = [row(OUR_GATHER, 1.5, 10, 1.03)]
    for kept in (
        replace(results, python="3.15.2"),
        replace(results, python="3.9.1", rows=worse),
        results,
        replace(results, python="3.15.3"),
    ):
        publish.keep(kept, tmp_path)
        publish.render(tmp_path)
    text = readme.read_text("utf-8")
    assert text.startswith(f"before\n{BEGIN}\n- [CPython 3.9.1](published/python-3.9.md): ")
    assert text.endswith(f"\n\n{END}after\n")
    assert "old" not in text
    line = next(
        line
        for line in text.splitlines()
        if line.startswith("| gather_structured, 10 children or more | ")
    )
    assert line == (
        "| gather_structured, 10 children or more | 1.03 | 1.50 ±0.01, not reached | "
        f"0.88 ±0.01, reached | 0.88 ±0.01, reached | {targets.REASONS['many']} |"
    )
    names = sorted(path.name for path in (tmp_path / "published").iterdir())
    assert names == [f"python-3.{minor}.{kind}" for minor in (11, 15, 9) for kind in ("json", "md")]
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == [
        "deadline.svg",
        "memory.svg",
        "overhead.svg",
        "service.svg",
    ]


def test_the_page_is_what_would_be_published(tmp_path: Path) -> None:
    """The figures in benchmarks/README.md are those that are kept, and nobody has edited them."""
    shutil.copytree(command.HERE / "published", tmp_path / "published")
    shutil.copy(README, tmp_path)
    publish.render(tmp_path)
    assert (tmp_path / "README.md").read_text("utf-8") == README.read_text("utf-8")
    for page in (command.HERE / "published").glob("*.md"):
        again = tmp_path / "published" / page.name
        assert again.read_text("utf-8") == page.read_text("utf-8")


# Instructions


def test_instructions_are_read_from_what_valgrind_writes(tmp_path: Path) -> None:
    """A function has what it executes itself; what it calls is counted where it is executed."""
    written = tmp_path / "out"
    written.write_text(
        "version: 1\nevents: Ir\n\nfl=(1) a.c\nfn=(1) main\n16 400\n"
        "cfn=(2) work\ncalls=2 0\n16 5000\n+3 7\n\n"
        "fn=(2)\n* 4000\n-2 1000\n\ntotals: 5407\n",
        "utf-8",
    )
    once = Count.of_file(written)
    assert once == Count(5407, {"main": 407, "work": 5000})
    twice = Count(10407, {"main": 407, "work": 10000})
    assert twice.since(once, 5) == Count(1000, {"main": 0, "work": 1000})


@pytest.mark.parametrize("name", counted.CASES)
def test_each_case_that_is_counted_runs(name: str) -> None:
    """What is counted can be called with each contender, and leaves the collector as it was."""
    for contender in own_operations()[counted.CASES[name].operation]:
        counted.work(counted.CASES[name], contender, 1, collector=True)
    assert set(counted.MEANING) == set(counted.CASES)


def test_without_valgrind_nothing_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where valgrind is missing, the command says so; a case that does not exist is an error."""

    def nowhere(_: str) -> None:
        return None

    monkeypatch.setattr(shutil, "which", nowhere)
    assert instructions.main(["none"]) == 2
    assert "valgrind is not installed" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        instructions.main(["nonsense"])


def test_counts_are_shown_with_their_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    """Each contender has its instructions a call and a child, and the ratio to the first."""
    counts = {
        GATHER: Count(1_000.0, {"eval": 600.0, "free": 400.0}),
        OUR_GATHER: Count(1_500.0, {"eval": 1_090.0, "free": 410.0}),
    }
    instructions.show("ten", counts, 1)
    shown = capsys.readouterr().out.split()
    assert shown[shown.index(OUR_GATHER) + 1 :][:7] == [
        "1,500",
        "a",
        "call",
        "150",
        "a",
        "child",
        "1.500",
    ]
    assert shown[-4:] == ["600", "1,090", "+490", "eval"]
