"""What type checkers know of `RateLimit`. Never run: mypy and pyright read it.

The line with an `ignore` is a mistake that both must report (pyright heeds mypy's comments): that
it is not superfluous is checked as well.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_type

from structgather import RateLimit


async def entered(limit: RateLimit) -> None:
    async with limit(tokens=5) as call:
        assert_type(call.settle(tokens=4), None)


async def mistakes(limit: RateLimit) -> None:
    async with limit:  # type: ignore[attr-defined]
        pass
