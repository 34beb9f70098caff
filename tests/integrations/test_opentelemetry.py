"""OpenTelemetry: each child has its own span, under the span of the caller."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from support.each_call import Call, Leave, each_call, each_way_to_leave, with_and_without_limit
from support.virtual_tests import stops_slowly, virtual

pytest.importorskip("opentelemetry.sdk", exc_type=ImportError)

from opentelemetry.baggage import get_baggage, set_baggage
from opentelemetry.context import attach
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer, get_current_span

from structgather import Ok, RateLimit, as_completed_scoped


class Traced:
    """A tracer, and its finished spans."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer: Tracer = provider.get_tracer("test")

    @property
    def ended(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def parents(self) -> dict[str, str | None]:
        """Return the parent of each finished span, by name."""
        names = {span.context.span_id: span.name for span in self.ended if span.context}
        return {
            span.name: None if span.parent is None else names[span.parent.span_id]
            for span in self.ended
        }

    async def child(self, name: str, seconds: float) -> str:
        with self.tracer.start_as_current_span(name):
            await asyncio.sleep(seconds)
            with self.tracer.start_as_current_span(f"{name}'s request"):
                await asyncio.sleep(seconds)
            return name


@pytest.fixture
def traced(caplog: pytest.LogCaptureFixture) -> Iterator[Traced]:
    """Yield a tracer; nothing may be logged, as it is if a context is detached in another task."""
    with caplog.at_level(logging.WARNING, "opentelemetry"):
        yield Traced()
    assert caplog.records == []


@each_call
@with_and_without_limit
def test_each_child_is_under_its_caller(traced: Traced, call: Call, limit: int | None) -> None:
    """Children that run concurrently, or are queued, have the caller's span as parent."""

    @virtual
    async def main() -> None:
        with traced.tracer.start_as_current_span("turn") as turn:
            children = [traced.child(name, 3 - n) for n, name in enumerate("abcd", -1)]
            assert await call(*children, limit=limit) == list("abcd")
            assert get_current_span() is turn

    main()
    requests = {f"{name}'s request": name for name in "abcd"}
    assert traced.parents() == {"turn": None, **dict.fromkeys("abcd", "turn"), **requests}


@each_call
@with_and_without_limit
@virtual
async def test_what_a_child_attaches_is_local_to_it(call: Call, limit: int | None) -> None:
    """Baggage that a child attaches and never detaches reaches neither siblings nor the caller."""

    async def child(name: str) -> object:
        before = get_baggage("user")
        attach(set_baggage("user", name))
        await asyncio.sleep(1)
        assert get_baggage("user") == name
        return before

    assert await call(*map(child, "abcd"), limit=limit) == [None] * 4
    assert get_baggage("user") is None


@each_way_to_leave
def test_spans_of_cancelled_children_have_ended(traced: Traced, leave: Leave) -> None:
    """When the call returns each span of its children has ended, also that of a slow cleanup."""

    async def cleans_up() -> Any:
        with traced.tracer.start_as_current_span("cleans up"):
            return await stops_slowly([])

    @virtual
    async def main() -> None:
        with traced.tracer.start_as_current_span("turn"):
            await leave(traced.child("a", 60), cleans_up())
            assert {span.name for span in traced.ended} >= {"a", "cleans up"}

    main()
    assert traced.parents() == {"a": "turn", "cleans up": "turn", "turn": None}


def test_an_added_child_is_under_the_span_of_the_add(traced: Traced) -> None:
    """Its parent is the span in which it was added, not that of the child that made room."""

    @virtual
    async def main() -> None:
        with traced.tracer.start_as_current_span("turn"):
            async with as_completed_scoped([traced.child("a", 1)]) as outcomes:
                async for outcome in outcomes:
                    if outcome.index == 0:
                        with traced.tracer.start_as_current_span("page"):
                            outcomes.add(traced.child("b", 1))
                    assert isinstance(outcome, Ok)

    main()
    assert traced.parents()["b"] == "page"
    assert traced.parents()["page"] == "turn"


@each_call
def test_a_wait_for_the_rate_limit_keeps_the_span(traced: Traced, call: Call) -> None:
    """A call that is admitted when another one finishes runs in its own span."""
    llm = RateLimit(concurrent=1)

    async def limited(name: str) -> None:
        with traced.tracer.start_as_current_span(name):
            async with llm():
                await traced.child(f"{name}'s call", 1)

    @virtual
    async def main() -> None:
        await call(*map(limited, "abc"))

    main()
    assert {name: traced.parents()[f"{name}'s call"] for name in "abc"} == {n: n for n in "abc"}
