"""The worlds that are searched: calls under test and their children, one module per function."""

from __future__ import annotations

from searches.worlds import as_completed, first_n, gather, rate_limit, third_party

SEARCHES = [
    *gather.SEARCHES,
    *first_n.SEARCHES,
    *as_completed.SEARCHES,
    *rate_limit.SEARCHES,
    *third_party.SEARCHES,
]
