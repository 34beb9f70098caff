"""Counts the schedules anew and writes the table: `python tests/searches --renew`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import structgather
from searches.counted import Search, table, write
from searches.worlds import SEARCHES

EAGER_TASKS = sys.version_info >= (3, 12)


def renew(pattern: str, jobs: int, say: Callable[[str], None]) -> int:
    """Run the searches whose name contains `pattern`; return 1 if one breaks a promise.

    What was not run, and what broke a promise, keeps its numbers. What is no search any more goes.
    """
    wanted = [search for search in SEARCHES if pattern in str(search)]
    if not EAGER_TASKS:
        wanted = [search for search in wanted if not search.eager]
        say("eager tasks take Python 3.12: their numbers stay as they are")
    found = {
        (search.function, search.name): numbers
        for search in SEARCHES
        if (numbers := table().get(search.function, {}).get(search.name)) is not None
    }
    broken = 0
    with ProcessPoolExecutor(jobs, initializer=begin) as pool:
        for search, (numbers, error) in zip(
            wanted, pool.map(count, map(SEARCHES.index, wanted)), strict=True
        ):
            key = search.function, search.name
            before = found.get(key)
            if error:
                broken = 1
                say(f"{search}: {error}")
            elif numbers != before:
                say(f"{search}: {numbers}, before {before}")
                found[key] = numbers
    counts: dict[str, dict[str, list[int]]] = {}
    for search in SEARCHES:
        if (search.function, search.name) in found:
            numbers = found[search.function, search.name]
            counts.setdefault(search.function, {})[search.name] = numbers
    write(counts)
    say(f"{len(wanted)} searches, {sum(numbers[-1] for numbers in found.values()):,} schedules")
    return broken


def begin() -> None:
    """The timers of the stuck-child warning would be choices."""
    structgather.warn_stuck_after(None)


def count(number: int) -> tuple[list[int], str]:
    """Run one search in a process of its own; return its numbers, or what is broken."""
    search: Search = SEARCHES[number]
    try:
        return search.run(), ""
    except (AssertionError, RuntimeError) as error:
        return [], f"{type(error).__name__}: {error}"
