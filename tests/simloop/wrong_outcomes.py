"""Wrong implementations of the functions with outcomes, each with one fault, and right ones.

A search proves nothing until it has found a known fault. A `Stream` is called as
`as_completed_scoped` is, a `race` as `first_n_within`; `test_finds_wrong_outcomes.py` names the
oracle that must find the fault of each.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any, Self

from structgather import Cancelled, Failed, FirstN, Ok, Outcome, TimedOut


class Stream:
    """No fault."""

    def __init__(self, aws: Any, *, limit: int | None = None, timeout: float | None = None) -> None:
        self.aws, self.limit, self.timeout = aws, limit, timeout
        self.running: dict[asyncio.Task[Any], tuple[int, float]] = {}
        self.ready: deque[Outcome[Any]] = deque()
        self.undelivered: list[Outcome[Any]] = []
        self.iterator: Iterator[Any] = iter(())
        self.feeder: asyncio.Task[None] | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.taken = 0
        self.stopping = self.late = False

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self.opened = self.loop.time()
        if hasattr(self.aws, "__aiter__"):
            self.feeder = self.loop.create_task(self.feed())
            self.feeder.add_done_callback(self.fed)
        else:
            self.iterator = iter(self.aws)
        self.set_timer()
        self.pull()
        return self

    def set_timer(self) -> None:
        if self.timeout is not None:
            # A value that arrives in the tick of the deadline is in time.
            self.loop.call_later(self.timeout, self.two_iterations_later)

    def two_iterations_later(self) -> None:
        self.loop.call_soon(self.loop.call_soon, self.deadline)

    async def feed(self) -> None:
        try:
            async for aw in self.aws:
                self.start(aw)
        finally:
            await self.aws.aclose()

    def fed(self, feeder: asyncio.Task[None]) -> None:
        self.feeder = None
        self.wake()

    def has_room(self) -> bool:
        return self.limit is None or len(self.running) + len(self.ready) < self.limit

    def pull(self) -> None:
        while not self.stopping and self.has_room():
            aw = next(self.iterator, None)
            if aw is None:
                break
            self.start(aw)

    def start(self, aw: Any) -> None:
        task = self.loop.create_task(aw)
        self.running[task] = (self.taken, self.loop.time())
        self.taken += 1
        task.add_done_callback(self.settled)

    def settled(self, task: asyncio.Task[Any]) -> None:
        index, started = self.running.pop(task)
        elapsed = self.loop.time() - started
        if task.cancelled():
            self.deliver(self.cancelled(index, elapsed))
        elif error := task.exception():
            try:
                self.deliver(Failed(error, index, elapsed))
            finally:
                del error
        else:
            self.deliver(Ok(task.result(), index, elapsed))

    def cancelled(self, index: int, elapsed: float) -> Outcome[Any]:
        if self.late:
            return TimedOut(TimeoutError(), index, elapsed)
        return Cancelled(asyncio.CancelledError(), index, elapsed)

    def deliver(self, outcome: Outcome[Any]) -> None:
        self.ready.append(outcome)
        self.wake()

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def deadline(self) -> None:
        if self.running or self.feeder:
            self.late = True
            self.stop()

    def stop(self) -> None:
        if not self.stopping:
            self.stopping = True
            for task in (*self.running, *filter(None, [self.feeder])):
                task.cancel()

    cancel = stop

    def add(self, aw: Any) -> None:
        if self.stopping:
            aw.close()
            raise RuntimeError
        self.start(aw)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[Any]:
        while not self.ready:
            if not self.running and not self.feeder:
                raise TimeoutError if self.late else StopAsyncIteration
            await self.next_wake()
        outcome = self.ready.popleft()
        self.pull()
        return outcome

    async def next_wake(self) -> None:
        self.waiter = self.loop.create_future()
        await self.waiter

    async def __aexit__(self, *of_the_body: object) -> None:
        del of_the_body
        self.stop()
        cancelled = await self.join()
        self.undelivered = self.left_over()
        self.close_generator()
        for aw in self.iterator:
            aw.close()
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled

    async def join(self) -> asyncio.CancelledError | None:
        cancelled = None
        try:
            while self.running or self.feeder:
                try:
                    await self.next_wake()
                except asyncio.CancelledError as error:
                    cancelled = error.with_traceback(None)
            return cancelled
        finally:
            del cancelled

    def close_generator(self) -> None:
        close = getattr(self.iterator, "close", None)
        if close is not None:
            close()

    def left_over(self) -> list[Outcome[Any]]:
        return [self.ready.popleft() for _ in range(len(self.ready))]


class ForgetsWhatIsAddedLate(Stream):
    """Does not join a child that is added while the block exits."""

    def add(self, aw: Any) -> None:
        if self.stopping:
            self.loop.create_task(aw)
        else:
            self.start(aw)


class DropsTheTickOfTheDeadline(Stream):
    """Cancels at the tick of the deadline, before the values of that tick arrive."""

    def set_timer(self) -> None:
        if self.timeout is not None:
            self.loop.call_later(self.timeout, self.deadline)


class RunsAhead(Stream):
    """Pulls when children finish, not when the consumer takes an outcome."""

    def has_room(self) -> bool:
        return self.limit is None or len(self.running) < self.limit

    def deliver(self, outcome: Outcome[Any]) -> None:
        super().deliver(outcome)
        self.pull()


class LeavesWithoutJoining(Stream):
    """Cancels and does not join."""

    async def join(self) -> None:
        self.running.clear()

    def settled(self, task: asyncio.Task[Any]) -> None:
        if task in self.running:
            super().settled(task)


class DropsTheUndelivered(Stream):
    """Of the outcomes that were not yielded it keeps only those with values."""

    def left_over(self) -> list[Outcome[Any]]:
        return [outcome for outcome in super().left_over() if isinstance(outcome, Ok)]


class KeepsRunningAfterTheTimeout(Stream):
    """Raises TimeoutError and lets the children run on."""

    def deadline(self) -> None:
        self.late = True
        self.wake()

    def stop(self) -> None:
        self.stopping = True


class TakesZeroForNone(Stream):
    """Takes `timeout=0` for no timeout."""

    def set_timer(self) -> None:
        if self.timeout:
            super().set_timer()


class DeliversByIndex(Stream):
    """Yields the settled outcome with the lowest index first."""

    def deliver(self, outcome: Outcome[Any]) -> None:
        super().deliver(outcome)
        self.ready = deque(sorted(self.ready, key=lambda outcome: outcome.index))


class OrdersWhatIsReady(DeliversByIndex):
    """In input order, it does not wait for the outcome of an earlier child."""

    def __init__(self, aws: Any, *, ordered: bool) -> None:
        assert ordered
        super().__init__(aws)


class InOrder(OrdersWhatIsReady):
    """No fault."""

    yielded = 0

    async def __anext__(self) -> Outcome[Any]:
        while self.running and not (self.ready and self.ready[0].index == self.yielded):
            await self.next_wake()
        self.yielded += 1
        return await super().__anext__()


class CountsFromTheEntry(Stream):
    """Counts `elapsed` from the entry of the block, not from the start of the child."""

    def start(self, aw: Any) -> None:
        super().start(aw)
        for task, (index, _) in self.running.items():
            self.running[task] = (index, self.opened)


class LeavesTheSourceOpen(Stream):
    """Does not close an async generator that is not exhausted."""

    async def feed(self) -> None:
        while True:
            try:
                self.start(await asyncio.shield(anext(self.aws)))
            except StopAsyncIteration:
                return


async def race(
    aws: Any, n: int | None = None, within: float | None = None, *, of: type[Stream] = Stream
) -> FirstN[Any]:
    """No fault."""
    values: list[Any] = []
    outcomes: list[Outcome[Any]] = []
    stream = of(aws, timeout=within)
    try:
        async with stream:
            async for outcome in stream:
                outcomes.append(outcome)
                if isinstance(outcome, Ok) and not stream.stopping:
                    values.append(outcome.value)
                    if len(values) == n:
                        break
    except TimeoutError:
        pass
    outcomes = sorted([*outcomes, *stream.undelivered], key=lambda outcome: outcome.index)
    if len(values) == (len(outcomes) if n is None else n):
        return FirstN(values, outcomes, "met", [], None)
    return FirstN(values, outcomes, "deadline" if stream.late else "exhausted", [], None)


async def race_that_counts_losers(aws: Any, **options: Any) -> FirstN[Any]:
    """Counts the value of a child that returns while it is being cancelled."""
    found = await race(aws, **options)
    found.values = [outcome.value for outcome in found.outcomes if isinstance(outcome, Ok)]
    return found


async def race_that_forgets_why(aws: Any, **options: Any) -> FirstN[Any]:
    """Reports children as Cancelled that the deadline cancelled."""
    found = await race(aws, **options)
    for place, outcome in enumerate(found.outcomes):
        if isinstance(outcome, TimedOut):
            cancelled = asyncio.CancelledError()
            found.outcomes[place] = Cancelled(cancelled, outcome.index, outcome.elapsed)
    return found
