"""The queue and the window behind `RateLimit`: who is admitted when.

The rules:

1.  Everything that an admission takes, it takes at one instant of the loop's clock, or nothing.
2.  What was admitted in the last `per` seconds is remembered one by one, so that no window of that
    length, wherever it begins, holds more than the limit. Counters or buckets can't promise that.
    What is small against the limit and came shortly after each other is remembered as one, as if
    all had come with the last of it: that keeps the promise, and bounds the memory.
3.  Only the head of the queue is looked at. Nobody overtakes.
4.  Who is cancelled while waiting, or in the turn in which he is admitted, has spent nothing.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING

from structgather._loops import is_closed

if TYPE_CHECKING:
    import asyncio

    from structgather._admission import Admission

#: What together is at most this part of each limit, and came within this part of `per`, is
#: remembered as one. So there are never more than some ten thousand entries, and who waits for room
#: waits longer by this part of `per` at most. Up to 4096 requests or tokens it is exact.
PARTS = 4096

# Where an admission or a debt stands that is not in the window: its place there is 0 or more.
NEW, WAITING = -2, -1

#: For how many windows a debt may keep everybody waiting. Beyond, it is no number of tokens.
MOST_WINDOWS = 100_000


class Spent:
    """What takes room in the window: an admission, or the debt of one."""

    __slots__ = ("place", "tokens")

    #: Which entry of the window it is counted in, from the first one ever; or NEW or WAITING.
    place: int
    #: For how many it counts.
    tokens: float


class Debt(Spent):
    """Tokens that were used beyond an estimate."""

    __slots__ = ("since",)

    def __init__(self, tokens: float, since: float) -> None:
        self.place = WAITING
        self.tokens = tokens
        self.since = since


def _since(debt: Debt) -> float:
    return debt.since


def _part(limit: float) -> float:
    return limit if limit == math.inf else limit // PARTS or limit / PARTS


class Gate:
    """Admits calls, in the order in which they come."""

    __slots__ = (
        "_full_again",
        "_later",
        "_max_burst",
        "_of_requests",
        "_of_tokens",
        "_part_per",
        "_part_requests",
        "_part_tokens",
        "_per",
        "_rings_at",
        "_times",
        "changes",
        "last",
        "last_requests",
        "last_time",
        "last_tokens",
        "loop",
        "max_concurrent",
        "max_requests",
        "max_tokens",
        "most_requests",
        "most_tokens",
        "most_until",
        "pace",
        "queue",
        "requests",
        "running",
        "timer",
        "tokens",
        "windowed",
    )

    def __init__(
        self, concurrent: float, requests: float, tokens: float, per: float, burst: float
    ) -> None:
        self.max_concurrent: float = concurrent
        self.max_requests: float = requests
        self.max_tokens: float = tokens
        self._max_burst = burst
        self._per = per
        #: Seconds between requests at an even pace, where `burst` asks for one.
        self.pace: float = 0.0 if burst == math.inf else per / requests
        self.windowed: bool = requests != math.inf or tokens != math.inf
        self.loop: asyncio.AbstractEventLoop | None = None
        self.queue: deque[tuple[Admission, asyncio.Future[None]]] = deque()
        self.timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        #: How many calls are under way.
        self.running: int = 0
        #: The entries of the window without the last one, oldest first, and what they add up to
        #: (with the later debts). Numbers, not objects: the garbage collector does not visit them.
        self._times: deque[float] = deque()
        self._of_requests: deque[float] = deque()
        self._of_tokens: deque[float] = deque()
        self.requests: float = 0
        self.tokens: float = 0
        #: The last entry, and its place; -inf: there is none, the window is empty.
        self.last: int = -1
        self.last_time: float = -math.inf
        self.last_requests: float = 0
        self.last_tokens: float = 0
        #: Until when, and up to what, more may go into it. What does is below the limits, too.
        self.most_until: float = -math.inf
        self.most_requests: float = 0
        self.most_tokens: float = 0
        self._part_per = per / PARTS
        self._part_requests = _part(requests)
        self._part_tokens = _part(tokens)
        #: Debts that count already, but whose `per` seconds have not begun, in order.
        self._later: list[Debt] = []
        #: When the first entry leaves or the first of the later debts comes, or a little earlier.
        self.changes: float = math.inf
        #: When, at an even pace, `burst` requests would be free again.
        self._full_again = -math.inf

    @property
    def counts(self) -> tuple[float, float]:
        """How many requests and tokens count."""
        return self.requests + self.last_requests, self.tokens + self.last_tokens

    @property
    def waiting(self) -> int:
        """How many calls wait to be admitted."""
        return sum(not waiter.done() for _, waiter in self.queue)

    async def wait(self, call: Admission, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the call is admitted."""
        waiter: asyncio.Future[None] = loop.create_future()
        self.queue.append((call, waiter))
        if len(self.queue) == 1:
            self.admit()
        try:
            await waiter
        except BaseException:
            if not is_closed(loop):  # else it is collected, long after anybody could go on
                if waiter.done() and not waiter.cancelled():
                    self._undo(call)  # admitted in the very turn in which it was cancelled
                waiter.cancel()  # which takes it out of the queue
                self.admit()
            raise

    def settle(self, call: Admission, tokens: float) -> None:
        """Correct what a call has used: give back, or let those who come later repay."""
        if tokens > MOST_WINDOWS * self.max_tokens or tokens == math.inf:
            message = f"settle(): no call has used {tokens!r} tokens"
            raise ValueError(message)
        if self.max_tokens == math.inf or self.loop is None:
            return
        more = tokens - call.tokens - sum(debt.tokens for debt in call.debts)
        if more > 0:
            call.debts += self._owe(more, self.loop.time())
            return
        for spent in (*reversed(call.debts), call):
            back = min(-more, spent.tokens)
            more += back
            self._give_back(spent, back)
        if self.queue:
            self.admit()

    # The inside.

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.loop is not None and not is_closed(self.loop):
            message = "this RateLimit is in use on a different event loop: make one for each loop"
            raise RuntimeError(message)
        # The first use, or the next `asyncio.run` of a program: what was spent still counts, what
        # was under way is gone.
        self.loop = loop
        self.running = 0
        self.queue.clear()
        self.timer = None
        if (ahead := self.last_time - loop.time()) > 0:
            # Another clock. What was spent last was spent now, as far as is known.
            self._times = deque(since - ahead for since in self._times)
            for debt in self._later:
                debt.since -= ahead
            self.last_time -= ahead
            self.most_until -= ahead
            self.changes -= ahead
            self._full_again -= ahead

    def due(self, call: Admission, now: float) -> float:
        """When `call` may be admitted if nobody else is; `inf` if somebody must leave first."""
        if self.running >= self.max_concurrent:
            return math.inf
        if self.changes <= now:
            self._pass(now)
        due = now
        requests = self.requests + self.last_requests + call.requests - self.max_requests
        tokens = self.tokens + self.last_tokens + call.tokens - self.max_tokens
        if requests > 0 or tokens > 0:
            entries = zip(self._times, self._of_requests, self._of_tokens, strict=True)
            last = (self.last_time, self.last_requests, self.last_tokens)
            later = ((debt.since, 0, debt.tokens) for debt in self._later)
            for since, of_requests, of_tokens in chain(entries, (last,), later):
                requests -= of_requests
                tokens -= of_tokens
                due = since + self._per
                if requests <= 0 and tokens <= 0:
                    break
        return max(due, self._in_pace(call)) if self.pace else due

    def _in_pace(self, call: Admission) -> float:
        """When `call` may be admitted as far as the even pace goes."""
        return self._full_again - (self._max_burst - call.requests) * self.pace

    def spend(self, spent: Spent, requests: float, since: float) -> None:
        """Have it counted for `per` seconds. Is called in the order of time."""
        tokens = spent.tokens
        if (
            since <= self.most_until
            and self.last_requests + requests <= self.most_requests
            and self.last_tokens + tokens <= self.most_tokens
        ):
            self.last_requests += requests
            self.last_tokens += tokens
            self.last_time = since
            spent.place = self.last
        else:
            self.open_entry(spent, requests, since)
        if self.pace:
            self._full_again = max(self._full_again, since) + requests * self.pace

    def open_entry(self, spent: Spent, requests: float, since: float) -> None:
        """Have it counted for `per` seconds, in an entry of its own."""
        if self.last_time != -math.inf:
            self._times.append(self.last_time)
            self._of_requests.append(self.last_requests)
            self._of_tokens.append(self.last_tokens)
            self.requests += self.last_requests
            self.tokens += self.last_tokens
        else:
            self.changes = since + self._per
        spent.place = self.last = self.last + 1
        self.last_time = since
        self.last_requests = requests
        self.last_tokens = spent.tokens
        self.most_until = since + self._part_per
        # `min()` would take a tenth of the time of an admission.
        room, part = self.max_requests - self.requests, self._part_requests
        self.most_requests = room if room < part else part  # noqa: FURB136 - see above
        room, part = self.max_tokens - self.tokens, self._part_tokens
        self.most_tokens = room if room < part else part  # noqa: FURB136 - see above

    def _pass(self, now: float) -> None:
        """Let time pass: take in the later debts whose time has come, forget what is over."""
        times, later, per = self._times, self._later, self._per
        while later and later[0].since <= now:
            debt = later.pop(0)
            self.tokens -= debt.tokens
            self.spend(debt, 0, max(debt.since, self.last_time))
        while times and times[0] + per <= now:
            times.popleft()
            self.requests -= self._of_requests.popleft()
            self.tokens -= self._of_tokens.popleft()
        if not times and not later and self.last_time + per <= now:
            self.last_time = self.most_until = -math.inf
            self.requests = self.tokens = self.last_requests = self.last_tokens = 0
            self.changes = math.inf
            self.last += 1  # so that nothing is given back to an entry that is over
            return
        self.changes = (times[0] if times else self.last_time) + per
        if later:
            self.changes = min(self.changes, later[0].since)

    def _owe(self, tokens: float, now: float) -> tuple[Debt, ...]:
        """Let `tokens` be repaid: they take the next room in the window, before who waits for it.

        Where a debt counted beside what fills the window, it would leave the window with that, and
        nobody would have repaid it.
        """
        if self.changes <= now:
            self._pass(now)
        debts: list[Debt] = []
        taken, since = self.tokens + self.last_tokens, now
        if taken < self.max_tokens:
            debt = Debt(min(tokens, self.max_tokens - taken), now)
            self.spend(debt, 0, now)
            debts.append(debt)
            taken += debt.tokens
            tokens -= debt.tokens
        if tokens <= 0:
            return tuple(debts)
        last = (self.last_time, self.last_tokens)
        entries = chain(zip(self._times, self._of_tokens, strict=True), (last,))
        leaving = [(entered, size) for entered, size in entries if size]
        leaving += [(debt.since, debt.tokens) for debt in self._later if debt.tokens]
        while tokens > 0:
            if not leaving:
                taken = 0  # but for rounding
            if taken < self.max_tokens:
                debt = Debt(min(tokens, self.max_tokens - taken), since)
                self.tokens += debt.tokens
                bisect.insort(self._later, debt, key=_since)
                debts.append(debt)
                bisect.insort(leaving, (since, debt.tokens))
                taken += debt.tokens
                tokens -= debt.tokens
            else:
                entered, size = leaving.pop(0)
                taken -= size
                since = max(since, entered + self._per)
        self.changes = min(self.changes, self._later[0].since)
        self.most_until = -math.inf
        return tuple(debts)

    def _give_back(self, spent: Spent, tokens: float, requests: float = 0) -> None:
        spent.tokens -= tokens
        entry = spent.place - self.last
        if spent.place == WAITING:  # a debt, and later
            self.tokens -= tokens
        elif not entry:
            self.last_requests -= requests
            self.last_tokens -= tokens
        elif -entry <= len(self._times):  # else it has left the window
            self._of_requests[entry] -= requests
            self._of_tokens[entry] -= tokens
            self.requests -= requests
            self.tokens -= tokens

    def _undo(self, call: Admission) -> None:
        self.running -= 1
        if self.windowed:
            self._give_back(call, call.tokens, call.requests)
            self._full_again -= call.requests * self.pace
        call.place = WAITING

    def admit(self) -> None:
        """Admit from the head of the queue what may be, and see to it that it goes on."""
        queue = self.queue
        next_due = math.inf
        if self.loop is None or is_closed(self.loop):
            queue.clear()  # likewise
            return
        while queue:
            call, waiter = queue[0]
            if waiter.cancelled():
                queue.popleft()
                continue
            now = self.loop.time()
            due = self.due(call, now)
            if due > now:
                next_due = due  # or inf: it goes on when a call under way ends
                break
            queue.popleft()
            self.running += 1
            if self.windowed:
                self.spend(call, call.requests, now)
            else:
                call.place = 0
            waiter.set_result(None)
        self._wake_at(next_due)

    def _wake_at(self, due: float) -> None:
        if self.timer is not None:
            if self._rings_at == due:  # the timers of uvloop or Qt can't be asked
                return
            self.timer.cancel()
            self.timer = None
        if due != math.inf and self.loop is not None:
            self.timer = self.loop.call_at(due, self._on_time)
            self._rings_at = due

    def _on_time(self) -> None:
        self.timer = None
        self.admit()
