"""The output of the benchmarks: targets, the guard, tables, charts and published pages."""

import argparse
import math
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import charts, memory, report, targets
from benchmarks.cases import cases
from benchmarks.contenders import (
    AGAIN,
    GATHER,
    GROUP,
    OUR_AS_COMPLETED,
    OUR_FIRST_N,
    OUR_GATHER,
    PEERS,
    operations_with,
)
from benchmarks.results import Growth, Measured, Ratio, Results, Tally

PAGES = ("README.md", "TARGETS.md")


def about(ratio: float) -> Ratio:
    return Ratio(ratio, ratio - 0.01, ratio + 0.01)


def case(
    ratio: float,
    children: int = 10,
    family: str = "noop",
    others: Mapping[str, float] | None = None,
) -> Measured:
    found = {OUR_GATHER: ratio, **(others or {})}
    ratios = {name: about(value) for name, value in found.items()}
    return Measured(family, f"{children:,}", children, GATHER, 1e-4, 9, ratios)


@pytest.fixture
def results() -> Results:
    peers = {GROUP: 0.95, AGAIN: 1.0, "anyio.gather": 4.0, "aiotools.gather_safe": 1.25}
    measured = [
        case(ratio, children, family, {**peers, "quattro.gather": ratio + 0.15})
        for family in ("noop", "yield", "sockets")
        for ratio, children in ((1.2, 1), (0.9, 10), (1.4, 100))
    ]
    for load in ("busy", "busy, cleanups of 10 ms"):
        for children in (10, 100):
            late = {name: about(1.5) for name in (OUR_FIRST_N, OUR_AS_COMPLETED, GROUP)}
            what = f"{children} {load}"
            measured.append(Measured("deadline", what, children, "by hand", 1e-3, 5, late))
    growths = [
        Growth(name, children, children * 100)
        for name in memory.CONSUMERS
        for children in (100, 1_000)
    ]
    tallies = [
        Tally(name, 2, 4, 5, 4, 20, alive, alive, alive, alive / 10, 3, 1, 0, 0.5)
        for name, alive in ((GATHER, 7), (OUR_GATHER, 0))
    ]
    return Results(
        python="3.11.7",
        versions={"anyio": "4"},
        measured=measured,
        growths=growths,
        tallies=tallies,
    )


# Targets and the guard


def test_targets_are_judged_by_the_mean_or_the_worst_case(results: Results) -> None:
    """A mean is geometric, over the cases of the target; a worst case is named."""
    mean, worst, group = targets.TARGETS[:3]
    figure = mean.figure(results)
    assert figure is not None
    assert math.isclose(figure.value, math.sqrt(0.9 * 1.4))
    assert mean.verdict(figure) == "missed"
    assert worst.figure(results) == (1.4, 1.39, "noop: 100")
    against_group = group.figure(results)
    assert against_group is not None
    assert math.isclose(against_group.value, math.sqrt(0.9 * 1.4) / 0.95)
    (anyio,) = (target for target in targets.TARGETS if target.against == "anyio.gather")
    against_anyio = anyio.figure(results)
    assert against_anyio is not None
    assert against_anyio.value < 0.35
    assert targets.MEMORY.figure(results) == (0.1, math.inf, "1,000")
    assert all(target.figure(Results()) is None for target in targets.TARGETS)


@pytest.mark.parametrize(
    ("value", "low", "verdict"),
    [
        (1.05, 1.0, "aim met"),
        (1.15, 1.1, "reached"),
        (1.16, 1.1, "missed, within noise"),
        (1.2, 1.16, "missed"),
    ],
)
def test_a_target_is_reached_by_the_median(value: float, low: float, verdict: str) -> None:
    """The median decides; a miss whose interval contains the target is reported as noise."""
    assert targets.TARGETS[1].verdict(targets.Figure(value, low)) == verdict


def test_every_target_has_cases_that_a_whole_run_measures() -> None:
    """No target has cases or contenders that are never measured."""
    operations, _, left_out = operations_with(PEERS)
    measured = [
        Measured(c.family, c.what, c.children, GATHER, 1.0, 9, {n: about(1) for n in c.contenders})
        for c in cases(operations)
    ]
    run = Results(measured=measured, growths=[Growth(memory.LAZILY, 1, 1)])
    missing = {target.against for target in targets.TARGETS if target.figure(run) is None}
    assert missing <= {"anyio.gather", "aiotools.gather_safe"} if left_out else not missing


def test_the_guard_fails_beyond_its_factor(results: Results) -> None:
    """The guard names a case whose whole interval exceeds its target by the factor."""
    results.measured = [case(1.3, 1), case(1.51, 10), case(1.6, 100), case(1.5, 1_000)]
    assert targets.beyond(results, 1.3) == {
        ("noop", "10"): "Children that do nothing, 10: gather_structured takes 1.50 times "
        "asyncio.gather or more, the guard allows 1.49",
        ("noop", "100"): "Children that do nothing, 100: gather_structured takes 1.59 times "
        "asyncio.gather or more, the guard allows 1.49",
    }
    assert targets.beyond(results, 1.4) == {}


@pytest.mark.parametrize(("again", "complaints"), [(1.0, 0), (1.6, 1)])
def test_the_guard_measures_twice(
    again: float, complaints: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A case that exceeds the guard is measured again, and named only if it exceeds it twice."""
    asked: list[list[str]] = []

    def measured(options: argparse.Namespace) -> Results:
        asked.append(options.only)
        return Results(measured=[case(again, 10), case(9.0, 1)])

    monkeypatch.setattr(command, "measured", measured)
    options = command.parser().parse_args(["--guard", "1.3"])
    first = Results(measured=[case(1.6, 10), case(1.0, 1)])
    assert len(command.guard(options, first)) == complaints
    assert asked == [["noop"]]
    assert command.guard(options, replace(first, measured=[])) == []
    assert len(asked) == 1


# Tables


def test_a_run_is_shown_in_aligned_tables(results: Results) -> None:
    """In a terminal each figure has its interval, and columns are aligned."""
    shown = report.report(results)
    row = (
        "10",
        "100 µs",
        "0.90 ±0.01",
        "0.95 ±0.01",
        "1.00 ±0.01",
        "4.00 ±0.01",
        "1.25 ±0.01",
        "1.05 ±0.01",
    )
    widths = (3, 16, 19, 16, 14, 14, 22, 16)
    line = "".join(
        cell.ljust(width) if not place else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    assert [words for words in shown.splitlines() if words.split() == line.split()]
    header = next(words for words in shown.splitlines() if words.lstrip().startswith(GATHER))
    (first,) = {len(words) for words in shown.splitlines() if words.endswith("1.05 ±0.01")}
    assert first == len(header)
    assert "tasks alive after their call had returned" in shown
    assert "1.40 missed (noop: 100)" in shown
    assert "Targets" not in report.report(Results())


def test_pages_have_a_figure_for_each_python(results: Results) -> None:
    """A cell holds a figure for each Python, marked where the interval is wide."""
    wide = case(1.0, 10, others={GROUP: 0.9})
    wide.ratios[OUR_GATHER] = Ratio(1.11, 1.0, 1.2)
    results.measured = [case(0.9, 10), case(0.8, 100)]
    table = next(report.tables([results, replace(results, python="3.13.1", measured=[wide])]))
    assert table.header == ["", GATHER, OUR_GATHER, GROUP]
    assert table.rows == [
        ["10", "100 µs / 100 µs", "0.90 / ~1.11", "- / 0.90"],
        ["100", "100 µs / -", "0.80 / -", ""],
    ]
    assert "| 10 | 100 µs / 100 µs | 0.90 / ~1.11 | - / 0.90 |" in table.markdown()


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(4.2e-7, "0.42 µs"), (9.996e-4, "1 ms"), (0.0123, "12.3 ms"), (1.234, "1.23 s")],
)
def test_times_have_suitable_units(seconds: float, written: str) -> None:
    """A time has three digits and a unit that suits it, also after rounding."""
    assert report.duration(seconds) == written


def test_the_summary_has_the_extra_cost_of_a_child(results: Results) -> None:
    """The extra microseconds of each child are the ratio's share of the baseline's time."""
    row = report.summary([results]).rows[-2]
    assert row == ["µs more for each of 100 children that yields once", GATHER, "+0.40"]


def test_runs_can_be_saved_and_compared(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--save and loading lose nothing, and --compare tells noise from change."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    results.save(old)
    assert Results.load(old) == results
    results.measured = [case(0.905, 10), case(2.8, 100), case(1, 7)]
    results.save(new)
    assert command.main(["--compare", str(old), str(new)]) == 0
    _, _, _, same, slower = capsys.readouterr().out.splitlines()
    assert same.split()[1:3] + same.split()[-1:] == ["10", OUR_GATHER, "+1%"]
    assert slower.split()[1:3] + slower.split()[-2:] == ["100", OUR_GATHER, "+100%", "slower"]


def test_a_data_file_has_a_line_for_each_case(results: Results, tmp_path: Path) -> None:
    """Data files are compact: one line for each case, readable in a diff."""
    results.save(tmp_path / "kept.json")
    lines = (tmp_path / "kept.json").read_text("utf-8").splitlines()
    assert len(lines) < 20 + len(results.measured) + len(results.growths) + len(results.tallies)


# Charts


def texts(svg: str) -> list[str]:
    return [element.text for element in ET.fromstring(svg).iter() if element.text]  # noqa: S314 - our own


def test_charts_name_their_axes_and_lines(results: Results) -> None:
    """Each chart is XML with titles of its axes, "lower is better", and a legend."""
    drawn = charts.draw([results, replace(results, python="3.13.0")])
    assert list(drawn) == list(charts.TITLES)
    for name, svg in drawn.items():
        words = texts(svg)
        assert words.count(charts.TITLES[name]) == 2  # for screen readers, and on the picture
        assert charts.TITLES[name].endswith("lower is better")
        assert "number of children" in words
        assert any(words.count(line) == 1 for line in (OUR_GATHER, OUR_FIRST_N))
        assert {"Python 3.11", "Python 3.13"} <= set(words)
    assert charts.draw([Results()]) == {}
    assert charts.draw([]) == {}


def test_ratios_are_drawn_from_0_7_to_1_3(results: Results) -> None:
    """Peers beyond the scale are named beside it; this package's points have their value."""
    words = texts(charts.overhead([results]))
    ticks = [word for word in words if re.fullmatch(r"[01]\.\d|1", word)]
    assert ticks[:7] == ["0.7", "0.8", "0.9", "1", "1.1", "1.2", "1.3"]
    assert "beyond: anyio.gather, 4.0 to 4.0" in words
    assert words.count("aiotools.gather_safe") == 1
    assert words.count("quattro.gather") == 1  # beyond the scale at some points only
    assert "1.40" in words
    assert AGAIN not in words


def test_lines_are_distinguishable_without_colour() -> None:
    """No two lines of a chart have the same dash or the same mark."""
    names = [*memory.CONSUMERS, "anyio.gather"]
    styles = charts.styles(names)
    assert len({style.dash for style in styles.values()}) == len(names)
    assert len({style.mark for style in styles.values()}) == len(names)


# Pages


def test_published_results_fill_the_marked_regions(results: Results, tmp_path: Path) -> None:
    """Publishing replaces the file of the same Python only, and the text between the marks."""
    page = "before\n<!-- generated: {} -->\nold\n<!-- end -->\nafter\n"
    (tmp_path / "README.md").write_text(
        "".join(page.format(name) for name in ("summary", "charts", "tables", "service")), "utf-8"
    )
    (tmp_path / "TARGETS.md").write_text(page.format("targets"), "utf-8")
    (tmp_path / "published").mkdir()
    for python in ("3.15.2", "3.9.1", "3.11.7", "3.15.3"):
        kept = replace(results, python=python)
        kept.save(tmp_path / "published" / f"python-{kept.minor}.json")
        report.render(tmp_path)
    readme, goals = ((tmp_path / name).read_text("utf-8") for name in PAGES)
    assert "old" not in readme + goals
    assert (readme.count("before\n"), readme.count("after\n")) == (4, 4)
    assert "| no child |" not in readme
    assert "| cost of | relative to | 3.9 | 3.11 | 3.15 |" in readme
    assert "CPython 3.15.3" in readme
    assert "CPython 3.15.2" not in readme
    assert "](published/overhead.svg)" in readme
    assert "| 1.15 | 1.05 | 1.40 missed (noop: 100) |" in goals
    assert sorted(path.name for path in (tmp_path / "published").iterdir()) == [
        "deadline.svg",
        "memory.svg",
        "overhead.svg",
        "python-3.11.json",
        "python-3.15.json",
        "python-3.9.json",
    ]


def test_publish_is_one_command(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--publish keeps the results of this Python and renders the pages."""

    def measured(_: argparse.Namespace) -> Results:
        return results

    for name in PAGES:
        shutil.copy(command.HERE / name, tmp_path)
    monkeypatch.setattr(command, "HERE", tmp_path)
    monkeypatch.setattr(command, "measured", measured)
    assert command.main(["--publish"]) == 0
    assert report.published(tmp_path) == [results]
    assert "| cost of | relative to | 3.11 |" in (tmp_path / "README.md").read_text("utf-8")


def test_pages_and_charts_match_the_data_files(tmp_path: Path) -> None:
    """The generated regions and the charts are those of the published data, not edited by hand."""
    published = command.HERE / "published"
    folder = tmp_path / "benchmarks"
    (folder / "published").mkdir(parents=True)
    for path in published.glob("*.json"):
        shutil.copy(path, folder / "published")
    pages = [*PAGES, "../README.md"]
    for name in pages:
        shutil.copy(command.HERE / name, folder / name)
    report.render(folder)
    for name in pages:
        assert (folder / name).read_text("utf-8") == (command.HERE / name).read_text("utf-8")
    files = {path.name: path.read_text("utf-8") for path in (folder / "published").iterdir()}
    assert files == {path.name: path.read_text("utf-8") for path in published.glob("*.*")}
