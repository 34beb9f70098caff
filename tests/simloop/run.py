"""One run of a program on the deterministic loop, and everything that it left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import sys
import warnings
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias, TypedDict, Unpack

from simloop.loop import Chooser, Deadlock, DeterministicLoop, Event, Mode

_RUNS = itertools.count(1)

Program: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]


@dataclass(slots=True)
class Run:
    """What one run did. Only `value` and `error` keep objects of the program alive."""

    mode: Mode
    eager: bool
    choices: list[tuple[int, int]]
    cancel_steps: list[int]
    cancels_accepted: int
    events: list[Event]
    steps: int
    time: float
    handler_calls: list[str]
    interrupts: list[str]
    value: Any = None
    error: BaseException | None = None
    deadlock: str | None = None
    pending: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    unraisable: list[str] = field(default_factory=list[str])
    in_cycles: list[str] = field(default_factory=list[str])
    memo: object = None  # for the oracles: the log, sorted
    _released: bool = False
    _tracked: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    @property
    def cancelled(self) -> bool:
        """Whether the outer task was cancelled."""
        return isinstance(self.error, asyncio.CancelledError)

    @property
    def finished(self) -> str:
        """How the outer task finished, for messages."""
        if self.error is None:
            return f"the value {self.value!r}"
        return repr(self.error)

    @property
    def schedule(self) -> str:
        """The run as text, for `simloop.choosers.replay`."""
        choices = ".".join(f"{choice}/{options}" for choice, options in self.choices)
        cancels = "".join(f"@c{step}" for step in self.cancel_steps)
        return f"{self.mode}{'-eager' if self.eager else ''}:{choices}{cancels}"

    def tracked(self, label: str) -> Any:
        """The object that the program tracked as `label`, or None if it is gone."""
        return next((ref() for name, ref in self._tracked if name == label), None)

    def alive(self) -> list[str]:
        """The labels of the tracked objects that still exist."""
        return [label for label, ref in self._tracked if ref() is not None]

    def release(self) -> None:
        """Drop the outcome: after this nothing of the program may be alive."""
        if not self._released:
            self._released = True
            with listening(self.warnings, self.unraisable):
                self.value = self.error = None


@contextlib.contextmanager
def listening(warned: list[str], unraisable: list[str]) -> Generator[None]:
    """Record warnings, above all "never awaited", and what destructors raise."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda args: unraisable.append(f"{args.err_msg}: {args.exc_value!r}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            sys.unraisablehook = hook
            warned.extend(str(warning.message) for warning in caught)


class Options(TypedDict, total=False):
    """How to run a program; every function that runs one takes these."""

    mode: Mode  # when the outside acts: "fifo" (when the loop is idle) or "racy" (always)
    cancels: int  # how often the outside may cancel the outer task
    eager: bool  # whether tasks start where they are created (3.12 and later)
    deadlock_ok: bool  # whether a deadlock is recorded in the Run, not raised
    max_steps: int  # this many handles, points and ticks are a deadlock


def run(program: Program, chooser: Chooser, **options: Unpack[Options]) -> Run:
    """Run `program()` as the outer task.

    KeyboardInterrupt and SystemExit propagate from the loop as they do from asyncio's; they are
    recorded, and the loop runs on until the outer task is done. Tasks that still run then are
    cancelled until they are done, also when the chooser raises.
    """
    mode, eager = options.get("mode", "fifo"), options.get("eager", False)
    loop = DeterministicLoop(  # type: ignore[abstract]  # no I/O, as asyncio's own loops lack some
        chooser,
        mode=mode,
        cancels=options.get("cancels", 0),
        max_steps=options.get("max_steps", 20_000),
    )
    result = record_of(loop, mode, eager=eager)
    if next(_RUNS) % 100 == 0:
        _collect_what_runs_left()
    gc_was_on = gc.isenabled()
    # No collection during a run: the one at the end would not see what it promoted.
    gc.disable()
    try:
        with listening(result.warnings, result.unraisable):
            try:
                _run_outer(program, loop, result)
            finally:
                loop.reap()
                loop.close()
                loop.outer = None
                before = result.alive()
                # On 3.12 and 3.13 a never-retrieved error can hide in a cycle until then.
                gc.collect(0)
                if before:
                    after = set(result.alive())
                    result.in_cycles = [label for label in before if label not in after]
    finally:
        if gc_was_on:
            gc.enable()
    if result.deadlock is not None and not options.get("deadlock_ok"):
        raise Deadlock(f"{result.deadlock} [{result.schedule}]")
    return result


def record_of(loop: DeterministicLoop, mode: Mode, *, eager: bool) -> Run:
    """Return a `Run` that the loop is going to fill, and have it start tasks eagerly if it must."""
    if eager:
        loop.start_eagerly()
    return Run(
        mode=mode,
        eager=eager,
        choices=loop.choices,
        cancel_steps=loop.cancel_steps,
        cancels_accepted=0,
        events=loop.events,
        steps=0,
        time=0.0,
        handler_calls=loop.handler_calls,
        interrupts=[],
        _tracked=loop.tracked,
    )


def _collect_what_runs_left() -> None:
    """Free the cycles of earlier runs.

    What an outcome held at the end of its run is out of the young generation, and between runs
    too little is allocated for an automatic collection. Tasks of different runs have equal hashes,
    so a hundred thousand of them would make asyncio's own sets slow.
    """
    with listening([], []):
        gc.collect(1)


def _run_outer(program: Program, loop: DeterministicLoop, result: Run) -> None:
    # The task is in no local variable: on some versions the traceback of a child's exception leads
    # to this frame, and so would keep the task, and the exceptions in it, alive.
    loop.outer = loop.create_task(program(), name="outer")
    loop.track("the outer task", loop.outer)
    try:
        while not loop.outer.done():
            try:
                loop.run_until_done(loop.outer)
            except (KeyboardInterrupt, SystemExit) as interrupt:
                result.interrupts.append(repr(interrupt))
    except Deadlock as error:
        result.deadlock = str(error)
    result.pending = [task.get_name() for task in loop.live_tasks() if task is not loop.outer]
    result.cancels_accepted = loop.cancels_accepted
    result.steps = loop.step
    result.time = loop.time()
    if not loop.outer.done():
        return
    if not loop.outer.cancelled():
        result.error = loop.outer.exception()
        result.value = None if result.error else loop.outer.result()
        return
    try:
        loop.outer.result()
    except asyncio.CancelledError as error:
        # Without the frame of this function, which would close a cycle.
        result.error = error.with_traceback(_below(error.__traceback__))


def _below(traceback: TracebackType | None) -> TracebackType | None:
    return traceback and traceback.tb_next
