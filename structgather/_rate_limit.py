"""`RateLimit`: requests, tokens and concurrency of a provider, under one fair admission."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import TYPE_CHECKING, NoReturn, final

from structgather import _arguments
from structgather._gate import Gate
from structgather._window import NEW, Call

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

#: Up to here each whole number has a float of its own.
MOST_EXACT = 2.0**53


@final
class RateLimit:
    """Admits calls to a provider so that the provider has no reason to refuse one.

        llm = RateLimit(concurrent=20, requests=500, tokens=90_000, per=60.0)
        async with llm(tokens=estimate) as call:
            reply = await client.chat(...)
            call.settle(tokens=reply.usage.total)

    A call takes everything it needs at once, or it waits. No window of `per` seconds, wherever it
    begins, exceeds the limit. So it makes no difference how the provider counts: in a sliding
    window, in fixed windows, or with a token bucket. Calls are admitted strictly first come, first
    served: small calls never overtake a large one. A cancelled waiter has consumed nothing; a
    call whose block raises still counts. Without `settle` the estimate stands.

    Unlike an `asyncio.Semaphore`, it limits a rate as well as a number, and a call never holds one
    resource while it waits for another. All calls of one event loop share one RateLimit; threads
    with event loops of their own can't.

    Memory does not grow with the limit: beyond 4096 calls in `per` seconds, those within a 4096th
    of `per` are counted together, and a waiting call may wait that much longer.

    Args:
        concurrent: How many calls may run at a time; None for no limit.
        requests: How many requests may be admitted in `per` seconds; None for no limit.
        tokens: How many tokens may be admitted in `per` seconds; None for no limit.
        per: The length of the window in seconds.
        burst: How many requests may be admitted at one instant; further ones are spaced evenly.
            For a provider that enforces 600 a minute as 10 a second. Needs `requests`.

    Raises:
        TypeError, ValueError: A limit is not a positive number, or nothing is limited.
    """

    __slots__ = ("_gate", "_layers", "_most_requests", "_most_tokens", "_one", "_per")

    def __init__(
        self,
        *,
        concurrent: int | None = None,
        requests: float | None = None,
        tokens: float | None = None,
        per: float = 60.0,
        burst: int | None = None,
    ) -> None:
        if concurrent is None and requests is None and tokens is None:
            message = "RateLimit(): give at least one of concurrent, requests and tokens"
            raise ValueError(message)
        if burst is not None and requests is None:
            message = "RateLimit(): burst requires requests"
            raise ValueError(message)
        self._per = _positive("RateLimit", "per", per, finite=True)
        #: The limits that were given, by layer.
        self._layers = _checked("RateLimit", concurrent, requests, tokens)
        self._gate = Gate(
            self._layers.get("concurrent", sys.maxsize),
            _with_rounding(self._layers.get("requests", math.inf)),
            _with_rounding(self._layers.get("tokens", math.inf)),
            self._per,
            _positive("RateLimit", "burst", burst, whole=True),
        )
        self._cache_maxima()

    def _cache_maxima(self) -> None:
        """Cache the maxima for `__call__`."""
        window = self._gate.window
        self._most_requests = window.max_weight if window else math.inf
        self._most_tokens = window.max_tokens if window else math.inf
        #: The weight of most calls, if it can be admitted.
        self._one = 1 if self._most_requests >= 1 else None

    def __call__(self, *, tokens: float = 0, requests: float = 1) -> Admission:
        """Return the admission of one call, to be entered with `async with`.

        Entering it raises ValueError if `update` has lowered a limit so far that the call can never
        be admitted, whether before it waits or while it does. It raises RuntimeError if it was
        entered before, or if the RateLimit is bound to a different event loop.

        Args:
            tokens: How many tokens the call is expected to use.
            requests: As how many requests the call counts.

        Returns:
            The admission, an async context manager with `.settle()`; it can be entered only once.

        Raises:
            ValueError: `tokens` or `requests` is negative, or more than can ever be admitted.
            TypeError: `tokens` or `requests` is not a number.
        """
        if type(tokens) is not int or not 0 <= tokens <= self._most_tokens:
            tokens = _check_weight("tokens", tokens, self._most_tokens)
        if requests is not self._one:
            requests = _check_weight("requests", requests, self._most_requests)
        call = Admission()  # without `__init__`, which would take 50% longer
        call.gate = self._gate
        call.place = NEW
        call.requests = requests
        call.tokens = tokens
        call.debt = None
        call.loop = None
        return call

    def pause(self, seconds: float) -> None:
        """Admit no call for so many seconds, for example after a 429 with `Retry-After`.

        Pauses never shorten each other: the latest end counts. Calls that have entered their block
        are not affected. `pause(0)` changes nothing.

        Args:
            seconds: How long, from now on, by the event loop's clock.

        Raises:
            ValueError: `seconds` is negative, NaN or infinite.
            TypeError: `seconds` is not a number.
            RuntimeError: It was called outside the event loop that uses this limit. From another
                thread: `loop.call_soon_threadsafe(limit.pause, seconds)`.
        """
        number = _arguments.check_number("RateLimit.pause", "seconds", seconds)
        if number == math.inf:
            message = "RateLimit.pause(): seconds must be finite"
            raise ValueError(message)
        loop = _running_loop()
        if loop is None:
            message = (
                "RateLimit.pause(): no running event loop; "
                "from another thread: loop.call_soon_threadsafe(limit.pause, seconds)"
            )
            raise RuntimeError(message)
        self._gate.pause(number, loop)

    def update(
        self,
        *,
        concurrent: int | None = None,
        requests: float | None = None,
        tokens: float | None = None,
    ) -> None:
        """Change limits while calls run and wait, for example to those in a provider's headers.

        A higher limit admits waiting calls at once. A lower one holds them back until the window,
        or the number of running calls, has room again. A waiting call that can never be admitted
        any more raises ValueError; those behind it move up. Earlier admissions still count.

        Args:
            concurrent: How many calls may run at a time; None to leave it as it is.
            requests: How many requests may be admitted in a window; None to leave it as it is.
            tokens: How many tokens may be admitted in a window; None to leave it as it is.

        Raises:
            TypeError, ValueError: No limit is given, or a limit is not a positive finite
                number, or this RateLimit was made without it. No limit was changed.
            RuntimeError: It was called outside the event loop that uses this limit. From another
                thread: `loop.call_soon_threadsafe(functools.partial(limit.update, tokens=tokens))`.
        """
        layers = _checked("RateLimit.update", concurrent, requests, tokens, finite=True)
        if not layers:
            message = "RateLimit.update(): give at least one of concurrent, requests and tokens"
            raise ValueError(message)
        for name in layers:
            if name not in self._layers:
                message = (
                    f"RateLimit.update(): this RateLimit was made without {name}: "
                    f"make it with {', '.join([*self._layers, name])}"
                )
                raise ValueError(message)
        gate = self._gate
        if gate.loop_in_use is not None and _running_loop() is not gate.loop:
            message = (
                "RateLimit.update(): this RateLimit is in use on an event loop; from elsewhere: "
                "loop.call_soon_threadsafe(functools.partial(limit.update, ...))"
            )
            raise RuntimeError(message)
        layers = self._layers | layers
        if layers == self._layers:
            return  # the same header with each response
        self._layers = layers
        gate.update(
            layers.get("concurrent", sys.maxsize),
            _with_rounding(layers.get("requests", math.inf)),
            _with_rounding(layers.get("tokens", math.inf)),
        )
        self._cache_maxima()

    if not TYPE_CHECKING:  # without these, type checkers report the mistake

        def __aenter__(self) -> NoReturn:
            message = "RateLimit is not a context manager: use `async with limit():`"
            raise TypeError(message)

        __aexit__ = __aenter__

    def __repr__(self) -> str:
        gate = self._gate
        now = gate.loop_in_use.time() if gate.loop_in_use else -math.inf
        requests, tokens = gate.window.counts(now) if gate.window else (0, 0)
        paused = ""
        if -math.inf < now < gate.paused_until:
            paused = f"; paused for {gate.paused_until - now:g} s"
        return (
            f"<RateLimit: {gate.running} running, {gate.waiting} waiting; "
            f"{requests:.10g} requests and {tokens:.10g} tokens in {self._per:g} s{paused}>"
        )


@final
class Admission(Call):
    """One call under a `RateLimit`, to be entered once."""

    __slots__ = ("gate", "loop")

    gate: Gate
    place: int
    #: The loop on which it was admitted.
    loop: asyncio.AbstractEventLoop | None

    async def __aenter__(self) -> Self:
        if self.place != NEW:
            message = "an admission can be entered only once; call the RateLimit again"
            raise RuntimeError(message)
        gate = self.gate
        loop = asyncio.get_running_loop()
        if loop is not gate.loop:
            gate.bind(loop)
        if gate.queue or gate.running >= gate.ceiling:
            if not gate.admits(self, loop.time()):
                await gate.wait(self, loop)
        elif (window := gate.window) is None:
            gate.running += 1
            self.place = 0
        else:
            now = loop.time()
            place = window.last + 1
            requests = window.requests + self.requests
            tokens = window.tokens + self.tokens
            if (
                requests <= window.fast_requests
                and tokens <= window.max_tokens
                and ((few := place < window.many_from) or now <= window.merges_until)
            ):  # `due` and `admit`, inlined
                if few:
                    window.entries.append((now, self.requests, self.tokens))
                    window.last = place
                else:
                    _, of_requests, of_tokens = window.entries[-1]
                    entry = (now, of_requests + self.requests, of_tokens + self.tokens)
                    window.entries[-1] = entry
                window.requests = requests
                window.tokens = tokens
                self.place = window.last
                gate.running += 1
            elif not gate.admits(self, now):
                await gate.wait(self, loop)
        self.loop = loop
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        gate = self.gate
        if self.loop is not gate.loop:
            return  # its loop was closed while it ran, and it is collected now: see `Gate.bind`
        gate.running -= 1
        # While the timer is set, the head waits for time to pass, not for a call to finish.
        if gate.queue and gate.timer is None:
            gate.admit()

    def settle(self, *, tokens: float) -> None:
        """Set how many tokens the call has really used.

        Tokens that were not used are returned at once. Those used beyond the estimate are repaid by
        later calls: they take the next room in the window. May be called repeatedly, and after the
        block; the last value counts. It may exceed the limit.

        Args:
            tokens: How many in all, those of the estimate included.

        Raises:
            ValueError: `tokens` is negative, NaN or infinite, or would take more than 10,000
                windows to repay.
            TypeError: `tokens` is not a number.
            RuntimeError: The call has not been admitted.
        """
        used = _arguments.check_number("settle", "tokens", tokens)
        if used == math.inf:
            message = "settle(): tokens must be finite"
            raise ValueError(message)
        if self.loop is None:
            message = "settle(): the call has not been admitted; enter it first, with `async with`"
            raise RuntimeError(message)
        gate = self.gate
        window = gate.window
        if window is None or window.max_tokens == math.inf or gate.loop is None:
            return
        window.settle(self, used, gate.loop.time())
        if gate.queue:
            gate.admit()


def _check_weight(argument: str, value: float, most: float) -> float:
    """Check the weight of a call: a number that can be admitted."""
    number = _arguments.check_number("RateLimit", argument, value)
    if number > most:
        hint = "" if most >= 1 else f"; for less than one {argument[:-1]}, make `per` longer"
        message = (
            f"RateLimit: a call with {argument}={value!r} can never be admitted: "
            f"the limit is {most:.10g}{hint}"
        )
        raise ValueError(message)
    return number


def _checked(
    function: str,
    concurrent: int | None,
    requests: float | None,
    tokens: float | None,
    *,
    finite: bool = False,
) -> dict[str, float]:
    """Check limits, and return those that limit something."""
    limits = {
        "concurrent": _positive(function, "concurrent", concurrent, whole=True),
        "requests": _positive(function, "requests", requests, finite=finite),
        "tokens": _positive(function, "tokens", tokens, finite=finite),
    }
    return {name: most for name, most in limits.items() if most != math.inf}


def _positive(
    function: str,
    argument: str,
    value: float | None,
    *,
    whole: bool = False,
    finite: bool = False,
) -> float:
    """Check a number of more than 0; return infinity for None."""
    if value is None:
        return math.inf
    if whole:
        number: float = min(_arguments.check_count(function, argument, value) or 0, sys.maxsize)
    else:
        number = _arguments.check_number(function, argument, value)
    if not number:
        message = f"{function}(): {argument} must be more than 0, not {value!r}"
        raise ValueError(message)
    if finite and number == math.inf:
        message = f"{function}(): {argument} must be finite"
        raise ValueError(message)
    # Comparing ints is much faster.
    return int(number) if number < MOST_EXACT and number == int(number) else number


def _with_rounding(number: float) -> float:
    """Let 0.1 + 0.1 + 0.1 fit into 0.3: the window has running sums."""
    return number if type(number) is int else number * (1 + 1e-12)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
