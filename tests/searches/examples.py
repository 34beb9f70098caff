"""Small plans, for the tests of the search itself."""

from __future__ import annotations

from searches.plan import FOUR, THREE_CHILDREN, Plan, Programs, Sample, Search
from simloop import wrong
from simloop.every_schedule import SMALL, world_of
from structgather import gather_structured


def small() -> Plan:
    """A few of each kind; there is nothing to find."""
    return [
        Search(
            "`gather_structured`", THREE_CHILDREN, world_of(gather_structured, SMALL), "fifo", 2
        ),
        Sample("gather_structured", "four children", world_of(gather_structured, FOUR), "racy", 2),
        Programs("random programs", judge_nothing),
    ]


def faulty() -> Plan:
    """A call that returns while its children still run, and a program that is wrong."""
    program = world_of(wrong.joins_once, SMALL)
    return [
        Search("`joins_once`", THREE_CHILDREN, program, "fifo", 1),
        Sample("joins_once", THREE_CHILDREN, program, "fifo", 2),
        Programs("random programs", judge_seven),
    ]


def judge_nothing(_seed: int) -> None:
    """Find nothing."""


def judge_seven(seed: int) -> None:
    """Find something in the program of seed 7."""
    assert seed != 7, "it is wrong"
