"""Every schedule of small worlds, judged by every oracle; and how many schedules there are."""

from __future__ import annotations

import pytest

from searches.counted import Search, table
from searches.worlds import SEARCHES
from simloop.every_schedule import needs_eager_tasks


def parameter(search: Search) -> object:
    """Mark searches with eager tasks, and those that take too long for the default run."""
    marks = [pytest.mark.exhaustive] if search.exhaustive else []
    if search.eager:
        marks.append(needs_eager_tasks)
    return pytest.param(search, id=str(search), marks=marks)


@pytest.mark.parametrize("search", [parameter(search) for search in SEARCHES])
def test_every_schedule(search: Search) -> None:
    """Every promise holds in every schedule, and there are as many schedules as expected."""
    search.check()


def test_the_table_has_a_line_for_each_search_and_no_other() -> None:
    """Each search has numbers, no other line is left, and names are unique."""
    keys = [search.key for search in SEARCHES]
    assert len({*keys}) == len(keys)
    assert {*table()} == {*keys}
