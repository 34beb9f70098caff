"""The figures of a search as Markdown, and their place in the README."""

from __future__ import annotations

from collections.abc import Iterable

from searches.plan import THREE_CHILDREN, Item, Plan, Programs, Sample, Search
from searches.state import Record, State

BEGIN, END = "<!-- the search begins -->", "<!-- the search ends -->"

TABLE = """\
| call | the outside acts | outer cancels | schedules | orphans | lost cancellations | other |
|---|---|---|---:|---:|---:|---:|
"""
REST = """\
| besides | the outside acts | schedules | broken |
|---|---|---:|---:|
"""
PYTHONS = """\
| Python | schedules | programs | broken promises |
|---|---:|---:|---:|
"""
MODES = {"fifo": "when idle", "racy": "at every boundary"}


def table(plan: Plan, state: State) -> str:
    """The table of complete enumerations of the three children under each call."""
    best: dict[tuple[str, str], tuple[Search, Record]] = {}
    for item in plan:
        if isinstance(item, Search) and item.world == THREE_CHILDREN:
            record = state.record(item.key)
            if (
                record.complete
                and item.cancels >= best.get((item.call, item.mode), (item,))[0].cancels
            ):
                best[item.call, item.mode] = item, record
    order = list(dict.fromkeys(call for call, _ in best))
    rows = sorted(best.values(), key=lambda row: (order.index(row[0].call), row[0].mode))
    return TABLE + "".join(_row(search, record) for search, record in rows)


def _row(search: Search, record: Record) -> str:
    most = range(search.cancels + 1)
    columns = [
        " / ".join(f"{record.total(kind, number):,}" for number in most)
        for kind in ("schedules", "orphans", "lost", "other")
    ]
    columns = [column if column.strip("0 /") else "0" for column in columns]
    cancels = " / ".join(map(str, most))
    return f"| {search.call} | {MODES[search.mode]} | {cancels} | {' | '.join(columns)} |\n"


def rest(plan: Plan, state: State) -> str:
    """The table of the other searches, by kind."""
    groups: dict[str, list[Record]] = {}
    for item in plan:
        record = state.record(item.key)
        if record.counts and (kind := _kind(item)):
            groups.setdefault(kind, []).append(record)
    lines = [
        f"| {kind} | {_sum(records):,} | {_sum(records, 'wrong'):,} |\n"
        for kind, records in groups.items()
    ]
    return REST + "".join(lines) if lines else ""


def _kind(item: Item) -> str:
    """The name of a search in the second table; empty if it is in the first one."""
    if isinstance(item, Programs):
        return f"{item.key} | at random"
    if isinstance(item, Sample):
        return f"the worlds of the tests, and bigger ones | {_how(item)}, at random"
    if item.world == THREE_CHILDREN:
        return ""
    return f"{item.world.partition(':')[0]} | {_how(item)}, all"


def _how(search: Search) -> str:
    return f"{MODES[search.mode]}, up to {search.cancels} cancels"


def _sum(records: Iterable[Record], kind: str = "schedules") -> int:
    return sum(record.total(kind) for record in records)


def totals(plan: Plan, state: State) -> tuple[int, int, int]:
    """Count the schedules of our calls, the random programs, and the violations in both."""
    ours = [item for item in plan if item.ours]
    programs = [state.record(item.key) for item in ours if isinstance(item, Programs)]
    searches = [state.record(item.key) for item in ours if not isinstance(item, Programs)]
    return _sum(searches), _sum(programs), _sum([*searches, *programs], "wrong")


def by_python(plan: Plan, states: Iterable[State]) -> str:
    """The totals, one row for each Python."""
    rows = [(state.python, *totals(plan, state)) for state in states]
    lines = [f"| {row[0]} | {row[1]:,} | {row[2]:,} | {row[3]:,} |\n" for row in rows]
    if len(rows) > 1:
        sums = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
        lines.append(f"| together | {sums[0]:,} | {sums[1]:,} | {sums[2]:,} |\n")
    return PYTHONS + "".join(lines)


def report(plan: Plan, states: list[State]) -> str:
    """The whole report: the tables of the first Python, and the totals of each."""
    parts = [f"On CPython {states[0].python}:", table(plan, states[0]), rest(plan, states[0])]
    parts += ["Of structgather's calls:", by_python(plan, states)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def publish(document: str, text: str) -> str:
    """Return the document with this text between its markers."""
    before, begin, after = document.partition(f"{BEGIN}\n")
    _, end, after = after.partition(f"{END}\n")
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN} with an {END} after it")
    return f"{before}{begin}\n{text}\n{end}{after}"
