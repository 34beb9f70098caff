"""The benchmarks measure what they say. How fast anything is, is not tested here."""

import asyncio
import inspect
import json
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

import structgather
from benchmarks import cases, measure, memory, report, server, service
from benchmarks.__main__ import README, main, parser
from benchmarks.by_hand import Call
from benchmarks.contenders import AGAIN, GATHER, OUR_GATHER, PEERS, operations_with
from benchmarks.processor_loop import ProcessorTimeLoop
from benchmarks.progress import Progress
from benchmarks.results import Growth, Ratio, Results, Row, Tally

TINY = cases.Sizes(
    gather=(0, 1, 3),
    scale=(3,),
    tasks=(1, 3),
    exceptions=(1, 3),
    sockets=(1, 3),
    limit=(50,),
    child_timeout=(3,),
    as_completed=(1, 3),
    as_completed_idle=(3,),
    first=(30,),
    fail=(5,),
    cancel=(5,),
    deadline=(3,),
    cleanups=(3,),
    rate_limit=(5,),
    slow_from=10_000,
)
HASTE = measure.Effort(block=0.0, case=0.0, least=2, most=2)
TINY_CASES = list(cases.cases(operations_with([])[0], TINY))


def runner(case: cases.Case) -> asyncio.Runner:
    """Deadlines are taken by a loop of their own, in which nobody really waits."""
    own = case.family == "deadline"
    return asyncio.Runner(loop_factory=ProcessorTimeLoop if own else None)


def silent(_1: object, _2: object) -> None:
    pass


def tally(contender: str, alive: int) -> Tally:
    return Tally(contender, 2, 4, 5, 4, 20, alive, alive, alive, alive / 10, 3, 1, 0, 0.5)


def row(contender: str, ratio: float, children: int = 10, target: float | None = None) -> Row:
    spread = Ratio(ratio, ratio - 0.01, ratio + 0.01)
    return Row("noop", str(children), children, contender, ratio / 1e4, spread, 9, 50, target)


@pytest.fixture
def results() -> Results:
    rows = [
        row(name, ratio, children, 1.03 if name == OUR_GATHER else None)
        for children in (10, 1_000)
        for name, ratio in ((GATHER, 1.0), (OUR_GATHER, 0.88), ("anyio.gather", 4.0))
    ]
    growths = [Growth("as_completed_scoped", 1_000, 1_000_000, 5_000_000)]
    tallies = [tally(GATHER, 7), tally(OUR_GATHER, 0)]
    return Results(versions={"anyio": "4"}, rows=rows, growths=growths, tallies=tallies)


# Every contender does what it is timed for


@pytest.mark.parametrize("case", TINY_CASES, ids=lambda case: f"{case.family} {case.what}")
def test_all_contenders_give_the_same_result(case: cases.Case) -> None:
    """In each case, the standard library, the code by hand and this package do the same."""

    async def run() -> None:
        for name in case.contenders:
            seconds = await measure.block(case, name, 2, lambda: 0.0)
            assert seconds > 0 if case.family == "deadline" else seconds == 0

    assert case.ours is not None
    with runner(case) as loop:
        loop.run(run())


@pytest.mark.parametrize("peer", PEERS)
def test_peers_give_the_same_result(peer: str) -> None:
    """A peer that is installed gives the same result as asyncio wherever it takes part."""
    pytest.importorskip(peer)
    operations, versions, left_out = operations_with([peer])
    assert list(versions) == [peer]
    assert left_out == []

    async def run(case: cases.Case) -> int:
        asyncio.get_running_loop().set_exception_handler(silent)
        taking_part = [name for name in case.contenders if peer in name]
        for name in taking_part:
            await measure.block(case, name, 2, lambda: 0.0)
        return len(taking_part)

    counts: list[int] = []
    for case in cases.cases(operations, TINY):
        with runner(case) as loop:
            counts.append(loop.run(run(case)))
    assert sum(counts) > 0


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that cannot be imported is left out, and the report says so."""

    def add_absent(_: object) -> None:
        raise ImportError("No module named 'absent'")

    monkeypatch.setitem(PEERS, "absent", add_absent)
    _, versions, left_out = operations_with(["absent"])
    assert versions == {}
    assert left_out == ["absent: No module named 'absent'"]
    assert "Left out: absent: No module" in report.report(Results(left_out=left_out))


def test_a_function_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the package that lacks a function is measured without it."""
    monkeypatch.delattr(structgather, "first_n_within")
    operations, _, left_out = operations_with([])
    assert left_out == ["first_n_within: this structgather does not have it"]
    without = [case.family for case in cases.cases(operations, TINY) if case.ours is None]
    assert set(without) == {"first-n"}


async def wrong(*_: object) -> list[int]:
    return [0]


async def leaves_tasks(*aws: object) -> list[int]:
    leaves_tasks.task = asyncio.ensure_future(asyncio.sleep(0))  # type: ignore[attr-defined]
    return [await aw for aw in aws]  # type: ignore[misc]


@pytest.mark.filterwarnings("ignore:coroutine.*was never awaited")
@pytest.mark.parametrize(("call", "what"), [(wrong, "gave"), (leaves_tasks, "left tasks behind")])
def test_a_contender_that_cheats_is_found_out(call: Call, what: str) -> None:
    """A wrong result, or a task left behind, ends the run; a peer is left out instead."""
    case = next(case for case in TINY_CASES if case.children == 3)

    async def run(name: str) -> list[str]:
        left_out: list[str] = []
        contenders = {**case.contenders, name: call}
        await measure.measure([replace(case, contenders=contenders)], HASTE, silent, left_out)
        return left_out

    with pytest.raises(measure.WrongResultError, match=what):
        asyncio.run(run("by hand"))
    (left_out,) = asyncio.run(run("anyio.gather"))
    assert what in left_out


# The statistics


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # As in the tables of order statistics: the ranks of the 95% interval for the median.
    [(1, 1, 1), (5, 1, 5), (6, 1, 6), (9, 2, 8), (20, 6, 15), (100, 40, 61)],
)
def test_the_interval_is_that_of_the_tables(count: int, low: int, high: int) -> None:
    """The interval of the median has the ranks that statistical tables give for the sample."""
    values = [float(rank) for rank in range(count, 0, -1)]
    assert Ratio.of(values) == Ratio((count + 1) / 2, low, high)


def test_rounds_are_spread_over_the_run() -> None:
    """A case with few rounds has them at equal distances, not at one end."""
    assert measure.schedule([3, 1, 6]) == [2, 0, 2, 2, 0, 1, 2, 2, 0, 2]


def test_a_busy_machine_gets_fewer_rounds() -> None:
    """When the time is over, each case has a few rounds more, and that is it."""
    some = [case for case in TINY_CASES if case.family in {"noop", "tasks"}]
    for limit, rounds in ((0.0, 2), (60.0, 5)):
        effort = replace(HASTE, least=5, most=5, limit=limit, fewest=2)
        rows = asyncio.run(measure.measure(some, effort, silent, []))
        assert len(rows) == sum(len(case.contenders) for case in some)
        assert {row.rounds for row in rows} == {rounds}


def test_everybody_goes_first_in_turn() -> None:
    """The order within a round rotates, and runs backwards every other time around."""
    series = measure.Series(TINY_CASES[0], HASTE, ["a", "b", "c"])
    orders: list[str] = []
    for _ in range(6):
        orders.append("".join(series.order()))
        series.seconds.append({})
    assert orders == ["abc", "bca", "cab", "cba", "acb", "bac"]


def test_rows_hold_the_ratios_of_each_round() -> None:
    """A ratio compares two blocks of the same round, whatever happened in the others."""
    case = next(case for case in TINY_CASES if case.family == "tasks")
    series = measure.Series(case, HASTE, [GATHER, OUR_GATHER])
    series.seconds = [{GATHER: s, OUR_GATHER: s / 2} for s in (1.0, 100.0, 3.0)]
    first, second = series.rows()
    assert (first.ratio, first.target) == (Ratio(1, 1, 1), None)
    assert (second.ratio, second.target) == (Ratio(0.5, 0.5, 0.5), 1.10)
    assert second.seconds == 1.5


def test_a_million_need_not_be_counted_to_see_growth() -> None:
    """Children that are fed lazily take less memory than all at once; only they are so many."""
    growths = asyncio.run(memory.growths(10_000))
    of = {(growth.contender, growth.children): growth for growth in growths}
    assert {name for name, children in of if children == 1_000} == set(memory.CONSUMERS)
    assert {name for name, children in of if children == 10_000} == {memory.LAZILY}
    assert of[memory.LAZILY, 10_000].bytes < of[GATHER, 1_000].bytes / 2
    assert of[memory.LAZILY, 10_000].target == memory.TARGET
    assert all(growth.target is None for (name, _), growth in of.items() if name == GATHER)


def test_nobody_is_late_because_of_others() -> None:
    """The loop that deadlines are taken by does not wait for timers, and counts what it worked."""

    async def wait() -> float:
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(3_600)
        return asyncio.get_running_loop().time() - start

    with asyncio.Runner(loop_factory=ProcessorTimeLoop) as loop:
        assert 3_600 <= loop.run(wait()) < 3_601


# The agent service


def test_both_contenders_get_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is drawn once, depends on the seed alone, and has all kinds of trouble."""
    plans: list[server.Plan] = []

    async def serve(contender: str, _1: Call, plan: server.Plan, _2: float) -> Tally:
        plans.append(plan)
        return tally(contender, 0)

    monkeypatch.setattr(service, "serve", serve)
    tallies = asyncio.run(service.services(silent))
    assert [t.contender for t in tallies] == [GATHER, OUR_GATHER]
    assert plans[0] == plans[1] == server.draw(service.SEED, service.AGENTS, service.TURNS)
    assert plans[0] != server.draw(1, service.AGENTS, service.TURNS)
    calls = [call for turns in plans[0] for turn in turns for call in turn]
    assert any(any(call.fails) for call in calls)
    assert any(max(call.work) > server.PATIENCE for call in calls)
    assert any(call.email for call in calls)


@pytest.mark.parametrize(
    ("fan_out", "left"), [(asyncio.gather, 1), (structgather.gather_structured, 0)]
)
def test_a_failed_turn_leaves_behind_what_the_function_leaves(fan_out: Call, left: int) -> None:
    """When a tool fails, gather leaves the other's task and connection, gather_structured none."""
    fails = server.ToolCall((0, 0, 0), (0.0, 0.0), (True, False))
    endless = server.ToolCall((0, 0, 1), (1e6, 0.0), email=True)
    plan = [[[fails, endless]]]
    counted = asyncio.run(service.serve("one", fan_out, plan, 0.02))
    assert (counted.alive, counted.held) == (left, left)
    assert (counted.turns, counted.tries, counted.answered, counted.requests) == (1, 2, 1, 4)
    assert (counted.emails, counted.twice, counted.unwanted) == (1, 0, 0)


def test_the_ledger_tells_what_nobody_wanted() -> None:
    """A request served after its try was over is unwanted; an e-mail sent twice counts once."""
    plan = [[[server.ToolCall((0, 0, call), (1, 1), email=True) for call in range(2)]]]
    ledger = service.Ledger(
        over={((0, 0, call), attempt): 10.0 * attempt for call in range(2) for attempt in (1, 2)}
    )
    tools = server.ToolServer(
        served=[
            server.Served((0, 0, 0), 1, 9.0, email=True),
            server.Served((0, 0, 0), 2, 19.0, email=True),
            server.Served((0, 0, 1), 1, 13.0, email=True),
            server.Served((0, 0, 1), 2, 19.0, email=True),
        ]
    )
    counted = ledger.tally("one", plan, tools, 1.0)
    assert (counted.emails, counted.twice, counted.twice_unavoidable) == (4, 2, 1)
    assert (counted.unwanted, counted.unwanted_seconds) == (1, 3.0)


def test_the_readme_shows_the_code_of_the_turn() -> None:
    """The code of a turn in the documentation is the code that runs."""
    source = textwrap.dedent(inspect.getsource(service.Agents.turn))
    assert f"\n{source}```\n" in README.read_text("utf-8")


# What is shown


def test_tables_are_aligned(results: Results) -> None:
    """Each table shows what it should: aligned in a terminal, with pipes in Markdown."""
    plain = report.report(results)
    cells = ("10", "100 µs", "0.88 ±0.01", "4.00 ±0.01")
    assert "{:4}  {:>14}  {:>17}  {:>12}\n".format(*cells) in plain
    (alive,) = (line for line in plain.splitlines() if line.startswith("tasks still alive"))
    assert alive.split()[-2:] == ["7", "0"]
    assert "| 1,000" not in plain
    assert "| 1000 | 100 µs | 0.88 ±0.01 | 4.00 ±0.01 |" in report.report(results, markdown=True)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(4.2e-7, "0.42 µs"), (9.996e-4, "1 ms"), (0.0123, "12.3 ms"), (1.234, "1.23 s")],
)
def test_times_have_the_unit_that_suits_them(seconds: float, written: str) -> None:
    """A time is written with three digits and the unit that fits, also where it is rounded."""
    assert report.duration(seconds) == written


def test_runs_can_be_kept_and_compared(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What --json keeps is read back whole, and --compare tells noise from change."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    results.save(old)
    assert Results.load(old) == results
    assert json.loads(old.read_text("utf-8"))["rows"][1]["contender"] == OUR_GATHER
    results.rows = [row(OUR_GATHER, 0.885, 10), row(OUR_GATHER, 1.8, 1_000), row(OUR_GATHER, 1, 7)]
    results.save(new)
    assert main(["--compare", str(old), str(new)]) == 0
    _, _, _, *lines = capsys.readouterr().out.splitlines()
    same, dearer = (line.split() for line in lines)
    assert (same[1], same[-1]) == ("10", "+1%")
    assert (dearer[1], dearer[-2:]) == ("1000", ["+105%", "dearer"])


# The command line


@pytest.mark.parametrize(
    "wrong", [["--only", "nothing"], ["--quick", "--full"], ["--peer", "curio"]]
)
def test_wrong_options_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An option that does not exist is an error, with the usage."""
    with pytest.raises(SystemExit) as error:
        parser().parse_args(wrong)
    assert error.value.code == 2
    assert "usage: python -m benchmarks" in capsys.readouterr().err


def test_help_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """The help names all that --only takes, and all peers."""
    with pytest.raises(SystemExit) as error:
        parser().parse_args(["--help"])
    assert error.value.code == 0
    shown = capsys.readouterr().out
    assert [name for name in (*cases.FAMILIES, *PEERS) if name not in shown] == []


def test_a_run_from_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command measures, prints, keeps the figures and draws the chart."""
    monkeypatch.setattr(cases, "QUICK", TINY)
    monkeypatch.setattr(measure, "QUICK", HASTE)
    kept, charts = tmp_path / "kept.json", tmp_path / "charts"
    options = ["--quick", "--only", "noop", "--only", "limit", "--json", str(kept)]
    assert main([*options, "--charts", str(charts), "--guard", "1000"]) == 0
    shown = capsys.readouterr()
    assert "Children that do nothing" in shown.out
    assert AGAIN in shown.out
    assert "measuring" in shown.err
    assert {r.family for r in Results.load(kept).rows} == {"noop", "limit"}
    assert [path.name for path in charts.iterdir()] == ["overhead.svg"]
    assert main([*options, "--charts", str(charts), "--guard", "0"]) == 1


def test_progress_is_quiet_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    """Outside a terminal each activity is one line; on a terminal there is one line in all."""
    for terminal in (False, True):
        progress = Progress(terminal=terminal)
        for share in (0.1, 0.2, 0.9):
            progress.part(0.0, 0.5)(share, f"measuring: case {share}")
        progress.clear()
    plain, _, line = capsys.readouterr().err.partition("\r")
    assert plain == "  5%  measuring\n"
    assert "\n" not in line
