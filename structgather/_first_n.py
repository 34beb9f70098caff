"""`first_n_within`: the first values, within a time, and how every child finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, cast, final

from structgather import _adopt, _failures
from structgather._arguments import (
    calling_task,
    check_count,
    check_iterable,
    check_limit,
    check_seconds,
)
from structgather._failures import INPUT
from structgather._intake import Intake
from structgather._outcome import Ok
from structgather._scope import Scope
from structgather._unstarted import refuse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterable

    from structgather._failures import ChildFailures, Failure
    from structgather._outcome import Cancelled, Failed, Outcome, TimedOut

T = TypeVar("T")

FUNCTION = "first_n_within"

Reason: TypeAlias = Literal["met", "deadline", "exhausted"]


@final
class FirstN(Generic[T]):
    """The result of `first_n_within`. Nothing that a child returned or raised is missing.

    Attributes:
        values: The values that count, at most n, in the order in which they arrived.
        outcomes: How each child finished, in input order, including those that never started.
        reason: Why the call ended: "met", n values arrived; "deadline", the time was over;
            "exhausted", all children had finished.
    """

    __slots__ = ("_failed", "_short", "outcomes", "reason", "values")

    values: list[T]
    outcomes: list[Outcome[T]]
    reason: Reason

    def __init__(
        self,
        values: list[T],
        outcomes: list[Outcome[T]],
        reason: Reason,
        failed: list[Failure],
        short: Exception | None,
    ) -> None:
        self.values = values
        self.outcomes = outcomes
        self.reason = reason
        self._failed = failed
        self._short = short

    @property
    def met(self) -> bool:
        """Whether as many values arrived in time as were asked for."""
        return self.reason == "met"

    def exception_group(self) -> ChildFailures[BaseException] | None:
        """Return the failures of all children as one new group, in input order; None without any.

        Failures are exceptions that a child raised, also while it was being cancelled, timeouts,
        and children that a third party cancelled. A child that this call cancelled is none.
        """
        if not self._failed:
            return None
        return _failures.group(FUNCTION, self._failed, self.outcomes)

    def raise_if_short(self) -> list[T]:
        """Return the values if as many arrived as were asked for, otherwise raise the failures.

        Returns:
            `values`.

        Raises:
            ChildFailures: The failures in input order, as an `ExceptionGroup` unless one is not an
                `Exception`. There is a TimeoutError among them if the time was over, and a
                LookupError if nothing failed and there were just not enough children.
        """
        if self._short is None:
            return self.values
        lacking = [error for _, error in sorted(self._failed, key=lambda failure: failure[0])]
        if isinstance(self._short, TimeoutError):
            if not any(isinstance(error, TimeoutError) for error in lacking):
                lacking.insert(0, self._short)
        elif not lacking:
            lacking.append(self._short)
        raise _failures.ChildFailures(str(self._short), lacking, self.outcomes)

    def __repr__(self) -> str:
        return f"FirstN(values={self.values!r}, reason={self.reason!r}, outcomes={self.outcomes!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.values, self.outcomes, self.reason, self._failed, self._short)


class _FirstN(Intake):
    """The policy: as many values as are asked for, or all that arrive in time."""

    __slots__ = ("_failed", "_iterable", "_n", "_outcomes", "_reason", "_values", "_within")

    _values: list[Any]
    _outcomes: list[Outcome[Any] | None]
    _failed: list[Failure]
    _reason: Reason | None

    def __init__(self, iterable: Iterable[Awaitable[Any]]) -> None:
        self._iterable = iterable
        self._reason = None

    def __del__(self) -> None:
        # Cancelled before its first step, the call has not run a line.
        refuse(self._iterable)

    async def first_n_within(
        self, n: int | None, within: float | None, limit: int | None, child_timeout: float | None
    ) -> FirstN[Any]:
        # As in gather_structured, no argument may be in a local variable.
        try:
            check_iterable(FUNCTION, self._iterable)
            self._n = check_count(FUNCTION, "n", n)
            self._within = check_seconds(FUNCTION, "within", within)
            limit = check_limit(FUNCTION, limit)
            child_timeout = check_seconds(FUNCTION, "child_timeout", child_timeout)
            self.open(Scope(FUNCTION, calling_task(FUNCTION), self), limit, child_timeout)
        except BaseException:
            refuse(self._iterable)
            raise
        self._values = []
        self._outcomes = []
        self._failed = []
        scope = self.scope
        try:
            async with scope.group:
                self._start()
                while scope.unfinished:
                    await scope.join()
                    self.pull()
        except GeneratorExit:
            scope.abandon()
            raise
        except BaseException as error:  # noqa: BLE001 - raised below
            scope.raised_by_group(error)
        if scope.unfinished:
            await _adopt.join_remaining(scope)
        del scope
        self.pull()
        self.close_source()
        self._iterable = ()
        return self._result()

    def _start(self) -> None:
        try:
            self.take(self._iterable, expired=self._within == 0)
        except Exception as error:  # noqa: BLE001 - the input is refused; raised by the call
            refuse(self._iterable)
            self.source_failed(error)

    def expect(self, count: int) -> None:
        if self.source is None:
            self._outcomes = [None] * count
        if self._wanted() == 0:
            self._met()
        elif self._within:
            self.end_after(self._within)

    def _wanted(self) -> int | None:
        # None while it is not known how many inputs there are.
        if self._n is not None:
            return self._n
        return len(self._outcomes) if self.source is None else self.source.total

    def next_index(self) -> int:
        self._outcomes.append(None)
        return len(self._outcomes) - 1

    def has_room(self) -> bool:
        return self.limit is None or len(self.scope.unfinished) < self.limit

    def on_value(self, index: int, value: Any) -> None:  # noqa: ANN401 - the child's
        scope = self.scope
        self._outcomes[index] = Ok(value, index, scope.elapsed(index))
        if not (scope.stopping or index in scope.cancelled_at):  # a late child that did not stop
            self._values.append(value)
            if len(self._values) == self._wanted():
                self._met()
        self._wake_to_pull()

    def record(self, outcome: Failed | TimedOut | Cancelled, *, by_us: bool) -> None:
        self._outcomes[outcome.index] = outcome
        if not by_us:
            self._failed.append((outcome.index, outcome.error))
        elif (nested := _failures.inside(outcome.error)) is not None:
            self._failed.append((outcome.index, nested))
        self._wake_to_pull()

    def _wake_to_pull(self) -> None:
        # The caller's own Task runs the caller's generator. For the last child the scope wakes it.
        if self.source is not None and (self.scope.unfinished or not self.source.exhausted):
            self.scope.wake()

    def on_abort(self) -> None:
        pass

    def is_missing(self) -> bool:
        return True

    def time_is_over(self, *, missing: bool) -> None:
        if missing and not self.scope.stopping:
            self._reason = "deadline"
            self.time_out(self._within or 0)

    def _met(self) -> None:
        self._reason = "met"
        self.scope.stop_after_first_steps()

    def _result(self) -> FirstN[Any]:
        reason, short = self._reason_and_short()
        values, outcomes, failed = self._values, self._outcomes, self._failed
        error, source_error = self.scope.close(), self.source_error
        if error is None:
            error = source_error
        elif source_error is not None:
            failed = [*failed, (INPUT, source_error)]
        del source_error, self.scope, self.source_error, self._values, self._outcomes, self._failed
        if error is None:
            # All children have settled, and those that never started have an outcome too.
            return FirstN(values, cast("list[Outcome[Any]]", outcomes), reason, failed, short)
        try:
            _failures.note_others(error, FUNCTION, failed)
            _failures.raise_unchanged(error)
        finally:
            del error, values, outcomes, failed  # the traceback refers to this frame: no cycle

    def _reason_and_short(self) -> tuple[Reason, Exception | None]:
        wanted, arrived = self._wanted(), len(self._values)
        reason = self._reason or ("met" if arrived == wanted else "exhausted")
        short: Exception | None = None
        if reason == "deadline":
            asked = "all" if wanted is None else wanted
            short = TimeoutError(
                f"{FUNCTION}(): {arrived} of {asked} values arrived within {self._within:g} s"
            )
        elif reason == "exhausted":
            short = LookupError(
                f"{FUNCTION}(): {arrived} of {wanted} values arrived before "
                "all children had finished"
            )
        return reason, short


def first_n_within(
    aws: Iterable[Awaitable[T]],
    n: int | None = None,
    within: float | None = None,
    *,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, FirstN[T]]:
    """Run awaitables concurrently and return the first `n` values that arrive in `within` seconds.

    A deadline is a result here, and so is a child's failure: what has arrived is kept.

        found = await first_n_within((search(engine) for engine in engines), 3, within=2.0)
        for page in found.values: ...

    What it replaces, and how it differs:

    - `asyncio.wait(..., return_when=FIRST_COMPLETED)` in a loop: it returns pending Tasks, and
      cancels nothing, also at its timeout. Here the losers are cancelled, and joined before the
      call returns; the cost is O(len(aws)), not O(len(aws) * n).
    - `asyncio.timeout` around `asyncio.gather`: here what arrived in time is not lost.
    - Both: a failing child does not end the call; only n values, the deadline, or that all
      children have finished.

    Args:
        aws: An iterable of coroutines, Tasks, Futures or other awaitables, none given twice. With
            `limit` a generator is pulled lazily, never more than `limit` children ahead.
        n: How many values are wanted; None for as many as there are inputs. With 0 nothing starts.
        within: Seconds for the whole call; None for no limit. What arrives in the tick of the
            deadline is in time. With 0 only Tasks and Futures that are done already count; a
            generator is not pulled with `limit`.
        limit: How many children may run at a time; None for all at once. Tasks and Futures count,
            although they run already.
        child_timeout: Seconds that each child may take, counted from its own start; for Tasks and
            Futures, from their adoption. A late child is cancelled and joined, and is `TimedOut`.

    Returns:
        A `FirstN`: `.values`, `.outcomes` (one per input that was taken, in input order), `.met`,
        `.reason`, `.exception_group()`, `.raise_if_short()`. A child that the deadline stopped is
        TimedOut; one that was not needed any more is Cancelled; so is one that never started, with
        `elapsed` 0. A value that a loser, or a late child, returned while it was being cancelled is
        in `.outcomes`, not in `.values`.

    Raises:
        asyncio.CancelledError: The caller was cancelled.
        KeyboardInterrupt, SystemExit: Raised in a child.
        TypeError, ValueError: An argument is out of range, or an input is not awaitable, belongs to
            a different event loop, or is given twice. Children that have started are joined first.
        Exception: Raised by `aws` itself while it is iterated over; the children are joined first.
        RuntimeError: There is no running event loop, or an input is the calling task, or a Task
            that waits for it.
    """
    return _FirstN(aws).first_n_within(n, within, limit, child_timeout)


_FirstN.first_n_within.__qualname__ = FUNCTION
