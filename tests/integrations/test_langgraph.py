"""LangGraph: the tool node of an agent, in a real compiled graph, in virtual time."""

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

# The README shows these functions.


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
            case Failed(GraphBubbleUp() as pause):  # interrupt() pauses the graph
                raise pause
            case TimedOut():
                text = f"{call['name']} was stopped after {outcome.elapsed:g} s"
            case _:
                text = f"{call['name']} failed: {outcome.error!r}"
        return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")

    async def node(state: MessagesState) -> dict[str, Any]:
        last: Any = state["messages"][-1]
        calls: list[ToolCall] = last.tool_calls
        children = [run(call) for call in calls]
        found = await first_n_within(
            children, within=within, limit=limit, child_timeout=child_timeout
        )
        return {"messages": list(map(message, calls, found.outcomes))}

    return node


def test_the_page_shows_these_lines() -> None:
    """The README shows the code that is tested here."""
    assert shown(tool_node)


# What they are compared with


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
    """Raise CancelledError, although it was not cancelled."""
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
    """Compile a graph whose model first requests these tools, and then stops."""
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
    """Run the agent, and return the tools' messages: the call, the status and the text."""
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
async def test_messages_are_in_the_order_of_the_calls() -> None:
    """If all succeed the messages are those of LangGraph's own node, in the same time."""
    calls = [("search", 5), ("search", 1), ("search", 3)]
    theirs = await answers(agent(ToolNode(TOOLS), *calls))
    assert now() == 5
    assert await answers(agent(tool_node(TOOLS), *calls)) == theirs
    assert now() == 10
    assert [call for call, _, _ in theirs] == ["call 0", "call 1", "call 2"]


@pytest.mark.parametrize("bad", ["fails", "cancels"])
@virtual
async def test_langgraphs_own_node_leaves_tools_running(bad: str) -> None:
    """A tool that raises, or cancels itself, fails the whole run; the others run on."""
    with pytest.raises(Exception, match=r"down|CancelledError"):
        await agent(ToolNode(TOOLS), ("search", 9), (bad, 1)).ainvoke(QUESTION)
    assert now() == 1
    assert orphans() > 0
    assert stopped == []
    await asyncio.sleep(10)
    assert stopped == [("search 9", 9)]


@virtual
async def test_a_failed_tool_is_an_error_message() -> None:
    """The model is told of a tool that raises, cancels itself or does not exist."""
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
    """Each tool has its own timeout; results of the others are kept."""
    graph = agent(tool_node(TOOLS, child_timeout=4), ("search", 60), ("search", 3))
    assert await answers(graph) == [
        ("call 0", "error", "search was stopped after 4 s"),
        ("call 1", "success", "found after 3 s"),
    ]
    assert (now(), orphans()) == (4, 0)


@virtual
async def test_the_tools_of_a_turn_share_a_deadline() -> None:
    """With a limit and a deadline, the model is told of tools that never started, too."""
    graph = agent(tool_node(TOOLS, limit=1, within=5), *[("search", n) for n in (3, 3, 3)])
    assert await answers(graph) == [
        ("call 0", "success", "found after 3 s"),
        ("call 1", "error", "search was stopped after 2 s"),
        ("call 2", "error", "search failed: CancelledError('never started')"),
    ]
    assert (now(), orphans()) == (5, 0)


@virtual
async def test_a_cancelled_turn_joins_its_tools() -> None:
    """A turn that is cancelled waits for the cleanup of each tool."""
    graph = agent(tool_node(TOOLS), ("search", 60), ("cleans_up", 2))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await graph.ainvoke(QUESTION)
    assert stopped == [("search 60", 5), ("cleans_up", 7)]
    assert (now(), orphans()) == (7, 0)


@virtual
async def test_a_tool_may_ask_a_human() -> None:
    """interrupt() in a tool pauses the graph when the others have finished; it resumes as usual."""
    graph = agent(tool_node(TOOLS), ("asks", 1), ("search", 3), checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    paused = await graph.ainvoke(QUESTION, thread)
    assert [each.value for each in paused["__interrupt__"]] == ["May I?"]
    assert (now(), orphans()) == (3, 0)
    messages = (await graph.ainvoke(Command(resume="Yes"), thread))["messages"]
    assert [each.content for each in messages[-3:]] == ["Yes", "found after 3 s", "done"]
