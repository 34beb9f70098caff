"""Workflows that fan out with structgather, in a module of their own: the sandbox imports it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from structgather import (
    Ok,
    RateLimit,
    as_completed_scoped,
    first_n_within,
    gather_structured,
)


async def activity(name: str, **options: Any) -> Any:
    """Run an activity as a child; if it is cancelled, raise asyncio's CancelledError."""
    minute = timedelta(minutes=1)
    try:
        return await workflow.execute_activity(name, start_to_close_timeout=minute, **options)
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise asyncio.CancelledError(str(error)) from error
        raise


async def stoppable(name: str) -> Any:
    """Run an activity whose cancellation is waited for."""
    return await activity(
        name, cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
    )


@workflow.defn
class Gathers:
    """All of them, at most two at a time, each with its own timeout."""

    @workflow.run
    async def run(self) -> Any:
        calls = [activity(name) for name in "abc"]
        return await gather_structured(*calls, limit=2, child_timeout=10)


@workflow.defn
class Fails:
    """The first failure, when the others have stopped."""

    @workflow.run
    async def run(self) -> Any:
        try:
            return await gather_structured(activity("a"), stoppable("b"), activity("fails"))
        except ActivityError as error:
            return str(error.cause)


@workflow.defn
class Races:
    """Two of three, within ten seconds."""

    @workflow.run
    async def run(self) -> Any:
        found = await first_n_within([activity(name) for name in "abc"], 2, within=10)
        ended = [type(outcome).__name__ for outcome in found.outcomes]
        return [found.reason, found.values, ended]


@workflow.defn
class Streams:
    """Until the first result that is good enough."""

    @workflow.run
    async def run(self) -> Any:
        async with as_completed_scoped(map(activity, "abc"), child_timeout=5) as outcomes:
            good = None
            async for outcome in outcomes:
                if isinstance(outcome, Ok) and outcome.value == "good":
                    good = outcome.index
                    break
        return [good, [type(left).__name__ for left in outcomes.undelivered]]


@workflow.defn
class Times:
    """A late child is named in the message with which the workflow fails."""

    @workflow.run
    async def run(self) -> Any:
        try:
            return await gather_structured(activity("a"), activity("b"), child_timeout=5)
        except TimeoutError as late:
            raise ApplicationError(str(late)) from late


@workflow.defn
class Limits:
    """Two calls a minute, by the workflow's own clock."""

    @workflow.run
    async def run(self) -> Any:
        calls = RateLimit(requests=2, per=60)
        begin = workflow.time()

        async def call(name: str) -> int:
            async with calls():
                await activity(name)
            return round(workflow.time() - begin)

        return await gather_structured(*(call(name) for name in "abcde"))


@workflow.defn
class GathersAsBefore:
    """The same failure with asyncio.gather, which cancels nothing."""

    @workflow.run
    async def run(self) -> Any:
        try:
            return await asyncio.gather(activity("a"), activity("b"), activity("fails"))
        except ActivityError as error:
            return str(error.cause)


SHARED = RateLimit(concurrent=1)


@workflow.defn
class Shares:
    """A RateLimit at module level: all workflows share it, unless a sandbox separates them."""

    @workflow.run
    async def run(self) -> Any:
        async with SHARED():
            return await activity("a")
