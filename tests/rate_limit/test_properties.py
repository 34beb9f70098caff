"""`RateLimit` under random loads with pauses, updates, settlements and cancellations.

A model checks each admission when it starts, and checks between all events whether a waiting call
could be admitted. It shares no code with the package: it remembers every entry, one by one, and
adds them up.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from structgather import RateLimit
from support.virtual_time import now, run

LITTLE = 1e-9
#: When the model checks whether a call could start: no event is due at such a time.
BETWEEN = 0.2357


class Call(NamedTuple):
    """One call of a random load."""

    comes: int
    hops: int
    tokens: int
    requests: int
    takes: int
    used: int | None
    cancelled: tuple[int, int] | None


class Change(NamedTuple):
    """A pause or an update, so many loop iterations after a time."""

    at: int
    hops: int
    pause: int | None
    update: dict[str, int]


@dataclass
class Admitted:
    """The weights of one call, and since when they count."""

    name: int
    since: float
    requests: float
    tokens: float


@dataclass
class Model:
    """The promises of the limit."""

    limits: dict[str, float]
    per: float
    burst: float
    #: Waiting calls, in order of arrival.
    waiting: dict[int, Call] = field(default_factory=dict[int, Call])
    to_refuse: set[int] = field(default_factory=set[int])
    admitted: list[Admitted] = field(default_factory=list[Admitted])
    running: int = 0
    paused_until: float = -math.inf
    #: Requests of the burst that are taken, and when that was computed.
    level: float = 0
    level_at: float = 0

    def most(self, layer: str) -> float:
        return self.limits.get(layer, math.inf)

    def fits_ever(self, call: Call) -> bool:
        most_requests = min(self.most("requests"), self.burst)
        return call.requests <= most_requests and call.tokens <= self.most("tokens")

    def come(self, name: int, call: Call) -> None:
        if self.fits_ever(call):
            self.waiting[name] = call
        else:
            self.to_refuse.add(name)

    def drain(self) -> None:
        if self.burst != math.inf:
            rate = self.most("requests") / self.per
            self.level = max(0, self.level - (now() - self.level_at) * rate)
            self.level_at = now()

    def fits_now(self, call: Call) -> bool:
        self.drain()
        alive = [one for one in self.admitted if one.since + self.per > now()]
        return (
            now() >= self.paused_until
            and self.running < self.most("concurrent")
            and sum(one.requests for one in alive) + call.requests <= self.most("requests")
            and sum(one.tokens for one in alive) + call.tokens <= self.most("tokens")
            and self.level + call.requests <= self.burst + LITTLE
        )

    def start(self, name: int, call: Call) -> Admitted:
        assert next(iter(self.waiting)) == name, "first come, first served"
        assert self.fits_now(call)
        del self.waiting[name]
        self.running += 1
        self.level += call.requests
        self.admitted.append(Admitted(name, now(), call.requests, call.tokens))
        return self.admitted[-1]

    def pause(self, seconds: float) -> None:
        if seconds:
            self.paused_until = max(self.paused_until, now() + seconds)

    def update(self, limits: dict[str, int]) -> None:
        self.drain()
        self.limits = self.limits | limits
        for name, call in [*self.waiting.items()]:
            if not self.fits_ever(call):
                self.to_refuse.add(name)
                del self.waiting[name]


async def moment(at: float, hops: int) -> None:
    """Wait until a time, and then for so many loop iterations."""
    await asyncio.sleep(at - now())
    for _ in range(hops):
        await asyncio.sleep(0)


@dataclass
class Trial:
    """One random load: fails if the limit does what the model does not allow."""

    limit: RateLimit
    model: Model
    load: list[Call]
    visits: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    refused: set[int] = field(default_factory=set[int])

    async def run(self, changes: list[Change]) -> None:
        for name, call in enumerate(self.load):
            self.visits.append(asyncio.create_task(self.visit(name, call)))
        tasks = [*self.visits, asyncio.create_task(self.look())]
        tasks += [asyncio.create_task(self.change(step)) for step in changes]
        tasks += [
            asyncio.create_task(self.cancel(name, *call.cancelled))
            for name, call in enumerate(self.load)
            if call.cancelled
        ]
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if error is not None and not isinstance(error, asyncio.CancelledError):
                raise error
        stayed = {name for name, call in enumerate(self.load) if not call.cancelled}
        assert self.refused & stayed == self.model.to_refuse & stayed
        assert {one.name for one in self.model.admitted} >= stayed - self.refused
        assert repr(self.limit).startswith("<RateLimit: 0 running, 0 waiting")

    async def visit(self, name: int, call: Call) -> None:
        await moment(call.comes, call.hops)
        self.model.come(name, call)
        try:
            async with self.limit(tokens=call.tokens, requests=call.requests) as admission:
                counted = self.model.start(name, call)
                try:
                    await asyncio.sleep(call.takes)
                    if call.used is not None:
                        admission.settle(tokens=call.used)
                        counted.tokens = min(counted.tokens, call.used)
                finally:
                    self.model.running -= 1
        except ValueError:
            self.refused.add(name)
        finally:
            self.model.waiting.pop(name, None)

    async def cancel(self, name: int, at: int, hops: int) -> None:
        await moment(at, hops)
        self.visits[name].cancel()
        self.model.waiting.pop(name, None)

    async def change(self, step: Change) -> None:
        await moment(step.at, step.hops)
        if step.pause is not None:
            self.limit.pause(step.pause)
            self.model.pause(step.pause)
        if update := {name: n for name, n in step.update.items() if name in self.model.limits}:
            self.limit.update(**update)
            self.model.update(update)

    async def look(self) -> None:
        """Fail if the head of the queue could start, but for calls that used too much."""
        in_debt = any(call.used is not None and call.used > call.tokens for call in self.load)
        await asyncio.sleep(BETWEEN)
        while not all(task.done() for task in self.visits):
            if self.model.waiting and not in_debt:
                head = next(iter(self.model.waiting.values()))
                assert not self.model.fits_now(head), "it could start"
            await asyncio.sleep(0.5)


hops = st.integers(0, 4)
loads = st.lists(
    st.builds(
        Call,
        comes=st.integers(0, 12),
        hops=hops,
        tokens=st.integers(0, 10),
        requests=st.sampled_from([1, 1, 1, 0, 2]),
        takes=st.integers(0, 6),
        used=st.none() | st.integers(0, 25),
        cancelled=st.none() | st.tuples(st.integers(0, 20), hops),
    ),
    min_size=1,
    max_size=16,
)
layers = {
    "concurrent": st.integers(1, 4),
    "requests": st.integers(1, 6),
    "tokens": st.integers(5, 20),
}
changes = st.lists(
    st.builds(
        Change,
        at=st.integers(0, 20),
        hops=hops,
        pause=st.none() | st.integers(0, 9),
        update=st.fixed_dictionaries({}, optional=layers),
    ),
    max_size=8,
)


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    limit: dict[str, Any] = dict(draw(st.fixed_dictionaries({}, optional=layers).filter(len)))
    limit["per"] = draw(st.integers(1, 12))
    if "requests" in limit:
        limit["burst"] = draw(st.none() | st.integers(1, 3))
    return limit


@given(given=limits(), load=loads, changes=changes)
def test_random_loads_with_pauses_and_updates(
    given: dict[str, Any], load: list[Call], changes: list[Change]
) -> None:
    """No limit in force is exceeded; first come, first served; no call waits in vain."""
    limit = RateLimit(**given)
    in_force = {name: most for name, most in given.items() if name in layers}
    model = Model(in_force, given["per"], given.get("burst") or math.inf)
    run(Trial(limit, model, load).run(changes))
