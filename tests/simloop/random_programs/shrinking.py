"""Shrink a program that breaks a promise, and print it as a script."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

from simloop.choosers import Seeded, Steps, explore
from simloop.loop import Chooser
from simloop.oracles import Violation
from simloop.random_programs.around import Finally, Group, Timeout, program
from simloop.random_programs.drawing import ANY, Drawing, Sort, draw_options
from simloop.random_programs.judging import violation
from simloop.random_programs.nodes import Adopted, Leaf, Node, Shared, Shielded, Wrapped
from simloop.random_programs.scopes import First, Functions, Gather, Stream
from simloop.run import Options, Run, run

NODES: dict[str, type[Node]] = {
    node.__name__: node
    for node in (
        *(Leaf, Gather, First, Stream),
        *(Adopted, Shared, Shielded),
        *(Timeout, Group, Finally),
    )
}


class Broken(AssertionError):  # noqa: N818 - it says what happened, as TimeoutError does
    """A program breaks a promise. `tree` and `schedule` are the smallest that were found."""

    def __init__(self, broken: Violation, tree: Node, schedule: str, functions: Functions) -> None:
        self.oracle, self.tree, self.schedule = broken.oracle, tree, schedule
        self.script = script(tree, schedule, functions)
        super().__init__(f"{broken}\n\n{self.script}")


def judge(
    tree: Node,
    chooser: Chooser,
    *,
    only: str | None = None,
    functions: Functions | None = None,
    **options: Any,
) -> Run:
    """Run a tree, judge it, and raise `Broken` with a small program if it breaks a promise."""
    found = run(program(tree, functions), chooser, deadlock_ok=True, **options)
    broken = violation(found, only)
    if broken is not None:
        raise shrunk(tree, found, broken, functions or {})
    return found


def horizon(tree: Node) -> int:
    """About so many steps a program takes."""
    return 6 + 7 * repr(tree).count("(")


def judge_random(seed: int, sort: Sort = ANY, **of: Any) -> Run:
    """Draw one program and one schedule from a seed, and judge them."""
    chance = random.Random(seed)
    tree = Drawing(chance.randrange, sort).root()
    options = draw_options(chance.randrange, sort)
    return judge(tree, Seeded(f"{seed}", horizon(tree)), **options, **of)


def script(tree: Node, schedule: str, functions: Functions) -> str:
    """The Python that repeats a run."""
    text = repr(tree)
    names = sorted({*NODES} & {*text.replace("(", " ").split()})
    lines = ["# From the root of the repository: PYTHONPATH=.:tests python FILE"]
    lines += [f"from simloop.random_programs import {', '.join([*names, 'reproduce'])}"]
    stand_ins = ""
    for name, function in functions.items():
        lines.append(f"from {function.__module__} import {function.__name__}")
        stand_ins += f"    {name}={function.__name__},\n"
    inside = text.replace("\n", "\n    ")
    call = f"reproduce(\n    {inside},\n    {schedule!r},\n{stand_ins})"
    return "\n".join([*lines, "", call, ""])


# How it is shrunk.


class Bent(Steps):
    """The choices of another run as far as they fit, then choice 0."""

    def __init__(self, choices: list[tuple[int, int]], steps: list[int]) -> None:
        super().__init__(*steps)
        self._choices = iter([choice for choice, _ in choices])

    def choose(self, options: int) -> int:
        return min(next(self._choices, 0), options - 1)


def shrunk(tree: Node, found: Run, broken: Violation, functions: Functions) -> Broken:
    """Return the smallest program that breaks the same promise, by leaving out parts."""

    def broken_by(smaller: Node) -> tuple[Run, Violation] | None:
        for again in runs_like(found, smaller, functions):
            complaint = violation(again, broken.oracle)
            if complaint is not None:
                return again, complaint
        return None

    progress = True
    while progress:
        progress = False
        for smaller in smaller_trees(tree):
            if (simpler := broken_by(smaller)) is not None:
                tree, (found, broken), progress = smaller, simpler, True
                break
    simplest = broken_by(tree)
    if simplest is not None:
        found, broken = simplest
    return Broken(broken, tree, found.schedule, functions)


def runs_like(found: Run, tree: Node, functions: Functions) -> Iterator[Run]:
    """Yield runs of a tree: the simplest ones, one as near as possible to `found`, random ones."""
    whole = program(tree, functions)
    options: Options = {"mode": found.mode, "eager": found.eager, "deadlock_ok": True}
    simple: Options = {"mode": "fifo", "eager": found.eager, "deadlock_ok": True}
    for most in range(2):
        simple["cancels"] = most
        for number, again in enumerate(explore(whole, **simple)):
            yield again
            if number == 15:
                break
    options["cancels"] = len(found.cancel_steps)
    yield run(whole, Bent(found.choices, found.cancel_steps), **options)
    for seed in range(15):
        yield run(whole, Seeded(seed, horizon(tree)), **options)


# What may replace a leaf or a call, the simplest first.
SIMPLE = [
    Leaf(does, points=n) for does in ("returns", "sleeps", "cleans_up_slowly") for n in (1, 2)
]


def smaller_trees(node: Node) -> Iterator[Node]:
    """Yield smaller trees, the smallest first."""
    parts, options, make = node.parts, node.options, type(node)
    yield from parts
    if not isinstance(node, Wrapped):
        yield from itertools.takewhile(lambda simple: repr(simple) != repr(node), SIMPLE)
    if not isinstance(node, (Wrapped, Timeout, Finally)):
        for at in range(len(parts) - 1, isinstance(node, Group) - 1, -1):
            yield from built(make, (*parts[:at], *parts[at + 1 :]), options)
    for name, value in options.items():
        if value != node.defaults[name]:
            for simpler in simpler_values(value, node.defaults[name]):
                yield from changed(node, name, simpler)
    for at, part in enumerate(parts):
        for smaller in smaller_trees(part):
            yield from built(make, (*parts[:at], smaller, *parts[at + 1 :]), options)


def changed(node: Node, name: str, value: Any) -> Iterator[Node]:
    if isinstance(node, Leaf):
        yield Leaf(node.does, **{name: value})
    else:
        yield from built(type(node), node.parts, {**node.options, name: value})


def simpler_values(value: Any, default: Any) -> Iterator[Any]:
    yield default
    if isinstance(default, tuple):
        for at in range(len(value)):
            yield value[:at] + value[at + 1 :]
    elif isinstance(value, int) and value > 1:
        yield value - 1


def built(make: type[Node], parts: tuple[Node, ...], options: dict[str, Any]) -> Iterator[Node]:
    try:
        yield make(*parts, **options)
    except TypeError:  # the same Task twice in one call
        return
