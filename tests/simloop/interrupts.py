"""An exception at line 1, 2, 3, ... of some source files, until no line is left to raise it.

A KeyboardInterrupt can strike in any line, and so can a MemoryError; in those of a library too. It
surfaces where Python's rules have it: in the call, in a child's Task, in a callback, in what
cancels the caller, in a destructor. Where a KeyboardInterrupt leaves the loop, the loop is run on
afterwards, as a REPL or `asyncio.run` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import sys
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeAlias

from simloop.choosers import First
from simloop.loop import Deadlock, DeterministicLoop
from simloop.run import Program, listening
from simloop.worlds import Over

Interrupt: TypeAlias = type[BaseException]

#: With the label of the child, the name of a Task that a call is to adopt. It is a child once the
#: call has added a done callback to it.
ADOPTED = "adopted "

#: A program that takes more handles, points and ticks spins.
_MOST_STEPS = 2_000


class Place(NamedTuple):
    """Where an exception was raised."""

    code: CodeType
    line: int

    @property
    def is_first_of_its_function(self) -> bool:
        """Whether nothing of the function has run: no Python code of its own can protect it."""
        lines = [line for _, _, line in self.code.co_lines() if line is not None]
        return self.line == next(line for line in lines if line != self.code.co_firstlineno)

    def __str__(self) -> str:
        file = self.code.co_filename.rpartition("/")[2]
        return f"{file}:{self.line} {self.code.co_qualname}"


class Lines(ABC):
    """Raises an exception at one line event of some files, counted from when it is armed."""

    def __init__(self, is_of_interest: Callable[[str], bool]) -> None:
        self._is_of_interest = is_of_interest
        self._count = 0
        self._error: BaseException | None = None
        self.place: Place | None = None

    def arm(self, at: int, error: BaseException) -> None:
        """Raise `error` at the `at`th line event from now on, the first of which is number 1."""
        self._count, self._error, self.place = at, error, None

    def disarm(self) -> None:
        """Raise nothing any more."""
        self._count, self._error = 0, None

    def _line(self, code: CodeType, line: int) -> None:
        if self._error is None:
            return
        self._count -= 1
        if self._count == 0:
            error, self._error = self._error, None
            self.place = Place(code, line)
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame

    @abstractmethod
    def watching(self) -> contextlib.AbstractContextManager[None]:
        """Receive line events inside of the block."""


if sys.version_info >= (3, 12):
    _events = sys.monitoring.events

    class _MonitoredLines(Lines):
        # A line of another file costs nothing after its first event.

        def _event(self, code: CodeType, line: int) -> object:
            if not self._is_of_interest(code.co_filename):
                return sys.monitoring.DISABLE
            self._line(code, line)
            return None

        @contextlib.contextmanager
        def watching(self) -> Iterator[None]:
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

    def arm(self, at: int, error: BaseException) -> None:
        super().arm(at, error)
        sys.settrace(self._call)

    def disarm(self) -> None:
        super().disarm()
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._event if self._is_of_interest(frame.f_code.co_filename) else None

    def _event(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self._line(frame.f_code, frame.f_lineno)
        return self._event

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        before = sys.gettrace()
        try:
            yield
        finally:
            sys.settrace(before)


def lines_of(is_of_interest: Callable[[str], bool]) -> Lines:
    """Make a `Lines` for the files whose names are of interest."""
    if sys.version_info >= (3, 12):
        return _MonitoredLines(is_of_interest)
    return _TracedLines(is_of_interest)


@dataclass(slots=True)
class Interrupted:
    """One run, and what became of it."""

    place: Place
    #: Children that were not done when their call was over, or whose cleanup had not run.
    orphans: list[str]
    #: Whether the loop was idle while the caller waited, so that the caller was cancelled.
    idle: bool
    #: Whether the caller has not finished after that.
    hangs: bool
    #: Tasks that are not done when the program is over.
    left: list[str]
    #: Children that saw a second cancellation.
    cancelled_twice: list[str]
    #: Whether the exception surfaced: from the call, the loop, its handler or a destructor.
    surfaced: bool

    def __str__(self) -> str:
        found = {
            "orphans": self.orphans,
            "idle": self.idle,
            "hangs": self.hangs,
            "left": self.left,
            "cancelled twice": self.cancelled_twice,
            "not surfaced": not self.surfaced,
        }
        return f"{self.place}: {', '.join(f'{name} {what}' for name, what in found.items() if what)}"


class _Loop(DeterministicLoop):
    """Looks at what is pending at the moment when a call is over."""

    def __init__(self) -> None:
        super().__init__(First(), max_steps=_MOST_STEPS)
        self.orphans: list[str] = []

    def log(self, who: str, what: str, detail: Any = None) -> None:
        super().log(who, what, detail)
        if what == "over" and isinstance(detail, Over):
            pending = [task for task in self.live_tasks() if task.get_name() in detail.pending]
            foreign = [task.get_name() for task in pending if _is_not_adopted(task)]
            names = [task.get_name() for task in pending]
            self.orphans += [name for name in names if name not in foreign]
            self.orphans += [
                f"cleanup of {child}"
                for child in self._without_cleanup()
                if ADOPTED + child not in foreign
            ]

    def _without_cleanup(self) -> Iterator[str]:
        """Yield the children of the call that is over which have started and not ended."""
        children: tuple[str, ...] = ()
        started, ended = set[str](), set[str]()
        for event in self.events:
            if event.who == self.events[-1].who and event.what == "entered":
                children = event.detail
            elif event.what == "started":
                started.add(event.who)
            elif event.what == "ended" and event.detail.how != "closed":
                ended.add(event.who)
        return (child for child in children if child in started - ended)


def _is_not_adopted(task: asyncio.Task[Any]) -> bool:
    return task.get_name().startswith(ADOPTED) and not task._callbacks


def interrupts(
    program: Program, error: Interrupt, lines: Lines, *, eager: bool = False
) -> Iterator[Interrupted]:
    """Run the program once for each line event, and raise `error` there."""
    said: list[str] = []
    gc_was_on = gc.isenabled()
    gc.disable()  # what it collects in the middle of a run, may run lines in any other place
    try:
        with lines.watching(), listening(said, said):
            for at in itertools.count(1):
                run = _interrupted(program, error(f"at event {at}"), at, lines, said, eager=eager)
                if run is None:
                    return
                yield run
                if at % 100 == 0:
                    gc.collect(1)
    finally:
        if gc_was_on:
            gc.enable()


def _interrupted(
    program: Program, error: BaseException, at: int, lines: Lines, said: list[str], *, eager: bool
) -> Interrupted | None:
    loop = _Loop()  # type: ignore[abstract]  # no I/O
    if eager:
        loop.start_eagerly()
    del said[:]
    raised: list[BaseException | None] = []
    idle = hangs = False
    loop.outer = outer = loop.create_task(program(), name="outer")
    lines.arm(at, error)
    try:
        while not outer.done() and not hangs:
            try:
                loop.run_until_done(outer)
            except (KeyboardInterrupt, SystemExit) as interrupt:
                raised.append(interrupt)
            except Deadlock:
                hangs, idle = idle, True
                outer.cancel()
    finally:
        lines.disarm()
    left = [
        task.get_name()
        for task in asyncio.all_tasks(loop)
        if task is not outer and not _is_not_adopted(task)
    ]
    try:
        if lines.place is None:
            return None
        if outer.done() and not outer.cancelled():
            raised.append(outer.exception())
        cancelled = Counter(event.who for event in loop.events if event.what == "cancelled")
        return Interrupted(
            lines.place,
            orphans=loop.orphans,
            idle=idle,
            hangs=hangs,
            left=left,
            cancelled_twice=[child for child, times in cancelled.items() if times > 1],
            surfaced=error in raised or _is_told(error, [*raised, *loop.handler_calls, *said]),
        )
    finally:
        with contextlib.suppress(RuntimeError):
            loop.reap()
        loop.close()
        loop.outer = None
        raised.clear()
        del error, outer


def _is_told(error: BaseException, places: Iterable[object]) -> bool:
    text = str(error)
    return any(
        text in "".join(traceback.format_exception(place))
        if isinstance(place, BaseException)
        else text in str(place)
        for place in places
    )
