"""The migration keeps what a module does, where no child fails: both are run, and compared."""

import asyncio
import textwrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.choosers import First
from harness.run import Run, run
from structgather._migrate.rewrite import rewrite
from structgather._migrate.rules import RULES, Verdict

# What a drawn module begins with. A child waits for the outside so often, and says what it does.
PRELUDE = """
import asyncio
from asyncio import gather as g

results = []


async def child(name, points):
    loop = asyncio.get_running_loop()
    loop.log(name, "starts")
    try:
        for number in range(points):
            await loop.point(f"{name}.{number}")
    finally:
        loop.log(name, "ends")
    return name


async def limited(names):
    semaphore = asyncio.Semaphore(2)

    async def bounded(name):
        async with semaphore:
            return await child(name, 1)

    return await asyncio.gather(*[bounded(name) for name in names])


async def guarded(tasks):
    try:
        found = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return found


async def main():
"""

CHILD = st.builds("child({!r}, {})".format, st.text("abc", min_size=1), st.integers(0, 3))
TASK = st.builds("asyncio.create_task({})".format, CHILD)


def several(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Draw a few, with commas between them."""
    return st.lists(inner, max_size=4).map(", ".join)


def gathers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Draw calls of gather, not awaited."""
    names = st.sampled_from(["asyncio.gather", "g", "asyncio.tasks.gather"])
    options = st.sampled_from(["", "return_exceptions=True", "return_exceptions=False"])
    arguments = st.builds("{}, {}".format, several(inner), options).map(lambda a: a.strip(", "))
    return st.builds("{}({})".format, names, arguments)


DIRECT = st.builds("results.append(await {})".format, gathers(CHILD | TASK))
WRAPPERS = [
    "asyncio.wait_for({}, 60)",
    "asyncio.shield({})",
    "asyncio.wait_for(asyncio.shield({}), timeout=60)",
    "asyncio.ensure_future({})",
]


def wrapped(wrapper: str, call: str) -> str:
    """Put a call of gather into another call."""
    return f"results.append(await {wrapper.format(call)})"


WRAPPED = st.builds(wrapped, st.sampled_from(WRAPPERS), gathers(CHILD | TASK | gathers(CHILD)))
TWICE = st.builds(
    "task = {}\nresults.append(await asyncio.gather(task, task, {}))".format, TASK, CHILD
)
BODIES = [
    "    found.append(await one)",
    "    x = await one\n    found.append(x + '!')",
    "    try:\n        found.append(await one)\n    except ValueError:\n        continue",
]
LOOP = st.builds(
    "found = []\nfor one in asyncio.as_completed([{}]):\n{}\nresults.append(sorted(found))".format,
    several(CHILD | TASK),
    st.sampled_from(BODIES),
)
FANS = st.builds("results.append(await guarded([{}]))".format, several(TASK)) | st.builds(
    "results.append(await limited({!r}))".format, st.lists(st.text("abc"), max_size=4)
)


def module(statements: list[str]) -> str:
    """Put a module together."""
    return PRELUDE + textwrap.indent("\n".join([*statements, "return results"]), "    ") + "\n"


def executed(source: str) -> Run:
    """Run a module's main on the loop that leaves nothing to chance."""
    namespace: dict[str, Any] = {}
    exec(compile(source, "drawn.py", "exec"), namespace)  # noqa: S102 - drawn above
    result = run(namespace["main"], First())
    assert result.error is None
    assert result.pending == result.handler_calls == result.warnings == []
    return result


def story(result: Run) -> list[tuple[str, str]]:
    """Tell who did what, in order."""
    return [(event.who, event.what) for event in result.events]


@given(st.lists(DIRECT | TWICE, max_size=4))
def test_direct_calls_do_the_same_in_the_same_order(statements: list[str]) -> None:
    """Where calls are awaited directly, children start and end in the same order as before."""
    source = module(statements)
    after = rewrite(source).after
    assert "gather(" not in after.replace("_gather(", "")
    before, moved = executed(source), executed(after)
    assert moved.value == before.value
    assert story(moved) == story(before)


@given(st.lists(DIRECT | WRAPPED | TWICE | LOOP | FANS, max_size=4))
def test_a_moved_module_returns_the_same(statements: list[str]) -> None:
    """Under wrappers and in loops: what it returns is the same."""
    source = module(statements)
    rewritten = rewrite(source)
    assert {one.verdict for one in rewritten.findings} <= {Verdict.MOVED}
    assert "asyncio.as_completed" not in rewritten.after
    assert executed(rewritten.after).value == executed(source).value


@pytest.mark.parametrize("wrapper", [*WRAPPERS, "asyncio.gather({})", "(await g({}))"])
def test_each_wrapper_takes_a_coroutine(wrapper: str) -> None:
    """Each function in which a gather is moved takes a coroutine as well as a Future."""
    call = wrapper.format("asyncio.gather(child('a', 1), child('b', 0))")
    awaited = call if call.startswith("(") else f"(await {call})"
    source = module([f"results.append({awaited})"])
    rewritten = rewrite(source)
    assert rewritten.after != source
    assert executed(rewritten.after).value == executed(source).value


# These never took a Future; what is written there now works.
NEVER_WORKED = {
    "asyncio.create_task": "await asyncio.create_task(asyncio.gather(child()))",
    "loop.create_task": (
        "loop = asyncio.get_running_loop()\nawait loop.create_task(asyncio.gather(child()))"
    ),
    "TaskGroup.create_task": (
        "async with asyncio.TaskGroup() as group:\n    group.create_task(asyncio.gather(child()))"
    ),
    "run_coroutine_threadsafe": (
        "loop = asyncio.get_running_loop()\n"
        "await asyncio.wrap_future(\n"
        "    asyncio.run_coroutine_threadsafe(asyncio.gather(child()), loop))"
    ),
}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("body", NEVER_WORKED.values(), ids=NEVER_WORKED.keys())
def test_what_raised_an_error_runs(body: str) -> None:
    """Where asyncio refuses a Future, what was meant is done from now on, and this is said."""
    source = (
        "import asyncio\nasync def child(): print('ran')\n"
        f"async def main():\n{textwrap.indent(body, '    ')}\n"
    )
    rewritten = rewrite(source)
    (finding,) = rewritten.findings
    assert finding.verdict is Verdict.MOVED
    assert finding.rule is not None
    assert finding.rule.name == "never_worked"
    namespace: dict[str, Any] = {}
    exec(compile(source, "before.py", "exec"), namespace)  # noqa: S102
    with pytest.raises((TypeError, ExceptionGroup)):
        asyncio.run(namespace["main"]())
    exec(compile(rewritten.after, "after.py", "exec"), namespace)  # noqa: S102
    asyncio.run(namespace["main"]())


def test_a_loop_that_is_not_running_yet_runs_it() -> None:
    """`run_until_complete` outside of a coroutine runs what was moved."""
    source = (
        "import asyncio\n"
        "async def child(x): return x\n"
        "def main():\n"
        "    loop = asyncio.new_event_loop()\n"
        "    try:\n"
        "        return loop.run_until_complete(asyncio.gather(child(1), child(2)))\n"
        "    finally:\n"
        "        loop.close()\n"
    )
    namespace: dict[str, Any] = {}
    exec(compile(rewrite(source).after, "after.py", "exec"), namespace)  # noqa: S102
    assert namespace["main"]() == [1, 2]


TURNS = """
import asyncio
order = []
async def turns():
    for number in range(6):
        order.append(number)
        await asyncio.sleep(0)
async def child():
    order.append("child")
async def main():
    counting = asyncio.create_task(turns())
    await CALL
    await counting
    return order
"""


@pytest.mark.parametrize(
    "wrapper",
    [
        "{}",
        "({} if order == [] else None)",
        "asyncio.wait_for({}, 60)",
        "asyncio.shield({})",
        "asyncio.ensure_future({})",
        "asyncio.wait_for(asyncio.shield({}), 60)",
        "asyncio.gather({}, asyncio.sleep(0))",
        "asyncio.gather(*[asyncio.wait_for({}, 60)])",
    ],
)
def test_children_that_start_later_are_pointed_out(wrapper: str) -> None:
    """It is said where children start a turn later than before, and nowhere else."""
    source = TURNS.replace("CALL", wrapper.format("asyncio.gather(child(), child())"))
    rewritten = rewrite(source)
    orders: list[list[object]] = []
    for text in (source, rewritten.after):
        namespace: dict[str, Any] = {}
        exec(compile(text, "turns.py", "exec"), namespace)  # noqa: S102 - written above
        orders.append(asyncio.run(namespace["main"]()))
    before, after = orders
    rules = {finding.rule for finding in rewritten.findings} - {None}
    assert rules == (set() if before == after else {RULES["starts_later"]})
    assert before.index("child") <= after.index("child")
