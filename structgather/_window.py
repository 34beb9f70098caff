"""The sliding window behind `RateLimit`: entries, and when a call fits.

The rules:

1.  Each admission of the last `per` seconds is an entry of its own. So no window of that length,
    wherever it begins, exceeds the limit. Counters and token buckets can't promise that.
2.  Beyond `PARTS` entries, admissions within `per / PARTS` seconds share an entry, as if all were
    as late as the last of them. This keeps the promise and bounds the memory.
3.  A call that waited counts from when it resumes: the loop may have been blocked since its future
    was set, and the provider sees the call only then.
4.  Tokens used beyond an estimate are owed: they take the next room in the window, ahead of every
    waiting call. No call is admitted while tokens are owed.
5.  The limits may change at any time. Existing entries do not change.

Times are those of the event loop's clock; this module does not use the loop.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

#: This many admissions have entries of their own. There are never more than about twice as many
#: entries, and a waiting call waits at most `per / PARTS` longer.
PARTS = 4096

#: The time of admission, and the numbers of requests and tokens. Tuples of numbers: the garbage
#: collector untracks them.
Entry: TypeAlias = tuple[float, float, float]

# The `place` of a call that is not in the window. Places in the window are 0 or more.
NEW, WAITING = -2, -1

#: A debt of more windows than this is a mistake of the caller.
MOST_WINDOWS = 10_000


class Call:
    """A call as the window counts it."""

    __slots__ = ("debt", "place", "refusal", "requests", "tokens")

    requests: float
    tokens: float
    #: The tokens used beyond its estimate.
    debt: Debt | None
    #: The number of its entry, counted from the first one ever; or NEW or WAITING.
    place: int
    #: Why it can never be admitted. Set while it waits.
    refusal: str


class Debt:
    """The tokens that a call used beyond its estimate."""

    __slots__ = ("owed", "parts", "tokens")

    def __init__(self) -> None:
        self.tokens: float = 0
        #: How many of them have no room in the window yet.
        self.owed: float = 0
        #: The others: the place of an entry, and how many of its tokens are theirs.
        self.parts: list[tuple[int, float]] = []


class Window:
    """Counts requests and tokens in the last `per` seconds.

    Args:
        requests: The most requests in a window, or infinity.
        tokens: The most tokens in a window, or infinity.
        per: The length of the window in seconds.
        burst: The most requests at one instant, or infinity.
        unstarted: The calls that were admitted and have not resumed, in order. The gate's own.
    """

    __slots__ = (
        "_burst",
        "_debts",
        "_full_again",
        "_pace",
        "_unstarted",
        "entries",
        "fast_requests",
        "last",
        "many_from",
        "max_requests",
        "max_tokens",
        "max_weight",
        "merges_until",
        "per",
        "requests",
        "tokens",
    )

    def __init__(
        self,
        requests: float,
        tokens: float,
        per: float,
        burst: float,
        unstarted: Mapping[Call, None],
    ) -> None:
        self.per: float = per
        self._burst = burst
        self._unstarted = unstarted
        #: Oldest first. Expired entries are dropped when their room is needed.
        self.entries: deque[Entry] = deque()
        #: The sums of the entries.
        self.requests: float = 0
        self.tokens: float = 0
        #: The place of the last entry.
        self.last: int = -1
        #: From this place on, admissions share entries; until when they may share the last one.
        self.many_from: int = PARTS
        self.merges_until: float = -math.inf
        #: The debts with owed tokens.
        self._debts: dict[Debt, None] = {}
        #: When, at an even pace, `burst` requests are free again.
        self._full_again = -math.inf
        self.max_tokens: float = tokens
        self._set_requests(requests)

    def _set_requests(self, requests: float) -> None:
        self.max_requests: float = requests
        #: The maximum requests of one call.
        self.max_weight: float = min(requests, self._burst)
        #: Seconds between requests at an even pace, where `burst` asks for one.
        self._pace: float = 0.0 if self._burst == math.inf else self.per / requests
        #: `max_requests` if the fast path applies (no burst, no debt), else -1. Set by `advance`.
        self.fast_requests: float = -1

    def update(self, requests: float, tokens: float, now: float | None) -> None:
        """Change the limits. Without the time, as before the first use, `now` is None."""
        if now is None:
            now = self.newest()
        else:
            self.advance(now)
        before = self._pace
        self.max_tokens = tokens
        self._set_requests(requests)
        if before and -math.inf < now < self._full_again:
            # The used part of the burst stays the same, and comes back at the new pace.
            self._full_again = now + (self._full_again - now) * self._pace / before

    def counts(self, now: float) -> tuple[float, float]:
        """Return how many requests and tokens count, owed ones included. Changes nothing."""
        alive = [entry for entry in self.entries if entry[0] + self.per > now]
        owed = sum(debt.owed for debt in self._debts)
        return sum(entry[1] for entry in alive), owed + sum(entry[2] for entry in alive)

    def newest(self) -> float:
        """Return when the newest entry was made."""
        return max((entry[0] for entry in self.entries), default=-math.inf)

    def shift(self, seconds: float, now: float) -> None:
        """Move everything into the past, to another clock, on which it is `now`."""
        self.entries = deque((since - seconds, r, t) for since, r, t in self.entries)
        self.merges_until -= seconds
        if self._pace:
            # Without entries the clocks can't be compared: at most the whole burst is used.
            whole = self._burst * self._pace
            self._full_again = min(self._full_again - seconds, now + whole)

    def due(self, call: Call, now: float) -> float:
        """Return when `call` fits if no other is admitted first; a lower bound if tokens are owed.

        Only for a call that fits into an empty window.
        """
        self.advance(now)
        if self._debts:
            return self.entries[0][0] + self.per
        due = now
        requests = self.requests + call.requests - self.max_requests
        tokens = self.tokens + call.tokens - self.max_tokens
        if requests > 0 or tokens > 0:
            for since, of_requests, of_tokens in self.entries:
                requests -= of_requests
                tokens -= of_tokens
                due = max(due, since + self.per)  # see `_count_from`
                if requests <= 0 and tokens <= 0:
                    break
        if self._pace:
            due = max(due, self._full_again - (self._burst - call.requests) * self._pace)
        return due

    def admit(self, call: Call, now: float) -> None:
        """Count `call`, which is due."""
        call.place = self._add(now, call.requests, call.tokens)
        if self._pace:
            self._full_again = max(self._full_again, now) + call.requests * self._pace

    def start(self, call: Call, now: float) -> None:
        """Count from now on a call that was admitted before and resumes now."""
        if self._pace:
            self._keep_pace(now)
        self._count_from(now, call)

    def undo(self, call: Call) -> None:
        """Forget a call that was admitted and will not resume."""
        self._subtract(call.place, call.requests, call.tokens)
        self._full_again -= call.requests * self._pace

    def settle(self, call: Call, tokens: float, now: float) -> None:
        """Set the tokens of an admitted call to `tokens`."""
        debt = call.debt
        more = tokens - call.tokens - (debt.tokens if debt else 0)
        if more > MOST_WINDOWS * self.max_tokens:
            message = (
                f"settle(): tokens={tokens!r} would take more than {MOST_WINDOWS:,} windows "
                "to repay"
            )
            raise ValueError(message)
        self.advance(now)
        if more > 0:
            if debt is None:
                debt = call.debt = Debt()
            debt.tokens += more
            debt.owed += more
            self._debts[debt] = None
        else:
            self._give_back(call, -more)
        self.advance(now)

    def advance(self, now: float) -> None:
        """Drop the entries that have expired by `now`, and let owed tokens take their room."""
        entries = self.entries
        if self._pace and self._unstarted:
            self._keep_pace(now)
        while entries and entries[0][0] + self.per <= now:
            if self._unstarted and next(iter(self._unstarted)).place <= self.last + 1 - len(
                entries
            ):
                # The loop was blocked for a whole window: these calls resume now at the earliest.
                self._count_from(now, *self._unstarted)
                break
            since, requests, tokens = entries.popleft()
            self.requests -= requests
            self.tokens -= tokens
            if self._debts:
                self._repay(since + self.per)
        if not entries:
            self.requests = self.tokens = 0  # without a remainder of rounding
        if self._debts:
            self._repay(now)
        self.many_from = self.last + 1 - len(entries) + PARTS
        self.fast_requests = -1 if self._pace or self._debts else self.max_requests

    def _repay(self, now: float) -> None:
        """Let owed tokens take the room in the window."""
        while self._debts and (room := self.max_tokens - self.tokens) > 0:
            debt = next(iter(self._debts))
            part = min(room, debt.owed)
            debt.owed -= part
            debt.parts.append((self._add(now, 0, part), part))
            if not debt.owed:
                del self._debts[debt]

    def _give_back(self, call: Call, tokens: float) -> None:
        """Return tokens of `call`, those counted last first."""
        if debt := call.debt:
            part = min(tokens, debt.owed)
            debt.owed -= part
            debt.tokens -= part
            tokens -= part
            if not debt.owed:
                self._debts.pop(debt, None)
            while tokens > 0 and debt.parts:
                place, size = debt.parts.pop()
                part = min(tokens, size)
                if part < size:
                    debt.parts.append((place, size - part))
                self._subtract(place, 0, part)
                debt.tokens -= part
                tokens -= part
        self._subtract(call.place, 0, tokens)
        call.tokens -= tokens

    def _add(self, since: float, requests: float, tokens: float) -> int:
        """Add an entry for `per` seconds; return its place. Called in order of time."""
        if since <= self.merges_until:
            last, of_requests, of_tokens = self.entries[-1]
            since = max(last, since)  # owed tokens may be older: see `_count_from`
            self.entries[-1] = (since, of_requests + requests, of_tokens + tokens)
        else:
            self.entries.append((since, requests, tokens))
            self.last += 1
            if self.last >= self.many_from:
                self.merges_until = since + self.per / PARTS
        self.requests += requests
        self.tokens += tokens
        return self.last

    def _subtract(self, place: int, requests: float, tokens: float) -> None:
        entry = place - self.last - 1
        if -entry <= len(self.entries):  # else it has expired
            since, of_requests, of_tokens = self.entries[entry]
            self.entries[entry] = (since, of_requests - requests, of_tokens - tokens)
            self.requests -= requests
            self.tokens -= tokens

    def _keep_pace(self, now: float) -> None:
        """Space the next call from the admitted ones, which resume now at the earliest.

        The loop may have been blocked since their admission.
        """
        requests = sum(call.requests for call in self._unstarted)
        self._full_again = max(self._full_again, now + requests * self._pace)

    def _count_from(self, now: float, *calls: Call) -> None:
        """Let admitted calls count from now on.

        An entry may then be younger than the next one, which is dropped only after it.
        """
        for call in calls:
            entry = call.place - self.last - 1
            _, requests, tokens = self.entries[entry]
            self.entries[entry] = (now, requests, tokens)
