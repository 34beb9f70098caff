"""What a run has found, and how it is kept in a file."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from math import comb
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONFIDENCE = 0.95
Loop = Literal["asyncio", "uvloop"]


def machine() -> str:
    """Say what kind of machine this is."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"


class Ratio(NamedTuple):
    """A median and the interval in which it lies, with 95% confidence."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        """Work out the median and its interval by order statistics.

        A value of the sample is below the true median or above it as a coin falls, whatever the
        distribution: how far from either end of the sorted sample the interval must begin follows
        from the binomial distribution. With fewer than six values no interval is that sure; then
        this is the whole range.
        """
        ordered = sorted(values)
        count = len(ordered)
        outside, skipped = 2 / 2**count, 0
        while outside + 2 * comb(count, skipped + 1) / 2**count <= 1 - CONFIDENCE:
            skipped += 1
            outside += 2 * comb(count, skipped) / 2**count
        return cls(median(ordered), ordered[skipped], ordered[-1 - skipped])


@dataclass(frozen=True)
class Row:
    """What one contender needed for one case."""

    family: str
    what: str
    children: int
    contender: str
    seconds: float  # a call's, median
    ratio: Ratio  # to the first contender, round by round
    rounds: int
    repetitions: int
    target: float | None = None  # what the ratio is to reach; only for this package's functions

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", Ratio(*self.ratio))  # a file has a list


@dataclass(frozen=True)
class Growth:
    """How much more memory was taken, at the most, while children were fed."""

    contender: str
    children: int
    bytes: int
    target: int | None = None


@dataclass(frozen=True)
class Tally:
    """What was counted while the agents worked."""

    contender: str
    agents: int
    turns: int
    tries: int
    answered: int
    requests: int
    alive: int
    held: int
    unwanted: int
    unwanted_seconds: float
    emails: int
    twice: int
    twice_unavoidable: int
    seconds: float


@dataclass
class Results:
    """All that a run has found."""

    python: str = field(default_factory=platform.python_version)
    implementation: str = field(default_factory=platform.python_implementation)
    platform: str = field(default_factory=machine)
    loop: Loop = "asyncio"
    clock: str = "processor time"
    versions: dict[str, str] = field(default_factory=dict[str, str])
    left_out: list[str] = field(default_factory=list[str])
    rows: list[Row] = field(default_factory=list[Row])
    growths: list[Growth] = field(default_factory=list[Growth])
    tallies: list[Tally] = field(default_factory=list[Tally])
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote."""
        raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
        rows = [Row(**row) for row in raw.pop("rows")]
        growths = [Growth(**growth) for growth in raw.pop("growths")]
        tallies = [Tally(**tally) for tally in raw.pop("tallies")]
        return cls(**raw, rows=rows, growths=growths, tallies=tallies)
