"""A deterministic event loop with virtual time: a chooser makes every choice.

asyncio leaves open only the order in which the environment acts: which awaited event happens next,
when a timer expires, when the caller is cancelled. Here the environment ("the outside") is
explicit. A program awaits `point(label)`, a future that the outside completes; at each boundary
between two handles the chooser takes one of

    run the head of the ready queue    complete a pending point
    tick the clock to the next timer   cancel the outer task

In mode `fifo` the outside acts when the loop is idle, in mode `racy` at every boundary, as batches
of I/O events and `call_soon_threadsafe` can. In both, a cancellation may arrive at every boundary.
Both modes are sound: they produce only orders that asyncio can produce. The ready queue is never
permuted, and timers join it only where an iteration of asyncio's own loop begins.

Choice 0 is always what asyncio would do, so a program that leaves no choice runs here as it does on
the stock loop. A program that can never finish raises `Deadlock` immediately.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import weakref
from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

from simloop.base_loop import BaseLoop, LoopFuture

Mode = Literal["fifo", "racy"]

# In mode fifo the outside would never act in a program that keeps the loop busy (a cancel scope
# that cancels again in each iteration). No selector allows that: after so many iterations it acts.
PATIENCE = 50


class Deadlock(AssertionError):  # noqa: N818 - it says what happened, as TimeoutError does
    """The program can never finish: nothing is ready, timed or pending, or it spins forever."""


class Chooser(ABC):
    """Makes every choice of one run."""

    @abstractmethod
    def begin(self, cancels: int) -> None:
        """The run starts; it may cancel the outer task at most `cancels` times."""

    @abstractmethod
    def cancel(self, step: int) -> bool:
        """Whether to cancel the outer task now, before step `step`; asked again if so."""

    @abstractmethod
    def choose(self, options: int) -> int:
        """One of `options` (2 or more); 0 is what asyncio would do."""


class Event(NamedTuple):
    """One thing that a program logged. `detail` is plain data: it must keep nothing alive."""

    step: int
    time: float
    who: str
    what: str
    detail: Any = None


class DeterministicLoop(BaseLoop):
    """The loop. `simloop.run.run` drives it; `asyncio.Runner` can drive it too."""

    def __init__(
        self, chooser: Chooser, *, mode: Mode = "fifo", cancels: int = 0, max_steps: int = 20_000
    ) -> None:
        super().__init__()
        self.outer: asyncio.Task[Any] | None = None  # the task that the outside may cancel
        self.recording = True
        # What a run leaves behind. Nothing in here may keep a task or an exception alive.
        self.step = 0
        self.choices: list[tuple[int, int]] = []  # each with the number of options it had
        self.cancel_steps: list[int] = []
        self.cancels_accepted = 0
        self.events: list[Event] = []
        self.tracked: list[tuple[str, weakref.ref[Any]]] = []

        self._chooser = chooser
        self._racy = mode == "racy"
        self._cancels_left = cancels
        self._max_steps = max_steps
        self._batch = 0  # handles left in the current iteration
        self._iterations = 0  # since the outside last acted
        self._points: list[LoopFuture[None]] = []
        chooser.begin(cancels)

    # -- what programs use ----------------------------------------------------------------------

    def point(self, label: str) -> LoopFuture[None]:
        """A future that the outside completes."""
        future: LoopFuture[None] = LoopFuture(loop=self, label=label)
        self._points.append(future)
        return future

    def log(self, who: str, what: str, detail: Any = None) -> None:
        """Record an event of the program; `detail` must be plain data."""
        if self.recording:
            self.events.append(Event(self.step, self._now, who, what, detail))

    def track(self, label: str, thing: object) -> None:
        """Refer to `thing` weakly: it must be gone when the last reference to the outcome is.

        Objects without weak references, such as KeyboardInterrupt, are ignored.
        """
        if self.recording and hasattr(thing, "__weakref__"):
            self.tracked.append((label, weakref.ref(thing)))

    # -- the heart ------------------------------------------------------------------------------

    def _drive(self) -> None:
        ready = self._ready
        asked = -1
        while True:
            self._drop_cancelled()
            if not self._batch:
                if self._stopping:
                    return
                if self._timers:
                    self._collect_due_timers()
            if self._cancels_left and asked != self.step:
                asked = self.step
                self._maybe_cancel()
                if ready and ready[0].cancelled():
                    continue  # cancelling the outer task may cancel a handle that it scheduled
            waiting = not ready or (self._iterations > PATIENCE and not self._batch)
            if (
                (waiting or self._racy)
                and not self._stopping
                and self._outside_acts(waiting=waiting)
            ):
                continue
            if not self._batch:
                self._batch = len(ready)
                self._iterations += 1
            self._batch -= 1
            self._count_step()
            ready.popleft()._run()

    def _drop_cancelled(self) -> None:
        ready = self._ready
        while ready and ready[0].cancelled():
            ready.popleft()
            self._batch = max(0, self._batch - 1)

    def _outside_acts(self, *, waiting: bool) -> bool:
        """Let the chooser take one of the outside's options; False if it takes the head."""
        self._points = points = [point for point in self._points if not point.done()]
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        # During an iteration a timer may be due and not yet collected: then the clock stands still.
        tick = bool(timers) and timers[0][0] > self._now
        outside = len(points) + tick
        if not outside:
            if not self._ready:
                raise Deadlock(f"nothing is ready, timed or pending: {self._waiting_tasks()}")
            return False
        options = outside if waiting else outside + 1
        choice = 0
        if options > 1:
            choice = self._chooser.choose(options)
            self.choices.append((choice, options))
        choice -= options - outside
        if choice < 0:
            return False
        self._count_step()
        self._iterations = 0
        if choice < len(points):
            points[choice].set_result(None)
        else:
            self._now = self._timers[0][0]
        return True

    def _maybe_cancel(self) -> None:
        while self._cancels_left and self.outer is not None and not self.outer.done():
            if not self._chooser.cancel(self.step):
                break
            self._cancels_left -= 1
            self.cancel_steps.append(self.step)
            self.cancels_accepted += self.outer.cancel(f"outer cancel {len(self.cancel_steps)}")

    def _collect_due_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if not timer.cancelled():
                self._ready.append(timer)

    def _count_step(self) -> None:
        self.step += 1
        if self.step > self._max_steps:
            raise Deadlock(f"still spinning after {self._max_steps} steps: {self._waiting_tasks()}")

    def _waiting_tasks(self) -> str:
        lines: list[str] = []
        for task in self.live_tasks():
            frames = task.get_stack(limit=1)
            place = f"{frames[0].f_code.co_qualname}:{frames[0].f_lineno}" if frames else "?"
            lines.append(f"{task.get_name()} at {place}")
        return ", ".join(lines) or "no task is left"

    def reap(self) -> None:
        """Cancel every task that is left until it is done; nothing is recorded."""
        self.recording = False
        self._cancels_left = 0
        left = self.live_tasks()
        if not (left or self._ready or self._timers or self._points):
            return
        with self._as_running_loop():
            for _ in range(20):
                for task in self.live_tasks():
                    task.cancel("reaped")
                    del task
                while self._reap_one_iteration():
                    pass
                if not self.live_tasks():
                    break
        for task in left:
            if task.done() and not task.cancelled():
                task.exception()  # or it would be reported as never retrieved
            del task  # a traceback may keep this frame
        del left
        if self.live_tasks():
            raise RuntimeError(f"tasks that ignore every cancellation: {self._waiting_tasks()}")

    def _reap_one_iteration(self) -> bool:
        """Run what is ready, complete all points, advance the clock; False if nothing is left."""
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled():
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    handle._run()
        self._points = points = [point for point in self._points if not point.done()]
        for point in points:
            point.set_result(None)
        if self._timers:
            self._now = max(self._now, self._timers[0][0])
            self._collect_due_timers()
        return bool(self._ready)


def current() -> DeterministicLoop:
    """The loop that runs the caller."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, DeterministicLoop)
    return loop


def point(label: str) -> LoopFuture[None]:
    """A future that the outside of the running deterministic loop completes."""
    return current().point(label)
