"""Pieces of a search: some runs, judged and counted, in any process."""

from __future__ import annotations

import functools
import signal
from dataclasses import dataclass, field

import structgather
from searches.plan import Item, Programs, Sample, Search, load
from simloop import oracles, outcome_oracles
from simloop.choosers import Biased, DepthFirst, First, Subtree
from simloop.every_schedule import OF_AN_INTERRUPT
from simloop.loop import Chooser
from simloop.run import Run, run

# Runs or programs in a piece: about a second of work.
RUNS, BLOCK, PROGRAMS = 5_000, 250, 50
MOST_FOUND = 5  # this many failures of a search are printed; all are counted

ORPHANS = oracles.no_child_pending.__name__
LOST = oracles.outer_cancel_surfaces.__name__

# A piece as plain data: the rest of a tree of schedules, or the number of a block of seeds.
Piece = Subtree | int
Counts = dict[str, dict[str, int]]  # by the number of cancellations, then by what was counted


@dataclass
class Result:
    """The result of a piece, and what is left of it."""

    counts: Counts = field(default_factory=dict[str, dict[str, int]])
    found: list[str] = field(default_factory=list[str])
    left: list[Subtree] = field(default_factory=list[Subtree])

    def count(self, cancels: int, names: list[str]) -> None:
        """Count a run that violates the oracles of these names.

        "orphans" and "lost" are what the table has columns for, "other" is a run that breaks other
        promises only.
        """
        found = self.counts.setdefault(str(cancels), {})
        kinds = ["schedules"]
        if names:
            kinds.append("wrong")
            kinds += ["orphans"] * (ORPHANS in names) + ["lost"] * (LOST in names)
            kinds += ["other"] * (ORPHANS not in names and LOST not in names)
        for kind in kinds:
            found[kind] = found.get(kind, 0) + 1

    def broken(self, line: str) -> None:
        """Record how to repeat a violation."""
        if len(self.found) < MOST_FOUND:
            self.found.append(line)


@functools.cache
def _items(plan: str) -> dict[str, Item]:
    structgather.warn_stuck_after(None)  # its timers would be choices
    return {item.key: item for item in load(plan)}


def begin_process() -> None:
    """Leave signals to the parent process, which saves the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def work(plan: str, key: str, piece: Piece) -> Result:
    """Run one piece of a search."""
    item = _items(plan)[key]
    if isinstance(item, Programs):
        assert isinstance(piece, int)
        return _programs(item, piece)
    if isinstance(item, Sample):
        assert isinstance(piece, int)
        return _sample(item, piece)
    assert not isinstance(piece, int)
    return _explore(item, piece)


def _explore(search: Search, left: Subtree) -> Result:
    result, chooser, judges = Result(), DepthFirst(left), _judges(search)
    for _ in range(RUNS):
        try:
            _count_run(search, chooser, judges, result)
            if not chooser.advance():
                return result
        except (AssertionError, RuntimeError) as error:
            # The search itself failed: the program is not deterministic, or never finishes.
            result.count(0, ["broken"])
            result.broken(f"{search.key}: {error!r} at {chooser.left[0]}")
            return result
    result.left.append(chooser.left)
    return result


def _sample(search: Sample, block: int) -> Result:
    result, judges = Result(), _judges(search)
    horizon = run(search.program, First(), mode=search.mode, eager=search.eager).steps + 2
    for number in range(block * BLOCK, (block + 1) * BLOCK):
        _count_run(search, Biased(f"{search.key}/{number}", horizon), judges, result)
    return result


def _judges(search: Search) -> list[oracles.Oracle]:
    # Outcomes are judged before they are released. asyncio's calls have none.
    ours = outcome_oracles.ORACLES if search.ours else []
    return [each for each in (*ours, *oracles.ORACLES) if each.__name__ not in search.but]


def _count_run(
    search: Search, chooser: Chooser, judges: list[oracles.Oracle], result: Result
) -> None:
    found = run(
        search.program,
        chooser,
        mode=search.mode,
        cancels=search.cancels,
        eager=search.eager,
        deadlock_ok=True,
    )
    names = _violated(found, judges)
    result.count(len(found.cancel_steps), names)
    if names and search.ours:
        result.broken(f"{search.key}: {', '.join(names)} [replay {found.schedule!r}]")


def _violated(found: Run, judges: list[oracles.Oracle]) -> list[str]:
    names: list[str] = []
    interrupted = outcome_oracles.was_interrupted(found)
    for judge in judges:
        if interrupted and judge.__name__ in OF_AN_INTERRUPT:
            continue
        try:
            judge(found)
        except oracles.Violation as violation:
            names.append(violation.oracle)
    return names


def _programs(programs: Programs, block: int) -> Result:
    result = Result()
    for seed in range(block * PROGRAMS, (block + 1) * PROGRAMS):
        names: list[str] = []
        try:
            programs.judge(seed)
        except Exception as error:  # noqa: BLE001 - any exception is a finding
            names.append("broken")
            message = f"{type(error).__name__}: {error}".partition("\n")[0]
            result.broken(f"{programs.key}: {message} [replay judge_random({seed})]")
        result.count(0, names)
    return result
