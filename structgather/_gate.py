"""The queue behind `RateLimit`: which call is admitted when.

The rules:

1.  An admission takes everything it needs at one instant of the loop's clock, or nothing.
2.  First come, first served: only the head of the queue is considered. Calls resume in the
    order in which they were admitted.
3.  A call that is cancelled before it resumes has consumed nothing.
4.  A call that was admitted and has not resumed is still subject to `pause` and `update`: it goes
    back to the head of the queue.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

from structgather._group import is_closed
from structgather._window import WAITING, Window

if TYPE_CHECKING:
    import asyncio

    from structgather._window import Call


class Gate:
    """Admits calls in order of arrival.

    Args:
        concurrent: How many calls may run at a time.
        requests: How many requests may be admitted in `per` seconds, or infinity.
        tokens: How many tokens may be admitted in `per` seconds, or infinity.
        per: The length of the window in seconds.
        burst: How many requests may be admitted at one instant, or infinity.
    """

    __slots__ = (
        "_due",
        "_paused_at",
        "_unstarted",
        "ceiling",
        "loop",
        "max_concurrent",
        "paused_until",
        "queue",
        "running",
        "timer",
        "window",
    )

    def __init__(
        self, concurrent: float, requests: float, tokens: float, per: float, burst: float
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        #: The waiting calls, in order. Not a deque: a cancelled one is removed from the middle.
        self.queue: OrderedDict[Call, asyncio.Future[None]] = OrderedDict()
        #: Calls that were admitted and have not resumed, in order.
        self._unstarted: dict[Call, None] = {}
        #: How many calls were admitted and have not finished.
        self.running: int = 0
        self.max_concurrent: float = concurrent
        #: With this many running, a new call must use `admits`: 0 in a pause, after an update, and
        #: while there are calls that have not resumed.
        self.ceiling: float = concurrent
        self.window: Window | None = None
        if requests != math.inf or tokens != math.inf:
            self.window = Window(requests, tokens, per, burst, self._unstarted)
        self.paused_until: float = -math.inf
        #: When a pause was last requested, however short.
        self._paused_at = -math.inf
        self.timer: asyncio.TimerHandle | None = None
        #: When the timer fires.
        self._due = math.inf

    @property
    def waiting(self) -> int:
        """The number of waiting calls."""
        return sum(not waiter.done() for waiter in self.queue.values())

    @property
    def loop_in_use(self) -> asyncio.AbstractEventLoop | None:
        """The loop on which calls run and wait, if it is not closed."""
        return None if self.loop is None or is_closed(self.loop) else self.loop

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use `loop` from now on, unless another one is in use."""
        if self.loop_in_use is not None:
            message = "RateLimit is bound to a different event loop: make one for each loop"
            raise RuntimeError(message)
        # The first use, or the next `asyncio.run` of a program: what was admitted still counts, but
        # none of those calls is running any more.
        self.loop = loop
        self.running = 0
        self.queue.clear()
        self._unstarted.clear()
        self.timer = None
        newest = max(self._paused_at, self.window.newest() if self.window else -math.inf)
        # On another clock, assume that the newest event was just now.
        ahead = max(0, newest - loop.time())
        self._paused_at -= ahead
        self.paused_until -= ahead
        if self.window:
            self.window.shift(ahead, loop.time())

    def refusal(self, call: Call) -> str:
        """Return why `call`, which fitted when it was made, can never be admitted; or ""."""
        window = self.window
        if window is None:
            return ""
        if call.requests > window.max_weight:
            name, weight, most = "requests", call.requests, window.max_weight
        elif call.tokens > window.max_tokens:
            name, weight, most = "tokens", call.tokens, window.max_tokens
        else:
            return ""
        return (
            f"RateLimit: a call with {name}={weight:.10g} can never be admitted: "
            f"update() has lowered the limit to {most:.10g}"
        )

    def admits(self, call: Call, now: float) -> bool:
        """Admit `call` if it is due and no other call is waiting."""
        if self.queue or self._unstarted or self.due(call, now) > now or self.refusal(call):
            return False
        self.ceiling = self.max_concurrent
        self._enter(call, now)
        return True

    async def wait(self, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until `call` is admitted.

        Raises:
            ValueError: It can never be admitted, since the limits have changed.
        """
        if refusal := self.refusal(call):
            raise ValueError(refusal)
        call.place = WAITING
        call.refusal = ""
        self.queue[call] = loop.create_future()
        if len(self.queue) == 1 and not self._unstarted:
            self.admit()  # sets the timer
        try:
            # In a loop: `pause` and `update` put a call that has not resumed back into the queue.
            while (waiter := self.queue.get(call)) is not None:
                await waiter
        except BaseException:
            if not is_closed(loop):  # else it is collected, long after any call could resume
                self._give_up(call)
            raise
        if call.refusal:
            raise ValueError(call.refusal)
        if self.window:
            self.window.start(call, loop.time())
        del self._unstarted[call]
        if self.queue and self.timer is None:
            self.admit()  # a call that arrived before this one resumed

    def due(self, call: Call, now: float) -> float:
        """Return when to check `call` at the head again; infinity: when a call has finished."""
        if self.running >= self.max_concurrent:
            return math.inf
        if now < self.paused_until:
            return self.paused_until
        return self.window.due(call, now) if self.window else now

    def admit(self) -> None:
        """Admit the calls at the head of the queue that are due, and set the timer for the rest."""
        queue = self.queue
        next_due = math.inf
        loop = self.loop_in_use
        if loop is None:
            queue.clear()  # no call could resume
            return
        while queue:
            call, waiter = next(iter(queue.items()))
            if waiter.cancelled():
                del queue[call]
                continue
            now = loop.time()
            due = self.due(call, now)
            if due > now:
                next_due = due
                break
            del queue[call]
            self._enter(call, now)
            self._unstarted[call] = None
            self.ceiling = 0
            waiter.set_result(None)
        self._wake_at(next_due)

    def pause(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Admit no call for so many seconds from now on."""
        if loop is not self.loop:
            self.bind(loop)
        now = loop.time()
        until = now + seconds
        self._paused_at = now
        if until <= self.paused_until:
            return
        self.paused_until = until
        self.ceiling = 0
        self._put_back(loop)
        self.admit()

    def update(self, concurrent: float, requests: float, tokens: float) -> None:
        """Change the limits, and refuse the waiting calls that can never fit any more."""
        loop = self.loop_in_use
        if loop is not None:
            self._put_back(loop)
        self.max_concurrent = concurrent
        self.ceiling = 0
        if self.window:
            self.window.update(requests, tokens, None if loop is None else loop.time())
        if loop is not None:
            for call, waiter in [*self.queue.items()]:
                call.refusal = self.refusal(call)
                if call.refusal:
                    del self.queue[call]
                    if not waiter.cancelled():
                        waiter.set_result(None)
            self.admit()

    def _enter(self, call: Call, now: float) -> None:
        self.running += 1
        if self.window:
            self.window.admit(call, now)
        else:
            call.place = 0

    def _leave(self, call: Call) -> None:
        """Undo the admission of a call that has not resumed."""
        del self._unstarted[call]
        self.running -= 1
        if self.window:
            self.window.undo(call)

    def _give_up(self, call: Call) -> None:
        """Remove a call that was cancelled before it resumed."""
        if call in self._unstarted:
            self._leave(call)
        behind = call in self.queue and next(iter(self.queue)) is not call
        self.queue.pop(call, None)
        if not behind:  # otherwise the head has no more room than before
            self.admit()

    def _put_back(self, loop: asyncio.AbstractEventLoop) -> None:
        """Return to the head of the queue the calls that were admitted and have not resumed.

        async with limit() as call:  # as this block is left, a waiting call is admitted
            response = await http.get(url)
        if response.status_code == 429:
            limit.pause(10)          # it must not start now
        """
        for call in reversed([*self._unstarted]):
            self._leave(call)
            self.queue[call] = loop.create_future()
            self.queue.move_to_end(call, last=False)

    def _wake_at(self, due: float) -> None:
        if self.timer is not None:
            if self._due == due:  # timers of uvloop and Qt have no `when()`
                return
            self.timer.cancel()
            self.timer = None
        if due != math.inf and self.loop is not None:
            self.timer = self.loop.call_at(due, self._on_time)
            self._due = due

    def _on_time(self) -> None:
        self.timer = None
        self.admit()
