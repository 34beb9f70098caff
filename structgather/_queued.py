"""Children that start one by one: as there is room, or as an async iterable yields them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import TYPE_CHECKING, Any

from structgather import _adopt, _stuck
from structgather._group import COROUTINE, TASK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Iterator, Sequence

    from structgather._scope import Scope


class _FirstStep:
    """Awaited by a child's Task: `await` yields once, until the Task makes its first step."""

    __slots__ = ()
    __await__ = (None,).__iter__  # cheaper than a generator


FIRST_STEP: Any = _FirstStep()


def start_queued(
    scope: Scope, index: int, awaitable: Awaitable[Any], context: contextvars.Context
) -> None:
    """Start one child, in a copy of `context` unless it is adopted, now that there is room."""
    if scope.started_at is not None:
        scope.started_at[index] = scope.loop.time()
    if scope.timeouts is not None and not scope.timeouts.add((index,), (awaitable,))[0]:
        return
    if type(awaitable) is not COROUTINE and asyncio.isfuture(awaitable):
        _adopt.adopt(scope, index, awaitable)
    else:
        _create(scope, index, awaitable, context)
    if scope.stopping and not scope.batches:  # or in an eager first step: outcomes.cancel()
        scope.cancel((index,))


def _create(
    scope: Scope, index: int, awaitable: Awaitable[Any], context: contextvars.Context
) -> None:
    wrapper: Any = scope.run_child(index, awaitable)
    wrapper.__name__, wrapper.__qualname__ = _stuck.names_of(awaitable)
    try:
        # Not by the keyword `context`, which older task factories do not take.
        task: Any = context.copy().run(scope.group.create_task, wrapper)
    except BaseException as error:  # noqa: BLE001 - a task factory's
        _adopt.creation_failed(scope, error, wrapper, (awaitable,))
        return
    if not isinstance(task, TASK) or task.done() or task.get_coro() is not wrapper:
        _adopt.adopt_wrapped(scope, index, task, wrapper, awaitable)
        return
    scope.unfinished[index] = task
    if not wrapper.cr_suspended:  # unless it was started eagerly
        scope.priming = True
        try:
            wrapper.send(None)  # up to FIRST_STEP
        except StopIteration:
            task.cancel()  # an interrupt in our own code, recorded as the child's failure
        except BaseException as error:  # noqa: BLE001 - an interrupt in our own code
            _adopt.creation_failed(scope, error, wrapper, (awaitable,))
        scope.priming = False


@contextlib.contextmanager
def one_batch(scope: Scope) -> Generator[None]:
    """Make one batch of the children that start in this context."""
    scope.batches.append(((), ()))
    try:
        yield
    finally:
        scope.loop.call_soon(scope.check)


class Queue:
    """With a limit: the children that wait until there is room for them."""

    __slots__ = ("_context", "_room", "_scope", "_starting", "_waiting")

    def __init__(self, scope: Scope, limit: int) -> None:
        self._scope = scope
        self._room = limit
        self._starting = True
        self._context = contextvars.copy_context()

    def start(self, indices: Sequence[int], awaitables: Sequence[Awaitable[Any]]) -> None:
        """Start as many children as there is room for, in input order; the others wait."""
        if self._scope.stopping:
            return  # an adopted child has failed already
        room = self._room
        self._waiting: Iterator[tuple[int, Awaitable[Any]]] = zip(
            indices[room:], awaitables[room:], strict=True
        )
        self._room = max(room - len(indices), 0)
        self._scope.start(indices[:room], awaitables[:room])
        self._start_waiting()

    def freed(self) -> None:
        """Start the next child, since one has finished."""
        self._room += 1
        if not self._starting:  # otherwise it has finished eagerly, while it is being started
            self._start_waiting()

    def _start_waiting(self) -> None:
        self._starting = True
        while self._room and not self._scope.stopping:
            following = next(self._waiting, None)
            if following is None:
                break
            self._room -= 1
            # Here the sibling that has just finished is running, in its own context.
            start_queued(self._scope, *following, self._context)
        self._starting = False
