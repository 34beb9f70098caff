"""`RateLimit`: its window, compared with a list of every admission."""

from __future__ import annotations

import asyncio
import contextlib
import math
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structgather import RateLimit
from structgather._window import PARTS
from support.rate_limits import admitted, counts, crowd, enter, window_of
from support.virtual_tests import virtual
from support.virtual_time import now, run

if TYPE_CHECKING:
    from structgather._rate_limit import Admission

PER = 12


@dataclass
class Entry:
    """Weights that count from a time on."""

    since: float
    requests: float
    tokens: float


@dataclass
class Window:
    """A list of every admission."""

    requests: float
    tokens: float
    entries: list[Entry] = field(default_factory=list[Entry])
    of_call: dict[int, list[Entry]] = field(default_factory=dict[int, list[Entry]])
    #: Owed tokens, by call.
    owed: dict[int, float] = field(default_factory=dict[int, float])
    clock: float = 0

    def alive(self, at: float) -> list[Entry]:
        return [entry for entry in self.entries if entry.since + PER > at]

    def counts(self) -> tuple[float, float]:
        alive = self.alive(self.clock)
        tokens = sum(self.owed.values()) + sum(entry.tokens for entry in alive)
        return sum(entry.requests for entry in alive), tokens

    def fits(self, requests: float, tokens: float) -> bool:
        counted = self.counts()
        return counted[0] + requests <= self.requests and counted[1] + tokens <= self.tokens

    def advance(self, at: float) -> None:
        """Let time pass: whenever an entry leaves, owed tokens take the room."""
        while leaving := [e.since + PER for e in self.alive(self.clock) if e.since + PER <= at]:
            self.clock = min(leaving)
            self.repay()
        self.clock = at
        self.repay()

    def repay(self) -> None:
        for name, owed in [*self.owed.items()]:
            room = self.tokens - sum(entry.tokens for entry in self.alive(self.clock))
            if part := min(owed, max(0, room)):
                self.entries.append(Entry(self.clock, 0, part))
                self.of_call[name].append(self.entries[-1])
                self.owed[name] -= part
            if not self.owed[name]:
                del self.owed[name]

    def due(self, requests: float, tokens: float) -> float:
        future = deepcopy(self)
        while not future.fits(requests, tokens):
            future.advance(min(e.since + PER for e in future.alive(future.clock)))
        return future.clock

    def admit(self, name: int, requests: float, tokens: float) -> None:
        entry = Entry(self.clock, requests, tokens)
        self.entries.append(entry)
        self.of_call[name] = [entry]

    def settle(self, name: int, tokens: float) -> None:
        entries = self.of_call[name]
        owed = self.owed.pop(name, 0)
        more = tokens - owed - sum(entry.tokens for entry in entries)
        owed, back = max(0, owed + more), max(0, -more - owed)
        if owed:
            self.owed[name] = owed
        for entry in reversed(entries):
            part = min(back, entry.tokens)
            entry.tokens -= part
            back -= part
        self.repay()


sizes = st.sampled_from([0, 0, 1, 2, 3, 5])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.5, 1, 4, PER, 3 * PER])),
        st.tuples(st.just("call"), sizes, sizes),
        st.tuples(st.just("settle"), st.integers(0, 5), st.sampled_from([0, 1, 4, 12, 25, 40])),
    ),
    min_size=8,  # otherwise most would have three or four steps, and settle nothing
    max_size=30,
)


@given(steps=steps)
def test_the_window_equals_a_list_of_everything(steps: list[tuple[Any, ...]]) -> None:
    """Calls, settlements (late, repeated, of several windows) and time, in any order."""

    async def main() -> None:
        limit = RateLimit(requests=6, tokens=10, per=PER)
        window, calls = Window(6, 10), list[Any]()
        for step in steps:
            if step[0] == "wait":
                await asyncio.sleep(step[1])
                window.advance(now())
            elif step[0] == "call":
                requests, tokens = step[1:]
                call = limit(requests=requests, tokens=tokens)
                due = window_of(limit).due(call, now())
                expected = window.due(requests, tokens)
                assert due <= expected if window.owed else due == expected
                fits = window.fits(requests, tokens)
                assert (due <= now()) == fits
                assert enter(call) == fits
                if fits:
                    window.admit(len(calls), requests, tokens)
                    calls.append(call)
            elif calls:
                name = len(calls) - 1 - step[1] % len(calls)  # the last one has number 0
                calls[name].settle(tokens=step[2])
                window.settle(name, step[2])
            window_of(limit).advance(now())
            assert counts(limit) == window.counts()

    run(main())


@settings(max_examples=settings().max_examples // 3)  # each admits thousands of calls
@given(
    comes=st.lists(st.tuples(st.sampled_from([0, 0.1, 0.5, 2, 700]), st.integers(1, 9000))),
)
def test_the_limit_holds_where_calls_share_entries(comes: list[tuple[float, int]]) -> None:
    """No window exceeds it, and a waiting call waits at most a 4096th of it longer."""
    per, most = 4096, 20_000  # so that entries within a second are merged
    admitted: list[tuple[float, float]] = []

    def fits(tokens: float, at: float) -> bool:
        return sum(t for since, t in admitted if since + per > at) + tokens <= most

    async def main() -> None:
        limit = RateLimit(tokens=most, per=per)
        await crowd(limit)
        for pause, tokens in comes:
            await asyncio.sleep(pause)
            size = tokens if tokens > 4000 else tokens % 4
            asked = now()
            async with limit(tokens=size):
                due = min(
                    t
                    for t in (asked, *(since + per for since, _ in admitted))
                    if t >= asked and fits(size, t)
                )
                assert due <= now() <= due + 1
                assert fits(size, now())
                admitted.append((now(), size))

    run(main())


@virtual
async def test_memory_does_not_grow_with_the_limit() -> None:
    """A hundred thousand calls in half a window: some thousand entries, and every call counts."""
    limit = RateLimit(requests=1_000_000, tokens=1e9, per=100)
    for number in range(100_000):
        async with limit(tokens=7):
            pass
        if number % 1000 == 0:
            await asyncio.sleep(0.5)
    assert counts(limit) == (100_000, 700_000)
    assert len(window_of(limit).entries) <= PARTS + 100
    await asyncio.sleep(200)
    async with limit(tokens=7):
        pass
    assert counts(limit) == (1, 7)
    assert len(window_of(limit).entries) == 1


@virtual
async def test_calls_that_share_an_entry_settle_one_by_one() -> None:
    """Each returns its own tokens, in whichever entry it counts."""
    limit = RateLimit(requests=1_000_000, tokens=1_000_000, per=60)
    await crowd(limit)
    calls: list[Admission] = []
    for number in range(30):
        async with limit(tokens=100) as call:
            calls.append(call)
        if number % 10 == 9:
            await asyncio.sleep(1)
    assert len(window_of(limit).entries) == PARTS + 3
    for call in calls[5:25]:
        call.settle(tokens=30)
    assert counts(limit) == (30, 10 * 100 + 20 * 30)
    calls[0].settle(tokens=350)
    assert counts(limit) == (30, 10 * 100 + 20 * 30 + 250)
    await asyncio.sleep(57.5)
    assert window_of(limit).due(limit(), now()) == now()
    assert counts(limit)[0] == 20


@virtual
async def test_tokens_returned_after_their_window_change_nothing() -> None:
    """Neither in an empty window nor for other calls in it."""
    limit = RateLimit(tokens=100, per=60)
    async with limit(tokens=80) as first:
        await asyncio.sleep(60)
    window_of(limit).due(limit(), now())  # drops the entry
    first.settle(tokens=20)
    assert counts(limit) == (0, 0)
    async with limit(tokens=0):
        pass
    first.settle(tokens=0)
    assert counts(limit)[1] == 0
    async with limit(tokens=70) as second:
        await asyncio.sleep(61)
    async with limit(tokens=50):
        second.settle(tokens=10)
        assert counts(limit)[1] == 50


@virtual
async def test_a_cancelled_admission_cannot_be_settled() -> None:
    """Nor a call that still waits: it has used nothing."""
    limit = RateLimit(tokens=100, concurrent=1)
    held = await limit(tokens=10).__aenter__()
    waits = limit(tokens=20)
    task = asyncio.ensure_future(waits.__aenter__())
    await asyncio.sleep(1)
    with pytest.raises(RuntimeError, match="has not been admitted"):
        waits.settle(tokens=5)
    await held.__aexit__(None, None, None)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with pytest.raises(RuntimeError, match="has not been admitted"):
        waits.settle(tokens=5)
    with pytest.raises(ValueError, match="must be finite"):
        held.settle(tokens=math.inf)
    assert counts(limit) == (1, 10)


def test_a_clock_that_starts_again_makes_no_call_wait_forever() -> None:
    """The usage of the last program counts for one window of the next one's clock."""
    limit = RateLimit(requests=2, per=60)

    async def spend(after: float) -> float:
        await asyncio.sleep(after)
        async with limit():
            return now()

    assert run(spend(990)) == 990
    assert run(spend(0)) == 0
    assert run(spend(0)) == 60


def test_debts_move_to_a_new_clock() -> None:
    """Two windows and a half are repaid in as many windows of the next program."""
    limit = RateLimit(tokens=100, per=60)

    async def owe() -> None:
        await asyncio.sleep(990)
        async with limit() as call:
            call.settle(tokens=250)

    async def spend(tokens: float) -> float:
        async with limit(tokens=tokens):
            return now()

    run(owe())
    assert run(spend(50)) == 120
    assert run(spend(100)) == 60


@pytest.mark.parametrize("at", [9.5, 10.5])
def test_a_clock_that_differs_by_less_than_a_second(at: float) -> None:
    """Entries in the future are moved to now; otherwise the clock has continued, and none moves."""
    limit = RateLimit(requests=2, per=60)

    async def spend(first: float) -> list[float]:
        times: list[float] = []
        await asyncio.sleep(first)
        for _ in range(2):
            async with limit():
                times.append(now())
        return times

    async def once() -> None:
        await asyncio.sleep(10)
        async with limit():
            pass

    run(once())
    assert run(spend(at)) == [at, min(at, 10) + 60]


def test_entries_moved_to_a_new_clock_count_for_as_much() -> None:
    """As many requests, as many tokens."""
    limit = RateLimit(requests=10, tokens=100, per=60)

    async def spend(at: float) -> None:
        await asyncio.sleep(at)
        for size in (1, 2):
            async with limit(requests=size, tokens=10 * size):
                pass

    run(spend(990))
    assert counts(limit) == (3, 30)
    run(spend(0))
    assert counts(limit) == (6, 60)


def test_the_used_part_of_a_burst_moves_to_a_new_clock() -> None:
    """Half of it is used when the program ends: the next one has the other half at once."""
    limit = RateLimit(requests=60, per=60, burst=10)

    async def spend(at: float, requests: float) -> float:
        await asyncio.sleep(at)
        return await admitted(limit, requests=requests)

    assert run(spend(990, 5)) == 990
    assert run(spend(0, 10)) == 5


@virtual
async def test_a_shared_entry_leaves_with_its_last_call() -> None:
    """Calls at 0 and at 0.9 share one, which leaves the window at 4096.9."""
    limit = RateLimit(tokens=8192, per=4096)
    await crowd(limit)
    async with limit(tokens=1):
        await asyncio.sleep(0.9)
    async with limit(tokens=1), limit(tokens=8190):
        pass
    async with limit(tokens=1):
        assert now() == 4096.9


@pytest.mark.parametrize("known", [0.5, 1])
@virtual
async def test_a_debt_shares_an_entry_as_a_call_does(known: float) -> None:
    """With calls of up to a 4096th of the window before it."""
    limit = RateLimit(tokens=8192, per=4096)
    await crowd(limit)
    async with limit(tokens=1) as call:
        await asyncio.sleep(known)
        call.settle(tokens=2)
    async with limit(tokens=8190):
        pass
    async with limit(tokens=1):
        assert now() == 4096 + known


@virtual
async def test_4096_calls_have_entries_of_their_own() -> None:
    """Also in the next window; beyond, all calls of one instant share one."""
    limit = RateLimit(tokens=1, per=60)
    for window in range(2):
        await asyncio.sleep(window * 60)
        for calls, entries in ((1, 1), (4094, 4095), (1, 4096), (1000, 4097)):
            for _ in range(calls):
                async with limit():
                    pass
            assert len(window_of(limit).entries) == entries


@virtual
async def test_an_entry_is_shared_for_a_part_of_the_window_at_most() -> None:
    """Counted from the first call that shares it: no chain of calls extends it."""
    limit = RateLimit(tokens=100, per=4096)
    await crowd(limit)
    start = now()
    for _ in range(10):
        async with limit(tokens=10):
            await asyncio.sleep(0.75)
    times: list[float] = []
    for _ in range(10):
        async with limit(tokens=10):
            times.append(now() - start)
    assert times == [4096.75] * 2 + [4098.25] * 2 + [4099.75] * 2 + [4101.25] * 2 + [4102.75] * 2


@virtual
async def test_few_calls_share_no_entry_however_large_the_limit() -> None:
    """Two within a 4096th of `per`: each leaves in its own time."""
    limit = RateLimit(tokens=1e9, per=4096)
    for _ in range(2):
        async with limit(tokens=5e8):
            await asyncio.sleep(0.5)
    for due in (4096, 4096.5):
        async with limit(tokens=5e8):
            assert now() == due


@virtual
async def test_few_calls_share_no_entry_after_many() -> None:
    """Only the entries of the window count."""
    limit = RateLimit(tokens=100, per=4096)
    await crowd(limit)
    async with limit(tokens=100):
        await asyncio.sleep(5000)
    start = now()
    for _ in range(2):
        async with limit(tokens=50):
            await asyncio.sleep(0.5)
    for due in (4096, 4096.5):
        async with limit(tokens=50):
            assert now() - start == due


def test_shared_entries_move_to_a_new_clock() -> None:
    """New calls on that clock don't share them."""
    limit = RateLimit(tokens=100, per=4096)

    async def first() -> None:
        await asyncio.sleep(990)
        await crowd(limit)
        async with limit():
            pass

    async def second() -> list[float]:
        times: list[float] = []
        for pause in (0, 10, 0):
            await asyncio.sleep(pause)
            async with limit(tokens=50):
                times.append(now())
        return times

    run(first())
    assert run(second()) == [0, 10, 4096]


@pytest.mark.parametrize("what", ["requests", "tokens"])
@virtual
async def test_a_shared_entry_needs_room_in_the_window(what: str) -> None:
    """Two calls could share one, but there is room for one."""
    limit = RateLimit(**{what: 8192}, per=4096)
    await crowd(limit)
    for size in (8191, 0, 1):
        async with limit(**{"requests": 0, what: size}):
            assert now() == 0
    async with limit(**{"requests": 0, what: 1}):
        assert now() == 4096


@pytest.mark.parametrize("requests", [0, 1])
@pytest.mark.parametrize("many", [False, True])
@virtual
async def test_owed_tokens_count_from_when_there_was_room(*, many: bool, requests: int) -> None:
    """From 60, although the next call arrives at 61."""
    limit = RateLimit(tokens=100, per=60)
    if many:
        await crowd(limit)
    async with limit(requests=0) as small, limit(tokens=90, requests=requests):
        small.settle(tokens=100)  # 10 now, 90 when the large one leaves
        small.settle(tokens=95)
    await asyncio.sleep(61)
    for tokens, due in ((5, 61), (95, 120)):
        async with limit(tokens=tokens, requests=requests):
            assert now() == due


@virtual
async def test_an_even_pace_is_kept_where_calls_share_entries() -> None:
    """Calls are spaced all the same."""
    limit = RateLimit(requests=1_000_000, per=1000, burst=2)
    await crowd(limit)
    times: list[float] = []
    for _ in range(5):
        async with limit():
            times.append(now())
    assert times == pytest.approx([0, 0, 0.001, 0.002, 0.003])
    assert len(window_of(limit).entries) == PARTS + 1
    assert counts(limit) == (5, 0)


@virtual
async def test_old_entries_are_dropped_when_their_room_is_needed() -> None:
    """A load below the limit keeps at most as many entries as the limit, or some thousand."""
    for limit, most in (
        (RateLimit(requests=2000, per=60), 2000),
        (RateLimit(requests=1e9, per=60), PARTS),
    ):
        for _ in range(60):
            for _ in range(100):
                async with limit():
                    pass
            assert len(window_of(limit).entries) <= most
            await asyncio.sleep(6)
        assert counts(limit) == (900, 0)
        assert "900 requests" in repr(limit)


@virtual
async def test_an_empty_window_sums_to_zero() -> None:
    """There is no remainder of rounding."""
    limit = RateLimit(tokens=1.0, requests=9.5, per=60)
    for tokens in (0.2, 0.35, 0.3):
        async with limit(tokens=tokens, requests=tokens):
            await asyncio.sleep(1)
    await asyncio.sleep(60)
    window_of(limit).due(limit(), now())
    assert (window_of(limit).requests, window_of(limit).tokens) == (0, 0)


@pytest.mark.parametrize(
    ("limit", "weight", "fit"), [(0.3, 0.1, 3), (0.6, 0.2, 3), (0.7, 0.07, 10)]
)
@virtual
async def test_fractions_use_the_whole_limit(limit: float, weight: float, fit: int) -> None:
    """0.1 + 0.1 + 0.1 is a little more than 0.3, and fits all the same."""
    fractions = RateLimit(tokens=limit, per=60)
    for _ in range(10 * fit):
        async with fractions(tokens=weight):
            pass
    assert now() == pytest.approx(9 * 60)


@pytest.mark.parametrize("most", [10, 10.0, 2**53 - 1])
@virtual
async def test_a_whole_limit_is_exact(most: float) -> None:
    """Only fractions are rounded."""
    limit = RateLimit(tokens=most, per=60)
    little = math.ulp(float(most))
    for tokens, due in ((most, 0), (little, 60)):
        async with limit(tokens=tokens):
            assert now() == due


@virtual
async def test_a_window_shorter_than_a_tick_of_the_clock() -> None:
    """An admission that is over at once leaves no entry."""
    await asyncio.sleep(1e9)
    for limit in (RateLimit(requests=1, per=1e-9), RateLimit(tokens=8192, per=1e-9)):
        for _ in range(5):
            async with limit(tokens=1) as call:
                pass
            call.settle(tokens=0.5)
            assert max(counts(limit)) <= 3
    assert now() == 1e9


@virtual
async def test_numbers_of_other_types_are_counted_as_floats() -> None:
    """A Decimal is not added to a float."""
    from decimal import Decimal  # noqa: PLC0415 - only here

    limit = RateLimit(tokens=100.5, requests=5)
    async with limit(tokens=Decimal("1.5"), requests=Decimal(2)) as call:  # type: ignore[arg-type]
        call.settle(tokens=Decimal(3))  # type: ignore[arg-type]
    assert counts(limit) == (2, 3)
