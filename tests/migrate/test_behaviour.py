"""The migration keeps what a module does: before and after, it is run and compared.

Where no child fails, nothing differs. Where one does, and no remark is made, the caller gets the
same exception, and all that differs is that the siblings are cancelled and have finished.
"""

import asyncio
import textwrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simloop.choosers import First
from simloop.run import Run, run
from structgather._migrate import rewrite as rewriting
from structgather._migrate.rewrite import rewrite
from structgather._migrate.rules import RULES, Verdict

# What a drawn module begins with. A child waits for the outside so often, and says what it does.
PRELUDE = """
import asyncio
from asyncio import gather as g

results = []


async def child(name, points, error=None):
    loop = asyncio.get_running_loop()
    loop.log(name, "starts")
    try:
        for number in range(points):
            await loop.point(f"{name}.{number}")
        if error is not None:
            loop.log(name, "fails")
            raise error() if error is asyncio.CancelledError else error(name)
        loop.log(name, "returns")
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


async def joined(tasks):
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_and_wait(*tasks)


async def cancel_and_wait(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def main():
"""

CHILD = st.builds("child({!r}, {})".format, st.text("abc", min_size=1), st.integers(0, 3))
TASK = st.builds("asyncio.create_task({})".format, CHILD)


def several(inner: st.SearchStrategy[str], *, least: int = 0) -> st.SearchStrategy[str]:
    """Draw a few, with commas between them."""
    return st.lists(inner, min_size=least, max_size=4).map(", ".join)


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
    verdicts = {one.verdict for one in rewritten.findings}
    assert verdicts <= {Verdict.MOVED, Verdict.DECIDE}  # inside of a call that collects failures
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


# Where children fail. They do so after their first step.

FAILING = st.builds(
    "child({!r}, {}, {})".format,
    st.text("abc", min_size=1),
    st.integers(1, 3),
    st.sampled_from(["ValueError", "OSError", "asyncio.CancelledError"]),
)
ANY = CHILD | FAILING
ANY_TASK = st.builds("asyncio.create_task({})".format, ANY)
FORMS = """\
results.append(await asyncio.gather({0}))
---
results.append(await asyncio.gather({0}, return_exceptions=False))
---
found = await asyncio.gather({0}, return_exceptions=True)
results.append([type(one) for one in found])
---
results.append(sum([await g({0})], []))
---
future = asyncio.gather({0})
results.append(await future)
---
future = g({0})
try:
    results.append(await future)
except OSError as error:
    raise KeyError(str(error)) from error
---
try:
    results.append(await asyncio.gather({0}))
except ValueError:
    results.append('failed')
    raise
except OSError as error:
    if results:
        raise
    else:
        raise LookupError from error
---
try:
    results.append(await asyncio.gather({0}))
finally:
    results.append('over')
---
try:
    results.append(await asyncio.gather({0}))
except KeyboardInterrupt:
    pass
---
results.append(await joined([{1}]))
---
results.append(await guarded([{1}]))
"""
# asyncio.as_completed yields what finishes in one iteration in no order: it keeps a set.
LOOP_FORMS = """\
found = []
for one in asyncio.as_completed([{0}]):
    found.append(await one)
results.append(sorted(found))
---
found = []
for one in asyncio.as_completed([{0}]):
    one = await one
    found.append(one)
results.append(sorted(found))
---
found = []
for one in asyncio.as_completed([{0}]):
    try:
        found.append(await one)
    except (OSError, ValueError) as error:
        found.append(repr(error))
results.append(sorted(found))
---
found = []
try:
    for one in asyncio.as_completed(fs=[{0}]):
        found.append(await one)
except OSError as error:
    raise KeyError from error
results.append(sorted(found))
"""
ONE_FAILING = st.builds("{}, {}".format, FAILING, several(CHILD, least=1)) | several(CHILD, least=1)
AWAITED = st.builds(
    str.format,
    st.sampled_from(FORMS.split("\n---\n")),
    several(ANY, least=1),
    several(ANY_TASK, least=1),
) | st.builds(str.format, st.sampled_from(LOOP_FORMS.split("\n---\n")), ONE_FAILING)


def attempted(source: str) -> Run:
    """Run a module's main, however it ends."""
    namespace: dict[str, Any] = {}
    exec(compile(source, "drawn.py", "exec"), namespace)  # noqa: S102 - drawn above
    return run(namespace["main"], First())


def raised(result: Run) -> str:
    """Tell what a run raised; the message of a cancellation may be lost on its way."""
    return "CancelledError" if result.cancelled else repr(result.error)


def until_failure(result: Run) -> list[tuple[str, str]]:
    """Tell who did what until the first child fails."""
    told = story(result)
    failures = [number for number, (_, what) in enumerate(told) if what == "fails"]
    return told[: failures[0] + 1] if failures else told


@given(st.lists(AWAITED, min_size=1, max_size=3))
def test_a_failure_reaches_the_caller_as_before(statements: list[str]) -> None:
    """The caller gets the same value or exception; nothing differs before; nothing runs on."""
    named = [one.replace("future", f"future_{n}") for n, one in enumerate(statements)]
    source = module(named)
    rewritten = rewrite(source)
    assert {one.verdict for one in rewritten.findings} == {Verdict.MOVED}
    assert all(one.rule is None or one.rule.is_hint for one in rewritten.findings)
    before, after = attempted(source), attempted(rewritten.after)
    assert (raised(after), after.value) == (raised(before), before.value)
    if "as_completed" not in "".join(statements):
        assert until_failure(after) == until_failure(before)
    started = [who for who, what in story(after) if what == "starts"]
    assert sorted(started) == sorted(who for who, what in story(after) if what == "ends")
    assert after.pending == after.handler_calls == after.warnings == []


# What is not moved, since it would be another program: each is run as if it were.
DIFFERENT = {
    "swallowed": """
async def main():
    try:
        await asyncio.gather(child("a", 1, OSError), child("b", 2))
    except OSError:
        pass
    await asyncio.get_running_loop().point("main")
    await asyncio.get_running_loop().point("main")
""",
    "used_after": """
async def main():
    good = asyncio.create_task(child("b", 3))
    try:
        await asyncio.gather(asyncio.create_task(child("a", 1, OSError)), good)
    except OSError:
        return await good
""",
    "tasks_of_others": """
class Service: pass
service = Service()
async def wait():
    await asyncio.gather(*service.tasks)
async def main():
    service.tasks = [asyncio.create_task(child("a", 1, OSError)),
                     asyncio.create_task(child("b", 3))]
    try:
        await wait()
    except OSError:
        return await service.tasks[1]
""",
    "teardown": """
async def close(parts):
    await asyncio.gather(*parts)
async def main():
    try:
        await close([child("a", 1, OSError), child("b", 3)])
    except OSError:
        pass
    for number in range(3):
        await asyncio.get_running_loop().point("main")
""",
    "cancelled_before": """
async def cleaning(name, points):
    try:
        await asyncio.sleep(99)
    except asyncio.CancelledError:
        await child(name, points)
        raise
async def main():
    tasks = [asyncio.create_task(cleaning("a", 1)), asyncio.create_task(cleaning("b", 3))]
    await asyncio.get_running_loop().point("main")
    for task in tasks:
        task.cancel()
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        pass
    return await asyncio.wait(tasks)
""",
    "left_early": """
async def main():
    tasks = [asyncio.create_task(child("a", 1)), asyncio.create_task(child("b", 3))]
    for one in asyncio.as_completed(tasks):
        await one
        break
    return await tasks[1]
""",
}


@pytest.mark.parametrize("rule", DIFFERENT)
def test_what_would_behave_differently_is_not_moved(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reason to decide is a real one: moved all the same, a child would be cancelled."""
    source = PRELUDE.replace("async def main():\n", "") + DIFFERENT[rule]
    (finding,) = [one for one in rewrite(source).findings if one.verdict is Verdict.DECIDE]
    assert finding.rule is RULES[rule]
    for path, kind in rewriting.KINDS.items():
        kept = tuple(one for one in kind.rules if one.verdict is not Verdict.DECIDE)
        monkeypatch.setitem(rewriting.KINDS, path, kind._replace(rules=kept))
    moved = rewrite(source)
    assert Verdict.DECIDE not in {one.verdict for one in moved.findings}
    assert ("b", "returns") in story(attempted(source))
    assert ("b", "returns") not in story(attempted(moved.after))


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
