"""The long search can be stopped and resumed, finds wrong calls, and drops stale counts."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from searches import campaign, work
from searches import state as states
from searches.__main__ import README, main
from searches.campaign import Budget, Campaign
from searches.plan import load
from searches.report import BEGIN, END, publish, totals
from searches.state import State
from searches.work import Result
from simloop import wrong
from simloop.choosers import DepthFirst, Subtree, explore, replay, split
from simloop.every_schedule import SMALL, world_of
from simloop.oracles import violated
from simloop.run import run
from structgather import gather_structured

PLAN = "searches.examples:small"
BUDGET = ["--schedules", "250", "--programs", "50"]


def counts(path: Path) -> dict[str, object]:
    """Return the counts of each search in a state."""
    records = State.load(path).records
    return {key: (record.counts, record.left, record.blocks) for key, record in records.items()}


@pytest.fixture(scope="module")
def sizes() -> list[int]:
    """Return the numbers of schedules with at most 0, 1 and 2 cancellations."""
    program = world_of(gather_structured, SMALL)
    return [sum(1 for _ in explore(program, cancels=cancels)) for cancels in range(3)]


def in_the_table(sizes: list[int]) -> str:
    return " / ".join(f"{size:,}" for size in sizes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the state of the small plan, run in one go."""
    path = tmp_path_factory.mktemp("whole") / "state.json"
    assert main([PLAN, *BUDGET, "--state", str(path)]) == 0
    return path


def test_one_search_counts_those_with_fewer_cancellations(whole: Path, sizes: list[int]) -> None:
    """Its numbers with up to 0, 1 and 2 cancellations are those of three searches."""
    record = next(iter(State.load(whole).records.values()))
    assert [record.total("schedules", most) for most in range(3)] == sizes
    assert record.complete


@pytest.mark.parametrize("runs", [7, 50])
def test_parts_of_a_tree_of_schedules_are_the_tree(runs: int) -> None:
    """However it is cut into pieces and split, each schedule is in exactly one part."""
    program = world_of(gather_structured, SMALL)
    every = sorted(found.schedule for found in explore(program, cancels=1))
    parts: list[Subtree] = [([], 0)]
    visited: list[str] = []
    while parts and len(visited) <= len(every):
        chooser = DepthFirst(json.loads(json.dumps(parts.pop())))
        for _ in range(runs):
            visited.append(run(program, chooser, cancels=1).schedule)
            if not chooser.advance():
                break
        else:
            parts += split(chooser.left)
    assert sorted(visited) == every


def test_a_stopped_search_resumes(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after each piece, reloaded and resumed, it finds the same totals."""
    monkeypatch.setattr(work, "RUNS", 100)
    path = tmp_path / "state.json"
    sessions, left = 0, True
    while left:
        sessions += 1
        session = Campaign(PLAN, states.open_state(path)[0], Budget(250, 50), path)

        def work_and_stop(*piece: Any, session: Campaign = session) -> Result:
            session.stopping = True
            return work.work(*piece)

        monkeypatch.setattr(campaign, "work", work_and_stop)
        session.go()
        left = not all(map(session.is_done, session.items))
    assert sessions > 4
    assert counts(path) == counts(whole)


def test_running_pieces_are_saved_as_not_done(tmp_path: Path) -> None:
    """A process that dies loses nothing: the last file still lists its pieces."""
    path = tmp_path / "state.json"
    session = Campaign(PLAN, State.new(), path=path)
    piece = ([[1, 2]], 0)
    session.running[Future()] = session.items[0], piece
    session._save()
    assert State.load(path).record(session.items[0].key).left == [[[[1, 2]], 0]]
    assert session.state.record(session.items[0].key).left == []


@pytest.mark.exhaustive
def test_a_killed_search_resumes(whole: Path, sizes: list[int], tmp_path: Path) -> None:
    """SIGTERM makes the command save its state; when restarted it does the rest."""
    path = tmp_path / "state.json"
    command = [sys.executable, str(Path(__file__).parent), PLAN, *BUDGET, "--state", str(path)]
    command += ["--jobs", "2"]
    with subprocess.Popen(  # noqa: S603 - the search itself
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert b"searches" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert b"stopping" in process.stderr.read()
        assert process.wait() == 0
    assert counts(path) != counts(whole)
    again = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert "resuming after" in again.stderr
    assert in_the_table(sizes) in again.stdout
    assert counts(path) == counts(whole)


def test_a_finished_search_does_nothing(
    whole: Path, sizes: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Restarted it prints the same tables at once; with a larger budget it draws more."""
    before = whole.read_text("utf-8")
    assert main([PLAN, *BUDGET, "--state", str(whole)]) == 0
    assert in_the_table(sizes) in capsys.readouterr().out
    assert json.loads(before)["records"] == json.loads(whole.read_text("utf-8"))["records"]
    assert main([PLAN, "--schedules", "500", "--state", str(whole), "--programs", "0"]) == 0
    assert totals(load(PLAN), State.load(whole))[0] == sizes[2] + 500
    whole.write_text(before, "utf-8")


def test_a_wrong_call_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1, each kind of search finds it, and the printed schedule repeats it."""
    path = str(tmp_path / "state.json")
    plan = "searches.examples:faulty"
    assert main([plan, *BUDGET, "--state", path]) == 1
    told = capsys.readouterr()
    assert re.search(r"\| `joins_once` \|.*\| 9 / 143 \| 0 / 10 \| 0 \|", told.out)
    found = re.findall(
        r"(\w+), .* cancels, lazy(, sampled)?: (\S+?)(?:,.*)? \[replay '(.*)'\]", told.err
    )
    assert {bool(sampled) for _, sampled, _, _ in found} == {False, True}
    for _, _, oracle, schedule in found:
        assert oracle in violated(replay(world_of(wrong.joins_once, SMALL), schedule))
    assert "AssertionError: it is wrong [replay judge_random(7)]" in told.err
    # It remembers that until the package changes.
    assert main([plan, *BUDGET, "--state", path]) == 1


@pytest.mark.parametrize("what", ["structgather", "the search itself"])
def test_counts_of_another_version_are_dropped(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    """If the package or the search has changed, it says so and starts anew."""
    path = tmp_path / "state.json"
    path.write_bytes(whole.read_bytes())
    monkeypatch.setattr(
        states, "PACKAGE" if what == "structgather" else "SEARCH", ["pyproject.toml"]
    )
    assert main([PLAN, "--publish", "--state", str(path)]) == 2
    assert f"{what} has changed: the counts in state.json are left out" in capsys.readouterr().err
    assert main([PLAN, "--minutes", "0", "--state", str(path)]) == 0
    told = capsys.readouterr()
    assert f"{what} has changed: the counts in state.json are dropped" in told.err
    assert "resuming" not in told.err
    assert not any(record.counts for record in State.load(path).records.values())
    assert path.with_name("state.json.stale").read_bytes() == whole.read_bytes()


def test_the_published_text_is_the_report(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text between the markers is the report, and no other text is changed."""
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    assert main([PLAN, *BUDGET, "--state", str(whole)]) == 0
    printed = capsys.readouterr().out
    arguments = [PLAN, "--publish", "--state", str(whole), "--readme", str(readme)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == printed
    text = readme.read_text("utf-8")
    assert text == f"before\n{BEGIN}\n\n{printed.rstrip()}\n\n{END}\nafter\n"


def test_all_pythons_are_published(
    whole: Path,
    sizes: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each Python's totals have a row, and all together have one."""
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n", "utf-8")
    monkeypatch.setattr("searches.__main__.FOLDER", tmp_path)
    state = State.load(whole)
    for state.python in ("3.11.99", "3.15.99"):
        state.save(tmp_path / f"{state.python}.json")
    assert main([PLAN, "--publish", "--readme", str(readme)]) == 0
    text = readme.read_text("utf-8")
    assert "On CPython 3.11.99:" in text
    count = sizes[2] + 250
    assert f"| 3.15.99 | {count:,} | 50 | 0 |\n| together | {2 * count:,} | 100 | 0 |" in text
    capsys.readouterr()


def test_the_readme_has_markers_for_the_figures() -> None:
    """tests/README.md has both markers, and a table between them."""
    document = README.read_text("utf-8")
    assert publish(document, "").count("| schedules |") < document.count("| schedules |")
