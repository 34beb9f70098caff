"""Choosers: every schedule in turn, at random, or a printed schedule."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from typing import TypeAlias, Unpack

from simloop.loop import Chooser
from simloop.run import Options, Program, Run, run


class Diverged(RuntimeError):  # noqa: N818 - it says what happened
    """A replayed run had another number of options than the recorded one."""


class First(Chooser):
    """Choice 0 always, what asyncio would do; no cancellation."""

    def begin(self, cancels: int) -> None:
        pass

    def cancel(self, step: int) -> bool:
        return False

    def choose(self, options: int) -> int:
        return 0


# The [choice, options] of every choice of a run, cancellations included, and how many of the first
# ones are fixed: the schedules that are left to visit.
Subtree: TypeAlias = tuple[list[list[int]], int]


class DepthFirst(Chooser):
    """Visits every schedule once: call `advance()` between the runs, until it returns False.

    `left` is its position, from which another one can continue.
    """

    def __init__(self, left: Subtree = ([], 0)) -> None:
        self._path = [list(choice) for choice in left[0]]
        self._fixed = left[1]
        self._depth = 0

    @property
    def left(self) -> Subtree:
        """The schedules from the coming run on."""
        return [list(choice) for choice in self._path], self._fixed

    def begin(self, cancels: int) -> None:
        self._depth = 0

    def cancel(self, step: int) -> bool:
        return self.choose(2) == 1

    def choose(self, options: int) -> int:
        path, depth = self._path, self._depth
        self._depth = depth + 1
        if depth == len(path):
            path.append([0, options])
            return 0
        choice, recorded = path[depth]
        if recorded != options:
            raise Diverged(f"choice {depth} has {options} options, it had {recorded}")
        return choice

    def advance(self) -> bool:
        """Go to the next schedule; False if there is none."""
        path = self._path
        if self._depth < len(path):
            raise Diverged(f"the run finished after {self._depth} choices, it had {len(path)}")
        while len(path) > self._fixed:
            path[-1][0] += 1
            if path[-1][0] < path[-1][1]:
                return True
            path.pop()
        return False


def split(left: Subtree) -> list[Subtree]:
    """The same schedules in two parts, each of them in one only, if there are two."""
    path, fixed = left
    for depth in range(fixed, len(path)):
        choice, options = path[depth]
        if choice + 1 < options:
            return [(path, depth + 1), ([*path[:depth], [choice + 1, options]], depth)]
    return [left]


class Steps(Chooser):
    """Choice 0 always, and a cancellation before each of the given steps."""

    def __init__(self, *steps: int) -> None:
        self._steps = sorted(steps)
        self._left: list[int] = []

    def begin(self, cancels: int) -> None:
        self._left = self._steps[:cancels]

    def cancel(self, step: int) -> bool:
        if self._left and self._left[0] == step:
            del self._left[0]
            return True
        return False

    def choose(self, options: int) -> int:
        return 0


class Seeded(Steps):
    """Chooses at random.

    The cancel steps are drawn first, from the first `horizon` steps: a uniform choice at each
    boundary would spend every cancellation in the first few of them.
    """

    def __init__(self, seed: int | str, horizon: int = 40) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._horizon = horizon

    def begin(self, cancels: int) -> None:
        self._left = sorted(self._random.randrange(self._horizon) for _ in range(cancels))

    def choose(self, options: int) -> int:
        return self._random.randrange(options)


class Biased(Seeded):
    """Chooses at random with a bias that differs from run to run.

    Uniform choices make events happen early. Here some runs mostly do what asyncio would do, as on
    an idle machine, and some take the newest event first. Every second cancellation follows closely
    on the one before, while that one takes effect.
    """

    def __init__(self, seed: int | str, horizon: int = 40) -> None:
        super().__init__(seed, horizon)
        self._head = self._random.choice((0.0, 0.0, 0.5, 0.8, 0.95))
        self._newest = self._random.choice((0.0, 0.0, 0.0, 0.7))

    def begin(self, cancels: int) -> None:
        steps: list[int] = []
        for _ in range(cancels):
            close = steps and self._random.random() < 0.5
            step = steps[-1] + self._random.randrange(6) if close else None
            steps.append(self._random.randrange(self._horizon) if step is None else step)
        self._left = sorted(steps)

    def choose(self, options: int) -> int:
        if self._random.random() < self._head:
            return 0
        if self._random.random() < self._newest:
            return options - 1
        return self._random.randrange(options)


class Replay(Steps):
    """Repeats a printed schedule; after its end it takes choice 0."""

    def __init__(self, choices: list[tuple[int, int | None]], steps: list[int]) -> None:
        super().__init__(*steps)
        self._choices = choices
        self._depth = 0

    def begin(self, cancels: int) -> None:
        super().begin(cancels)
        self._depth = 0

    def choose(self, options: int) -> int:
        depth = self._depth
        self._depth = depth + 1
        if depth >= len(self._choices):
            return 0
        choice, recorded = self._choices[depth]
        if recorded is not None and recorded != options:
            raise Diverged(f"choice {depth} has {options} options, it had {recorded}")
        if choice >= options:
            raise Diverged(f"choice {depth} has {options} options, there is no {choice}")
        return choice

    def check_used(self) -> None:
        """Fail if the run finished before the end of the schedule."""
        if self._depth < len(self._choices):
            raise Diverged(f"the run made {self._depth} choices, not {len(self._choices)}")
        if self._left:
            raise Diverged(f"the run finished before the cancellation at step {self._left[0]}")


def explore(program: Program, **options: Unpack[Options]) -> Iterator[Run]:
    """Every schedule of `program` with at most `cancels` outer cancellations, each once."""
    chooser = DepthFirst()
    while True:
        yield run(program, chooser, **options)
        if not chooser.advance():
            return


def sample(
    program: Program, runs: int, *, seed: int = 0, **options: Unpack[Options]
) -> Iterator[Run]:
    """Run random schedules; the same ones for the same seed."""
    undisturbed = options.copy()
    undisturbed["cancels"] = 0
    horizon = run(program, First(), **undisturbed).steps + 2
    for number in range(runs):
        yield run(program, Seeded(f"{seed}/{number}", horizon), **options)


def sweep(program: Program, **options: Unpack[Options]) -> Iterator[Run]:
    """Cancel at step k for every k, and with `cancels=2` at every pair; otherwise choice 0.

    It stops when no cancellation arrives any more, so a longer program needs no other test.
    """
    pairs = options.get("cancels", 1) > 1
    for first in itertools.count():
        options["cancels"] = 1
        result = run(program, Steps(first), **options)
        yield result
        if not result.cancel_steps:
            return
        options["cancels"] = 2
        for second in itertools.count(first) if pairs else ():
            result = run(program, Steps(first, second), **options)
            if len(result.cancel_steps) < 2:
                break
            yield result


def replay(program: Program, schedule: str, **options: Unpack[Options]) -> Run:
    """Run `program` by a schedule as `Run.schedule` prints it: `fifo:0/3.2/3.1/2@c5`.

    The numbers of options may be left out: `fifo:0.2.1@c5`. Where they are given they are checked.
    """
    match = re.fullmatch(r"(fifo|racy)(-eager)?:([\d/.]*)((?:@c\d+)*)", schedule)
    if match is None:
        raise ValueError(f"not a schedule: {schedule!r}")
    mode, eager, listed, cancelled = match.groups()
    choices: list[tuple[int, int | None]] = []
    for item in listed.split(".") if listed else []:
        choice, _, count = item.partition("/")
        choices.append((int(choice), int(count) if count else None))
    steps = [int(step) for step in cancelled.split("@c")[1:]]
    options["mode"] = "racy" if mode == "racy" else "fifo"
    options["cancels"] = len(steps)
    options["eager"] = eager is not None
    chooser = Replay(choices, steps)
    result = run(program, chooser, **options)
    chooser.check_used()
    return result
