"""Programs as trees: nested calls of all three functions, in asyncio's timeouts and groups.

    Gather(Leaf("fails"), Timeout(First(Leaf("sleeps", points=2), n=1), seconds=1), limit=1)

The repr of a tree is the Python that builds it. Each node runs in the task of its parent; calls and
groups start their parts as children. A child's label is its place: "root.a.b" is the second child
of the first one; what runs in the task of its parent has one more apostrophe.

    judge_random(7)            draws one program from a seed; raises `Broken` if a promise is broken
    reproduce(tree, schedule)  repeats one run, and raises the `Violation` that was found in it

`Broken` has a script of a few lines that repeats the violation: copy it into a file and run it from
the root of the repository with `PYTHONPATH=.:tests python FILE`.

nodes      the base class, leaves, Tasks and shields
scopes     calls of the three functions
around     asyncio's timeouts and groups, cleanups, and the whole program
drawing    random trees
judging    every oracle, with what asyncio itself does excused
shrinking  shrinks and prints what was found
"""

from simloop.random_programs.around import Finally, Group, Timeout, program
from simloop.random_programs.drawing import ANY, LEAVES, Drawing, Sort, draw_options
from simloop.random_programs.judging import excused, reproduce, violation
from simloop.random_programs.nodes import Adopted, Leaf, Node, Shared, Shielded
from simloop.random_programs.scopes import First, Gather, Stream
from simloop.random_programs.shrinking import NODES, Broken, horizon, judge, judge_random

__all__ = [
    "ANY",
    "LEAVES",
    "NODES",
    "Adopted",
    "Broken",
    "Drawing",
    "Finally",
    "First",
    "Gather",
    "Group",
    "Leaf",
    "Node",
    "Shared",
    "Shielded",
    "Sort",
    "Stream",
    "Timeout",
    "draw_options",
    "excused",
    "horizon",
    "judge",
    "judge_random",
    "program",
    "reproduce",
    "violation",
]
