"""The benchmarks measure what they claim. These tests do not check any speed."""

import asyncio
import gc
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import structgather
from benchmarks import cases, measure, memory, server, service
from benchmarks.__main__ import FAMILIES, HERE, main, parser
from benchmarks.contenders import (
    AGAIN,
    GATHER,
    GROUP,
    OUR_GATHER,
    PEERS,
    Call,
    is_ours,
    operations_with,
    own_operations,
)
from benchmarks.results import Measured, Ratio, Results, Tally

# The smallest case of each kind: with more children the code is the same.
CASES = [
    case
    for case in cases.cases(own_operations())
    if case.children <= 10 or case.what in {"1,000", "100 of 1,000", "10 of 1,000, batches of 10"}
]
HASTE = measure.Effort(block=0.0, case=0.0, least=2, most=2)


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """Exclude the objects of other tests from the collections before each block."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def runner(case: cases.Case) -> asyncio.Runner:
    loop = measure.ProcessorTimeLoop if case.family == "deadline" else None
    return asyncio.Runner(loop_factory=loop)


def silent(*_: object) -> None:
    pass


def tally(contender: str, alive: int) -> Tally:
    return Tally(contender, 2, 4, 5, 4, 20, alive, alive, alive, alive / 10, 3, 1, 0, 0.5)


# Contenders


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family} {case.what}")
def test_all_contenders_return_the_same_result(case: cases.Case) -> None:
    """In each case the standard library, code by hand and this package do the same work."""

    async def run() -> None:
        for name in case.contenders:
            seconds = await measure.block(case, name, 1, lambda: 0.0)
            assert seconds > 0 if case.family == "deadline" else seconds == 0

    with runner(case) as loop:
        loop.run(run())


@pytest.mark.parametrize("peer", PEERS)
def test_peers_return_the_same_result(peer: str) -> None:
    """An installed peer returns the same result as asyncio wherever it takes part."""
    pytest.importorskip(peer)
    operations, versions, left_out = operations_with([peer])
    assert list(versions) == [peer]
    assert left_out == []

    async def run(case: cases.Case) -> int:
        asyncio.get_running_loop().set_exception_handler(silent)
        taking_part = [name for name in case.contenders if name.startswith(peer)]
        for name in taking_part:
            await measure.block(case, name, 1, lambda: 0.0)
        return len(taking_part)

    counts: list[int] = []
    for case in cases.cases(operations):
        if case.children <= 100:
            with runner(case) as loop:
                counts.append(loop.run(run(case)))
    assert sum(counts) > 0


def test_every_case_compares_with_a_bare_group_that_can_do_the_job() -> None:
    """A bare TaskGroup is missing only for adopted Tasks and admissions."""
    for case in CASES:
        assert any(map(is_ours, case.contenders))
        assert (GROUP in case.contenders) == (case.family not in {"adopted", "rate-limit"})
    assert {case.family for case in CASES} == set(cases.FAMILIES)


def test_quick_cases_are_among_all_cases() -> None:
    """--quick measures only cases of a whole run, so that their results can be compared."""
    quick = {(case.family, case.what) for case in cases.cases(own_operations(), quick=True)}
    every = {(case.family, case.what) for case in cases.cases(own_operations())}
    assert quick < every


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that cannot be imported is left out, with the reason."""

    def add_absent(_: object) -> None:
        raise ImportError("No module named 'absent'")

    monkeypatch.setitem(PEERS, "absent", add_absent)
    _, versions, left_out = operations_with(["absent"])
    assert versions == {}
    assert left_out == ["absent: No module named 'absent'"]


async def wrong(*_: object) -> list[int]:
    return [0]


async def leaves_tasks(*aws: object) -> list[int]:
    leaves_tasks.task = asyncio.ensure_future(asyncio.sleep(0))  # type: ignore[attr-defined]
    return [await aw for aw in aws]  # type: ignore[misc]


@pytest.mark.filterwarnings("ignore:coroutine.*was never awaited")
@pytest.mark.parametrize(("call", "what"), [(wrong, "returned"), (leaves_tasks, "left tasks")])
def test_a_wrong_contender_is_rejected(call: Call, what: str) -> None:
    """A wrong result, or a Task left running, stops the run; a peer is left out instead."""
    case = next(case for case in CASES if case.children == 10)

    async def run(name: str) -> list[str]:
        left_out: list[str] = []
        contenders = {**case.contenders, name: call}
        await measure.measure([replace(case, contenders=contenders)], HASTE, silent, left_out)
        return left_out

    with pytest.raises(measure.WrongResultError, match=what):
        asyncio.run(run("by hand"))
    (left_out,) = asyncio.run(run("anyio.gather"))
    assert what in left_out


# Statistics


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # As in the tables of order statistics: the ranks of the 95% interval of the median.
    [(1, 1, 1), (5, 1, 5), (6, 1, 6), (9, 2, 8), (20, 6, 15), (100, 40, 61)],
)
def test_the_interval_has_the_ranks_of_the_tables(count: int, low: int, high: int) -> None:
    """Its ranks are those in statistical tables for the size of the sample."""
    values = [float(rank) for rank in range(count, 0, -1)]
    assert Ratio.of(values) == Ratio((count + 1) / 2, low, high)


def test_rounds_are_spread_over_the_run() -> None:
    """A case with few rounds has them at equal distances."""
    assert measure.schedule([3, 1, 6]) == [2, 0, 2, 2, 0, 1, 2, 2, 0, 2]


def test_after_the_time_limit_only_the_fewest_rounds_are_run() -> None:
    """When the time for all cases is over, each case is measured the minimum number of times."""
    some = [case for case in CASES if case.family == "adopted" and case.children == 1]
    for limit, rounds in ((0.0, 2), (60.0, 5)):
        effort = replace(HASTE, least=5, most=5, limit=limit, fewest=2)
        measured = asyncio.run(measure.measure(some, effort, silent, []))
        assert [case.rounds for case in measured] == [rounds] * len(some)


def test_the_order_within_a_round_rotates() -> None:
    """The order within a round rotates, and is reversed in every other rotation."""
    series = measure.Series(CASES[0], HASTE, ["a", "b", "c"])
    orders: list[str] = []
    for _ in range(6):
        orders.append("".join(series.order()))
        series.taken.append({})
    assert orders == ["abc", "bca", "cab", "cba", "acb", "bac"]


def test_ratios_are_taken_within_a_round() -> None:
    """A ratio compares two blocks of the same round, whatever other rounds measured."""
    case = next(case for case in CASES if case.family == "adopted")
    series = measure.Series(case, HASTE)
    series.taken = [{GATHER: s, OUR_GATHER: s / 2} for s in (1.0, 100.0, 3.0)]
    half = Ratio(0.5, 0.5, 0.5)
    measured = Measured(case.family, case.what, 1, GATHER, 3.0, 3, {OUR_GATHER: half})
    assert series.measured() == measured
    assert measured.ratio(GATHER, OUR_GATHER) == Ratio(2.0, 2.0, 2.0)
    assert measured.ratio(GROUP) is None
    assert Ratio(1.0, 0.8, 1.2) / Ratio(2.0, 1.0, 4.0) == Ratio(0.5, 0.2, 1.2)


def test_a_case_with_a_fixed_number_of_rounds_is_not_repeated() -> None:
    """If one call takes long, a block is one call, and the case has few rounds."""
    case = next(case for case in CASES if case.family == "rate-limit")
    (measured,) = asyncio.run(measure.measure([replace(case, rounds=1)], measure.QUICK, silent, []))
    assert measured.rounds == 1


@pytest.mark.exhaustive
def test_memory_of_children_fed_lazily_does_not_grow() -> None:
    """The largest number is measured only with children fed lazily; else memory is proportional."""
    growths = asyncio.run(memory.growths(1_000))
    sizes = {(growth.contender, growth.children): growth.bytes for growth in growths}
    assert {name for name, children in sizes if children == 100} == set(memory.CONSUMERS)
    assert {name for name, children in sizes if children == 1_000} == {memory.LAZILY}
    assert sizes[memory.LAZILY, 1_000] < 1.5 * sizes[memory.LAZILY, 100]
    assert asyncio.run(memory.growth(memory.gather, 1_000)) > 5 * sizes[GATHER, 100]


def test_the_event_loop_for_deadlines_skips_sleeps() -> None:
    """Its time is processor time, plus the time that it would have slept."""

    async def wait() -> float:
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(3_600)
        return asyncio.get_running_loop().time() - start

    with asyncio.Runner(loop_factory=measure.ProcessorTimeLoop) as loop:
        assert 3_600 <= loop.run(wait()) < 3_601


# The agent service


def test_both_functions_get_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is drawn once, depends only on the seed, and has every kind of failure."""
    plans: list[server.Plan] = []

    async def serve(contender: str, _1: Call, plan: server.Plan, _2: float) -> Tally:
        plans.append(plan)
        return tally(contender, 0)

    monkeypatch.setattr(service, "serve", serve)
    tallies = asyncio.run(service.services())
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
def test_a_failed_turn_leaves_tasks_with_gather(fan_out: Call, left: int) -> None:
    """When a tool fails, gather leaves a Task and a connection, gather_structured none."""
    fails = server.ToolCall((0, 0, 0), (0.0, 0.0), (True, False))
    endless = server.ToolCall((0, 0, 1), (1e6, 0.0), email=True)
    plan = [[[fails, endless]]]
    counted = asyncio.run(service.serve("one", fan_out, plan, 0.02))
    assert (counted.alive, counted.held) == (left, left)
    assert (counted.turns, counted.tries, counted.answered, counted.requests) == (1, 2, 1, 4)
    assert (counted.emails, counted.twice, counted.unwanted) == (1, 0, 0)


def test_the_ledger_counts_requests_served_too_late() -> None:
    """A request served after its attempt returned is unwanted; a repeated e-mail counts once."""
    plan = [[[server.ToolCall((0, 0, call), (1, 1), email=True) for call in range(2)]]]
    ledger = service.Ledger(
        returned={
            ((0, 0, call), attempt): 10.0 * attempt for call in range(2) for attempt in (1, 2)
        }
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
    assert f"\n{source}```\n" in (HERE / "README.md").read_text("utf-8")


# The command line


@pytest.mark.parametrize(
    "wrong",
    [
        ["--only", "nothing"],
        ["--peer", "curio"],
        ["--publish", "--quick"],
        ["--publish", "--only", "noop"],
        ["--publish", "--eager"],
    ],
)
def test_wrong_options_are_refused(
    wrong: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """An unknown option, or to publish less than a whole run, is an error with the usage."""
    monkeypatch.setattr("benchmarks.__main__.HERE", tmp_path)
    monkeypatch.setattr(measure, "QUICK", HASTE)
    with pytest.raises(SystemExit) as error:
        main(wrong)
    assert error.value.code == 2
    assert "usage: python -m benchmarks" in capsys.readouterr().err


def test_help_names_all_families_and_peers() -> None:
    """The help names every value of --only and --peer."""
    shown = parser().format_help()
    assert [name for name in (*FAMILIES, *PEERS) if name not in shown] == []


def test_one_command_measures_prints_and_saves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command measures, prints tables, saves the results, and applies the guard."""
    monkeypatch.setattr(measure, "QUICK", HASTE)
    kept = tmp_path / "kept.json"
    options = ["--quick", "--only", "noop", "--only", "limit", "--save", str(kept)]
    assert main([*options, "--guard", "1000"]) == 0
    shown = capsys.readouterr().out
    assert "Children that do nothing" in shown
    assert AGAIN in shown
    assert {case.family for case in Results.load(kept).measured} == {"noop", "limit"}
    assert main([*options, "--guard", "0"]) == 1
    assert "gather_structured takes" in capsys.readouterr().out


@pytest.mark.skipif("not hasattr(__import__('asyncio'), 'eager_task_factory')")
def test_eager_starts_can_be_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--eager measures on an event loop with asyncio.eager_task_factory, and says so."""
    monkeypatch.setattr(measure, "QUICK", HASTE)
    assert main(["--quick", "--eager", "--only", "noop"]) == 0
    assert "asyncio eager loop" in capsys.readouterr().out
