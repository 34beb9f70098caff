"""Replacing gather in a running service: the tasks that it leaves can be seen, and are gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from integrations.shown import shown

from structgather import gather_structured
from support.virtual_tests import virtual
from support.virtual_time import now

# The README shows these functions.

logger = logging.getLogger("orphans")
REQUEST: ContextVar[object] = ContextVar("REQUEST", default=None)


@contextlib.asynccontextmanager
async def report_orphans(name: str) -> AsyncGenerator[None]:
    """Log the tasks that were created in the block and still run after it."""
    before, request = asyncio.all_tasks(), object()
    token = REQUEST.set(request)
    try:
        yield
    finally:
        for task in asyncio.all_tasks() - before:
            # Tasks inherit the context. On Python 3.11 it can't be read: all new tasks count.
            context = getattr(task, "get_context", copy_context)()
            if context.get(REQUEST) is request:
                logger.warning("%s left running: %r", name, task)
        REQUEST.reset(token)


def test_the_page_shows_these_lines() -> None:
    """The README shows the code that is tested here."""
    assert shown(report_orphans)


# What they are compared with

Gather = Callable[..., Awaitable[Any]]


async def call(service: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    if service == "broken":
        raise ConnectionError(service)
    return service


async def handler(gather: Gather) -> Any:
    return await gather(call("slow", 9), call("broken", 1), call("slower", 20))


async def quiet_request(gather: Gather, name: str = "GET /") -> None:
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with report_orphans(name):
            await handler(gather)


@virtual
async def test_the_orphans_of_gather_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A request that gathers leaves two tasks running, and each is named."""
    await quiet_request(asyncio.gather)
    messages = sorted(record.getMessage() for record in caplog.records)
    assert len(messages) == 2
    assert all(
        re.match(r"GET / left running: <.*Task pending name=.* coro=<call\(\)", message)
        for message in messages
    )
    await asyncio.sleep(20)


@virtual
async def test_no_orphans_are_left_to_report(caplog: pytest.LogCaptureFixture) -> None:
    """The same request with gather_structured leaves none, and returns when all have stopped."""
    await quiet_request(gather_structured)
    assert caplog.records == []
    assert now() == 1


@virtual
async def test_a_request_reports_its_own_tasks_only(caplog: pytest.LogCaptureFixture) -> None:
    """While others are served, a request reports only its own tasks; on 3.11 theirs, too."""
    others = asyncio.create_task(asyncio.sleep(30))
    one = asyncio.create_task(quiet_request(asyncio.gather, "one"))
    await asyncio.sleep(0.5)
    two = asyncio.create_task(quiet_request(gather_structured, "two"))
    await asyncio.wait([one, two, others])
    await asyncio.sleep(20)
    assert {record.getMessage().split()[0] for record in caplog.records} == {"one"}
    assert len(caplog.records) == (2 if sys.version_info >= (3, 12) else 6)


# What to watch out for


@virtual
async def test_a_shared_task_is_shielded() -> None:
    """An adopted Task is cancelled with the call; in a shield it runs on."""
    shared = asyncio.create_task(call("cache", 9))
    with pytest.raises(ConnectionError):
        await gather_structured(shared, call("broken", 1))
    assert shared.cancelled()

    shared = asyncio.create_task(call("cache", 9))
    with pytest.raises(ConnectionError):
        await gather_structured(asyncio.shield(shared), call("broken", 1))
    assert await shared == "cache"


@virtual
async def test_all_clients_are_closed_before_a_failure_is_raised() -> None:
    """A teardown with `return_exceptions` lets each client finish, and then raises."""
    closed: list[str] = []

    async def close(client: str, seconds: float) -> None:
        await call(client, seconds)
        closed.append(client)

    clients = [("a", 1), ("broken", 2), ("b", 3)]
    with pytest.raises(ConnectionError):
        await gather_structured(*(close(*client) for client in clients))
    assert closed == ["a"]
    with pytest.raises(ExceptionGroup):
        (
            await gather_structured(*(close(*client) for client in clients), return_exceptions=True)
        ).raise_failures()
    assert closed == ["a", "a", "b"]


@virtual
async def test_work_that_must_finish_runs_in_an_outer_scope() -> None:
    """Work that must finish even if a sibling fails is a task of a longer-lived TaskGroup."""
    sent: list[str] = []

    async def send_receipt() -> None:
        await asyncio.sleep(5)
        sent.append("receipt")

    async with asyncio.TaskGroup() as for_the_service:  # lives as long as the service does
        receipt = for_the_service.create_task(send_receipt())
        with pytest.raises(ConnectionError):
            await gather_structured(asyncio.shield(receipt), call("broken", 1))
        assert now() == 1
    assert sent == ["receipt"]
