"""What asyncio requires of an event loop: queues, tasks, hooks. `loop` decides which handle runs.

Methods that `asyncio.BaseEventLoop` has behave as they do there.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import sys
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The nested scopes of a world in which a task was created: "/scope/scope of a". A task inherits it
# with its context.
born_in: ContextVar[str] = ContextVar("born_in", default="")
ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class LoopFuture(asyncio.Future[T]):
    """A future hashed by birth number: the order of a set must not depend on addresses."""

    def __init__(self, *, loop: BaseLoop, label: str = "") -> None:
        self.birth = next(loop.births)
        self.label = label
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.birth


class LoopTask(asyncio.Task[T]):
    """A task hashed, and by default named, by its birth number."""

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        loop: BaseLoop,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        # Before super().__init__, which already puts the task into a set, or runs it (eager start).
        self.birth = next(loop.births)
        self.born_in = born_in.get()
        loop.task_refs.append(weakref.ref(self))
        super().__init__(coro, loop=loop, name=name or f"Task-{self.birth}", **kwargs)

    def __hash__(self) -> int:
        return self.birth


class BaseLoop(asyncio.AbstractEventLoop):
    """A loop with virtual time and without I/O, threads or signals; a subclass says how it runs."""

    def __init__(self) -> None:
        self.births = itertools.count(1)
        self.task_refs: list[weakref.ref[LoopTask[Any]]] = []
        self.handler_calls: list[str] = []
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._running = self._stopping = self._closed = self._debug = False
        self._exception_handler: ExceptionHandler | None = None
        self._task_factory: Any = None
        self._asyncgens: list[weakref.ref[AsyncGenerator[Any, Any]]] = []

    def _drive(self) -> None:
        """Run handles until `_stopping` is set, then to the end of the iteration."""
        raise NotImplementedError

    # -- queues ---------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        # Of two timers for one instant the older one runs first: real clocks advance in between.
        heapq.heappush(self._timers, (when, next(self.births), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # skipped when its time has come

    # -- tasks and futures ----------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        return LoopFuture(loop=self)

    def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        factory = self._task_factory
        if factory is None:
            return LoopTask(coro, loop=self, **kwargs)
        # Until 3.13 a factory is not given the name.
        name = kwargs.pop("name", None) if sys.version_info < (3, 14) else None
        task: asyncio.Task[Any] = factory(self, coro, **kwargs)
        if name is not None:
            task.set_name(name)
        return task

    def set_task_factory(self, factory: Any) -> None:
        if sys.version_info >= (3, 12) and factory is asyncio.eager_task_factory:
            # It would create plain tasks, whose hashes are addresses.
            factory = asyncio.create_eager_task_factory(cast("Any", LoopTask))
        self._task_factory = factory

    def start_eagerly(self) -> None:
        """Run each task's first step where it is created."""
        if sys.version_info < (3, 12):
            raise RuntimeError("there are no eager tasks before 3.12")
        else:  # noqa: RET506 - only so is it clear to type checkers
            self.set_task_factory(asyncio.eager_task_factory)

    def get_task_factory(self) -> Any:
        return self._task_factory

    def live_tasks(self, inside: str = "") -> list[LoopTask[Any]]:
        """The tasks that are not done, oldest first, of a scope and the scopes inside it."""
        tasks = [ref() for ref in self.task_refs]
        return [
            task
            for task in tasks
            if task is not None and not task.done() and f"{task.born_in}/".startswith(f"{inside}/")
        ]

    # -- running --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _as_running_loop(self) -> Generator[None]:
        if self._running or asyncio._get_running_loop() is not None:
            raise RuntimeError("a loop is already running in this thread")
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(self._asyncgen_started, self._asyncgen_dropped)
        asyncio._set_running_loop(self)
        self._running = True
        try:
            yield
        finally:
            self._running = False
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def _stop(self, _future: object) -> None:
        self._stopping = True

    def run_until_complete(self, future: Any) -> Any:
        future = asyncio.ensure_future(future, loop=self)
        self.run_until_done(future)
        return future.result()

    def run_until_done(self, future: asyncio.Future[Any]) -> None:
        """Run to the end of the iteration in which `future` is done; do not retrieve its result."""
        self._stopping = False
        future.add_done_callback(self._stop)
        try:
            with self._as_running_loop():
                self._drive()
        finally:
            future.remove_done_callback(self._stop)
            del future  # a traceback may keep this frame

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        if self._running:
            raise RuntimeError("Cannot close a running event loop")
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        pass  # there is none

    # -- hooks ----------------------------------------------------------------------------------

    def _asyncgen_started(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._asyncgens.append(weakref.ref(generator))

    def _asyncgen_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self._closed:
            self.call_soon(self.create_task, generator.aclose())

    async def shutdown_asyncgens(self) -> None:
        generators = [ref() for ref in self._asyncgens]
        self._asyncgens.clear()
        for generator in generators:
            if generator is not None:
                await generator.aclose()

    def get_debug(self) -> bool:
        return self._debug

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        self._debug = enabled

    def get_exception_handler(self) -> ExceptionHandler | None:
        return self._exception_handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        pass  # recorded already

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        # Text only: the call itself must keep nothing alive.
        self.handler_calls.append(f"{context.get('message')}: {context.get('exception')!r}")
        if self._exception_handler is not None:
            self._exception_handler(self, context)
