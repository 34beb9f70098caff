"""Every schedule of small worlds under `as_completed_scoped`, judged by every oracle.

The consumer's pauses and breaks, the deadline and a slow source are choices of the outside as well.
"""

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

# fmt: off
SEARCHES = [
    Search("plain", stream, (210, 2004, 9455), (210, 2001)),
    Search("pauses", partial(stream, body=pauses), (1646, 16452), (1646, 16449)),
    Search("adopted", partial(stream, feed=adopted), (210, 2495), (210, 2492)),
    Search("generator", partial(stream, feed=generator), (210, 2004), (210, 2001)),
    Search("nested", stream, (9, 102, 676), (9, 98), NESTED),
    Search("in a timeout", in_a_timeout(stream), (650, 5321), (650, 5315), deadline=1,
           but=OF_A_TIMEOUT_AROUND_A_BODY),
    # Leaving early.
    Search("breaks", partial(stream, body=breaks), (71, 636, 3252), (71, 633)),
    Search("raises", partial(stream, body=raises), (71, 636, 3252), (71, 633)),
    Search("cancels", partial(stream, body=cancels), (71, 636, 3252), (71, 633)),
    Search("pauses and breaks", partial(stream, body=pauses_and_breaks), (615, 4354), (615, 4351)),
    # One by one.
    Search("limit=1", partial(stream, limit=1), (1, 23, 111), (1, 20)),
    Search("limit=2", partial(stream, limit=2), (36, 380, 1925), (36, 372)),
    Search("limit=2 pauses", partial(stream, limit=2, body=pauses), (434, 4438), (434, 4430)),
    Search("limit=2 breaks", partial(stream, limit=2, body=breaks), (6, 54, 231), (6, 70)),
    Search("limit=2 cancels", partial(stream, limit=2, body=cancels), (6, 54, 231), (6, 70)),
    Search("limit=2 adopted", partial(stream, limit=2, feed=adopted),
           (210, 2457, 14807), (210, 2454), but=OF_ADOPTION),
    Search("generator limit=2", partial(stream, feed=generator, limit=2),
           (36, 380, 1925), (36, 372)),
    Search("generator pauses", partial(stream, feed=generator, limit=2, body=pauses),
           (434, 4438), (434, 4430)),
    Search("generator breaks", partial(stream, feed=generator, limit=1, body=breaks),
           (1, 11, 41), (1, 10)),
    Search("raising", partial(stream, feed=raising), (1, 3), (1, 3)),
    Search("raising limit=1", partial(stream, feed=raising, limit=1), (1, 15, 63), (1, 13)),
    # Deadlines.
    Search("timeout", partial(stream, timeout=1), (650, 6201), (650, 6195), deadline=1),
    Search("timeout ticks", partial(stream, timeout=1), (3, 50, 390), (3, 44), TICKS, deadline=1),
    Search("timeout pauses", partial(stream, timeout=1, body=pauses), (6989,), (6989,), deadline=1),
    Search("timeout limit=2", partial(stream, timeout=1, limit=2, body=pauses),
           (1945, 17309), (1945, 17295), deadline=1),
    Search("timeout generator", partial(stream, timeout=1, limit=2, feed=generator),
           (129, 1343), (129, 1329), deadline=1),
    Search("child_timeout", partial(stream, child_timeout=1),
           (650, 5527), (650, 5524), child_deadline=1),
    # Async iterables.
    Search("slow", partial(stream, feed=slow), (36, 355, 1807), (36, 351), TWO),
    Search("slow limit=1", partial(stream, feed=slow, limit=1), (1, 42, 345), (1, 38)),
    Search("slow limit=2", partial(stream, feed=slow, limit=2), (504, 5468), (504, 5439)),
    Search("slow breaks", partial(stream, feed=slow, body=breaks), (17, 164, 908), (17, 161), TWO),
    Search("slow raises", partial(stream, feed=slow, body=raises), (17, 164, 908), (17, 161), TWO),
    Search("slow timeout", partial(stream, feed=slow, timeout=1),
           (115, 1197), (115, 1189), TWO, deadline=1),
    Search("stubborn", partial(stream, feed=stubborn), (210, 2008, 9484), (210, 2004)),
    Search("stubborn limit=1", partial(stream, feed=stubborn, limit=1, body=breaks),
           (1, 14, 67), (1, 12)),
    Search("breaking", partial(stream, feed=breaking), (19, 160, 698), (19, 157)),
    Search("breaking limit=1", partial(stream, feed=breaking, limit=1), (1, 21, 111), (1, 18)),
    # Children that are added.
    Search("adds", partial(add_two, body=adds), (15, 157), (15, 145), FOUR),
    Search("adds limit=1", partial(add_two, body=adds, limit=1), (1, 21, 92), (1, 17), FOUR),
    Search("adds limit=2", partial(add_two, body=adds, limit=2), (15, 157, 738), (15, 145), FOUR),
    Search("adds timeout", partial(add_two, body=adds, timeout=1),
           (45, 436), (45, 420), FOUR, deadline=1),
    Search("child adds", add_two, (6, 64, 317), (6, 59), ADDING),
    Search("child adds limit=1", partial(add_two, limit=1), (1, 17, 74), (1, 14), ADDING),
    Search("child adds breaks", partial(add_two, body=breaks), (3, 31, 167), (3, 27), ADDING),
    Search("child adds cancels", partial(add_two, body=cancels, limit=2),
           (3, 29, 144), (3, 27), ADDING),
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
        pytest.param(stream, 2471, 2021, id="plain"),
        pytest.param(partial(stream, body=breaks), 2235, 1785, id="breaks"),
        pytest.param(
            partial(stream, body=pauses, limit=1, feed=generator), 2696, 2275, id="pauses"
        ),
        pytest.param(partial(stream, limit=1, feed=slow), 3122, 2417, id="slow"),
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
        pytest.param(world_of(partial(stream, limit=2), THREE), 0, 1086, id="limit=2"),
        pytest.param(world_of(partial(stream, body=pauses), TWO), 0, 61, id="pauses"),
        pytest.param(world_of(partial(stream, timeout=1), TWO, deadline=1), 0, 544, id="timeout"),
        pytest.param(world_of(partial(stream, body=breaks), TWO), 1, 194, id="a-cancellation"),
        pytest.param(
            world_of(partial(stream, body=pauses, limit=1, feed=generator), TWO),
            2,
            538,
            id="cancellations",
        ),
        pytest.param(world_of(partial(stream, limit=1, feed=slow), TWO), 1, 85, id="slow"),
        pytest.param(world_of(add_two, ADDING), 0, 167, id="child-adds"),
    ],
)
def test_every_schedule_of_racing_events(program: Program, cancels: int, expected: int) -> None:
    """Every promise holds also where several things happen in one turn of the loop."""
    assert size(program, mode="racy", cancels=cancels) == expected


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


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        pytest.param(world_of(in_crowd, CROWD), 1683, id="plain"),
        pytest.param(world_of(partial(in_crowd, body=pauses_and_breaks), CROWD), 1450, id="breaks"),
        pytest.param(world_of(partial(in_crowd, body=cancels), CROWD), 1160, id="cancels"),
        pytest.param(world_of(partial(in_crowd, limit=2, body=pauses), CROWD), 1041, id="limit=2"),
        pytest.param(
            world_of(partial(in_crowd, timeout=0.5), CROWD, deadline=0.5), 1643, id="timeout"
        ),
        pytest.param(world_of(partial(in_crowd, feed=adopted), CROWD), 2177, id="adopted"),
    ],
)
def test_a_cancellation_at_every_step(
    program: Program, expected: int, request: pytest.FixtureRequest
) -> None:
    """Cancelled at any step, or at any two, a larger call with calls in it keeps every promise."""
    adopting = OF_ADOPTION if "adopted" in request.node.name else frozenset[str]()
    assert size_of_sweep(program, OF_A_TIMEOUT_AROUND_A_BODY | adopting) == expected
