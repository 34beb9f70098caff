"""The queue and the window behind `RateLimit`: who is admitted when.

The rules:

1.  Everything that an admission takes, it takes at one instant of the loop's clock, or nothing.
2.  What was admitted in the last `per` seconds is remembered one by one, so that no window of that
    length, wherever it begins, holds more than the limit. Counters or buckets can't promise that.
3.  Only the head of the queue is looked at. Nobody overtakes.
4.  Who is cancelled while waiting, or in the turn in which he is admitted, has spent nothing.
"""

from __future__ import annotations

import asyncio
import bisect
import math
from collections import deque
from typing import TYPE_CHECKING, final

from structgather import _inputs
from structgather._loops import is_closed

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

NEW, WAITING, ENTERED = range(3)


#: For how many windows a debt may keep everybody waiting. Beyond, it is no number of tokens.
MOST_WINDOWS = 100_000


class Spent:
    """What takes room in the window: an admission, or the debt of one."""

    __slots__ = ("counts", "requests", "since", "tokens")

    #: For how much it counts ...
    requests: float
    tokens: float
    #: ... for `per` seconds from here on ...
    since: float
    #: ... until it has left the window, or was undone.
    counts: bool


class Debt(Spent):
    """Tokens that were used beyond an estimate."""

    __slots__ = ()

    def __init__(self, tokens: float) -> None:
        self.requests = 0
        self.tokens = tokens


def _since(spent: Spent) -> float:
    return spent.since


class Gate:
    """Admits calls, in the order in which they come."""

    __slots__ = (
        "_full_again",
        "_in_window",
        "_loop",
        "_max_burst",
        "_max_concurrent",
        "_max_requests",
        "_max_tokens",
        "_pace",
        "_per",
        "_queue",
        "_rings_at",
        "_timer",
        "_windowed",
        "requests",
        "running",
        "tokens",
    )

    def __init__(
        self, concurrent: float, requests: float, tokens: float, per: float, burst: float
    ) -> None:
        self._max_concurrent = concurrent
        self._max_requests = requests
        self._max_tokens = tokens
        self._max_burst = burst
        self._per = per
        #: Seconds between requests at an even pace, where `burst` asks for one.
        self._pace = 0.0 if burst == math.inf else per / requests
        self._windowed = requests != math.inf or tokens != math.inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[Admission] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        #: How many calls are under way.
        self.running: int = 0
        #: What was admitted in the last `per` seconds, oldest first, and what it adds up to.
        self._in_window: deque[Spent] = deque()
        self.requests: float = 0
        self.tokens: float = 0
        #: When, at an even pace, `burst` requests would be free again.
        self._full_again = -math.inf

    @property
    def waiting(self) -> int:
        """How many calls wait to be admitted."""
        return sum(call.waiter is not None and not call.waiter.done() for call in self._queue)

    def enter(self, call: Admission) -> asyncio.AbstractEventLoop | None:
        """Admit a call at once, or return the loop on which it has to `wait()`."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._bind(loop)
        call.loop = loop
        if self._queue or self.running >= self._max_concurrent:
            return loop
        if self._windowed:
            now = loop.time()
            if self._due(call, now) > now:
                return loop
            self._spend(call, now)
        self.running += 1
        return None

    async def wait(self, call: Admission, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the call is admitted."""
        call.waiter = waiter = loop.create_future()
        self._queue.append(call)
        if len(self._queue) == 1:
            self._admit()
        try:
            await waiter
        except BaseException:
            if not is_closed(loop):  # else it is collected, long after anybody could go on
                if waiter.done() and not waiter.cancelled():
                    self._undo(call)  # admitted in the very turn in which it was cancelled
                waiter.cancel()  # which takes it out of the queue
                self._admit()
            raise

    def leave(self, call: Admission) -> None:
        """End a call."""
        if call.loop is not self._loop:
            return  # it was under way when its loop was closed, and is collected now: see `_bind`
        self.running -= 1
        # While the timer is set, the head waits for room in the window, not for a place.
        if self._queue and self._timer is None:
            self._admit()

    def settle(self, call: Admission, tokens: float) -> None:
        """Correct what a call has used: give back, or let those who come later repay."""
        if tokens > MOST_WINDOWS * self._max_tokens or tokens == math.inf:
            message = f"settle(): no call has used {tokens!r} tokens"
            raise ValueError(message)
        more = tokens - call.used
        call.used = tokens
        if self._max_tokens == math.inf or self._loop is None:
            return
        if more > 0:
            call.debts += self._owe(more, self._loop.time())
            return
        for spent in (*reversed(call.debts), call):
            back = min(-more, spent.tokens)
            more += back
            spent.tokens -= back
            if spent.counts:
                self.tokens -= back
        if self._queue:
            self._admit()

    # The inside.

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None and not is_closed(self._loop):
            message = "this RateLimit is in use on a different event loop: make one for each loop"
            raise RuntimeError(message)
        # The first use, or the next `asyncio.run` of a program: what was spent still counts, what
        # was under way is gone.
        self._loop = loop
        self.running = 0
        self._queue.clear()
        self._timer = None

    def _owe(self, tokens: float, now: float) -> tuple[Debt, ...]:
        """Let `tokens` be repaid: they take the next room in the window, before who waits for it.

        Where a debt counted beside what fills the window, it would leave the window with that, and
        nobody would have repaid it.
        """
        per = self._per
        self._forget_until(now)
        leaving = [spent for spent in self._in_window if spent.counts and spent.tokens]
        taken, since = self.tokens, now
        debts: list[Debt] = []
        while tokens > 0:
            if not leaving:
                taken = 0  # but for rounding
            if taken < self._max_tokens:
                debt = Debt(min(tokens, self._max_tokens - taken))
                self._spend(debt, since)
                debts.append(debt)
                bisect.insort(leaving, debt, key=_since)
                taken += debt.tokens
                tokens -= debt.tokens
            else:
                spent = leaving.pop(0)
                taken -= spent.tokens
                since = max(since, spent.since + per)
        return tuple(debts)

    def _due(self, call: Admission, now: float) -> float:
        """When `call` may be admitted if nobody else is; `inf` if somebody must leave first."""
        if self.running >= self._max_concurrent:
            return math.inf
        window, per = self._in_window, self._per
        if window and window[0].since + per <= now:
            self._forget_until(now)
        due = now
        requests = self.requests + call.requests - self._max_requests
        tokens = self.tokens + call.tokens - self._max_tokens
        if requests > 0 or tokens > 0:
            for spent in window:
                requests -= spent.requests
                tokens -= spent.tokens
                due = spent.since + per
                if requests <= 0 and tokens <= 0:
                    break
        if self._pace:
            due = max(due, self._full_again - (self._max_burst - call.requests) * self._pace)
        return due

    def _spend(self, spent: Spent, since: float) -> None:
        spent.since = since
        spent.counts = True
        self.requests += spent.requests
        self.tokens += spent.tokens
        window = self._in_window
        if window and window[-1].since > since:  # there are debts: see `settle`
            bisect.insort(window, spent, key=_since)
        else:
            window.append(spent)
        if self._pace:
            self._full_again = max(self._full_again, since) + spent.requests * self._pace

    def _forget_until(self, now: float) -> None:
        """Forget what has left the window."""
        window, per = self._in_window, self._per
        while window and window[0].since + per <= now:
            self._forget(window.popleft())

    def _forget(self, spent: Spent) -> None:
        if spent.counts:
            spent.counts = False
            self.requests -= spent.requests
            self.tokens -= spent.tokens

    def _undo(self, call: Admission) -> None:
        self.running -= 1
        if self._windowed:
            self._forget(call)
            self._full_again -= call.requests * self._pace

    def _admit(self) -> None:
        """Admit from the head of the queue what may be, and see to it that it goes on."""
        queue = self._queue
        next_due = math.inf
        if self._loop is None or is_closed(self._loop):
            queue.clear()  # likewise
            return
        while queue:
            call = queue[0]
            waiter = call.waiter
            if waiter is None or waiter.cancelled():
                queue.popleft()
                continue
            now = self._loop.time()
            due = self._due(call, now)
            if due > now:
                next_due = due  # or inf: it goes on when a call under way ends
                break
            queue.popleft()
            self.running += 1
            if self._windowed:
                self._spend(call, now)
            waiter.set_result(None)
        self._wake_at(next_due)

    def _wake_at(self, due: float) -> None:
        if self._timer is not None:
            if self._rings_at == due:  # the timers of uvloop or Qt can't be asked
                return
            self._timer.cancel()
            self._timer = None
        if due != math.inf and self._loop is not None:
            self._timer = self._loop.call_at(due, self._on_time)
            self._rings_at = due

    def _on_time(self) -> None:
        self._timer = None
        self._admit()


@final
class Admission(Spent):
    """One call under a `RateLimit`, to be entered once."""

    __slots__ = ("_gate", "_state", "debts", "loop", "used", "waiter")

    def __init__(self, gate: Gate, tokens: float, requests: float) -> None:
        self._gate = gate
        self._state = NEW
        self.requests = requests
        self.tokens = tokens
        self.used: float = tokens
        self.debts: tuple[Debt, ...] = ()
        #: On which it is under way.
        self.loop: asyncio.AbstractEventLoop | None = None
        self.waiter: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        if self._state != NEW:
            message = "this admission was entered before: call the RateLimit anew for each call"
            raise RuntimeError(message)
        self._state = WAITING
        loop = self._gate.enter(self)
        if loop is not None:
            await self._gate.wait(self, loop)
        self._state = ENTERED
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._gate.leave(self)

    def settle(self, *, tokens: float) -> None:
        """Say how many tokens the call has really used.

        What was not used is given back at once. What was used beyond the estimate is repaid by
        those who come later. May be said again, and after the block; the last word counts.

        Args:
            tokens: How many in all, the estimate included.

        Raises:
            ValueError: It is negative, or beyond all measure.
            TypeError: It is not a number.
            RuntimeError: The call has not been admitted.
        """
        _inputs.check_number("settle", "tokens", tokens)
        if self._state != ENTERED:
            message = "settle() tells what a call has used: enter it first, with `async with`"
            raise RuntimeError(message)
        self._gate.settle(self, tokens)


def check_weight(argument: str, value: float, most: float) -> None:
    """Check what a call is to count for: a number that can be admitted."""
    number = _inputs.check_number("RateLimit", argument, value)
    if number > most:
        hint = "" if most >= 1 else f": let it be 1 in a longer `per`, not {most:g} in a shorter"
        message = f"RateLimit: {value!r} {argument} can never be admitted, {most:g} is the most"
        raise ValueError(message + hint)
