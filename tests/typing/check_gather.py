"""The types of `gather_structured`. Never run: mypy and pyright check it.

Each line with an `ignore` is a mistake that both must report; pyright honours mypy comments. Both
report a superfluous `ignore`.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, assert_type

from structgather import ChildFailures, Gathered, Outcome, gather_structured


async def integer() -> int:
    return 1


async def text() -> str:
    return ""


async def a_few_values(future: asyncio.Future[bytes], task: asyncio.Task[float]) -> None:
    assert_type(await gather_structured(integer()), tuple[int])
    assert_type(await gather_structured(integer(), text()), tuple[int, str])
    assert_type(await gather_structured(future, task, text()), tuple[bytes, float, str])
    assert_type(
        await gather_structured(integer(), text(), integer(), text()), tuple[int, str, int, str]
    )
    assert_type(
        await gather_structured(integer(), text(), integer(), text(), future),
        tuple[int, str, int, str, bytes],
    )
    assert_type(
        await gather_structured(integer(), text(), integer(), text(), future, integer()),
        tuple[int, str, int, str, bytes, int],
    )
    number, word = await gather_structured(integer(), text())
    assert_type(number, int)
    assert_type(word, str)


async def many_values(children: list[Awaitable[int]]) -> None:
    assert_type(await gather_structured(*children), list[int])
    assert_type(await gather_structured(*[text() for _ in range(9)]), list[str])
    one = integer
    assert_type(await gather_structured(one(), one(), one(), one(), one(), one(), one()), list[int])


async def returned_exceptions(children: list[Awaitable[int]], either: bool) -> None:  # noqa: FBT001
    values = await gather_structured(*children, return_exceptions=True)
    assert_type(values, Gathered[int | BaseException])
    assert_type(values.raise_failures(), list[int])
    assert_type(values.exception_group(), ChildFailures[BaseException] | None)
    assert_type(values.outcomes, tuple[Outcome[Any], ...])
    assert_type(values[0], int | BaseException)
    both = await gather_structured(integer(), text(), return_exceptions=True)
    as_of_gather: tuple[int | BaseException, str | BaseException] = both
    del as_of_gather
    first, second = both
    assert_type(first, int | BaseException)
    assert_type(second, str | BaseException)
    assert_type(both.exception_group(), ChildFailures[BaseException] | None)
    assert_type(both.outcomes, tuple[Outcome[Any], ...])
    assert_type(both.raise_failures(), tuple[int, str])
    one = await gather_structured(integer(), return_exceptions=True)
    assert_type(one.raise_failures(), tuple[int])
    three = await gather_structured(integer(), text(), integer(), return_exceptions=True)
    assert_type(three.raise_failures(), tuple[int, str, int])
    assert_type(
        await gather_structured(integer(), text(), return_exceptions=either),
        tuple[int | BaseException, str | BaseException],
    )
    assert_type(
        await gather_structured(*children, return_exceptions=either), list[int | BaseException]
    )
    assert_type(
        await gather_structured(integer(), return_exceptions=either), tuple[int | BaseException]
    )
    assert_type(await gather_structured(*children, return_exceptions=False), list[int])


async def calls_inside_calls() -> None:
    assert_type(
        await gather_structured(gather_structured(integer(), text()), integer()),
        tuple[tuple[int, str], int],
    )
    assert_type(
        await gather_structured(gather_structured(gather_structured(text())), text()),
        tuple[tuple[tuple[str]], str],
    )
    assert_type(
        await gather_structured(gather_structured(*[integer()]), text()), tuple[list[int], str]
    )
    assert_type(
        await gather_structured(asyncio.gather(integer(), text()), integer()),
        tuple[tuple[int, str], int],
    )
    assert_type(
        await asyncio.gather(gather_structured(integer(), text()), integer()),
        tuple[tuple[int, str], int],
    )
    inner = await gather_structured(
        gather_structured(integer(), text(), return_exceptions=True), text()
    )
    assert_type(inner[0].raise_failures(), tuple[int, str])


async def options(children: list[Awaitable[int]]) -> None:
    assert_type(
        await gather_structured(*children, limit=3, child_timeout=2.5, exception_group=True),
        list[int],
    )
    assert_type(await gather_structured(integer(), limit=None, child_timeout=None), tuple[int])


async def around_it() -> None:
    call: Coroutine[Any, Any, tuple[int, str]] = gather_structured(integer(), text())
    task = asyncio.create_task(call)
    assert_type(await task, tuple[int, str])
    assert_type(await asyncio.wait_for(gather_structured(integer()), 1), tuple[int])
    assert_type(await asyncio.shield(gather_structured(integer())), tuple[int])
    assert_type(asyncio.run(gather_structured(integer())), tuple[int])


async def mistakes(children: list[Awaitable[int]]) -> None:
    await gather_structured(3)  # type: ignore[call-overload]
    await gather_structured(children)  # type: ignore[call-overload]
    await gather_structured(integer)  # type: ignore[call-overload]
    await gather_structured(integer(), limit="3")  # type: ignore[call-overload]
    await gather_structured(integer(), child_timeout="3")  # type: ignore[call-overload]
    await gather_structured(integer(), return_exceptions=True, exception_group=True)  # type: ignore[call-overload]
    await gather_structured(integer(), timeout=3)  # type: ignore[call-overload]
    number: str = (await gather_structured(integer()))[0]  # type: ignore[assignment]
    del number
