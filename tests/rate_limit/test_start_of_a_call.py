"""`RateLimit`: a call that waited counts from when it resumes, however late that is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest

from structgather import RateLimit
from support.rate_limits import counts, crowd, enter, window_of

if TYPE_CHECKING:
    from structgather._rate_limit import Admission


class Blocked(asyncio.SelectorEventLoop):
    """A loop that is blocked for as long as a test says; no other time passes."""

    blocked = 0.0

    def time(self) -> float:
        return self.blocked


def on_a_blocked_loop(
    main: Callable[[Blocked], Coroutine[Any, Any, None]], blocked: float = 0
) -> None:
    loop = Blocked()
    loop.blocked = blocked
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main(loop))


async def about_to_resume(limit: RateLimit, tokens: float = 0) -> asyncio.Task[Admission]:
    """Let a waiting call be admitted, which resumes in the next loop iteration."""
    held = await limit(requests=0).__aenter__()
    waiting = asyncio.create_task(limit(tokens=tokens).__aenter__())
    await asyncio.sleep(0)
    await held.__aexit__(None, None, None)
    return waiting


def test_a_call_counts_from_when_it_resumes() -> None:
    """The loop was blocked for half a window since its admission: the provider sees it only now."""

    async def main(loop: Blocked) -> None:
        limit = RateLimit(concurrent=1, requests=2, per=60)
        waiting = await about_to_resume(limit)
        loop.blocked = 30
        await (await waiting).__aexit__(None, None, None)
        for blocked, requests, fits in (
            (61, 2, False),
            (61, 1, True),
            (91, 1, True),
            (92, 1, False),
        ):
            loop.blocked = blocked
            call = limit(requests=requests)
            assert enter(call) == fits
            if fits:
                await call.__aexit__(None, None, None)

    on_a_blocked_loop(main)


@pytest.mark.parametrize("blocked", [60, 61])
def test_a_call_that_resumes_after_its_window_keeps_its_room(blocked: float) -> None:
    """However long the loop was blocked, no other call is admitted in its place."""

    async def main(loop: Blocked) -> None:
        limit = RateLimit(concurrent=2, requests=2, per=60)
        full = await limit(requests=0).__aenter__()
        waiting = await about_to_resume(limit)
        loop.blocked = blocked
        await full.__aexit__(None, None, None)
        assert not enter(limit(requests=2))
        await (await waiting).__aexit__(None, None, None)
        assert counts(limit) == (1, 0)
        assert enter(limit())

    on_a_blocked_loop(main)


def test_a_waiting_call_needs_room_besides_one_that_resumes_after_its_window() -> None:
    """A settlement between its admission and its start admits no call in its place."""

    async def main(loop: Blocked) -> None:
        limit = RateLimit(concurrent=3, requests=2, tokens=10, per=60)
        held = [await limit(requests=0).__aenter__() for _ in range(3)]
        waiting = [
            asyncio.create_task(limit(requests=requests).__aenter__()) for requests in (1, 2)
        ]
        await asyncio.sleep(0)
        for call in held[:2]:
            await call.__aexit__(None, None, None)  # admits the first one
        loop.blocked = 60
        held[2].settle(tokens=1)
        await waiting[0]
        await asyncio.sleep(0)
        assert not waiting[1].done()
        assert counts(limit) == (1, 1)

    on_a_blocked_loop(main)


def test_a_window_shorter_than_a_tick_of_the_clock_is_over_at_once() -> None:
    """Also between an admission and its call resuming."""

    async def main(loop: Blocked) -> None:
        loop.blocked = 1e9
        limit = RateLimit(concurrent=2, requests=2, per=1e-9)
        full = await limit(requests=0).__aenter__()
        waiting = await about_to_resume(limit)
        await full.__aexit__(None, None, None)
        assert window_of(limit).due(limit(requests=2), loop.time()) == loop.time()
        await (await waiting).__aexit__(None, None, None)

    on_a_blocked_loop(main)


def test_owed_tokens_that_share_the_entry_of_a_late_call_leave_with_it() -> None:
    """They count from 4096, the call from 4096.2: the room of both is free at 8192.2."""

    async def main(loop: Blocked) -> None:
        limit = RateLimit(concurrent=1, tokens=100, per=4096)
        small, large = limit(), limit(tokens=90)
        for call in (small, large):
            async with call:
                pass
        loop.blocked = 4095.25
        await crowd(limit)
        waiting = await about_to_resume(limit, tokens=1)
        small.settle(tokens=95)  # 9 now, 86 when the large one leaves at 4096
        loop.blocked = 4096.2
        await (await waiting).__aexit__(None, None, None)
        assert not enter(limit(tokens=100))
        for blocked, fits in ((8192.1, False), (8192.2, True)):
            loop.blocked = blocked
            assert enter(limit(tokens=100)) == fits

    on_a_blocked_loop(main)


def test_entries_are_dropped_although_a_call_has_not_resumed() -> None:
    """With many waiting calls there may always be one."""

    async def main(loop: Blocked) -> None:
        limit = RateLimit(concurrent=2, requests=2, per=60)
        full = [await limit(requests=requests).__aenter__() for requests in (0, 1)]
        waiting = asyncio.create_task(limit().__aenter__())
        await asyncio.sleep(0)
        loop.blocked = 50
        for call in full:
            await call.__aexit__(None, None, None)
        loop.blocked = 61
        assert window_of(limit).due(limit(), loop.time()) == loop.time()
        assert len(window_of(limit).entries) == 1
        await (await waiting).__aexit__(None, None, None)

    on_a_blocked_loop(main)


@pytest.mark.parametrize("pace", [1, 2])
@pytest.mark.parametrize("meanwhile", [True, False])
def test_an_even_pace_counts_from_there_as_well(*, meanwhile: bool, pace: int) -> None:
    """With `burst`, the time in which the loop was blocked admits no further call."""

    async def main(loop: Blocked) -> None:
        limit = RateLimit(concurrent=2, requests=60 / pace, per=60, burst=2)
        full = await limit(requests=0).__aenter__()
        waiting = await about_to_resume(limit)
        await full.__aexit__(None, None, None)
        loop.blocked = 30
        if meanwhile:
            # One resumes now, so a pair has to wait.
            assert window_of(limit).due(limit(requests=2), loop.time()) == 30 + pace
        first = await waiting
        assert enter(limit())
        await first.__aexit__(None, None, None)
        assert not enter(limit())
        loop.blocked = 29.5 + pace
        assert not enter(limit())
        loop.blocked = 30 + pace
        assert enter(limit())

    on_a_blocked_loop(main)


def test_entries_behind_a_late_call_are_dropped_after_it() -> None:
    """They leave with it, and no call is admitted before, on any clock."""
    limit = RateLimit(concurrent=2, tokens=2, per=60)

    async def main(loop: Blocked) -> None:
        other = await limit().__aenter__()
        waiting = await about_to_resume(limit, tokens=1)
        other.settle(tokens=1)  # between the admission of the other call and its start
        loop.blocked = 30
        first = await waiting
        assert limit._gate.due(limit(), loop.time()) == math.inf  # two are running
        await first.__aexit__(None, None, None)
        assert window_of(limit).due(limit(tokens=2), loop.time() + 31) > loop.time() + 59

    async def next_program(loop: Blocked) -> None:
        async with limit():
            due = window_of(limit).due(limit(tokens=1), loop.time())
            assert loop.time() + 59 < due <= loop.time() + 60

    on_a_blocked_loop(main)
    on_a_blocked_loop(next_program, blocked=-1000)
