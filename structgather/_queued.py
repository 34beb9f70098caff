"""Children that start one by one: as there is room for them, or as the source has them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from structgather import _adopt, _stuck
from structgather._group import COROUTINE, TASK

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Generator

    from structgather._scope import Scope


class _FirstStep:
    """Awaited by a child's Task: `await` yields once, until the Task makes its first step."""

    __slots__ = ()
    __await__ = (None,).__iter__  # cheaper than a generator


FIRST_STEP: Any = _FirstStep()


def start_queued(
    scope: Scope, index: int, awaitable: Awaitable[Any], context: contextvars.Context
) -> None:
    """Start one child in a copy of `context`, now that there is room for it."""
    if type(awaitable) is not COROUTINE and asyncio.isfuture(awaitable):
        scope.start((index,), (awaitable,))
        return
    if scope.started_at is not None:
        scope.started_at[index] = scope.loop.time()
    if scope.timeouts is not None and not scope.timeouts.add((index,), (awaitable,))[0]:
        return
    wrapper: Any = scope.run_child(index, awaitable)
    wrapper.__name__, wrapper.__qualname__ = _stuck.names_of(awaitable)
    try:
        # Not by the keyword `context`, which older task factories do not take.
        task: Any = context.copy().run(scope.group.create_task, wrapper)
    except BaseException as error:  # noqa: BLE001 - a task factory's
        scope.creation_failed(error, wrapper, (awaitable,))
        return
    if not isinstance(task, TASK) or task.done() or task.get_coro() is not wrapper:
        _adopt.adopt_wrapped(scope, index, task, wrapper, awaitable)
    else:
        scope.unfinished[index] = task
        if not wrapper.cr_suspended:  # unless it was started eagerly
            scope.priming = True
            try:
                wrapper.send(None)  # to where it waits for the Task's first step
            except BaseException as error:  # noqa: BLE001 - an interrupt in our own code
                scope.creation_failed(error, wrapper, (awaitable,))
            scope.priming = False
    if scope.stopping and not scope.batches:  # in an eager first step: outcomes.cancel()
        scope.cancel((index,))


@contextlib.contextmanager
def one_batch(scope: Scope) -> Generator[None]:
    """Make one batch of the children that start in this context."""
    scope.batches.append(((), ()))
    try:
        yield
    finally:
        scope.loop.call_soon(scope.check)
