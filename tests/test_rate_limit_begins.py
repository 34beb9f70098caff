"""`RateLimit`: a call that was admitted counts from when it goes on, however late that is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest
from test_rate_limit_window import counts, crowd, enter

from structgather import RateLimit

if TYPE_CHECKING:
    from structgather._rate_limit import Admission


class Stands(asyncio.SelectorEventLoop):
    """A loop that may stand still, for as long as is said: no time passes but that."""

    stood = 0.0

    def time(self) -> float:
        return self.stood


def on_a_loop_that_stands(
    main: Callable[[Stands], Coroutine[Any, Any, None]], stood: float = 0
) -> None:
    loop = Stands()
    loop.stood = stood
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main(loop))


async def about_to_begin(limit: RateLimit, tokens: float = 0) -> asyncio.Task[Admission]:
    """Have a call admitted that has waited, and that goes on in the next turn of the loop."""
    held = await limit(requests=0).__aenter__()
    waiting = asyncio.create_task(limit(tokens=tokens).__aenter__())
    await asyncio.sleep(0)
    await held.__aexit__(None, None, None)
    return waiting


def test_a_call_counts_from_when_it_begins() -> None:
    """It is admitted, the loop stands still for half a window: only now the provider sees it."""

    async def main(loop: Stands) -> None:
        limit = RateLimit(concurrent=1, requests=2, per=60)
        waiting = await about_to_begin(limit)
        loop.stood = 30
        await (await waiting).__aexit__(None, None, None)
        for stood, requests, fits in ((61, 2, False), (61, 1, True), (91, 1, True), (92, 1, False)):
            loop.stood = stood
            call = limit(requests=requests)
            assert enter(call) == fits
            if fits:
                await call.__aexit__(None, None, None)

    on_a_loop_that_stands(main)


@pytest.mark.parametrize("stood", [60, 61])
def test_a_call_whose_window_is_over_before_it_begins_keeps_its_room(stood: float) -> None:
    """However long the loop stood still, nobody else is admitted to it meanwhile."""

    async def main(loop: Stands) -> None:
        limit = RateLimit(concurrent=2, requests=2, per=60)
        full = await limit(requests=0).__aenter__()
        waiting = await about_to_begin(limit)
        loop.stood = stood
        await full.__aexit__(None, None, None)
        assert not enter(limit(requests=2))
        await (await waiting).__aexit__(None, None, None)
        assert counts(limit) == (1, 0)
        assert enter(limit())

    on_a_loop_that_stands(main)


def test_a_window_shorter_than_a_tick_of_the_clock_is_over_at_once() -> None:
    """Also for who looks at it between an admission and its beginning."""

    async def main(loop: Stands) -> None:
        loop.stood = 1e9
        limit = RateLimit(concurrent=2, requests=2, per=1e-9)
        full = await limit(requests=0).__aenter__()
        waiting = await about_to_begin(limit)
        await full.__aexit__(None, None, None)
        assert enter(limit(requests=2))
        await (await waiting).__aexit__(None, None, None)

    on_a_loop_that_stands(main)


def test_a_debt_that_is_merged_with_who_began_after_it_leaves_with_him() -> None:
    """It counts from 4096, he from 4096.2: the room of both is free at 8192.2."""

    async def main(loop: Stands) -> None:
        limit = RateLimit(concurrent=1, tokens=100, per=4096)
        small, large = limit(), limit(tokens=90)
        for call in (small, large):
            async with call:
                pass
        small.settle(tokens=95)  # 10 now, 85 when the large one leaves
        large.settle(tokens=0)
        loop.stood = 4095.25
        await crowd(limit)
        waiting = await about_to_begin(limit, tokens=1)
        loop.stood = 4096.2
        await (await waiting).__aexit__(None, None, None)
        assert not enter(limit(tokens=100))
        for stood, fits in ((8192.1, False), (8192.2, True)):
            loop.stood = stood
            assert enter(limit(tokens=100)) == fits

    on_a_loop_that_stands(main)


def test_what_is_over_is_forgotten_although_somebody_has_not_begun() -> None:
    """Where many wait, there may always be somebody."""

    async def main(loop: Stands) -> None:
        limit = RateLimit(concurrent=2, requests=2, per=60)
        full = [await limit(requests=requests).__aenter__() for requests in (0, 1)]
        waiting = asyncio.create_task(limit().__aenter__())
        await asyncio.sleep(0)
        loop.stood = 50
        for call in full:
            await call.__aexit__(None, None, None)
        loop.stood = 61
        assert enter(limit())
        assert len(window_of(limit).entries) == 2
        await (await waiting).__aexit__(None, None, None)

    on_a_loop_that_stands(main)


@pytest.mark.parametrize("pace", [1, 2])
@pytest.mark.parametrize("meanwhile", [True, False])
def test_an_even_pace_counts_from_there_too(*, meanwhile: bool, pace: int) -> None:
    """With `burst`, nobody is admitted for the time in which the loop stood still."""

    async def main(loop: Stands) -> None:
        limit = RateLimit(concurrent=2, requests=60 / pace, per=60, burst=2)
        full = await limit(requests=0).__aenter__()
        waiting = await about_to_begin(limit)
        await full.__aexit__(None, None, None)
        loop.stood = 30
        if meanwhile:
            assert not enter(limit(requests=2))  # one goes on now
        first = await waiting
        assert enter(limit())
        await first.__aexit__(None, None, None)
        assert not enter(limit())
        loop.stood = 29.5 + pace
        assert not enter(limit())
        loop.stood = 30 + pace
        assert enter(limit())

    on_a_loop_that_stands(main)


def test_who_began_late_keeps_those_waiting_that_came_after_it() -> None:
    """What it has overtaken leaves with it, and nobody is admitted before, on any clock."""
    limit = RateLimit(concurrent=2, requests=2, per=60)

    async def main(loop: Stands) -> None:
        full = await limit(requests=0).__aenter__()
        waiting = await about_to_begin(limit)
        await full.__aexit__(None, None, None)
        assert enter(limit())  # between the admission of the other one and its beginning
        loop.stood = 30
        first = await waiting
        assert window_of(limit).due(limit(), loop.time()) == math.inf  # two are under way
        await first.__aexit__(None, None, None)
        assert window_of(limit).due(limit(requests=2), loop.time() + 31) > loop.time() + 59

    async def next_program(loop: Stands) -> None:
        async with limit(requests=0):
            assert loop.time() + 59 < window_of(limit).due(limit(), loop.time()) <= loop.time() + 60

    on_a_loop_that_stands(main)
    on_a_loop_that_stands(next_program, stood=-1000)
