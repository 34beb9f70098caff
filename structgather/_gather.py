"""`gather_structured`: asyncio.gather that leaves no child running."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from structgather import _adopt, _failures, _stuck
from structgather._arguments import (
    calling_task,
    check_awaitables,
    check_limit,
    check_seconds,
    places,
)
from structgather._gathered import FUNCTION, Gathered, Outcomes
from structgather._one import One
from structgather._queued import Queue
from structgather._scope import Scope
from structgather._timers import ChildTimeouts
from structgather._unstarted import close_unstarted, refuse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterable, Sequence
    from types import TracebackType
    from typing import TypeAlias

    from structgather._failures import Failure
    from structgather._gathered_types import (
        Gathered1,
        Gathered2,
        Gathered3,
        Gathered4,
        Gathered5,
        Gathered6,
    )
    from structgather._outcome import Outcome
    from structgather._policy import Unsuccessful

    _T1 = TypeVar("_T1")
    _T2 = TypeVar("_T2")
    _T3 = TypeVar("_T3")
    _T4 = TypeVar("_T4")
    _T5 = TypeVar("_T5")
    _T6 = TypeVar("_T6")

    _Awaitable: TypeAlias = asyncio.Future["_T"] | Awaitable["_T"]

_T = TypeVar("_T")


class _Gather:
    """The policy: the value of every child, or the first failure."""

    _scope: Scope
    _values: list[Any]
    #: By their time; and the first one's traceback, as far as it is the child's.
    _failures: list[Failure]
    _traceback: TracebackType | None
    #: For outcomes: how long each successful child took, and how the others finished.
    _elapsed: list[float | None] | None = None
    _unsuccessful: dict[int, Outcome[Any]]
    #: With a limit, and the children that take room: those that are not adopted.
    _queue: Queue | None = None
    _queued: set[int]
    _return_exceptions = False

    def __init__(self, arguments: tuple[Awaitable[Any], ...]) -> None:
        self._arguments = arguments

    def __del__(self) -> None:
        # Cancelled before its first step, the call has not run a line:
        #     asyncio.create_task(gather_structured(a(), b())).cancel()
        if self._arguments:
            close_unstarted(self._arguments)

    async def gather_structured(
        self,
        return_exceptions: bool,  # noqa: FBT001 - only called below
        exception_group: bool,  # noqa: FBT001
        limit: int | None,
        child_timeout: float | None,
        *,
        plain: bool,
    ) -> Any:  # noqa: ANN401 - the overloads say what
        # No argument may be in a local variable: the traceback of what is raised refers to this
        # frame, and an adopted Task refers to its exception.
        try:
            if not plain:
                limit, child_timeout = _check_options(
                    return_exceptions, exception_group, limit, child_timeout
                )
            check_awaitables(FUNCTION, self._arguments, calling_task(FUNCTION))
            positions = places(self._arguments)
        except BaseException:
            refuse(self._arguments)
            raise
        scope = self._scope = Scope(FUNCTION, calling_task(FUNCTION), self)
        self._values = [None] * len(self._arguments)
        self._failures = []
        if plain:
            scope.values = self._values
        else:
            self._return_exceptions = return_exceptions
            outcomes = return_exceptions or exception_group
            self._prepare(scope, limit, child_timeout, outcomes=outcomes)
        try:
            async with scope.group:
                self._start(positions)
                while scope.unfinished:
                    await scope.join()
        except GeneratorExit:
            scope.abandon()
            raise
        except BaseException as error:  # noqa: BLE001 - raised below
            scope.raised_by_group(error)
        if scope.unfinished:
            await _adopt.join_remaining(scope)
        del scope
        return self._result(positions, exception_group)

    def _prepare(
        self, scope: Scope, limit: int | None, child_timeout: float | None, *, outcomes: bool
    ) -> None:
        if outcomes:
            elapsed: list[float | None] = [None] * len(self._arguments)
            self._elapsed = elapsed
            self._unsuccessful = {}
        if limit is not None or child_timeout is not None:
            scope.started_at = {}
        if limit is not None:
            self._queue = Queue(scope, limit)
        if child_timeout is not None:
            scope.timeouts = ChildTimeouts(scope, child_timeout)

    def _start(self, positions: list[int] | None) -> None:
        indices: Sequence[int] = range(len(self._arguments))
        awaitables: Sequence[Awaitable[Any]] = self._arguments
        if positions is not None:  # duplicates run once
            indices = [index for index in indices if positions[index] == index]
            awaitables = [self._arguments[index] for index in indices]
        if self._queue is None:
            self._scope.start(indices, awaitables)
            return
        # Adopted children run already: they take no room.
        running = [index for index in indices if asyncio.isfuture(self._arguments[index])]
        self._queued = set(indices).difference(running)
        self._scope.start(running, [self._arguments[index] for index in running])
        queued = [index for index in indices if index in self._queued]
        self._queue.start(queued, [self._arguments[index] for index in queued])

    def on_value(self, index: int, value: Any) -> None:  # noqa: ANN401 - the child's
        self._values[index] = value
        if self._elapsed is not None:
            self._elapsed[index] = self._scope.elapsed(index)
        if self._queue is not None and index in self._queued:
            self._queue.freed()

    def on_error(self, kind: Unsuccessful, index: int, error: Any, by_us: bool) -> None:  # noqa: ANN401, FBT001
        scope = self._scope
        if self._elapsed is not None:
            self._unsuccessful[index] = kind(error, index, scope.elapsed(index))
        if by_us:
            if (nested := _failures.inside(error)) is not None:
                self._failures.append((index, nested))
        elif self._return_exceptions or scope.stopping:
            self._values[index] = error
            self._failures.append((index, error))
        else:
            scope.stopping = True
            if asyncio.current_task(scope.loop) is not None:
                # It is the child's last step: adopted children that are done have failed before.
                _adopt.settle_finished(scope)
            self._failures.append((index, error))
            self._traceback = _failures.traceback_of(self._failures[0][1])
            scope.stop_after_first_steps()
        if self._queue is not None and index in self._queued:
            self._queue.freed()

    def on_abort(self) -> None:
        pass

    def on_abandon(self) -> None:
        pass

    def _result(self, positions: list[int] | None, exception_group: bool) -> list[Any]:  # noqa: FBT001
        error = self._scope.close()
        values, failures = self._values, self._failures
        if error is None and not failures and self._elapsed is None:
            self._arguments = ()
            return _spread(values, positions)
        several = len(self._arguments) > 1
        name = _stuck.describe(self._arguments[failures[0][0]]) if failures else ""
        if error is not None or self._queue is not None:
            close_unstarted(self._arguments)
        self._arguments = ()
        del self._scope, self._values, self._failures
        self._queue = None
        outcomes: Iterable[Outcome[Any]] = ()
        if self._elapsed is not None:
            every = range(len(values)) if positions is None else positions
            outcomes = Outcomes(values, self._elapsed, self._unsuccessful, every)
            del self._unsuccessful
        if error is None and self._return_exceptions:
            return Gathered(_spread(values, positions), outcomes)
        try:
            if error is not None:
                _failures.note_others(error, FUNCTION, failures)
            elif exception_group and failures:
                raise _failures.group(FUNCTION, failures, tuple(outcomes))
            elif failures:
                index, error = failures[0]
                _failures.set_traceback(error, self._traceback)
                if several:
                    _failures.note_raised_by(error, FUNCTION, index, name)
                _failures.note_others(error, FUNCTION, failures)
            else:
                return _spread(values, positions)
            _failures.raise_unchanged(error)
        finally:
            del error, failures, outcomes, values, self  # the traceback refers to this frame


def _spread(values: list[Any], positions: list[int] | None) -> list[Any]:
    return values if positions is None else [values[position] for position in positions]


def _check_options(
    return_exceptions: bool,  # noqa: FBT001 - only called here
    exception_group: bool,  # noqa: FBT001
    limit: int | None,
    child_timeout: float | None,
) -> tuple[int | None, float | None]:
    if return_exceptions and exception_group:
        message = (
            f"{FUNCTION}(): return_exceptions and exception_group exclude each other; the result "
            "of return_exceptions=True has .exception_group() and .raise_failures()"
        )
        raise ValueError(message)
    if limit is not None:
        limit = check_limit(FUNCTION, limit)
    if child_timeout is not None:
        child_timeout = check_seconds(FUNCTION, "child_timeout", child_timeout)
    return limit, child_timeout


# As typeshed has it for asyncio.gather: overlapping overloads are the only way to have acceptable
# types in all cases. So the result of a few arguments is typed as a tuple, though it is a list.
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    /,
    *,
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[_T1]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    /,
    *,
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[_T1, _T2]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    /,
    *,
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[_T1, _T2, _T3]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    aw4: _Awaitable[_T4],
    /,
    *,
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[_T1, _T2, _T3, _T4]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    aw4: _Awaitable[_T4],
    aw5: _Awaitable[_T5],
    /,
    *,
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[_T1, _T2, _T3, _T4, _T5]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    aw4: _Awaitable[_T4],
    aw5: _Awaitable[_T5],
    aw6: _Awaitable[_T6],
    /,
    *,
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[_T1, _T2, _T3, _T4, _T5, _T6]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    *aws: _Awaitable[_T],
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> list[_T]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    aw1: _Awaitable[_T1],
    /,
    *,
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Gathered1[_T1]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    /,
    *,
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Gathered2[_T1, _T2]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    /,
    *,
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Gathered3[_T1, _T2, _T3]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    aw4: _Awaitable[_T4],
    /,
    *,
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Gathered4[_T1, _T2, _T3, _T4]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    aw4: _Awaitable[_T4],
    aw5: _Awaitable[_T5],
    /,
    *,
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Gathered5[_T1, _T2, _T3, _T4, _T5]: ...
@overload
async def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    aw4: _Awaitable[_T4],
    aw5: _Awaitable[_T5],
    aw6: _Awaitable[_T6],
    /,
    *,
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Gathered6[_T1, _T2, _T3, _T4, _T5, _T6]: ...
@overload
async def gather_structured(
    aw1: _Awaitable[_T1],
    /,
    *,
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[_T1 | BaseException]: ...
@overload
async def gather_structured(
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    /,
    *,
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[_T1 | BaseException, _T2 | BaseException]: ...
@overload
async def gather_structured(
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    /,
    *,
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[_T1 | BaseException, _T2 | BaseException, _T3 | BaseException]: ...
@overload
async def gather_structured(
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    aw4: _Awaitable[_T4],
    /,
    *,
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[_T1 | BaseException, _T2 | BaseException, _T3 | BaseException, _T4 | BaseException]: ...
@overload
async def gather_structured(
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    aw4: _Awaitable[_T4],
    aw5: _Awaitable[_T5],
    /,
    *,
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[
    _T1 | BaseException,
    _T2 | BaseException,
    _T3 | BaseException,
    _T4 | BaseException,
    _T5 | BaseException,
]: ...
@overload
async def gather_structured(
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    aw4: _Awaitable[_T4],
    aw5: _Awaitable[_T5],
    aw6: _Awaitable[_T6],
    /,
    *,
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> tuple[
    _T1 | BaseException,
    _T2 | BaseException,
    _T3 | BaseException,
    _T4 | BaseException,
    _T5 | BaseException,
    _T6 | BaseException,
]: ...
@overload
async def gather_structured(
    *aws: _Awaitable[_T],
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Gathered[_T | BaseException]: ...
@overload
async def gather_structured(
    *aws: _Awaitable[_T],
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> list[_T | BaseException]: ...
def gather_structured(
    *aws: Awaitable[Any],
    return_exceptions: bool = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, Any]:
    """Run awaitables concurrently and return their values, or raise the first failure.

    A drop-in replacement for `await asyncio.gather(...)`. Differences:

    - When the call returns or raises, every child has finished. After a failure, or when the caller
      is cancelled, the children still running are cancelled, and joined before anything is raised.
    - The first failure is raised as the same object that the child raised, with those of its
      siblings in its notes.
    - A bad argument is refused before anything has started.
    - Without `await` nothing happens: the result is a coroutine, not a Future that runs already.
      Pass it to `asyncio.timeout`, `wait_for`, `shield`, `create_task` or `run` as usual.

    Args:
        *aws: Coroutines, Tasks, Futures or other awaitables. One that is given several times runs
            once and fills each position. A Task or Future is adopted: it is cancelled and joined
            like any child, unless it is wrapped in `asyncio.shield`.
        return_exceptions: Let every child run to completion and put the exceptions in place of the
            values, in a `Gathered`: a list that can also return or raise the failures as a group.
        exception_group: Raise a `ChildFailures` (an `ExceptionGroup`) of all failures, also of a
            single one; its `.outcomes` also has what succeeded.
        limit: How many children may run at a time; the others have no Task until there is room.
            Tasks and Futures run already and take no room.
        child_timeout: Seconds that each child may take, counted from its own start; for Tasks and
            Futures, from the call. A late child is cancelled and joined, and has then failed with a
            `TimeoutError` that names it, unless it returns, or raises something else, in spite of
            that. With 0 nothing is started.

    Returns:
        A list (typed as a tuple for up to six arguments) of the values in the order of the
        arguments; with `return_exceptions=True` a `Gathered`.

    Raises:
        BaseException: The first failure by time. A child that a third party cancelled has failed
            with CancelledError.
        TimeoutError: The first failure is that of a child that exceeded `child_timeout`.
        ChildFailures: All failures, with `exception_group=True`. It is a `BaseExceptionGroup` if
            one of them is not an `Exception`.
        asyncio.CancelledError: The caller was cancelled.
        KeyboardInterrupt, SystemExit: Raised in a child; also with `return_exceptions`.
        TypeError, ValueError: An argument is not awaitable, belongs to a different event loop, or
            is out of range. Coroutines among the arguments are closed.
        RuntimeError: There is no running event loop, or an argument is the calling task, or a
            Task that waits for it.
    """
    plain = (
        not return_exceptions and not exception_group and limit is None and child_timeout is None
    )
    if plain and len(aws) == 1:
        return One(FUNCTION, aws).gather_structured()
    if not aws:
        return _nothing(return_exceptions, exception_group, limit, child_timeout)
    return _Gather(aws).gather_structured(
        return_exceptions, exception_group, limit, child_timeout, plain=plain
    )


async def _nothing(
    return_exceptions: bool,  # noqa: FBT001 - only called above
    exception_group: bool,  # noqa: FBT001
    limit: int | None,
    child_timeout: float | None,
) -> list[Any]:
    # Common where the number of arguments is computed.
    asyncio.get_running_loop()
    _check_options(return_exceptions, exception_group, limit, child_timeout)
    return Gathered() if return_exceptions else []


_Gather.gather_structured.__qualname__ = One.gather_structured.__qualname__ = FUNCTION
_nothing.__name__ = _nothing.__qualname__ = FUNCTION
