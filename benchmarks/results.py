"""What a run has measured, and the compact file that keeps it: one line for each case."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from math import comb
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONFIDENCE = 0.95


def rounded(value: float) -> float:
    """Keep four significant digits."""
    return float(f"{value:.4g}")


class Ratio(NamedTuple):
    """A median and its 95% confidence interval."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        """Compute the interval by order statistics, which assume nothing about the distribution.

        Each value is below or above the true median with probability 1/2, so the ranks of the
        interval follow from the binomial distribution. Fewer than six values: the whole range.
        """
        ordered = sorted(values)
        count = len(ordered)
        outside, skipped = 2 / 2**count, 0
        while outside + 2 * comb(count, skipped + 1) / 2**count <= 1 - CONFIDENCE:
            skipped += 1
            outside += 2 * comb(count, skipped) / 2**count
        return cls(
            rounded(median(ordered)), rounded(ordered[skipped]), rounded(ordered[-1 - skipped])
        )

    def __truediv__(self, other: Ratio) -> Ratio:
        return Ratio(self.median / other.median, self.low / other.high, self.high / other.low)

    @property
    def spread(self) -> float:
        """The distance from the median to the farther end of the interval."""
        return max(self.high - self.median, self.median - self.low)


ONE = Ratio(1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Measured:
    """A case: the baseline's time, and the others' times as multiples of it."""

    family: str
    what: str
    children: int
    baseline: str
    seconds: float
    rounds: int
    ratios: dict[str, Ratio]

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the case."""
        return self.family, self.what

    def ratio(self, contender: str, against: str = "") -> Ratio | None:
        """Return the ratio of two contenders, by default to the baseline; None if one is missing.

        Where neither is the baseline, the quotient of their ratios.
        """
        ratios = {self.baseline: ONE, **self.ratios}
        above, below = ratios.get(contender), ratios.get(against or self.baseline)
        return None if above is None or below is None else above / below


@dataclass(frozen=True)
class Growth:
    """The peak of the memory allocated while children run."""

    contender: str
    children: int
    bytes: int


@dataclass(frozen=True)
class Tally:
    """What was counted while the agents of the service worked."""

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
    """Everything that a run has measured."""

    python: str = field(default_factory=platform.python_version)
    machine: str = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    loop: str = "asyncio"
    clock: str = "processor time"
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict[str, str])
    left_out: list[str] = field(default_factory=list[str])
    measured: list[Measured] = field(default_factory=list[Measured])
    growths: list[Growth] = field(default_factory=list[Growth])
    tallies: list[Tally] = field(default_factory=list[Tally])

    @property
    def minor(self) -> str:
        """The version without the patch release."""
        return ".".join(self.python.split(".")[:2])

    def save(self, path: Path) -> None:
        """Write a JSON file with one line for each case."""
        parts = [f'"{name}": {_lines(value)}' for name, value in asdict(self).items()]
        path.write_text("{" + ",\n".join(parts) + "}\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote."""
        raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for case in raw["measured"]:
            case["ratios"] = {name: Ratio(*ratio) for name, ratio in case["ratios"].items()}
        raw["measured"] = [Measured(**case) for case in raw["measured"]]
        raw["growths"] = [Growth(**growth) for growth in raw["growths"]]
        raw["tallies"] = [Tally(**tally) for tally in raw["tallies"]]
        return cls(**raw)


def _lines(value: Any) -> str:  # noqa: ANN401 - anything that JSON can express
    if isinstance(value, list):
        return "[" + ",".join("\n" + json.dumps(item) for item in value) + "]"  # pyright: ignore[reportUnknownVariableType]
    return json.dumps(value)
