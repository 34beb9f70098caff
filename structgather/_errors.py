"""The exceptions that a call raises, besides the failures of its children."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from structgather._ancestors import Joins

if TYPE_CHECKING:
    from typing import TypeAlias

    Interrupt: TypeAlias = KeyboardInterrupt | SystemExit

#: Exceptions that propagate out of the event loop; never recorded as an outcome.
INTERRUPTS = (KeyboardInterrupt, SystemExit)

#: Set on an interrupt once `_raise` has raised it in the event loop.
_REACHED_LOOP = "_structgather_reached_loop"


def give_to_loop(
    loop: asyncio.AbstractEventLoop, interrupt: BaseException
) -> asyncio.Handle | None:
    """Let the event loop raise the interrupt of a child, once for all nested calls."""
    return None if _REACHED_LOOP in vars(interrupt) else loop.call_soon(_raise, interrupt)


def _raise(interrupt: BaseException) -> None:
    vars(interrupt)[_REACHED_LOOP] = True
    try:
        raise interrupt
    finally:
        del interrupt  # its traceback refers to this frame: no cycle


def rank(error: BaseException | None) -> int:
    """Rank what a call may raise: interrupts, then cancellations, then the rest."""
    return 2 if isinstance(error, INTERRUPTS) else int(isinstance(error, asyncio.CancelledError))


class CallErrors:
    """The exception thrown into the body of a call, and the interrupt of a child."""

    _thrown: BaseException | None = None
    _interrupt: Interrupt | None = None
    #: The event loop raises the first interrupt of a child, unless the call does so before.
    _raising: asyncio.Handle | None = None

    def __bool__(self) -> bool:
        return self._thrown is not None or self._interrupt is not None

    def keep(self, error: BaseException) -> bool:
        """Keep what was thrown in, and return True, unless something else must be raised."""
        if isinstance(error, asyncio.CancelledError):
            # Its traceback is of no interest, and refers to the frames of the call.
            error.__traceback__ = None
        before = self._thrown
        if isinstance(before, Exception) and rank(error) == 1:
            error.__cause__ = error.__cause__ or before
        elif before is not None and rank(error) < 2:  # noqa: PLR2004
            return False
        self._thrown = error
        return True

    def replace(self, error: BaseException) -> None:
        """Keep an error for which the caller was cancelled, in place of that cancellation."""
        if not isinstance(self._thrown, INTERRUPTS):
            self._thrown = error

    def keep_interrupt(self, interrupt: Interrupt) -> None:
        """Keep the first interrupt of a child."""
        if self._interrupt is None:
            self._interrupt = interrupt

    def raise_in(self, loop: asyncio.AbstractEventLoop, interrupt: Interrupt) -> None:
        """Let the event loop raise the interrupt of a child, as it does that of a Task."""
        raising = give_to_loop(loop, interrupt)
        if self._interrupt is None:  # the call raises the first one only
            self._raising = raising

    def take(self) -> BaseException | None:
        """Return the exception to raise, if any; what was thrown in is raised once.

        A cancellation of the caller takes precedence over the interrupt of a child: the event loop
        has raised that already, or will, from `_raise`.
        """
        error, self._thrown = self._thrown, None
        first = isinstance(error, (asyncio.CancelledError, *INTERRUPTS))
        if self._interrupt is not None and not first:
            error = self._interrupt
            if self._raising is not None:
                self._raising.cancel()
        return error

    def take_last(self) -> BaseException | None:
        """Return the exception to raise, if any, and forget everything."""
        error = self.take()
        self._interrupt = self._raising = None
        return error

    def is_interrupted_only(self) -> bool:
        """Return whether the only error is a child's interrupt that the event loop has raised."""
        return (
            self._thrown is None
            and self._interrupt is not None
            and _REACHED_LOOP in vars(self._interrupt)
        )


class Call(Joins):
    """A call, whose `errors` are made when there is one."""

    __slots__ = ("_errors",)

    _errors: CallErrors | None

    @property
    def errors(self) -> CallErrors:
        """What the call raises, besides failures of its children."""
        if self._errors is None:
            self._errors = CallErrors()
        return self._errors

    def take_last_error(self) -> BaseException | None:
        """Return the exception to raise, if any, and forget everything."""
        return None if self._errors is None else self._errors.take_last()
