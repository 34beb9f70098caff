"""asyncio's introspection, since Python 3.14: children are shown under their caller."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

from structgather import as_completed_scoped, gather_structured
from support.each_call import LEAVES, Call, Leave, each_call, each_way_to_leave
from support.virtual_tests import forever, virtual

introspection: Any = asyncio  # types are checked as on Python 3.11
PROGRAM = Path(__file__).with_name("call_graph.py")

# Only an ancestor may be allowed to inspect a process: this script starts the program, and then
# replaces itself with what inspects it.
LOOK = """
import os, subprocess, sys
program = subprocess.Popen([sys.executable, sys.argv[2]], stdout=subprocess.PIPE, text=True)
pid = program.stdout.readline().strip()
os.execv(sys.executable, [sys.executable, "-m", "asyncio", sys.argv[1], pid])
"""


def look(how: str) -> str:
    """Return what `python -m asyncio` prints about the program."""
    command = [sys.executable, "-c", LOOK, how, str(PROGRAM)]
    with subprocess.Popen(  # noqa: S603 - this project's own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as looking:
        assert looking.stdin is not None
        assert looking.stdout is not None
        assert looking.stderr is not None
        shown = looking.stdout.read()
        looking.stdin.close()  # which stops the program
        assert looking.stderr.read() == ""
    return shown


def paths(tree: str) -> list[tuple[str, ...]]:
    """Parse a tree of calls: for each function of the program, the functions that called it."""
    found: list[tuple[str, ...]] = []
    open_above: list[tuple[int, str]] = []
    for line in tree.splitlines():
        column = line.index("── ")
        function, _, place = line[column + 3 :].strip().partition(" ")
        open_above = [above for above in open_above if above[0] < column]
        if PROGRAM.name in place:
            open_above.append((column, function))
            found.append(tuple(name for _, name in open_above))
    return found


def callers() -> list[str]:
    """Return the names of the tasks that wait for the running one, innermost first."""
    graph = introspection.capture_call_graph()
    names: list[str] = []
    while graph.awaited_by:
        (graph,) = graph.awaited_by
        names.append(graph.future.get_name())
    return names


if sys.version_info >= (3, 14):

    @each_call
    @virtual
    async def test_a_child_knows_its_callers(call: Call) -> None:
        """Each child is awaited by the calling task, also in nested calls."""

        async def child() -> list[str]:
            await asyncio.sleep(1)
            return callers()

        async def outer() -> Any:
            return await call(child(), child(), limit=1)

        turn = asyncio.create_task(call(outer(), child()), name="turn")
        (first, second), direct = await turn
        assert direct == ["turn", "Task-1"]
        assert first == second == [first[0], "turn", "Task-1"]

    @each_call
    @virtual
    async def test_an_adopted_task_is_awaited_by_its_caller(call: Call) -> None:
        """From its adoption on, like a child that the call has created."""

        async def child() -> list[str]:
            await asyncio.sleep(1)
            return callers()

        adopted = asyncio.create_task(child())
        turn = asyncio.create_task(call(adopted), name="turn")
        assert await turn == [["turn", "Task-1"]]

    @virtual
    async def test_a_single_adopted_task_is_awaited_by_its_caller() -> None:
        """Also as the only child of gather_structured."""

        async def child() -> list[str]:
            await asyncio.sleep(1)
            return callers()

        adopted = asyncio.create_task(child())
        turn = asyncio.create_task(gather_structured(adopted), name="turn")
        assert await turn == [["turn", "Task-1"]]
        graph = asyncio.capture_call_graph(adopted)
        assert graph is None or graph.awaited_by == ()

    async def leave(adopted: asyncio.Task[Any]) -> None:
        async with as_completed_scoped([adopted, forever()]):
            await asyncio.sleep(1)

    @virtual
    async def test_an_adopted_task_that_has_just_finished_does_not_keep_its_caller() -> None:
        """If the block is left in that loop iteration, the caller is freed; the Task is kept."""
        adopted = asyncio.create_task(asyncio.sleep(1))
        await asyncio.sleep(0)
        caller = asyncio.create_task(leave(adopted))
        gone = weakref.ref(caller)
        await caller
        del caller
        await asyncio.sleep(0)
        gc.collect()
        assert adopted.result() is None
        assert gone() is None

    @each_way_to_leave
    @virtual
    async def test_an_adopted_task_is_not_awaited_after_the_call(leave: Leave) -> None:
        """It has no awaiter when the call has returned."""
        adopted = asyncio.create_task(asyncio.sleep(60))
        await leave(adopted)
        graph = introspection.capture_call_graph(adopted)
        assert graph is None or not graph.awaited_by

    def test_pstree_shows_children_under_their_caller() -> None:
        """`python -m asyncio pstree PID` shows four tools, each under the function that runs it."""
        assert sorted(path for path in paths(look("pstree")) if path[-1] == "tool") == [
            ("turn", "races", "tool"),
            ("turn", "streams", "tool"),
            ("turn", "streams", "tool"),
            ("turn", "tool"),
        ]

    def test_ps_names_the_task_that_waits_for_a_child() -> None:
        """`python -m asyncio ps PID` names it beside each tool."""
        tools = [line for line in look("ps").splitlines() if "tool -> " in line]
        assert len(tools) == 4
        assert sum(" turn " in line for line in tools) == 1
        assert sum(bool(re.search(r" Task-\d+ +0x\w+ *$", line)) for line in tools) == 3


def test_each_way_to_leave_is_tested() -> None:
    """All three functions are covered; older Pythons have no introspection."""
    assert len(LEAVES) == 3
