"""Counts the schedules anew and writes the table: `python tests/searches --renew`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

import structgather
from searches.counted import read, write
from searches.worlds import SEARCHES

EAGER_TASKS = sys.version_info >= (3, 12)


def renew(pattern: str, jobs: int, say: Callable[[str], None]) -> int:
    """Run the searches whose names match; return 1 if one breaks a promise, else 0.

    A search that breaks a promise, or is not run, keeps its numbers. The table is written after
    each search, so that the command can be stopped; the exhaustive searches are the last.
    """
    wanted = [search for search in SEARCHES if re.search(pattern, str(search))]
    if not EAGER_TASKS:
        wanted = [search for search in wanted if not search.eager]
        say("eager tasks need Python 3.12: their numbers stay as they are")
    wanted.sort(key=lambda search: search.exhaustive)
    before = read()
    found = {search: numbers for search in SEARCHES if (numbers := before.get(search.key))}
    broken = 0
    with ProcessPoolExecutor(jobs, initializer=begin) as pool:
        running = {pool.submit(run, SEARCHES.index(search)): search for search in wanted}
        for done in as_completed(running):
            search = running[done]
            numbers, violation = done.result()
            if violation:
                broken = 1
                say(f"{search}: {violation}")
                continue
            if numbers != found.get(search):
                say(f"{search}: {found.get(search)} is now {numbers}")
                found[search] = numbers
                write({each.key: found[each] for each in SEARCHES if each in found})
    write({each.key: found[each] for each in SEARCHES if each in found})
    total = sum(numbers[-1] for numbers in found.values())
    say(f"{len(wanted)} searches were run; {total:,} schedules in all {len(found)}")
    return broken


def begin() -> None:
    """Turn the stuck-child warning off: its timers would be choices."""
    structgather.warn_stuck_after(None)


def run(number: int) -> tuple[list[int], str]:
    """Run one search in a process of its own; return its numbers, or the violation."""
    try:
        return SEARCHES[number].run(), ""
    except (AssertionError, RuntimeError) as error:
        return [], f"{type(error).__name__}: {error}"
