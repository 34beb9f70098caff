"""The types of `RateLimit`. Never run: mypy and pyright check it.

Each line with an `ignore` is a mistake that both must report; pyright honours mypy comments. Both
report a superfluous `ignore`.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_type

from structgather import RateLimit


async def entered(limit: RateLimit) -> None:
    async with limit(tokens=5) as call:
        assert_type(call.settle(tokens=4), None)


def changed(limit: RateLimit, announced: dict[str, int], concurrent: int | None) -> None:
    assert_type(limit.pause(0.5), None)
    assert_type(limit.update(concurrent=concurrent, requests=5, tokens=0.5), None)
    limit.update(**announced)


async def mistakes(limit: RateLimit) -> None:
    async with limit:  # type: ignore[attr-defined]
        pass
    limit.pause("3")  # type: ignore[arg-type]
    limit.update(concurrent=1.5)  # type: ignore[arg-type]
    limit.update(5)  # type: ignore[call-arg]
    await limit.pause(3)  # type: ignore[misc, func-returns-value]
