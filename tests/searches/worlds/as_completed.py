"""Worlds under `as_completed_scoped`.

The pauses and breaks of the consumer, deadlines and slow sources are choices of the outside too.
"""

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
from simloop.calls import (
    adds,
    adds_a_child,
    adopted,
    breaking,
    breaks,
    cancels,
    generator,
    pauses,
    pauses_and_breaks,
    raises,
    raising,
    slow,
    stream,
    stubborn,
)
from simloop.every_schedule import (
    OF_A_TIMEOUT_AROUND_A_BODY,
    OF_ADOPTION,
    SMALL,
    TWO,
    in_a_timeout,
)
from simloop.worlds import Behaviour, Call

ONE: dict[str, Behaviour] = {"a": cleans_up_slowly()}
TICKS: dict[str, Behaviour] = {"a": sleeps(1), "b": sleeps(1), "c": cleans_up_slowly()}
NESTED: dict[str, Behaviour] = {"a": nests(partial(stream, body=breaks), **TWO), "b": fails()}
# Of these the last two are added while the block is open: by the body, or by the child `a`.
FOUR: dict[str, Behaviour] = {
    "a": returns(),
    "b": cleans_up_slowly(),
    "x": fails(),
    "y": returns_while_cancelled(),
}
ADDING: dict[str, Behaviour] = FOUR | {"a": adds_a_child()}
add_two = partial(stream, held_back=2)
ordered = partial(stream, ordered=True)

# fmt: off
WORLDS = [
    World("plain", stream, smaller=SMALL),
    World("pauses", partial(stream, body=pauses), smaller=SMALL, cancels=1),
    World("adopted", partial(stream, feed=adopted), smaller=SMALL, cancels=1),
    World("generator", partial(stream, feed=generator), smaller=SMALL, cancels=1),
    World("nested", stream, NESTED),
    World("in a timeout", in_a_timeout(stream),
          deadline=1, excused=OF_A_TIMEOUT_AROUND_A_BODY, smaller=SMALL, cancels=1),
    # Leaving early.
    World("breaks", partial(stream, body=breaks), smaller=SMALL),
    World("raises", partial(stream, body=raises), smaller=SMALL),
    World("cancels", partial(stream, body=cancels), smaller=SMALL),
    World("pauses and breaks", partial(stream, body=pauses_and_breaks), smaller=SMALL, cancels=1),
    # One by one.
    World("limit=1", partial(stream, limit=1)),
    World("limit=2", partial(stream, limit=2)),
    World("limit=2 pauses", partial(stream, limit=2, body=pauses), smaller=SMALL, cancels=1),
    World("limit=2 breaks", partial(stream, limit=2, body=breaks)),
    World("limit=2 cancels", partial(stream, limit=2, body=cancels)),
    World("limit=2 adopted", partial(stream, limit=2, feed=adopted),
          excused=OF_ADOPTION, smaller=SMALL),
    World("generator limit=2", partial(stream, feed=generator, limit=2)),
    World("generator pauses", partial(stream, feed=generator, limit=2, body=pauses),
          smaller=SMALL, cancels=1),
    World("generator breaks", partial(stream, feed=generator, limit=1, body=breaks)),
    World("raising", partial(stream, feed=raising), cancels=1),
    World("raising limit=1", partial(stream, feed=raising, limit=1)),
    # In input order.
    World("ordered", ordered, smaller=SMALL),
    World("ordered pauses", partial(ordered, body=pauses), smaller=SMALL, cancels=1),
    World("ordered breaks", partial(ordered, body=pauses_and_breaks), smaller=SMALL, cancels=1),
    World("ordered cancels", partial(ordered, body=cancels), smaller=SMALL),
    World("ordered limit=1", partial(ordered, limit=1)),
    World("ordered limit=2", partial(ordered, limit=2)),
    World("ordered generator", partial(ordered, feed=generator, limit=2, body=pauses),
          smaller=SMALL, cancels=1),
    World("ordered slow", partial(ordered, feed=slow, limit=2), TWO, cancels=1),
    World("ordered timeout", partial(ordered, timeout=1), deadline=1, smaller=SMALL, cancels=1),
    World("ordered adds", partial(ordered, held_back=2, body=adds, limit=2), FOUR),
    # Deadlines.
    World("timeout", partial(stream, timeout=1), deadline=1, smaller=SMALL, cancels=1),
    World("timeout ticks", partial(stream, timeout=1), TICKS, deadline=1),
    World("timeout pauses", partial(stream, timeout=1, body=pauses),
          deadline=1, smaller=TWO, cancels=0),
    World("timeout limit=2", partial(stream, timeout=1, limit=2, body=pauses),
          deadline=1, smaller=TWO, cancels=1),
    World("timeout generator", partial(stream, timeout=1, limit=2, feed=generator),
          deadline=1, smaller=SMALL, cancels=1),
    World("child_timeout", partial(stream, child_timeout=1),
          child_deadline=1, smaller=SMALL, cancels=1),
    # Async iterables.
    World("slow", partial(stream, feed=slow), TWO),
    World("slow limit=1", partial(stream, feed=slow, limit=1)),
    World("slow limit=2", partial(stream, feed=slow, limit=2), smaller=SMALL, cancels=1),
    World("slow breaks", partial(stream, feed=slow, body=breaks), TWO),
    World("slow raises", partial(stream, feed=slow, body=raises), TWO),
    World("slow timeout", partial(stream, feed=slow, timeout=1), TWO,
          deadline=1, smaller=ONE, cancels=1),
    World("stubborn", partial(stream, feed=stubborn), smaller=SMALL),
    World("stubborn limit=1", partial(stream, feed=stubborn, limit=1, body=breaks)),
    World("breaking", partial(stream, feed=breaking)),
    World("breaking limit=1", partial(stream, feed=breaking, limit=1)),
    # Children that are added.
    World("adds", partial(add_two, body=adds), FOUR, cancels=1),
    World("adds limit=1", partial(add_two, body=adds, limit=1), FOUR),
    World("adds limit=2", partial(add_two, body=adds, limit=2), FOUR),
    World("adds timeout", partial(add_two, body=adds, timeout=1), FOUR, deadline=1, cancels=1),
    World("child adds", add_two, ADDING),
    World("child adds limit=1", partial(add_two, limit=1), ADDING),
    World("child adds breaks", partial(add_two, body=breaks), ADDING),
    World("child adds cancels", partial(add_two, body=cancels, limit=2), ADDING),
]
# Events that race.
RACING = [
    World("limit=2", partial(stream, limit=2), smaller=SMALL, cancels=0),
    World("pauses", partial(stream, body=pauses), TWO, cancels=0),
    World("timeout", partial(stream, timeout=1), TWO, deadline=1, smaller=ONE, cancels=0),
    World("breaks", partial(stream, body=breaks), TWO, cancels=1),
    World("pauses limit=1", partial(stream, body=pauses, limit=1, feed=generator), TWO),
    World("ordered", partial(ordered, body=pauses), TWO, cancels=0),
    World("slow", partial(stream, limit=1, feed=slow), TWO, cancels=1),
    World("child adds", add_two, ADDING, cancels=0),
]
# fmt: on
PAIRS: dict[str, Call] = {
    "plain": stream,
    "breaks": partial(stream, body=breaks),
    "pauses": partial(stream, body=pauses, limit=1, feed=generator),
    "slow": partial(stream, limit=1, feed=slow),
}

CROWD: dict[str, Behaviour] = {
    "a": nests(partial(stream, limit=1), x=sleeps(1), y=cleans_up_slowly(points=2)),
    "b": ignores_one_cancellation(points=3),
    "c": nests(partial(stream, body=breaks), x=fails(), y=cancels_itself(), z=fails_in_cleanup()),
    "d": returns_while_cancelled(points=3),
    "e": nests(in_a_timeout(stream), x=cleans_up_slowly(points=2)),
    "f": adds_a_child(points=2),
    "g": fails(points=4),
    "x": cleans_up_slowly(points=2),
}
in_crowd = partial(stream, held_back=1)
# fmt: off
SWEEPS = [
    World("plain", in_crowd, CROWD, excused=OF_A_TIMEOUT_AROUND_A_BODY),
    World("breaks", partial(in_crowd, body=pauses_and_breaks), CROWD,
          excused=OF_A_TIMEOUT_AROUND_A_BODY),
    World("cancels", partial(in_crowd, body=cancels), CROWD, excused=OF_A_TIMEOUT_AROUND_A_BODY),
    World("limit=2", partial(in_crowd, limit=2, body=pauses), CROWD,
          excused=OF_A_TIMEOUT_AROUND_A_BODY),
    World("timeout", partial(in_crowd, timeout=0.5), CROWD, deadline=0.5,
          excused=OF_A_TIMEOUT_AROUND_A_BODY),
    World("adopted", partial(in_crowd, feed=adopted), CROWD,
          excused=OF_A_TIMEOUT_AROUND_A_BODY | OF_ADOPTION),
]
# fmt: on

SEARCHES = [
    *schedules("as_completed_scoped", WORLDS),
    *racing("as_completed_scoped", RACING),
    *pairs("as_completed_scoped", PAIRS),
    *sweeps("as_completed_scoped", SWEEPS),
]
