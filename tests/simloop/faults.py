"""Faults at step 1, 2, 3, ... of a program, until no step is left.

There are two kinds of steps. A *child's step* is one resumption of a child: the fault replaces the
value or the cancellation that would have been sent into it, also in its cleanup. A *boundary* is
between two callbacks of the loop: there the loop is stopped, interrupted or closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import signal
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, Literal, TypeAlias, Unpack

from simloop.choosers import First, Steps
from simloop.loop import DeterministicLoop, current
from simloop.run import Options, Program, Run, _run_outer, listening, record_of, run
from simloop.worlds import Behaviour, Child, ChildError

Wrap: TypeAlias = Callable[[Behaviour], Behaviour]
Scenario: TypeAlias = Callable[[Wrap], Program]  # makes a world whose children are all wrapped
Fault: TypeAlias = Callable[[str], BaseException]  # what is raised in the child of that label


def a_failure(label: str) -> BaseException:
    return ChildError(label)


def no_memory(label: str) -> BaseException:
    return MemoryError(label)


def too_deep(label: str) -> BaseException:
    """A RecursionError as Python raises it, with all of its frames."""

    def deeper() -> None:
        deeper()

    try:
        deeper()
    except RecursionError as error:
        return error
    raise AssertionError


def an_interrupt(label: str) -> BaseException:
    return KeyboardInterrupt(label)


def an_exit(label: str) -> BaseException:
    return SystemExit(label)


class Injector:
    """Counts the steps of all children of one run, and injects the fault into one of them.

    Without a fault it counts only cancellations, and lets a child ignore one: the child cleans up,
    awaits one more point, and returns.
    """

    def __init__(self, fault: Fault | None, at: int) -> None:
        self._fault = fault
        self._at = at
        self._count = 0
        self.fired = False

    def wrap(self, behaviour: Behaviour) -> Behaviour:
        """Count the steps of a behaviour."""

        async def behave(child: Child) -> Any:
            return await _Stepped(behaviour(child), child.label, self)

        return behave

    def fault(self, label: str) -> BaseException | None:
        """Return what to raise in this step of a child, if anything."""
        if self._fault is not None and self._is_next():
            return self._fault(label)
        return None

    def ignores(self, arrived: BaseException | None) -> bool:
        """Whether to ignore this cancellation."""
        if self._fault is not None or not isinstance(arrived, asyncio.CancelledError):
            return False
        return self._is_next()

    def _is_next(self) -> bool:
        self._count += 1
        if self._count == self._at:
            self.fired = True
            return True
        return False


class _Stepped:
    """Drives a coroutine step by step."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], label: str, faults: Injector) -> None:
        self._coroutine = coroutine
        self._label = label
        self._faults = faults

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, label, faults = self._coroutine, self._label, self._faults
        arrived: BaseException | None = None
        ignoring = False
        try:
            while True:
                ignoring = ignoring or faults.ignores(arrived)
                arrived = faults.fault(label) or arrived
                try:
                    future = coroutine.send(None) if arrived is None else coroutine.throw(arrived)
                except StopIteration as stop:
                    return stop.value
                except asyncio.CancelledError:
                    if not ignoring:
                        raise
                    break
                finally:
                    arrived = None  # its traceback refers to this frame
                try:
                    yield future
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - it is the child's to handle
                    arrived = error
        finally:
            coroutine.close()
        yield from current().point(f"{label} runs on")
        return label


def child_faults(
    scenario: Scenario, fault: Fault | None, **options: Unpack[Options]
) -> Iterator[tuple[Run, bool]]:
    """Run with a fault in the 1st, 2nd, 3rd, ... step of the children, until it is not reached."""
    for at in itertools.count(1):
        faults = Injector(fault, at)
        yield run(scenario(faults.wrap), First(), **options), faults.fired
        if not faults.fired:
            return


def child_faults_and_cancellations(
    scenario: Scenario, fault: Fault | None, **options: Unpack[Options]
) -> Iterator[tuple[Run, bool]]:
    """The same with a cancellation of the caller in each run, at each boundary in turn."""
    options["cancels"] = 1
    for at in itertools.count(1):
        ever = False
        for boundary in itertools.count():
            faults = Injector(fault, at)
            result = run(scenario(faults.wrap), Steps(boundary), **options)
            ever = ever or faults.fired
            yield result, faults.fired
            if not result.cancel_steps:
                break
        if not ever:
            return


# Faults of the loop.

How = Literal["stands", "interrupt", "Ctrl-C"]


class _Struck(KeyboardInterrupt):
    """Raised by the loop."""


class StruckLoop(DeterministicLoop):
    """A fault occurs before one step, between two callbacks."""

    def __init__(self, at: int, strike: Callable[[], None]) -> None:
        super().__init__(First())
        self._at = at
        self._strike = strike
        self.fired = False

    def _drop_cancelled(self) -> None:
        if self.step == self._at and not self.fired:
            self.fired = True
            self._batch = 0  # the loop continues with a new iteration
            self.log("the loop", "struck")
            self._strike()
        super()._drop_cancelled()

    def note_cancelled_from_outside(self) -> None:
        """Log that asyncio cancels every child."""
        done = {event.who for event in self.events if event.what == "finished"}
        for who in [event.who for event in self.events if event.what == "started"]:
            if who not in done:
                self.log(who, "cancelled from outside")


def strikes(program: Program, how: How, *, eager: bool = False) -> Iterator[tuple[Run, bool]]:
    """Stop the loop at the 1st, 2nd, 3rd, ... boundary; yield each run, and whether it got there.

    stands     the loop is stopped, and runs on later
    interrupt  KeyboardInterrupt propagates to `asyncio.run`, which cancels and joins all tasks
    Ctrl-C     the signal arrives, and `asyncio.run` cancels the main task
    """
    for at in itertools.count():
        result, fired = _struck(program, at, how, eager=eager)
        yield result, fired
        if not fired:
            return


def _struck(program: Program, at: int, how: How, *, eager: bool) -> tuple[Run, bool]:
    loop = StruckLoop(at, _ctrl_c if how == "Ctrl-C" else _interrupt)  # type: ignore[abstract]  # no I/O
    result = record_of(loop, "fifo", eager=eager)
    gc.disable()
    try:
        with listening(result.warnings, result.unraisable):
            if how == "stands":
                _run_outer(program, loop, result)
                loop.close()
            else:
                result.interrupts = [*_run_and_shut_down(loop, program)]
            loop.outer = None
            before = result.alive()
            gc.collect(0)
            after = set(result.alive())
            result.in_cycles = [label for label in before if label not in after]
    finally:
        gc.enable()
    return result, loop.fired


def _interrupt() -> None:
    raise _Struck


def _ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


async def _main(program: Program) -> None:
    # A failure of the main program while the loop shuts down does not matter here.
    with contextlib.suppress(Exception):
        await program()


def _run_and_shut_down(loop: StruckLoop, program: Program) -> Iterator[str]:
    """Run it as `asyncio.run` does; yield what that raises."""
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                runner.run(_main(program))
            finally:
                loop.note_cancelled_from_outside()
    except KeyboardInterrupt:
        yield "KeyboardInterrupt"


def closings(program: Program, *, eager: bool = False) -> Iterator[tuple[list[str], bool]]:
    """Close the loop at the 1st, 2nd, 3rd, ... boundary, and drop all references to it.

    Yields what asyncio, Python and destructors report, and whether the run got to the boundary.
    """
    for at in itertools.count():
        said: list[str] = []
        gc.disable()
        try:
            with listening(said, said):
                fired = _closed(program, at, said, eager=eager)
                gc.collect(0)
        finally:
            gc.enable()
        yield said, fired
        if not fired:
            return


def _closed(program: Program, at: int, said: list[str], *, eager: bool) -> bool:
    loop = StruckLoop(at, _interrupt)  # type: ignore[abstract]  # no I/O
    loop.handler_calls = said
    if eager:
        loop.start_eagerly()
    loop.outer = loop.create_task(program(), name="outer")
    with contextlib.suppress(KeyboardInterrupt):
        loop.run_until_done(loop.outer)
    loop.close()
    loop.outer = None
    return loop.fired
