"""`gather_structured`: asyncio.gather, with nothing left behind."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from structgather import _failures, _inputs
from structgather._endings import name_as_called
from structgather._gathered import Gathered
from structgather._scope import Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Coroutine, Iterable, Sequence
    from typing import TypeAlias

    from structgather._gathered_types import (
        Gathered1,
        Gathered2,
        Gathered3,
        Gathered4,
        Gathered5,
        Gathered6,
    )

    _T = TypeVar("_T")
    _T1 = TypeVar("_T1")
    _T2 = TypeVar("_T2")
    _T3 = TypeVar("_T3")
    _T4 = TypeVar("_T4")
    _T5 = TypeVar("_T5")
    _T6 = TypeVar("_T6")

    _Awaitable: TypeAlias = asyncio.Future[_T] | Awaitable[_T]

FUNCTION = "gather_structured"

BOTH = (
    f"{FUNCTION}(): return_exceptions and exception_group exclude each other; the result of "
    "return_exceptions=True has .exception_group() and .raise_failures()"
)


class _Gather(Scope):
    """The policy: the value of every child, or the first failure."""

    __slots__ = (
        "_arguments",
        "_context",
        "_earlier",
        "_earlier_failed",
        "_failures",
        "_return_exceptions",
        "_starting",
        "_turns",
        "_values",
        "_waiting",
        "_without_turn",
    )

    function = FUNCTION

    _values: list[Any]
    _failures: list[tuple[int, BaseException]]
    #: Children that had ended before the first failure was heard of, and how many of them failed.
    _earlier: Sequence[int]
    _earlier_failed: int

    # With a limit:

    #: Children that wait for their turn, how many turns are free, and in which context they start.
    _waiting: deque[tuple[int, Awaitable[Any]]]
    _turns: int
    _context: contextvars.Context
    #: Whether some are being started just now.
    _starting: bool
    #: What was handed over, and takes no turn.
    _without_turn: Collection[int]

    def __init__(self, arguments: tuple[Awaitable[Any], ...]) -> None:
        self._arguments = arguments

    def __del__(self) -> None:
        # Where the call is over before its first step, nobody else can start its coroutines:
        #     task = asyncio.create_task(gather_structured(a(), b()))
        #     task.cancel()
        if self._arguments:
            _inputs.close_unstarted(self._arguments)

    async def run(
        self,
        return_exceptions: bool,  # noqa: FBT001 - only called below
        exception_group: bool,  # noqa: FBT001
        limit: int | None,
        child_timeout: float | None,
    ) -> Any:  # noqa: ANN401 - the overloads say what
        try:
            if return_exceptions and exception_group:
                raise ValueError(BOTH)  # noqa: TRY301
            places = self._check_arguments(self.open(limit, child_timeout))
        except BaseException:
            _inputs.refuse(self._arguments)
            self.refused()
            raise
        self._return_exceptions = return_exceptions
        self._earlier = ()
        self._failures = []
        self._values = [None] * len(self._arguments)
        self._start(places)
        while self.unsettled:
            await self.join()
        if self.stopping:
            _inputs.close_unstarted(self._arguments)
        if limit is not None:
            del self._context
        self._arguments = ()
        return self._result(places, exception_group)

    # `run` must keep no argument in a local variable: the traceback of what it raises refers to its
    # frame, and a Task that was handed over refers to its exception.

    def _check_arguments(self, caller: asyncio.Task[Any]) -> list[int] | None:
        _inputs.check_awaitables(FUNCTION, "argument {}", self._arguments, caller, 1)
        return _inputs.places(self._arguments) if len(self._arguments) > 1 else None

    def _start(self, places: list[int] | None) -> None:
        children: Iterable[tuple[int, Awaitable[Any]]] = enumerate(self._arguments)
        if places is not None:
            children = [child for child in children if places[child[0]] == child[0]]
        if self.limit is None:
            start = self.start
            for index, child in children:
                # After a failure a Task that was handed over is taken all the same: it is to end.
                if not self.stopping or asyncio.isfuture(child):
                    start(index, child)
            return
        self._turns = self.limit
        self._waiting = deque(children)
        self._context = contextvars.copy_context()
        self._starting = True
        self._without_turn = ()
        running = [child for child in self._waiting if _inputs.is_future(child[1])]
        if running:  # they do not wait for a turn
            self._without_turn = {index for index, _ in running}
            self._waiting = deque(c for c in self._waiting if c[0] not in self._without_turn)
            for index, child in running:
                self.start(index, child)
        self._start_waiting()

    # With a limit: the children that wait for their turn.

    def made_room(self, index: int) -> None:
        if index not in self._without_turn:
            self._turns += 1
        if self._waiting and not self._starting:  # else an eager child settles as it is started
            # Here the sibling that has just settled is running, in its own context.
            self._context.run(self._start_waiting)

    def _start_waiting(self) -> None:
        self._starting = True
        while self._turns and self._waiting and not self.stopping:
            self._turns -= 1
            self.start(*self._waiting.popleft())
        self._starting = False

    # How a child settles.

    def returned(self, index: int, value: Any) -> None:  # noqa: ANN401 - it is the child's
        self._values[index] = value

    def raised(self, index: int, error: BaseException) -> None:
        if self._return_exceptions:
            self._failures.append((index, error))
            self._values[index] = error
        elif not self.stopping:
            self._earlier_failed = 0
            if (
                not _inputs.is_future(self._arguments[index])
                and asyncio.current_task(self.loop) is not None
            ):
                # It is the child's last step, and not a callback: a Task that was handed over, and
                # failed before, is heard of later in this turn.
                self._earlier = [at for at, child in self.unsettled.items() if child.done()]
            self._failures.append((index, error))
            self.stop()
        elif index in self._earlier:
            self._failures.insert(self._earlier_failed, (index, error))
            self._earlier_failed += 1
        else:
            self._failures.append((index, error))

    def timed_out(self, index: int, error: TimeoutError) -> None:
        self.raised(index, error)

    def cancelled(self, index: int, error: asyncio.CancelledError, *, by_us: bool) -> None:
        if not by_us:
            self.raised(index, error)
        elif (failures := _failures.inside(error)) is not None:
            self.raised(index, failures)

    # The end of the call.

    def _result(self, places: list[int] | None, exception_group: bool) -> list[Any]:  # noqa: FBT001
        error = self.close()
        values, self._values = self._values, []
        failures, self._failures = self._failures, []
        if error is None:
            if places is not None:
                values = [values[place] for place in places]
            if self._return_exceptions:
                return Gathered(values, failures)
            if not failures:
                return values
            if exception_group:
                raise _failures.group(FUNCTION, failures)
            error = failures[0][1]
        _failures.show(error, FUNCTION, failures)
        try:
            _failures.raise_as_it_is(error)
        finally:
            del error, failures, values  # the traceback refers to this frame: no cycle


# As typeshed has it for asyncio.gather: overlapping overloads are the only way to have acceptable
# types in all cases. So the result of a few arguments is typed as a tuple, though it is a list.
@overload
def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    /,
    *,
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, tuple[_T1]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    /,
    *,
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, tuple[_T1, _T2]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    /,
    *,
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, tuple[_T1, _T2, _T3]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
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
) -> Coroutine[Any, Any, tuple[_T1, _T2, _T3, _T4]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
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
) -> Coroutine[Any, Any, tuple[_T1, _T2, _T3, _T4, _T5]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
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
) -> Coroutine[Any, Any, tuple[_T1, _T2, _T3, _T4, _T5, _T6]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
    *aws: _Awaitable[_T],
    return_exceptions: Literal[False] = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, list[_T]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    aw1: _Awaitable[_T1],
    /,
    *,
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, Gathered1[_T1]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    /,
    *,
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, Gathered2[_T1, _T2]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    /,
    *,
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, Gathered3[_T1, _T2, _T3]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
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
) -> Coroutine[Any, Any, Gathered4[_T1, _T2, _T3, _T4]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
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
) -> Coroutine[Any, Any, Gathered5[_T1, _T2, _T3, _T4, _T5]]: ...
@overload
def gather_structured(  # type: ignore[overload-overlap]
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
) -> Coroutine[Any, Any, Gathered6[_T1, _T2, _T3, _T4, _T5, _T6]]: ...
@overload
def gather_structured(
    aw1: _Awaitable[_T1],
    /,
    *,
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, tuple[_T1 | BaseException]]: ...
@overload
def gather_structured(
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    /,
    *,
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, tuple[_T1 | BaseException, _T2 | BaseException]]: ...
@overload
def gather_structured(
    aw1: _Awaitable[_T1],
    aw2: _Awaitable[_T2],
    aw3: _Awaitable[_T3],
    /,
    *,
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, tuple[_T1 | BaseException, _T2 | BaseException, _T3 | BaseException]]: ...
@overload
def gather_structured(
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
) -> Coroutine[
    Any,
    Any,
    tuple[_T1 | BaseException, _T2 | BaseException, _T3 | BaseException, _T4 | BaseException],
]: ...
@overload
def gather_structured(
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
) -> Coroutine[
    Any,
    Any,
    tuple[
        _T1 | BaseException,
        _T2 | BaseException,
        _T3 | BaseException,
        _T4 | BaseException,
        _T5 | BaseException,
    ],
]: ...
@overload
def gather_structured(
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
) -> Coroutine[
    Any,
    Any,
    tuple[
        _T1 | BaseException,
        _T2 | BaseException,
        _T3 | BaseException,
        _T4 | BaseException,
        _T5 | BaseException,
        _T6 | BaseException,
    ],
]: ...
@overload
def gather_structured(
    *aws: _Awaitable[_T],
    return_exceptions: Literal[True],
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, Gathered[_T | BaseException]]: ...
@overload
def gather_structured(
    *aws: _Awaitable[_T],
    return_exceptions: bool,
    exception_group: Literal[False] = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, list[_T | BaseException]]: ...
def gather_structured(
    *aws: Awaitable[Any],
    return_exceptions: bool = False,
    exception_group: bool = False,
    limit: int | None = None,
    child_timeout: float | None = None,
) -> Coroutine[Any, Any, Any]:
    """Run awaitables concurrently and return their values, or raise the first failure.

    Stands in for `asyncio.gather` line for line: `await gather_structured(a(), b(), *more)`. How it
    differs:

    - When the await is over, every child has finished. After a failure, or when the caller is
      cancelled, the children still running are cancelled, and joined before anything is raised.
    - The first failure is raised as the very object that the child raised; those of its siblings
      show in its traceback, as notes.
    - A bad argument is refused before anything has started.
    - Without `await` nothing happens: the result is a coroutine, not a Future that runs already.
      Pass it to `asyncio.timeout`, `wait_for`, `shield`, `create_task` or `run` as usual.

    Args:
        *aws: Coroutines, Tasks, Futures or other awaitables. One that is given several times runs
            once and fills each place. A Task or Future is taken over: it is cancelled and joined
            like any child, unless it is wrapped in `asyncio.shield`.
        return_exceptions: Let every child run to its end and put the exceptions in place of the
            values, in a `Gathered`: a list that can also hand over or raise the failures.
        exception_group: Raise one `ExceptionGroup` of all failures, also of a single one, instead
            of the first failure. It is a `BaseExceptionGroup` if one of them is not an `Exception`.
        limit: How many children may run at a time. A child's Task is made only when its turn has
            come. Tasks and Futures run already and take no turn.
        child_timeout: Seconds that each child may take, counted from its own start. A late child is
            cancelled and joined, and has then failed with a `TimeoutError` that names it, unless it
            returns a value all the same. With 0 nothing is started.

    Returns:
        The values in the order of the arguments.

    Raises:
        BaseException: The first failure by time. A child that ended cancelled by itself has failed
            with CancelledError.
        asyncio.CancelledError: The caller was cancelled.
        KeyboardInterrupt, SystemExit: Raised in a child; also with `return_exceptions`.
        TypeError, ValueError: An argument is not awaitable, belongs to a different event loop, or
            is out of range. Coroutines among the arguments are closed.
        RuntimeError: There is no running event loop, or the calling task itself is an argument.
    """
    if not aws:
        return _nothing(return_exceptions, exception_group, limit, child_timeout)
    return _Gather(aws).run(return_exceptions, exception_group, limit, child_timeout)


async def _nothing(
    return_exceptions: bool,  # noqa: FBT001 - only called above
    exception_group: bool,  # noqa: FBT001
    limit: int | None,
    child_timeout: float | None,
) -> list[Any]:
    # In code that fans out over what it finds, most calls find nothing.
    asyncio.get_running_loop()
    if limit is not None:
        _inputs.check_limit(FUNCTION, limit)
    if child_timeout is not None:
        _inputs.check_seconds(FUNCTION, "child_timeout", child_timeout)
    if not return_exceptions:
        return []
    if exception_group:
        raise ValueError(BOTH)
    return Gathered()


for function in (_Gather.run, _nothing):
    name_as_called(function, FUNCTION)
