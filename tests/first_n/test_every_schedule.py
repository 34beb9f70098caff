"""Every schedule of small worlds under `first_n_within`, judged by every oracle."""

from __future__ import annotations

from functools import partial

import pytest

from simloop.behaviours import (
    cancels_itself,
    cleans_up_slowly,
    fails,
    fails_in_cleanup,
    ignores_one_cancellation,
    nests,
    returns,
    returns_while_cancelled,
    sleeps,
)
from simloop.calls import adopted, first, generator, raising
from simloop.every_schedule import (
    OF_A_TIMEOUT_AROUND_A_BODY,
    OF_THE_TIMEOUT,
    THREE,
    TWO,
    Search,
    either_start,
    in_a_timeout,
    size,
    size_of_pairs,
    size_of_sweep,
    world_of,
)
from simloop.run import Program
from simloop.worlds import Behaviour, Call

SMALLER: dict[str, Behaviour] = {"a": returns(), "b": fails(), "c": cleans_up_slowly()}
LOSERS: dict[str, Behaviour] = {
    "a": returns(),
    "b": returns_while_cancelled(points=2),
    "c": fails_in_cleanup(points=2),
}
NESTED: dict[str, Behaviour] = {"a": nests(partial(first, n=1), **TWO), "b": cleans_up_slowly()}
TICKS: dict[str, Behaviour] = {"a": sleeps(1), "b": sleeps(1), "c": cleans_up_slowly()}

# fmt: off
SEARCHES = [
    Search("all", first, (210, 1723, 7083), (210, 1720)),
    Search("n=0", partial(first, n=0), (1, 3, 5), (1, 3)),
    Search("n=1", partial(first, n=1), (126, 910, 3904), (126, 907)),
    Search("n=2", partial(first, n=2), (210, 1643, 6763), (210, 1640)),
    Search("n=5", partial(first, n=5), (210, 1723, 7083), (210, 1720)),
    Search("within", partial(first, within=1), (650, 5442), (650, 5439), deadline=1),
    Search("n=2 within", partial(first, n=2, within=1),
           (580, 4872, 23732), (580, 4869), deadline=1),
    Search("ticks", partial(first, n=2, within=1), (3, 45, 300), (3, 42), TICKS, deadline=1),
    Search("losers", partial(first, n=1), (11, 79, 305), (11, 76), LOSERS),
    Search("late losers", partial(first, within=1), (90, 692), (90, 689), LOSERS, deadline=1),
    Search("limit=1", partial(first, limit=1), (1, 23, 94), (1, 20)),
    Search("n=1 limit=2", partial(first, n=1, limit=2), (21, 167, 724), (21, 162)),
    Search("n=2 limit=2", partial(first, n=2, limit=2), (36, 366, 1705), (36, 358)),
    Search("limit=2 within", partial(first, limit=2, within=1),
           (129, 1250, 6728), (129, 1242), deadline=1),
    Search("generator", partial(first, feed=generator), (210, 1723, 7083), (210, 1720)),
    Search("generator n=2 limit=2", partial(first, n=2, limit=2, feed=generator),
           (36, 366, 1705), (36, 358)),
    Search("generator within", partial(first, limit=2, within=1, feed=generator),
           (129, 1250), (129, 1242), deadline=1),
    Search("raising", partial(first, limit=2, feed=raising), (6, 48, 177), (6, 46)),
    Search("adopted", partial(first, n=2, feed=adopted), (210, 2134, 11302), (210, 2131)),
    Search("child_timeout", partial(first, child_timeout=1),
           (650, 5192), (650, 5189), child_deadline=1),
    Search("child_timeout limit=1", partial(first, child_timeout=1, limit=1),
           (36, 380), (36, 367), child_deadline=1),
    Search("in a timeout", in_a_timeout(partial(first, n=2)),
           (580, 4222), (580, 4219), deadline=1,
           but=OF_A_TIMEOUT_AROUND_A_BODY),
    Search("nested", partial(first, n=1), (14, 149, 972), (14, 145), NESTED),
]
# fmt: on


@either_start
@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.name)
def test_every_schedule(search: Search, *, eager: bool) -> None:
    """Every promise holds in every schedule, and there are as many schedules as ever."""
    search.check(eager=eager)


@either_start
@pytest.mark.parametrize(
    ("call", "lazy_size", "eager_size"),
    [
        pytest.param(first, 2222, 1825, id="all"),
        pytest.param(partial(first, n=1), 2041, 1635, id="n=1"),
        pytest.param(partial(first, n=1, limit=1, feed=generator), 1137, 811, id="one-at-a-time"),
    ],
)
def test_every_pair_of_behaviours(
    call: Call, lazy_size: int, eager_size: int, *, eager: bool
) -> None:
    """Whatever one child does and whatever its sibling does, with one outer cancellation."""
    assert size_of_pairs(call, eager=eager) == (eager_size if eager else lazy_size)


@pytest.mark.parametrize(
    ("program", "cancels", "expected"),
    [
        pytest.param(world_of(partial(first, n=2), SMALLER), 0, 160, id="n=2"),
        pytest.param(world_of(partial(first, n=2, limit=2), THREE), 0, 1044, id="limit=2"),
        pytest.param(world_of(partial(first, n=1, within=1), TWO, deadline=1), 0, 278, id="within"),
        pytest.param(world_of(partial(first, n=1), TWO), 1, 83, id="a-cancellation"),
        pytest.param(
            world_of(partial(first, n=1, limit=1, feed=generator), TWO), 2, 20, id="cancellations"
        ),
    ],
)
def test_every_schedule_of_racing_events(program: Program, cancels: int, expected: int) -> None:
    """Every promise holds also where several things happen in one turn of the loop."""
    assert size(program, mode="racy", cancels=cancels) == expected


CROWD: dict[str, Behaviour] = {
    "a": nests(partial(first, limit=1), x=sleeps(1), y=cleans_up_slowly(points=2)),
    "b": ignores_one_cancellation(points=3),
    "c": nests(partial(first, n=1), x=fails(), y=cancels_itself(), z=fails_in_cleanup()),
    "d": returns_while_cancelled(points=3),
    "e": nests(in_a_timeout(first), x=cleans_up_slowly(points=2)),
    "f": cleans_up_slowly(points=2),
    "g": fails(points=4),
    "h": returns(points=3),
}


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        pytest.param(world_of(first, CROWD), 1342, id="all"),
        pytest.param(world_of(partial(first, n=2), CROWD), 1174, id="n=2"),
        pytest.param(
            world_of(partial(first, n=3, limit=2, feed=generator), CROWD), 307, id="limit=2"
        ),
        pytest.param(world_of(partial(first, within=0.5), CROWD, deadline=0.5), 1294, id="within"),
        pytest.param(
            world_of(partial(first, child_timeout=0.5), CROWD, child_deadline=0.5),
            1291,
            id="child_timeout",
        ),
        pytest.param(world_of(partial(first, n=2, feed=adopted), CROWD), 1684, id="adopted"),
    ],
)
def test_a_cancellation_at_every_step(program: Program, expected: int) -> None:
    """Cancelled at any step, or at any two, a larger call with calls in it keeps every promise."""
    assert size_of_sweep(program, OF_THE_TIMEOUT) == expected
