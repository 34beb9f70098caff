"""The results in a file: the counts of each search, and what is left of it."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from searches.work import MOST_FOUND, Counts, Result

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / ".search_cache"
PACKAGE = ["structgather/*.py"]
# No call uses them.
RATE_LIMIT = {"_gate.py", "_rate_limit.py", "_window.py"}
# The code that generates and judges the schedules.
SEARCH = ["tests/simloop/*.py", "tests/searches/**/*.py"]


def fingerprint(patterns: list[str]) -> str:
    """Hash these files of the repository."""
    digest = hashlib.sha256()
    paths = {path for pattern in patterns for path in ROOT.glob(pattern)}
    for path in sorted(path for path in paths if path.name not in RATE_LIMIT):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@dataclass
class Record:
    """The progress of one search."""

    counts: Counts = field(default_factory=dict[str, dict[str, int]])
    found: list[str] = field(default_factory=list[str])
    # Pieces that are not done: trees of schedules, or blocks of seeds that were begun.
    left: list[Any] = field(default_factory=list[Any])
    blocks: int = 0  # blocks of seeds that were begun, or done
    begun: bool = False

    def add(self, result: Result) -> None:
        """Add the result of a piece."""
        for cancels, kinds in result.counts.items():
            mine = self.counts.setdefault(cancels, {})
            for kind, count in kinds.items():
                mine[kind] = mine.get(kind, 0) + count
        self.found += result.found[: max(0, MOST_FOUND - len(self.found))]

    def total(self, kind: str = "schedules", most: int | None = None) -> int:
        """Count the runs of a kind with at most so many cancellations."""
        return sum(
            kinds.get(kind, 0)
            for cancels, kinds in self.counts.items()
            if most is None or int(cancels) <= most
        )

    @property
    def complete(self) -> bool:
        """Whether every schedule has been visited."""
        return self.begun and not self.left


@dataclass
class State:
    """The results on one Python for one version of the package."""

    python: str
    package: str
    search: str
    seconds: float = 0.0
    records: dict[str, Record] = field(default_factory=dict[str, Record])

    @classmethod
    def new(cls) -> State:
        """Return an empty state."""
        return cls(platform.python_version(), fingerprint(PACKAGE), fingerprint(SEARCH))

    def record(self, key: str) -> Record:
        """Return the progress of this search."""
        return self.records.setdefault(key, Record())

    def differs(self, now: State) -> str:
        """Return what has changed since, and makes these counts stale; empty if nothing has."""
        if self.package != now.package:
            return "structgather has changed"
        if self.search != now.search:
            return "the search itself has changed"
        if self.python != now.python:
            return f"Python was {self.python}"
        return ""

    def save(self, path: Path) -> None:
        """Write the file atomically, into a folder that git ignores."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent == FOLDER:
            (FOLDER / ".gitignore").write_text("*\n", "utf-8")
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.write_text(json.dumps(asdict(self)), "utf-8")
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> State:
        """Read the file."""
        data = json.loads(path.read_text("utf-8"))
        data["records"] = {key: Record(**record) for key, record in data["records"].items()}
        return cls(**data)


def open_state(path: Path) -> tuple[State, str]:
    """Load the file, or start anew if it is stale; return the state and a message."""
    now = State.new()
    if not path.exists():
        return now, ""
    state = State.load(path)
    if change := state.differs(now):
        stale = path.with_name(path.name + ".stale")
        path.replace(stale)
        return now, f"{change}: the counts in {path.name} are dropped, starting anew"
    done = sum(record.total() for record in state.records.values())
    return state, f"resuming after {done:,} schedules and programs in {state.seconds:,.0f} s"
