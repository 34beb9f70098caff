"""LangGraph: the tool node of an agent, inside a real compiled graph, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from support.virtual_tests import virtual
from support.virtual_time import now

pytest.importorskip("langchain_core", exc_type=ImportError)
pytest.importorskip("langgraph", exc_type=ImportError)

from integrations.shown import shown
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphBubbleUp
from langgraph.graph import END, START, MessagesState, StateGraph  # pyright: ignore[reportMissingTypeStubs]
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from structgather import Failed, Ok, Outcome, TimedOut, first_n_within

# What the page shows.


def tool_node(
    tools: list[BaseTool],
    *,
    limit: int | None = None,
    within: float | None = None,
    child_timeout: float | None = None,
) -> Callable[[MessagesState], Any]:
    by_name = {each.name: each for each in tools}

    async def run(call: ToolCall) -> Any:
        return await by_name[call["name"]].ainvoke(call)

    def message(call: ToolCall, outcome: Outcome[Any]) -> Any:
        match outcome:
            case Ok(answer):
                return answer
            case Failed(GraphBubbleUp() as pause):  # interrupt(): the graph's own business
                raise pause
            case TimedOut():
                text = f"{call['name']} was stopped after {outcome.elapsed:g} s"
            case _:
                text = f"{call['name']} failed: {outcome.error!r}"
        return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")

    async def node(state: MessagesState) -> dict[str, Any]:
        asked: Any = state["messages"][-1]
        calls: list[ToolCall] = asked.tool_calls
        children = [run(call) for call in calls]
        ended = await first_n_within(
            children, within=within, limit=limit, child_timeout=child_timeout
        )
        return {"messages": list(map(message, calls, ended.outcomes))}

    return node


def test_the_page_shows_these_lines() -> None:
    """What is tested here is what users paste."""
    assert shown(tool_node)


# What it is beside.


class Model(FakeMessagesListChatModel):
    """Answers without a thread."""

    async def _agenerate(self, *args: Any, **more: Any) -> ChatResult:
        return self._generate(args[0])


stopped: list[tuple[str, float]] = []


@tool
async def search(seconds: int) -> str:
    """Search for so many seconds."""
    try:
        await asyncio.sleep(seconds)
        return f"found after {seconds} s"
    finally:
        stopped.append((f"search {seconds}", now()))


@tool
async def fails(seconds: int) -> str:
    """Fail after so many seconds."""
    await asyncio.sleep(seconds)
    raise ConnectionError("down")


@tool
async def cancels(seconds: int) -> str:
    """End cancelled, though nobody has cancelled it."""
    await asyncio.sleep(seconds)
    raise asyncio.CancelledError("by a library")


@tool
async def cleans_up(seconds: int) -> str:
    """Need so many seconds to stop."""
    try:
        await asyncio.sleep(1_000)
    finally:
        await asyncio.sleep(seconds)
        stopped.append(("cleans_up", now()))
    return ""


@tool
async def asks(seconds: int) -> str:
    """Ask a human."""
    await asyncio.sleep(seconds)
    answer: str = interrupt("May I?")
    return answer


TOOLS: list[BaseTool] = [search, fails, cancels, cleans_up, asks]


def agent(node: Any, *calls: tuple[str, int], **options: Any) -> Any:
    """Compile a graph whose model asks for these tools at once, and then is content."""
    stopped.clear()
    asked = [
        ToolCall(name=name, args={"seconds": seconds}, id=f"call {index}", type="tool_call")
        for index, (name, seconds) in enumerate(calls)
    ]
    model = Model(responses=[AIMessage("", tool_calls=asked), AIMessage("done")])

    async def think(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def what_next(state: MessagesState) -> str:
        last = state["messages"][-1]
        return "tools" if isinstance(last, AIMessage) and last.tool_calls else END

    graph: Any = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", node)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", what_next, ["tools", END])
    graph.add_edge("tools", "think")
    return graph.compile(**options)


QUESTION = {"messages": [HumanMessage("?")]}


async def answers(graph: Any) -> list[tuple[str, str, str]]:
    """Run the agent, and show what its tools said: which call, how it ended, and what it said."""
    messages: list[AnyMessage] = (await graph.ainvoke(QUESTION))["messages"]
    assert messages[-1].content == "done"
    return [
        (each.tool_call_id, each.status, str(each.content))
        for each in messages
        if isinstance(each, ToolMessage)
    ]


def orphans() -> int:
    return len(asyncio.all_tasks()) - 1


@virtual
async def test_answers_come_in_the_order_of_the_calls() -> None:
    """Where all goes well the messages are those of LangGraph's own node, in the same time."""
    calls = [("search", 5), ("search", 1), ("search", 3)]
    theirs = await answers(agent(ToolNode(TOOLS), *calls))
    assert now() == 5
    assert await answers(agent(tool_node(TOOLS), *calls)) == theirs
    assert now() == 10
    assert [call for call, _, _ in theirs] == ["call 0", "call 1", "call 2"]


@pytest.mark.parametrize("bad", ["fails", "cancels"])
@virtual
async def test_the_own_node_of_langgraph_leaves_tools_running(bad: str) -> None:
    """One tool that raises, or ends cancelled, ends the whole run; the others go on, unseen."""
    with pytest.raises(Exception, match=r"down|CancelledError"):
        await agent(ToolNode(TOOLS), ("search", 9), (bad, 1)).ainvoke(QUESTION)
    assert now() == 1
    assert orphans() > 0
    assert stopped == []
    await asyncio.sleep(10)
    assert stopped == [("search 9", 9)]


@virtual
async def test_a_failed_tool_is_an_error_message() -> None:
    """A tool that raises or ends cancelled, and one that isn't there, are told to the model."""
    graph = agent(tool_node(TOOLS), ("fails", 1), ("search", 3), ("cancels", 1), ("no_such", 1))
    assert await answers(graph) == [
        ("call 0", "error", "fails failed: ConnectionError('down')"),
        ("call 1", "success", "found after 3 s"),
        ("call 2", "error", "cancels failed: CancelledError('by a library')"),
        ("call 3", "error", "no_such failed: KeyError('no_such')"),
    ]
    assert orphans() == 0


@virtual
async def test_a_late_tool_is_named() -> None:
    """Each tool has its own time; what the others found is kept."""
    graph = agent(tool_node(TOOLS, child_timeout=4), ("search", 60), ("search", 3))
    assert await answers(graph) == [
        ("call 0", "error", "search was stopped after 4 s"),
        ("call 1", "success", "found after 3 s"),
    ]
    assert (now(), orphans()) == (4, 0)


@virtual
async def test_the_tools_of_a_turn_share_a_deadline() -> None:
    """With a limit and a deadline, what never started is told to the model as well."""
    graph = agent(tool_node(TOOLS, limit=1, within=5), *[("search", n) for n in (3, 3, 3)])
    assert await answers(graph) == [
        ("call 0", "success", "found after 3 s"),
        ("call 1", "error", "search was stopped after 2 s"),
        ("call 2", "error", "search failed: CancelledError('never started')"),
    ]
    assert (now(), orphans()) == (5, 0)


@virtual
async def test_when_the_turn_is_over_all_tools_have_stopped() -> None:
    """A turn that is cancelled from outside waits for the cleanup of each tool, then is over."""
    graph = agent(tool_node(TOOLS), ("search", 60), ("cleans_up", 2))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await graph.ainvoke(QUESTION)
    assert stopped == [("search 60", 5), ("cleans_up", 7)]
    assert (now(), orphans()) == (7, 0)


@virtual
async def test_a_tool_may_ask_a_human() -> None:
    """interrupt() in a tool pauses the graph when the others have ended, and resumes as ever."""
    graph = agent(tool_node(TOOLS), ("asks", 1), ("search", 3), checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    paused = await graph.ainvoke(QUESTION, thread)
    assert [each.value for each in paused["__interrupt__"]] == ["May I?"]
    assert (now(), orphans()) == (3, 0)
    messages = (await graph.ainvoke(Command(resume="Yes"), thread))["messages"]
    assert [each.content for each in messages[-3:]] == ["Yes", "found after 3 s", "done"]
