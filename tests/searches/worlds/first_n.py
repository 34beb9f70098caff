"""Worlds under `first_n_within`."""

from __future__ import annotations

from functools import partial

from searches.counted import World, pairs, racing, schedules, sweeps
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
    SMALL,
    TWO,
    in_a_timeout,
)
from simloop.worlds import Behaviour, Call

LOSERS: dict[str, Behaviour] = {
    "a": returns(),
    "b": returns_while_cancelled(points=2),
    "c": fails_in_cleanup(points=2),
}
NESTED: dict[str, Behaviour] = {"a": nests(partial(first, n=1), **TWO), "b": cleans_up_slowly()}
TICKS: dict[str, Behaviour] = {"a": sleeps(1), "b": sleeps(1), "c": cleans_up_slowly()}

# fmt: off
WORLDS = [
    World("all", first, smaller=SMALL),
    World("n=0", partial(first, n=0)),
    World("n=1", partial(first, n=1), smaller=SMALL),
    World("n=2", partial(first, n=2), smaller=SMALL),
    World("n=5", partial(first, n=5), smaller=SMALL),
    World("within", partial(first, within=1), deadline=1, smaller=SMALL, cancels=1),
    World("n=2 within", partial(first, n=2, within=1), deadline=1, smaller=SMALL),
    World("ticks", partial(first, n=2, within=1), TICKS, deadline=1),
    World("losers", partial(first, n=1), LOSERS),
    World("late losers", partial(first, within=1), LOSERS, deadline=1, cancels=1),
    World("limit=1", partial(first, limit=1)),
    World("n=1 limit=2", partial(first, n=1, limit=2)),
    World("n=2 limit=2", partial(first, n=2, limit=2)),
    World("limit=2 within", partial(first, limit=2, within=1), deadline=1, smaller=SMALL),
    World("generator", partial(first, feed=generator), smaller=SMALL),
    World("generator n=2 limit=2", partial(first, n=2, limit=2, feed=generator)),
    World("generator within", partial(first, limit=2, within=1, feed=generator),
          deadline=1, smaller=SMALL, cancels=1),
    World("raising", partial(first, limit=2, feed=raising)),
    World("adopted", partial(first, n=2, feed=adopted), smaller=SMALL),
    World("child_timeout", partial(first, child_timeout=1),
          child_deadline=1, smaller=SMALL, cancels=1),
    World("child_timeout limit=1", partial(first, child_timeout=1, limit=1),
          child_deadline=1, cancels=1),
    World("in a timeout", in_a_timeout(partial(first, n=2)),
          deadline=1, excused=OF_A_TIMEOUT_AROUND_A_BODY, smaller=SMALL, cancels=1),
    World("nested", partial(first, n=1), NESTED),
]
# Events that race.
RACING = [
    World("n=2", partial(first, n=2), SMALL, cancels=0),
    World("limit=2", partial(first, n=2, limit=2), smaller=SMALL, cancels=0),
    World("within", partial(first, n=1, within=1), TWO, deadline=1, cancels=0),
    World("n=1", partial(first, n=1), TWO, cancels=1),
    World("n=1 limit=1", partial(first, n=1, limit=1, feed=generator), TWO),
]
# fmt: on
PAIRS: dict[str, Call] = {
    "all": first,
    "n=1": partial(first, n=1),
    "one at a time": partial(first, n=1, limit=1, feed=generator),
}

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
# fmt: off
SWEEPS = [
    World("all", first, CROWD, excused=OF_THE_TIMEOUT),
    World("n=2", partial(first, n=2), CROWD, excused=OF_THE_TIMEOUT),
    World("limit=2", partial(first, n=3, limit=2, feed=generator), CROWD, excused=OF_THE_TIMEOUT),
    World("within", partial(first, within=0.5), CROWD, deadline=0.5, excused=OF_THE_TIMEOUT),
    World("child_timeout", partial(first, child_timeout=0.5), CROWD, child_deadline=0.5,
          excused=OF_THE_TIMEOUT),
    World("adopted", partial(first, n=2, feed=adopted), CROWD, excused=OF_THE_TIMEOUT),
]
# fmt: on

SEARCHES = [
    *schedules("first_n_within", WORLDS),
    *racing("first_n_within", RACING),
    *pairs("first_n_within", PAIRS),
    *sweeps("first_n_within", SWEEPS),
]
