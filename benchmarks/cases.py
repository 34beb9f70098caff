"""What is timed: which operation, with which children, and how many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import AGAIN, Call, Operations, is_peer
from benchmarks.drivers import (
    ToolError,
    admissions,
    arrivals,
    as_text,
    busy,
    calling,
    cancelling,
    cleaning,
    done_tasks,
    failing,
    half_fail,
    lateness,
    noop,
    round_trips,
    running_tasks,
    yield_once,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.drivers import Drive

FAMILIES = {
    "noop": "Children that do nothing",
    "yield": "Children that yield once",
    "sockets": "Children that make a round trip over a socket",
    "adopted": "Adopted Tasks",
    "exceptions": "return_exceptions=True, all succeed",
    "half-fail": "return_exceptions=True, half of the children fail",
    "limit": "limit=20, children that yield once",
    "child-timeout": "A timeout for each child, children that yield once",
    "as-completed": "One by one, as they complete, children that yield once",
    "first-single": "The first n, one child finishes each loop iteration",
    "first-batches": "The first n, children finish in batches",
    "fail": "One child fails, the rest is cancelled and joined",
    "cancel": "The caller is cancelled: until all children are joined",
    "deadline": "How long after its deadline a call returns",
    "rate-limit": "Admissions that need not wait",
}

PEERS_UP_TO = 1_000  # children
SLOW = 10_000


@dataclass(frozen=True)
class Case:
    """One line of a table: a job and the contenders that do it."""

    family: str
    what: str
    children: int
    contenders: dict[str, Call]  # the first one is the baseline
    drive: Drive
    expected: Any
    shape: Callable[[Any], Any] = list  # makes the result comparable with what is expected
    rounds: int | None = None  # the most, where a single call takes long


def cases(operations: Operations, *, quick: bool = False) -> Iterator[Case]:
    """Yield all cases in the order of the report."""
    for case in _cases(operations, quick=quick):
        if case.children <= PEERS_UP_TO:
            yield case
        else:
            fast = {
                name: call
                for name, call in case.contenders.items()
                if not (is_peer(name) or name == AGAIN)
            }
            yield replace(case, contenders=fast)


def _cases(operations: Operations, *, quick: bool) -> Iterator[Case]:
    yield from _gathers(operations["gather"], quick=quick)
    yield from _options(operations, quick=quick)
    yield from _endings(operations, quick=quick)
    if not quick:
        yield from _deadlines(operations["within"])
    count = 1_000
    yield Case("rate-limit", f"{count:,}", 1, operations["admit"], admissions(count), count, int)


def _gathers(contenders: dict[str, Call], *, quick: bool) -> Iterator[Case]:
    yield Case("noop", "0", 0, contenders, calling(noop, 0), [])
    for family, child in (("noop", noop), ("yield", yield_once)):
        for count in (1, 10, 1_000) if quick else (1, 10, 100, 1_000, SLOW):
            yield _values(family, contenders, calling(child, count), count)
    for count in (10,) if quick else (1, 10, 100):
        yield _values("sockets", contenders, round_trips(count), count)


def _options(operations: Operations, *, quick: bool) -> Iterator[Case]:
    for what, driver in (("running", running_tasks), ("done", done_tasks)):
        for count in (1, 1_000) if quick else (1, 10, 1_000):
            case = _values("adopted", operations["adopt"], driver(count), count)
            yield replace(case, what=f"{count:,} {what}")
    for family, child in (("exceptions", yield_once), ("half-fail", half_fail)):
        for count in (10, 1_000) if quick else (1, 10, 100, 1_000):
            expected = as_text(
                [ToolError(n) if n % 2 and child is half_fail else n for n in range(count)]
            )
            case = _values(family, operations["exceptions"], calling(child, count), count)
            yield replace(case, expected=expected, shape=as_text)
    for family, operation in (("limit", "limit"), ("child-timeout", "child_timeout")):
        for count in (100,) if quick else (100, 1_000):
            yield _values(family, operations[operation], calling(yield_once, count), count)


def _values(family: str, contenders: dict[str, Call], drive: Drive, count: int) -> Case:
    return Case(family, f"{count:,}", count, contenders, drive, list(range(count)))


def _endings(operations: Operations, *, quick: bool) -> Iterator[Case]:
    for count in (1, 10, 1_000) if quick else (1, 10, 100, 1_000):
        drive = calling(yield_once, count)
        case = _values("as-completed", operations["as_completed"], drive, count)
        yield replace(case, shape=sorted)
    for count in (1_000,) if quick else (1_000, SLOW):
        for family, n, batch in (
            ("first-single", count // 10, 1),
            ("first-batches", 10, count // 100),
        ):
            yield Case(
                family,
                f"{n:,} of {count:,}" + (f", batches of {batch:,}" if batch > 1 else ""),
                count,
                operations["first_n"],
                arrivals(count, n, batch),
                n,
                len,  # by hand, a set decides which of a batch are taken
                rounds=3 if count == SLOW and batch == 1 else None,
            )
    count = 1_000
    yield Case("fail", f"{count:,}", count, operations["join"], failing(count), "failed", str)
    yield Case(
        "cancel", f"{count:,}", count, operations["join"], cancelling(count), "cancelled", str
    )


def _deadlines(within: dict[str, Call]) -> Iterator[Case]:
    # anyio cancels again in every loop iteration: a cleanup that is not shielded is cut short.
    joining = {name: call for name, call in within.items() if not name.startswith("anyio")}
    for load, child, contenders, counts in (
        ("busy", busy, within, (10, 100, 1_000, SLOW)),
        ("busy, cleanups of 10 ms", cleaning, joining, (10, 100, 1_000)),
    ):
        for count in counts:
            # All children must have started before the deadline.
            drive = lateness(child, count, 0.15 if count == SLOW else 0.03)
            what = f"{count:,} {load}"
            yield Case("deadline", what, count, contenders, drive, [], rounds=5)
