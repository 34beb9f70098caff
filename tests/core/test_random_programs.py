"""Random programs: nested calls of all three functions, judged by every oracle.

A program that breaks a promise is shrunk and printed as a script. The tests below show, with wrong
implementations, that this works. `HYPOTHESIS_PROFILE=long` draws many more programs.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, event, given, note, settings
from hypothesis import strategies as st

from simloop import wrong, wrong_outcomes
from simloop.choosers import Seeded, replay
from simloop.random_programs import (
    LEAVES,
    NODES,
    Broken,
    Drawing,
    Node,
    Sort,
    draw_options,
    horizon,
    judge,
    judge_random,
    program,
)
from simloop.run import Run, run

TESTS = Path(__file__).parents[1]

# Hypothesis draws; `Broken` shrinks, as trees.
only_draw = settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])

trees = st.composite(lambda draw: Drawing(lambda n: draw(st.integers(0, n - 1))).root())()
run_options = st.composite(lambda draw: draw_options(lambda n: draw(st.integers(0, n - 1))))()
seeds = st.integers(0, 2**32)


@only_draw
@given(trees, run_options, seeds)
def test_random_programs(tree: Node, options: Any, seed: int) -> None:
    """Every oracle holds, whatever calls are nested, on any schedule, with any cancellations."""
    found = judge(tree, Seeded(seed, horizon(tree)), **options)
    note(f"{tree!r}\nreplay {found.schedule!r}")
    event("interrupted" if found.interrupts else f"{found.cancels_accepted} cancellations")


@only_draw
@given(trees, run_options, seeds)
def test_a_run_can_be_repeated(tree: Node, options: Any, seed: int) -> None:
    """The same schedule gives the same run: no call depends on addresses or the order of sets."""
    whole = program(tree)
    first = run(whole, Seeded(seed, horizon(tree)), **options)
    again = replay(whole, first.schedule)
    assert told(again) == told(first)


def told(of: Run) -> list[Any]:
    return [(entry.step, entry.time, entry.who, entry.what) for entry in of.events]


@given(trees)
def test_the_repr_of_a_tree_is_python_that_builds_it(tree: Node) -> None:
    """The program printed for a failure is the program that failed."""
    assert repr(eval(repr(tree), dict(NODES))) == repr(tree)  # noqa: S307


def test_a_seed_is_a_program() -> None:
    """`judge_random` draws the same program, and the same schedule, for the same seed."""
    runs = [judge_random(seed) for seed in (1, 2, 3, 1)]
    assert told(runs[3]) == told(runs[0])
    assert len({run.schedule for run in runs}) == 3


def test_everything_is_drawn() -> None:
    """The first programs have every kind of node, every behaviour and every option."""
    seen = Counter[str]()

    def look(node: Node, depth: int) -> None:
        does = getattr(node, "does", None)
        seen.update([does or type(node).__name__, f"depth {depth}"])
        seen.update(name for name, value in node.options.items() if value != node.defaults[name])
        for part in node.parts:
            look(part, depth + 1)

    for seed in range(300):
        look(Drawing(Seeded(seed).choose).root(), 0)
    options = {f"{name}" for node in NODES.values() for name in getattr(node, "defaults", ())}
    kinds = {*NODES} - {"Leaf"} | {*LEAVES, "adds_a_child", "depth 3"}
    assert (kinds | options) - seen.keys() == set()


# Wrong implementations


class Fault(NamedTuple):
    """A wrong implementation of a function, the oracle that finds it, and a bound on its size."""

    call: Callable[..., Any]
    oracle: str
    nodes: int  # of the smallest program: its calls and children
    at: str = "gather"
    options: tuple[str, ...] = ()
    slow: bool = False


FAULTS = [
    Fault(wrong.cancels_without_joining, "no_child_pending", 3),
    Fault(wrong.joins_once, "no_child_pending", 3, slow=True),
    Fault(wrong.swallows_the_cancellation, "outer_cancel_surfaces", 3, slow=True),
    Fault(wrong.uncancels_too_much, "cancelling_balanced", 2),
    Fault(wrong.cancels_twice, "no_child_cancelled_twice", 3, slow=True),
    Fault(wrong.never_retrieves, "handler_never_called", 3, slow=True),
    Fault(wrong.awaits_in_turn, "outer_cancel_surfaces", 2),
    Fault(wrong.drops_the_message, "cancel_message_kept", 2),
    Fault(wrong.raises_the_last_failure, "first_failure_raised", 3, slow=True),
    Fault(wrong.results_as_they_come, "outcomes_match", 3),
    Fault(wrong.forgets_the_unstarted, "no_coroutine_never_awaited", 3, slow=True),
    Fault(wrong.leaves_a_cycle, "nothing_kept_alive", 2, slow=True),
    Fault(wrong.right, "failures_are_shown", 3, slow=True),  # asyncio.gather drops them, too
    Fault(wrong_outcomes.DeliversByIndex, "in_completion_order", 3, "stream", ("body",), slow=True),
    Fault(wrong_outcomes.LeavesWithoutJoining, "no_child_pending", 3, "stream", ("body",)),
    Fault(wrong_outcomes.DropsTheUndelivered, "nothing_dropped", 3, "stream", ("body",)),
    Fault(
        wrong_outcomes.KeepsRunningAfterTheTimeout,
        "deadlines_hold",
        2,
        "stream",
        ("timeout",),
        slow=True,
    ),
    Fault(wrong_outcomes.TakesZeroForNone, "deadlines_hold", 3, "stream", ("timeout",), slow=True),
    Fault(
        wrong_outcomes.RunsAhead, "limit_holds", 5, "stream", ("limit", "feed", "body"), slow=True
    ),
    Fault(
        wrong_outcomes.race_that_counts_losers, "the_first_values", 3, "first", ("n",), slow=True
    ),
    Fault(wrong_outcomes.race_that_forgets_why, "losers_are_reported", 2, "first", ("within",)),
]

each_fault = pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault,
            id=f"{fault.call.__name__}-{fault.oracle}",
            marks=[pytest.mark.exhaustive] * fault.slow,
        )
        for fault in FAULTS
    ],
)


@functools.cache
def found_by_chance(fault: Fault) -> Broken:
    """Return a program that shows the fault, with plain children and few options."""
    kind = {"gather": "Gather", "first": "First", "stream": "Stream"}[fault.at]
    sort = Sort((kind,), frozenset(fault.options), adopted=False, asyncio=False, eager=False)
    for seed in range(2_000):
        try:
            judge_random(seed, sort, only=fault.oracle, functions={fault.at: fault.call})
        except Broken as broken:
            return broken.with_traceback(None)
    pytest.fail("it was not found")


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    yield
    wrong.KEPT.clear()


@each_fault
def test_a_wrong_call_is_found_and_shrunk(fault: Fault) -> None:
    """Random programs find it, and a script of a few lines shows the fault."""
    broken = found_by_chance(fault)
    assert size(broken.tree) <= fault.nodes
    assert len(broken.script.splitlines()) <= 16


def size(tree: Node) -> int:
    return 1 + sum(map(size, tree.parts))


@pytest.mark.parametrize(
    "fault",
    [
        next(fault for fault in FAULTS if fault.call is call)
        for call in (wrong.cancels_without_joining, wrong_outcomes.LeavesWithoutJoining)
    ],
    ids=lambda fault: fault.call.__name__,
)
def test_the_printed_script_can_be_run(fault: Fault, tmp_path: Path) -> None:
    """Run as a file, it breaks the same promise; with the right implementation it doesn't."""
    broken = found_by_chance(fault)
    assert broken.script in str(broken)
    complaint = f"{fault.oracle}: "
    assert complaint in run_script(tmp_path, broken.script)
    assert run_script(tmp_path, broken.script.replace(f"    {fault.at}=", "    # ")) == ""


def run_script(folder: Path, script: str) -> str:
    file = folder / "program.py"
    file.write_text(script)
    done = subprocess.run(  # noqa: S603 - what was just written
        [sys.executable, str(file)],
        env={"PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr
