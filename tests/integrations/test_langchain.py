"""LangChain: the same runnables, driven by the three functions."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import pytest

from support.virtual_tests import virtual
from support.virtual_time import now

pytest.importorskip("langchain_core", exc_type=ImportError)

from integrations.shown import shown
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableParallel

from structgather import Failed, Ok, as_completed_scoped, first_n_within, gather_structured

# The README shows these functions.


async def abatch(
    runnable: Runnable[Any, Any], inputs: list[Any], config: RunnableConfig | None = None
) -> list[Any]:
    calls = (runnable.ainvoke(each, config) for each in inputs)
    return await gather_structured(*calls, limit=(config or {}).get("max_concurrency"))


async def abatch_as_completed(
    runnable: Runnable[Any, Any], inputs: list[Any], config: RunnableConfig | None = None
) -> list[tuple[int, Any]]:
    calls = (runnable.ainvoke(each, config) for each in inputs)
    limit = (config or {}).get("max_concurrency")
    found: list[tuple[int, Any]] = []
    async with as_completed_scoped(calls, limit=limit) as outcomes:
        async for outcome in outcomes:
            found.append((outcome.index, await outcome))
            if len(found) == 2:  # enough: leaving is safe
                break
    return found


async def in_parallel(
    steps: dict[str, Runnable[Any, Any]], value: Any, config: RunnableConfig | None = None
) -> dict[str, Any]:
    calls = (step.ainvoke(value, config) for step in steps.values())
    return dict(zip(steps, await gather_structured(*calls), strict=True))


def test_the_page_shows_these_lines() -> None:
    """The README shows the code that is tested here."""
    assert shown(abatch, abatch_as_completed, in_parallel)


# What they are compared with


class Model:
    """Takes so many seconds for each call; raises for 2."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.finished: list[float] = []

    async def __call__(self, seconds: float) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(seconds)
            if seconds == 2:
                raise ConnectionError("the model is down")
            self.finished.append(seconds)
            return f"after {seconds} s"
        finally:
            self.running -= 1


def model() -> tuple[Model, Runnable[Any, Any]]:
    behind = Model()
    return behind, RunnableLambda(behind.__call__)


def orphans() -> int:
    return len(asyncio.all_tasks()) - 1


@virtual
async def test_abatch_is_gather_structured() -> None:
    """The same values, in the same order and time, with max_concurrency."""
    config: RunnableConfig = {"max_concurrency": 2}
    for limited in config, None:
        took: list[tuple[list[Any], float, int]] = []
        for ours in False, True:
            behind, runnable = model()
            begin = now()
            inputs = [3, 1, 5, 1]
            if ours:
                values = await abatch(runnable, inputs, limited)
            else:
                values = await runnable.abatch(inputs, limited)
            took.append((values, now() - begin, behind.most))
        assert took[0] == took[1]
        assert took[0][2] == (2 if limited else 4)


@virtual
async def test_a_parallel_is_gather_structured() -> None:
    """It returns the dict of RunnableParallel, in the time of the slowest step."""
    steps: dict[str, Runnable[Any, Any]] = {"a": model()[1], "b": model()[1]}
    assert await in_parallel(steps, 1) == await RunnableParallel(steps).ainvoke(1)
    assert now() == 2


@virtual
async def test_return_exceptions() -> None:
    """The list equals that of abatch, and `raise_failures()` raises its failures."""
    _, runnable = model()
    theirs = await runnable.abatch([1, 2, 3], return_exceptions=True)
    ours = await gather_structured(
        *(runnable.ainvoke(each) for each in [1, 2, 3]), return_exceptions=True
    )
    assert list(map(repr, ours)) == list(map(repr, theirs))
    with pytest.raises(ExceptionGroup):
        ours.raise_failures()


@virtual
async def test_abatch_leaves_orphans_behind_a_failure() -> None:
    """After a failure LangChain's calls run to completion; ours have stopped."""
    behind, runnable = model()
    with pytest.raises(ConnectionError):
        await runnable.abatch([2, 8, 9])
    assert behind.running == 2 <= orphans()
    await asyncio.sleep(10)
    assert behind.finished == [8, 9]

    behind, runnable = model()
    with pytest.raises(ConnectionError):
        await abatch(runnable, [2, 8, 9])
    assert (behind.running, orphans()) == (0, 0)


@virtual
async def test_a_parallel_leaves_orphans_behind_a_failure() -> None:
    """After a failure the other step of a RunnableParallel runs on; ours has stopped."""

    async def fails(_: Any) -> None:
        await asyncio.sleep(1)
        raise ConnectionError

    behind, runnable = model()
    steps: dict[str, Runnable[Any, Any]] = {"fails": RunnableLambda(fails), "model": runnable}
    with pytest.raises(ConnectionError):
        await RunnableParallel(steps).ainvoke(9)
    assert behind.running == 1 <= orphans()
    await asyncio.sleep(10)

    with pytest.raises(ConnectionError):
        await in_parallel(steps, 9)
    assert (behind.running, orphans()) == (0, 0)


@virtual
async def test_abatch_as_completed_leaves_orphans_behind_a_break() -> None:
    """Leaving its loop, even with `aclose`, leaves LangChain's calls running."""
    behind, runnable = model()
    stream: Any = runnable.abatch_as_completed([8, 1, 9, 3])
    found: list[Any] = []
    async for pair in stream:
        found.append(pair)
        if len(found) == 2:
            break
    await stream.aclose()
    assert behind.running == 2 <= orphans()
    await asyncio.sleep(10)

    behind, runnable = model()
    assert (
        await abatch_as_completed(runnable, [8, 1, 9, 3])
        == found
        == [
            (1, "after 1 s"),
            (3, "after 3 s"),
        ]
    )
    assert (behind.running, orphans()) == (0, 0)


@virtual
async def test_a_race_against_a_deadline() -> None:
    """Results in time are kept, for which LangChain has no call."""
    behind, runnable = model()
    found = await first_n_within((runnable.ainvoke(each) for each in [1, 2, 60]), within=5)
    assert found.values == ["after 1 s"]
    assert isinstance(found.outcomes[0], Ok)
    assert isinstance(found.outcomes[1], Failed)
    assert (behind.running, now()) == (0, 5)


class Trace(AsyncCallbackHandler):
    """Records the parent of each run."""

    def __init__(self) -> None:
        self.parents: dict[str, UUID | None] = {}
        self.runs: dict[str, UUID] = {}

    async def on_chain_start(self, *args: Any, run_id: UUID, **more: Any) -> None:
        name = more["name"]
        self.runs[name], self.parents[name] = run_id, more["parent_run_id"]


USER: ContextVar[str] = ContextVar("USER")


@pytest.mark.parametrize("way", ["gather_structured", "first_n_within", "as_completed_scoped"])
@virtual
async def test_config_and_callbacks_reach_the_children(way: str) -> None:
    """Within a runnable each child has the caller's context, tags and callbacks, under its run."""
    seen: list[tuple[str, Any]] = []

    async def child(_: Any, config: RunnableConfig) -> None:
        seen.append((USER.get(), config.get("tags")))

    async def agent(_: Any) -> None:
        children = [
            RunnableLambda(child).with_config(run_name=name).ainvoke(None) for name in ("a", "b")
        ]
        if way == "gather_structured":
            await gather_structured(*children, limit=1)
        elif way == "first_n_within":
            await first_n_within(children)
        else:
            async with as_completed_scoped(children) as outcomes:
                assert len([outcome async for outcome in outcomes]) == 2

    trace = Trace()
    USER.set("ada")
    config: RunnableConfig = {"callbacks": [trace], "tags": ["turn"], "run_name": "agent"}
    await RunnableLambda(agent).ainvoke(None, config)
    assert seen == [("ada", ["turn"])] * 2
    assert trace.parents["a"] == trace.parents["b"] == trace.runs["agent"]
