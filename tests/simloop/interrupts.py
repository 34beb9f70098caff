"""An exception at line 1, 2, 3, ... of some source functions, until no line is left to raise it.

KeyboardInterrupt and MemoryError can be raised at any line, also of a library: in the call, in a
child's Task, in a callback, in the code that cancels the caller, in a destructor. If a
KeyboardInterrupt stops the loop, the loop is run again afterwards, as a REPL or `asyncio.run` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import CodeType, FrameType
from typing import Any, Literal, NamedTuple, TypeAlias

from simloop.choosers import First
from simloop.loop import Deadlock, DeterministicLoop
from simloop.run import Program, listening
from simloop.worlds import SCOPE, Exited

Interrupt: TypeAlias = Literal["KeyboardInterrupt", "MemoryError", "cancel"]

#: Logged with the label of a child: the name of a Task that a call is to adopt. It is a child once
#: the call has added a done callback to it.
ADOPTED = "adopted "

#: A program that takes more handles, points and ticks spins; and so do watched functions that run
#: more lines after an interrupt.
_MOST_STEPS = 2_000
_MOST_LINES = 20_000


class Place(NamedTuple):
    """Where an exception was raised."""

    code: CodeType
    line: int

    @classmethod
    def first_of(cls, code: CodeType) -> Place:
        """Return the first line of a function, before which none of its own code can protect it."""
        lines = (line for _, _, line in code.co_lines() if line is not None)
        return cls(code, next(line for line in lines if line != code.co_firstlineno))

    def __str__(self) -> str:
        file = self.code.co_filename.rpartition("/")[2]
        return f"{file}:{self.line} {self.code.co_qualname}"


class Lines(ABC):
    """Acts at one line event of some functions, counted from when it is armed."""

    def __init__(self, is_of_interest: Callable[[CodeType], bool]) -> None:
        self._is_of_interest = is_of_interest
        self._count = 0
        self._act: Callable[[], object] | None = None
        self.place: Place | None = None
        self.spins = False

    def arm(self, at: int, act: Callable[[], object]) -> None:
        """Call `act` at the `at`th line event from now on, the first of which is number 1."""
        self._count, self._act, self.place, self.spins = at, act, None, False

    def disarm(self) -> None:
        """Do nothing from now on."""
        self._count, self._act, self.place = 0, None, None

    def _counted_down(self, code: CodeType, line: int) -> None:
        if self._count == 0 and self._act is not None:
            act, self._act = self._act, None
            self.place = Place(code, line)
            act()
        elif self._count < -_MOST_LINES and self.place is not None:
            self.spins = True
            raise Deadlock(f"{self.place}: after that, {_MOST_LINES} lines were run")

    @abstractmethod
    def watching(self) -> contextlib.AbstractContextManager[None]:
        """Receive line events inside the block."""


if sys.version_info >= (3, 12):
    _events = sys.monitoring.events

    class _MonitoredLines(Lines):
        # A line of another function costs nothing after its first event.

        def _event(self, code: CodeType, line: int) -> object:
            if not self._is_of_interest(code):
                return sys.monitoring.DISABLE
            self._count -= 1
            if self._count <= 0:
                self._counted_down(code, line)
            return None

        @contextlib.contextmanager
        def watching(self) -> Generator[None]:
            tool = next(number for number in (3, 4) if sys.monitoring.get_tool(number) is None)
            sys.monitoring.use_tool_id(tool, "interrupts")
            try:
                sys.monitoring.register_callback(tool, _events.LINE, self._event)
                sys.monitoring.set_events(tool, _events.LINE)
                sys.monitoring.restart_events()
                yield
            finally:
                sys.monitoring.set_events(tool, 0)
                sys.monitoring.register_callback(tool, _events.LINE, None)
                sys.monitoring.free_tool_id(tool)


class _TracedLines(Lines):
    # A trace function that raises is removed by Python; it is set anew for each run.

    def __init__(self, is_of_interest: Callable[[CodeType], bool]) -> None:
        super().__init__(is_of_interest)
        # By the ids of code objects, whose hashes are expensive; it keeps them alive.
        self._trace_functions: dict[int, tuple[CodeType, Any]] = {}
        self._trace = self._event

    def arm(self, at: int, act: Callable[[], object]) -> None:
        super().arm(at, act)
        sys.settrace(self._call)

    def disarm(self) -> None:
        super().disarm()
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        known = self._trace_functions.get(id(code))
        if known is None:
            known = (code, self._trace if self._is_of_interest(code) else None)
            self._trace_functions[id(code)] = known
        return known[1]

    def _event(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self._count -= 1
            if self._count <= 0:
                self._counted_down(frame.f_code, frame.f_lineno)
        return self._trace

    @contextlib.contextmanager
    def watching(self) -> Generator[None]:
        before = sys.gettrace()
        try:
            yield
        finally:
            sys.settrace(before)


def lines_of(is_of_interest: Callable[[CodeType], bool]) -> Lines:
    """Make a `Lines` for the functions whose code is of interest."""
    if sys.version_info >= (3, 12):
        return _MonitoredLines(is_of_interest)
    return _TracedLines(is_of_interest)


@dataclass(slots=True)
class Interrupted:
    """One run, and its violations."""

    interrupt: Interrupt
    #: None if no line was left.
    place: Place | None
    #: Children that were not done when their call had returned, or whose cleanup had not run.
    orphans: list[str]
    #: Whether the loop was idle while the caller waited, so that the caller was cancelled.
    idle: bool
    #: Whether the caller has not finished after that.
    hangs: bool
    #: Tasks that are not done when the program has finished.
    left: list[str]
    #: Children that saw a second cancellation.
    cancelled_twice: list[str]
    #: Whether the exception was raised: by the call, the loop, its handler or a destructor. (A
    #: MemoryError may be in an outcome, too.) Or whether the caller finished cancelled.
    surfaced: bool
    #: How the outermost call finished: its result is a value, a cancellation, or an exception.
    ending: str

    def broken(self) -> str:
        """Describe the violations; empty if there are none."""
        found: dict[str, object] = {
            "orphans": self.orphans,
            "hangs": self.hangs,
            "left": self.left,
            "swallowed": self.interrupt != "MemoryError" and not self.surfaced,
        }
        if self.interrupt == "cancel":
            found |= {"idle": self.idle, "cancelled twice": self.cancelled_twice}
        if self.place is None:
            del found["swallowed"]
        said = ", ".join(f"{name} {what}" for name, what in found.items() if what)
        return said and f"{self.interrupt} at {self.place}: {said}"


#: How the Tasks of a run are created. Those of the simulated loop have their own class; "plain"
#: are asyncio's, whose hashes are addresses.
Start: TypeAlias = Literal["lazy", "eager", "plain"]


class _Loop(DeterministicLoop):
    """Records what is pending at the moment when a call returns."""

    def __init__(self, start: Start) -> None:
        super().__init__(First(), max_steps=_MOST_STEPS)
        self.orphans: list[str] = []
        self.ending = ""
        self._plain = start == "plain"
        if start == "eager":
            self.start_eagerly()

    def plain_from_now_on(self) -> None:
        if self._plain:
            self.set_task_factory(_plain_task)

    def pending(self) -> list[asyncio.Task[Any]]:
        """Return the Tasks that are not done, without the caller's own."""
        tasks = asyncio.all_tasks(self) if self._plain else self.live_tasks()
        return [task for task in tasks if task is not self.outer]

    def take_more_steps(self) -> None:
        self._max_steps += _MOST_STEPS

    def cancel_what_is_left(self) -> None:
        """Let the remaining Tasks finish, if they do. A timer may be set again forever."""
        self.recording = False
        with self._as_running_loop():
            for _ in range(10):
                for task in self.pending():
                    task.cancel()
                self._reap_one_iteration()

    def log(self, who: str, what: str, detail: Any = None) -> None:
        super().log(who, what, detail)
        if what == "exited" and isinstance(detail, Exited):
            if who == SCOPE:
                ending = detail.ending
                text = str(ending.what) if ending.how == "raised" else ending.how
                self.ending = re.sub(r"Task-\d+", "a Task", text)  # asyncio counts all its Tasks
            # A nested call returns before the outer one.
            tasks = [
                task for task in self.pending() if who == SCOPE or task.get_name() in detail.pending
            ]
            self.orphans += [task.get_name() for task in tasks if not is_foreign(task)]
            foreign = [task.get_name() for task in tasks if is_foreign(task)]
            self.orphans += [
                f"cleanup of {child}"
                for child in self._without_cleanup()
                if ADOPTED + child not in foreign
            ]

    def _without_cleanup(self) -> Iterator[str]:
        """Yield the children of the returned call that have started and not finished."""
        children: tuple[str, ...] = ()
        started, ended = set[str](), set[str]()
        for event in self.events:
            if event.who == self.events[-1].who and event.what == "entered":
                children = event.detail
            elif event.what == "started":
                started.add(event.who)
            elif event.what == "finished" and event.detail.how != "closed":
                ended.add(event.who)
        return (child for child in children if child in started - ended)


def _plain_task(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)


def is_foreign(task: asyncio.Task[Any]) -> bool:
    """Tell whether a Task that the call is to adopt has not been adopted."""
    return task.get_name().startswith(ADOPTED) and not task._callbacks


def interrupts(
    program: Program, interrupt: Interrupt, lines: Lines, start: Start = "lazy"
) -> Iterator[Interrupted]:
    """Run the program once for each line event, and interrupt it there; last without interrupt."""
    said: list[str] = []
    gc_was_on = gc.isenabled()
    gc.disable()  # a collection during a run could run lines anywhere
    try:
        with lines.watching(), listening(said, said):
            for at in itertools.count(1):
                loop = _Loop(start)  # type: ignore[abstract]  # no I/O
                del said[:]
                run = _interrupted(program, interrupt, at, lines, loop)
                run.surfaced = run.surfaced or any(f"at {at}." in text for text in said)
                yield run
                if run.place is None:
                    break
                if at % 100 == 0:
                    gc.collect(1)
            gc.collect()  # while reports of destructors are recorded
    finally:
        if gc_was_on:
            gc.enable()


def _interrupted(
    program: Program, interrupt: Interrupt, at: int, lines: Lines, loop: _Loop
) -> Interrupted:
    error: BaseException = MemoryError(f"at {at}.")
    if interrupt == "KeyboardInterrupt":
        error = KeyboardInterrupt(f"at {at}.")
    raised: list[BaseException | None] = []
    idle = hangs = False
    loop.outer = outer = loop.create_task(program(), name="outer")
    loop.plain_from_now_on()
    lines.arm(at, outer.cancel if interrupt == "cancel" else partial(_raise, error))
    try:
        while not outer.done() and not hangs:
            try:
                loop.run_until_done(outer)
            except (KeyboardInterrupt, SystemExit) as interruption:
                raised.append(interruption)
            except Deadlock:
                hangs, idle = idle, True
                loop.take_more_steps()  # timers that are set again keep it from being idle
                with contextlib.suppress(KeyboardInterrupt):  # if it was idle by itself
                    outer.cancel()
        hangs = hangs or lines.spins
        place = lines.place
    finally:
        lines.disarm()
    left = [task.get_name() for task in loop.pending() if not is_foreign(task)]
    try:
        surfaced = outer.done() and outer.cancelled()
        if interrupt != "cancel":
            if outer.done() and not outer.cancelled():
                raised.append(outer.exception())
            surfaced = _is_in(error, raised) or any(str(error) in s for s in loop.handler_calls)
        cancelled = Counter(event.who for event in loop.events if event.what == "cancelled")
        return Interrupted(
            interrupt,
            place,
            orphans=loop.orphans,
            idle=idle,
            hangs=hangs,
            left=left,
            cancelled_twice=[child for child, times in cancelled.items() if times > 1],
            surfaced=surfaced,
            ending=loop.ending,
        )
    finally:
        if left or hangs:
            loop.cancel_what_is_left()
        loop.close()
        loop.outer = None
        raised.clear()
        del error, outer  # their tracebacks lead to this frame


def _raise(error: BaseException) -> None:
    try:
        raise error
    finally:
        del error


def _is_in(error: BaseException, raised: Iterable[BaseException | None]) -> bool:
    """Tell whether an exception was raised, or is part of the exception that was raised."""
    pending: list[Any] = [*raised]
    seen = set[int]()
    while pending:
        one = pending.pop()
        if one is error or str(error) in str(getattr(one, "__notes__", "")):
            return True
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        pending += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return False
