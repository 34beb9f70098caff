"""Validation of arguments, before anything has started."""

from __future__ import annotations

import asyncio
import inspect
import math
import operator
from collections.abc import AsyncIterable, Awaitable, Collection, Iterable, Iterator, Mapping
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from structgather._ancestors import ancestors_of
from structgather._group import COROUTINE, TASK
from structgather._unstarted import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence


#: The usual types of inputs: an isinstance check against an ABC costs 20% of a child.
_USUAL = (list, tuple, GeneratorType)


def check_seconds(function: str, argument: str, value: object) -> float | None:
    """Check a time: seconds as a number of at least 0, or None for no limit."""
    if value is None:
        return None
    seconds = check_number(function, argument, value, of=" of seconds or None")
    return None if math.isinf(seconds) else seconds


def check_number(function: str, argument: str, value: object, *, of: str = "") -> float:
    """Check a number of at least 0."""
    if isinstance(value, (bool, str)) or not (
        hasattr(value, "__float__") or hasattr(value, "__index__")
    ):
        hint = "; use .total_seconds()" if hasattr(value, "total_seconds") else ""
        message = f"{function}(): {argument} must be a number{of}, not {_article(value)}{hint}"
        raise TypeError(message)
    try:
        number = float(value)  # type: ignore[arg-type]  # it has __float__ or __index__
    except (OverflowError, ValueError):
        message = f"{function}(): {argument} must fit into a float, not {_shown(value)}"
        raise ValueError(message) from None
    if math.isnan(number) or number < 0:
        message = f"{function}(): {argument} must be at least 0, not {_shown(value)}"
        raise ValueError(message)
    return number


def check_limit(function: str, value: object) -> int | None:
    """Check a number of children that may run at a time: at least 1, or None for no limit."""
    return _whole(function, "limit", value, least=1)


def check_flag(function: str, argument: str, value: object) -> None:
    """Check a bool."""
    if not isinstance(value, bool):
        message = f"{function}(): {argument} must be True or False, not {_article(value)}"
        raise TypeError(message)


def check_count(function: str, argument: str, value: object) -> int | None:
    """Check a number of values: at least 0, or None for all."""
    return _whole(function, argument, value, least=0)


def calling_task(function: str) -> asyncio.Task[Any]:
    """Return the Task that makes the call."""
    try:
        caller = asyncio.current_task()
    except RuntimeError:
        message = f"{function}() needs a running asyncio event loop: await it in a coroutine"
        raise RuntimeError(message) from None
    if caller is None:
        message = f"{function}() must be awaited in a task, not driven from a callback"
        raise RuntimeError(message)
    return caller


def check_awaitables(function: str, values: Sequence[Any], caller: asyncio.Task[Any]) -> None:
    """Check that all `values` can be children of a call that `caller` makes."""
    ancestors: set[asyncio.Task[Any]] | None = None
    try:
        for index, value in enumerate(values):
            if type(value) is COROUTINE:
                continue
            if type(value) is TASK or asyncio.isfuture(value):
                if ancestors is None:
                    ancestors = {caller, *ancestors_of(caller)}
                _check_future(function, index, value, caller, ancestors)
            else:
                check_awaitable(function, index, value, caller)
    finally:
        del ancestors, caller  # the traceback of what is raised refers to this frame: no cycle


def check_awaitable(
    function: str, index: int | str, value: object, caller: asyncio.Task[Any]
) -> None:
    """Check that `value` can be a child of a call by `caller`; if not, close coroutines in it."""
    if type(value) is COROUTINE:
        return
    try:
        if asyncio.isfuture(value):
            _check_future(function, index, value, caller, {caller, *ancestors_of(caller)})
        elif not inspect.isawaitable(value):
            but = f"not {_article(value)}{_hint(value)}"
            message = f"{function}(): {_child(index)} must be awaitable, {but}"
            refuse(value)
            raise TypeError(message)
    finally:
        del caller  # as above


def _check_future(
    function: str,
    index: int | str,
    future: asyncio.Future[Any],
    caller: asyncio.Task[Any],
    ancestors: set[asyncio.Task[Any]],
) -> None:
    try:
        if future.get_loop() is not caller.get_loop():
            but = f"belongs to a different event loop: {_shown(future)}"
            message = f"{function}(): {_child(index)} {but}"
            raise ValueError(message)
        if future in ancestors and not future.done():
            what = "the calling task" if future is caller else "an ancestor of the calling task"
            but = f"is {what}; waiting for it would deadlock: {_shown(future)}"
            message = f"{function}(): {_child(index)} {but}"
            raise RuntimeError(message)
    finally:
        del caller, ancestors  # as above


def _child(index: int | str) -> str:
    return f"child {index}" if isinstance(index, int) else index


def places(values: Sequence[object]) -> list[int] | None:
    """Return for each value the first index that has it; None if all are different."""
    try:
        if len(set(values)) == len(values):
            return None
        first: dict[object, int] = {}
        return [first.setdefault(value, index) for index, value in enumerate(values)]
    except TypeError:  # an awaitable is not hashable: compare by identity
        by_id: dict[int, int] = {}
        return [by_id.setdefault(id(value), index) for index, value in enumerate(values)]


def check_iterable(function: str, values: object, *, asynchronous: bool = False) -> None:
    """Check that `values` can be iterated over for awaitables. Consumes nothing."""
    if type(values) in _USUAL:
        return
    wanted = "an iterable or async iterable" if asynchronous else "an iterable"
    if not isinstance(values, (str, bytes, bytearray)) and (
        isinstance(values, Iterable) or (asynchronous and isinstance(values, AsyncIterable))
    ):
        return
    hint = ""
    if inspect.isawaitable(values):
        hint = f". For a single one: {function}([awaitable])"
    elif inspect.isasyncgenfunction(values) or inspect.isgeneratorfunction(values):
        hint = ". Did you forget to call it?"
    elif inspect.iscoroutinefunction(values):
        hint = f". Did you forget to call it: {function}([{_name_of(values)}(...)])?"
    elif hasattr(values, "__aiter__"):
        hint = ". as_completed_scoped() takes async iterables"
    message = f"{function}() takes {wanted} of awaitables, not {_article(values)}{hint}"
    raise TypeError(message)


def take_all(
    function: str, values: Iterable[Awaitable[Any]], caller: asyncio.Task[Any]
) -> list[Awaitable[Any]]:
    """Take all inputs at once and check them, before any has started; on refusal close them."""
    taken: list[Awaitable[Any]] = []
    try:
        taken.extend(values)
        check_awaitables(function, taken, caller)
        if len(set(map(id, taken))) != len(taken):
            _refuse_duplicates(function, taken)
    except BaseException:
        refuse(taken)
        del caller  # as above
        raise
    return taken


def _refuse_duplicates(function: str, values: list[Awaitable[Any]]) -> None:
    first: dict[int, int] = {}
    places = enumerate(first.setdefault(id(value), index) for index, value in enumerate(values))
    index, place = next((index, place) for index, place in places if index != place)
    message = (
        f"{function}(): children {place} and {index} are the same object: {_shown(values[index])}"
    )
    raise ValueError(message)


def _whole(function: str, argument: str, value: object, *, least: int) -> int | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError  # noqa: TRY301 - the message is below
        number = operator.index(value)  # type: ignore[arg-type]  # it raises TypeError
    except TypeError:
        message = f"{function}(): {argument} must be a whole number or None, not {_article(value)}"
        raise TypeError(message) from None
    if number < least:
        message = f"{function}(): {argument} must be at least {least}, not {_shown(number)}"
        raise ValueError(message)
    return number


def _article(value: object) -> str:
    name = type(value).__qualname__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}: {_shown(value)}"


def _shown(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except Exception:  # noqa: BLE001 - its `__repr__` may raise anything
        return "(its repr failed)"


def _hint(value: object) -> str:
    if inspect.iscoroutinefunction(value):
        return f". Did you forget to call it: {_name_of(value)}(...)?"
    if isinstance(value, Mapping):
        return ". Did you mean its values: (*awaitables.values())?"
    if isinstance(value, (Collection, Iterator)) and not isinstance(value, (str, bytes, bytearray)):
        return ". Did you forget the star: (*awaitables)?"
    if inspect.isasyncgen(value):
        return ". An async generator is iterated, not awaited"
    return ""


def _name_of(function: object) -> str:
    name: str = getattr(function, "__name__", "function")
    return name
