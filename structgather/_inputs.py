"""What a caller may hand over, checked before anything has started."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import operator
from collections.abc import AsyncIterable, Awaitable, Collection, Iterable
from types import CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence


#: What most calls are handed. To ask an abstract class is as dear as a fifth of a child.
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


def check_count(function: str, argument: str, value: object) -> int | None:
    """Check a number of values: at least 0, or None for all."""
    return _whole(function, argument, value, least=0)


def check_awaitables(
    function: str, position: str, values: Iterable[Any], caller: asyncio.Task[Any], first: int
) -> None:
    """Check that all `values` can be children of a call that `caller` makes. Touches nothing."""
    for number, value in enumerate(values, first):
        if type(value) is not CoroutineType and not _is_task_of_same_loop(value, caller):
            check_awaitable(function, position.format(number), value, caller)


def _is_task_of_same_loop(value: Any, caller: asyncio.Task[Any]) -> bool:  # noqa: ANN401
    return (
        type(value) is asyncio.Task
        and value is not caller
        and value.get_loop() is caller.get_loop()
    )


def is_future(value: object) -> bool:
    """Tell whether `value` is a Task or another Future. Quick where it is a coroutine or a Task."""
    kind = type(value)
    return kind is not CoroutineType and (kind is asyncio.Task or asyncio.isfuture(value))


def check_awaitable(
    function: str,
    position: str,
    value: object,
    caller: asyncio.Task[Any],
) -> None:
    """Check that `value` can be a child of a call that `caller` makes. Touches nothing."""
    if type(value) is CoroutineType:
        return
    if asyncio.isfuture(value):
        if value is caller:
            message = f"{function}(): {position} is the calling task: it would wait for itself"
            raise RuntimeError(message)
        if value.get_loop() is not caller.get_loop():
            message = f"{function}(): {position} belongs to a different event loop: {_shown(value)}"
            raise ValueError(message)
        return
    if not inspect.isawaitable(value):
        message = f"{function}(): {position} must be awaitable, not {_article(value)}{_hint(value)}"
        raise TypeError(message)


def places(values: Sequence[object]) -> list[int] | None:
    """Tell for each value the first place at which it stands; None if all are different."""
    try:
        if len(values) < 2 or len(set(values)) == len(values):  # noqa: PLR2004 - one has no double
            return None
        first: dict[object, int] = {}
        return [first.setdefault(value, place) for place, value in enumerate(values)]
    except TypeError:  # an awaitable that can't be hashed: only the very same object is the same
        by_id: dict[int, int] = {}
        return [by_id.setdefault(id(value), place) for place, value in enumerate(values)]


def close_unstarted(values: Iterable[object]) -> None:
    """Close coroutines that nobody will start, so that none is reported as never awaited."""
    for value in values:
        if isinstance(value, CoroutineType):
            if not value.cr_suspended and not value.cr_running:  # created, or over: then no harm
                value.close()
        elif asyncio.iscoroutine(value):
            with contextlib.suppress(Exception):  # somebody's own class
                value.close()


def refuse(values: object) -> None:
    """Close the coroutines of an input that is not taken. What is made lazily is not made.

    Also those in a list for which the star was forgotten: `gather_structured([a(), b()])`.
    """
    if isinstance(values, (list, tuple, set, frozenset)):
        for value in cast("Iterable[object]", values):
            refuse(value)
    elif isinstance(values, Collection):
        close_unstarted(cast("Iterable[object]", values))
    else:
        close_unstarted((values,))


def check_iterable(function: str, values: object, *, asynchronous: bool = False) -> None:
    """Check that `values` can be iterated over for awaitables. Touches nothing."""
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
        check_awaitables(function, "item {} of its input", taken, caller, 0)
        if len(set(map(id, taken))) != len(taken):
            _refuse_doubles(function, taken)
    except BaseException:
        close_unstarted(taken)
        raise
    return taken


def _refuse_doubles(function: str, values: list[Awaitable[Any]]) -> None:
    first: dict[int, int] = {}
    places = enumerate(first.setdefault(id(value), index) for index, value in enumerate(values))
    index, place = next((index, place) for index, place in places if index != place)
    message = (
        f"{function}(): items {place} and {index} of its input are the same object: "
        f"{_shown(values[index])}"
    )
    raise ValueError(message)


def _whole(function: str, argument: str, value: object, *, least: int) -> int | None:
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError  # noqa: TRY301 - said below
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
    except Exception:  # noqa: BLE001 - a `__repr__` may raise anything
        return "(its repr can't be had)"


def _hint(value: object) -> str:
    if inspect.iscoroutinefunction(value):
        return f". Did you forget to call it: {_name_of(value)}(...)?"
    if isinstance(value, dict):
        return ". Did you mean its values: (*awaitables.values())?"
    if isinstance(value, (list, tuple, set, frozenset)) or inspect.isgenerator(value):
        return ". Did you forget the star: (*awaitables)?"
    if inspect.isasyncgen(value):
        return ". An async generator is iterated, not awaited"
    return ""


def _name_of(function: object) -> str:
    name: str = getattr(function, "__name__", "function")
    return name
