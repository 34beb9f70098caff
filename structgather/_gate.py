"""The queue and the window behind `RateLimit`: who is admitted when.

The rules:

1.  Everything that an admission takes, it takes at one instant of the loop's clock, or nothing. It
    counts from when the call goes on.
2.  What was admitted in the last `per` seconds is remembered one by one, so that no window of that
    length, wherever it begins, holds more than the limit. Counters or buckets can't promise that.
    Where that is a great many, those that come shortly after each other are remembered as one, as
    if all had come with the last of them: that keeps the promise, and bounds the memory.
3.  Only the head of the queue is looked at. Nobody overtakes.
4.  Who is cancelled while waiting, or in the turn in which he is admitted, has spent nothing.
"""

from __future__ import annotations

import bisect
import math
from collections import OrderedDict, deque
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from structgather._group import is_closed

if TYPE_CHECKING:
    import asyncio

#: So many admissions are remembered one by one. Beyond, what comes within this part of `per` shares
#: an entry. So there are never more than about twice as many, and who waits for room waits longer
#: by this part of `per` at most.
PARTS = 4096

#: When it was admitted, and for how many requests and tokens it counts. Tuples of numbers, not
#: objects: the garbage collector visits them once.
Entry: TypeAlias = tuple[float, float, float]

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


class Call(Spent):
    """A call that is to be admitted."""

    __slots__ = ("debts", "requests")

    requests: float
    #: What it used beyond its estimate.
    debts: tuple[Debt, ...]


class Debt(Spent):
    """Tokens that were used beyond an estimate."""

    __slots__ = ("since",)

    def __init__(self, tokens: float, since: float) -> None:
        self.place = WAITING
        self.tokens = tokens
        self.since = since


def _since(debt: Debt) -> float:
    return debt.since


class Gate:
    """Admits calls, in the order in which they come."""

    __slots__ = (
        "_full_again",
        "_later",
        "_max_burst",
        "_pace",
        "_per",
        "_rings_at",
        "_unbegun",
        "last",
        "loop",
        "many_from",
        "max_concurrent",
        "max_requests",
        "max_tokens",
        "merges_until",
        "most_requests",
        "queue",
        "requests",
        "running",
        "timer",
        "tokens",
        "window",
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
        self._pace: float = 0.0 if burst == math.inf else per / requests
        self.windowed: bool = requests != math.inf or tokens != math.inf
        self.loop: asyncio.AbstractEventLoop | None = None
        #: Who waits, in order. Not a deque: who gives up is taken out of the middle.
        self.queue: OrderedDict[Call, asyncio.Future[None]] = OrderedDict()
        self.timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        #: Who was admitted and has not gone on yet, in order.
        self._unbegun: dict[Call, None] = {}
        #: How many calls are under way.
        self.running: int = 0
        #: The entries of the window, oldest first, and what they add up to, with the later debts.
        #: What is over is among them until somebody needs the room.
        self.window: deque[Entry] = deque()
        self.requests: float = 0
        self.tokens: float = 0
        #: The place of the last entry.
        self.last: int = -1
        #: Up to how many requests may be admitted where nothing but room is asked for: less than
        #: none while there are later debts, or where a pace is kept.
        self.most_requests: float = -1 if self._pace else requests
        #: From which place on the entries are many; until when more may go into the last of those.
        self.many_from: int = PARTS
        self.merges_until: float = -math.inf
        #: Debts that count already, but whose `per` seconds have not begun, in order.
        self._later: list[Debt] = []
        #: When, at an even pace, `burst` requests would be free again.
        self._full_again = -math.inf

    @property
    def counts(self) -> tuple[float, float]:
        """How many requests and tokens count. Changes nothing: anybody may ask, at any time."""
        now = -math.inf if self.loop is None or is_closed(self.loop) else self.loop.time()
        window = [entry for entry in self.window if entry[0] + self._per > now]
        tokens = sum(debt.tokens for debt in self._later)
        return sum(entry[1] for entry in window), tokens + sum(entry[2] for entry in window)

    @property
    def waiting(self) -> int:
        """How many calls wait to be admitted."""
        return sum(not waiter.done() for waiter in self.queue.values())

    async def wait(self, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the call is admitted."""
        call.place = WAITING
        waiter = self.queue[call] = loop.create_future()
        if len(self.queue) == 1:
            self.admit()
        try:
            await waiter
        except BaseException:
            if not is_closed(loop):  # else it is collected, long after anybody could go on
                if waiter.done() and not waiter.cancelled():
                    self._undo(call)  # admitted in the very turn in which it was cancelled
                behind = call in self.queue and next(iter(self.queue)) is not call
                self.queue.pop(call, None)
                if not behind:  # else nobody is nearer to his turn than before
                    self.admit()
            raise
        if self.windowed:
            now = loop.time()
            self._keep_pace(now)
            self._begin(call, now)
            self._unbegun.pop(call, None)

    def settle(self, call: Call, tokens: float) -> None:
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
        self._unbegun.clear()
        self.timer = None
        newest = max((entry[0] for entry in self.window), default=-math.inf)
        if (ahead := newest - loop.time()) > 0:
            # Another clock. What was spent last was spent now, as far as is known.
            self.window = deque((entry[0] - ahead, entry[1], entry[2]) for entry in self.window)
            for debt in self._later:
                debt.since -= ahead
            self.merges_until -= ahead
            self._full_again -= ahead

    def due(self, call: Call, now: float) -> float:
        """When `call` may be admitted if nobody else is; `inf` if somebody must leave first."""
        if self.running >= self.max_concurrent:
            return math.inf
        self._pass(now)
        due = now
        requests = self.requests + call.requests - self.max_requests
        tokens = self.tokens + call.tokens - self.max_tokens
        if requests > 0 or tokens > 0:
            later = ((debt.since, 0, debt.tokens) for debt in self._later)
            for since, of_requests, of_tokens in chain(self.window, later):
                requests -= of_requests
                tokens -= of_tokens
                due = max(due, since + self._per)  # see `_begin`
                if requests <= 0 and tokens <= 0:
                    break
        return max(due, self._in_pace(call)) if self._pace else due

    def _in_pace(self, call: Call) -> float:
        """When `call` may be admitted as far as the even pace goes."""
        return self._full_again - (self._max_burst - call.requests) * self._pace

    def spend(self, spent: Spent, requests: float, since: float) -> None:
        """Have it counted for `per` seconds. Is called in the order of time."""
        if since <= self.merges_until:
            last, of_requests, of_tokens = self.window[-1]
            since = max(last, since)  # a debt may be older: see `_begin`
            self.window[-1] = (since, of_requests + requests, of_tokens + spent.tokens)
        else:
            self.window.append((since, requests, spent.tokens))
            self.last += 1
            if self.last >= self.many_from:
                self.merges_until = since + self._per / PARTS
        spent.place = self.last
        self.requests += requests
        self.tokens += spent.tokens
        if self._pace:
            self._full_again = max(self._full_again, since) + requests * self._pace

    def _keep_pace(self, now: float) -> None:
        """Space what comes next from those who go on now at the earliest, though admitted before.

        The loop may have stood still between the two.
        """
        if self._pace and self._unbegun:
            requests = sum(call.requests for call in self._unbegun)
            self._full_again = max(self._full_again, now + requests * self._pace)

    def _begin(self, call: Call, now: float) -> None:
        """Count what was admitted before from now on: the provider knows nothing of it before.

        A turn of the loop is between the two, in which it may have stood still for long. An entry
        may then be younger than the next one, which leaves the window only after it.
        """
        entry = call.place - self.last - 1
        _, requests, tokens = self.window[entry]
        self.window[entry] = (now, requests, tokens)

    def _pass(self, now: float) -> None:
        """Let time pass: take in the later debts whose time has come, forget what is over."""
        window, later, per = self.window, self._later, self._per
        self._keep_pace(now)
        while later and later[0].since <= now:
            debt = later.pop(0)
            self.tokens -= debt.tokens
            self.spend(debt, 0, debt.since)
        while window and window[0][0] + per <= now:
            if self._unbegun and next(iter(self._unbegun)).place <= self.last + 1 - len(window):
                # The loop stood still for a whole window: they go on now at the earliest.
                for call in self._unbegun:
                    self._begin(call, now)
                break
            _, requests, tokens = window.popleft()
            self.requests -= requests
            self.tokens -= tokens
        if not window and not later:
            self.requests = self.tokens = 0  # but for rounding
        self.many_from = self.last + 1 - len(window) + PARTS
        if not self._pace and not later:
            self.most_requests = self.max_requests

    def _owe(self, tokens: float, now: float) -> tuple[Debt, ...]:
        """Let `tokens` be repaid: they take the next room in the window, before who waits for it.

        Where a debt counted beside what fills the window, it would leave the window with that, and
        nobody would have repaid it.
        """
        self._pass(now)
        debts: list[Debt] = []
        taken, since = self.tokens, now
        if taken < self.max_tokens:
            debt = Debt(min(tokens, self.max_tokens - taken), now)
            self.spend(debt, 0, now)
            debts.append(debt)
            taken += debt.tokens
            tokens -= debt.tokens
        if tokens <= 0:
            return tuple(debts)
        leaving = [(entered, size) for entered, _, size in self.window if size]
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
        self.most_requests = -1
        return tuple(debts)

    def _give_back(self, spent: Spent, tokens: float, requests: float = 0) -> None:
        spent.tokens -= tokens
        entry = spent.place - self.last - 1
        if spent.place == WAITING:  # a debt, and later
            self.tokens -= tokens
        elif -entry <= len(self.window):  # else it has left the window
            since, of_requests, of_tokens = self.window[entry]
            self.window[entry] = (since, of_requests - requests, of_tokens - tokens)
            self.requests -= requests
            self.tokens -= tokens

    def _undo(self, call: Call) -> None:
        self.running -= 1
        if self.windowed:
            self._unbegun.pop(call, None)
            self._give_back(call, call.tokens, call.requests)
            self._full_again -= call.requests * self._pace

    def admit(self) -> None:
        """Admit from the head of the queue what may be, and see to it that it goes on."""
        queue = self.queue
        next_due = math.inf
        if self.loop is None or is_closed(self.loop):
            queue.clear()  # likewise
            return
        while queue:
            call, waiter = next(iter(queue.items()))
            if waiter.cancelled():
                del queue[call]
                continue
            now = self.loop.time()
            due = self.due(call, now)
            if due > now:
                next_due = due  # or inf: it goes on when a call under way ends
                break
            del queue[call]
            self.running += 1
            if self.windowed:
                self.spend(call, call.requests, now)
                self._unbegun[call] = None
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
