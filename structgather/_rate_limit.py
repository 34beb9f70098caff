"""`RateLimit`: requests, tokens and concurrency of a provider, in one fair admission."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, NoReturn, final

from structgather import _arguments as _inputs
from structgather._admission import Admission, check_weight
from structgather._gate import NEW, Gate

#: Up to here a float tells each whole number from the next.
MOST_EXACT = 2.0**53


@final
class RateLimit:
    """Admits calls to a provider so that it has no reason to refuse one.

        llm = RateLimit(concurrent=20, requests=500, tokens=90_000, per=60.0)
        async with llm(tokens=estimate) as call:
            reply = await client.chat(...)
            call.settle(tokens=reply.usage.total)

    All that a call takes is taken at once, or it waits. In no window of `per` seconds, wherever it
    begins, is more admitted than the limit says. So it makes no difference how the provider counts:
    in a sliding window, in fixed ones, or with a bucket. Strictly first come, first served: a large
    call is not overtaken by small ones for ever. A waiter that is cancelled has spent nothing.
    Memory does not grow with the limit: beyond 4096 calls in `per` seconds, what comes within a
    4096th of `per` is remembered as one, and who waits for room may wait so much longer.

    How it differs from an `asyncio.Semaphore`, or two: it limits a rate as well as a number, and it
    never holds one thing while it waits for another. To be shared by all calls of one event loop.

    Args:
        concurrent: How many calls may be under way at a time; None for any number.
        requests: How many requests may be admitted in `per` seconds; None for any number.
        tokens: How many tokens may be admitted in `per` seconds; None for any number.
        per: The length of the window in seconds.
        burst: How many requests may be admitted at one instant; afterwards they are spaced evenly.
            For a provider that enforces 600 a minute as 10 a second. Needs `requests`.

    Raises:
        TypeError, ValueError: A limit is not a positive number, or nothing is limited.
    """

    __slots__ = ("_gate", "_most_requests", "_most_tokens", "_one", "_per")

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
            message = "RateLimit(): burst spaces requests: it needs requests"
            raise ValueError(message)
        self._per = _positive("per", per)
        if self._per == math.inf:
            message = "RateLimit(): per must be a number of seconds"
            raise ValueError(message)
        self._most_tokens = _positive("tokens", tokens)
        in_a_window = _positive("requests", requests)
        at_once = _positive("burst", burst, whole=True)
        self._most_requests = min(in_a_window, at_once)
        #: What most calls count for, where it can be admitted.
        self._one = 1 if self._most_requests >= 1 else None
        self._gate = Gate(
            min(_positive("concurrent", concurrent, whole=True), sys.maxsize),
            _with_rounding(in_a_window),
            _with_rounding(self._most_tokens),
            self._per,
            at_once,
        )

    def __call__(self, *, tokens: float = 0, requests: float = 1) -> Admission:
        """Return the admission of one call, to be entered with `async with`.

        Args:
            tokens: How many tokens the call will use, as far as is known.
            requests: For how many requests the call counts.

        Raises:
            ValueError: It is negative, or more than can ever be admitted.
            TypeError: It is not a number.
        """
        if type(tokens) is not int or not 0 <= tokens <= self._most_tokens:
            tokens = check_weight("tokens", tokens, self._most_tokens)
        if requests is not self._one:
            requests = check_weight("requests", requests, self._most_requests)
        call = Admission()  # without `__init__`: it would take half as long again
        call.gate = self._gate
        call.place = NEW
        call.requests = requests
        call.tokens = tokens
        call.debts = ()
        call.loop = None
        return call

    if not TYPE_CHECKING:  # a type checker says so by itself, where it does not see these

        def __aenter__(self) -> NoReturn:
            message = "each call has an admission of its own: `async with limit():`, not `limit:`"
            raise TypeError(message)

        __aexit__ = __aenter__

    def __repr__(self) -> str:
        gate = self._gate
        requests, tokens = gate.counts
        return (
            f"<RateLimit: {gate.running} calls under way, {gate.waiting} waiting; "
            f"{requests:g} requests and {tokens:g} tokens in {self._per:g} s>"
        )


def _with_rounding(number: float) -> float:
    """Let 0.1 + 0.1 + 0.1 fit into 0.3: what is counted is a running sum."""
    return number if type(number) is int else number * (1 + 1e-12)


def _positive(argument: str, value: float | None, *, whole: bool = False) -> float:
    if value is None:
        return math.inf
    if whole:
        number: float = min(_inputs.check_count("RateLimit", argument, value) or 0, sys.maxsize)
    else:
        number = _inputs.check_number("RateLimit", argument, value)
    if not number:
        message = f"RateLimit(): {argument} must be more than 0, not {value!r}"
        raise ValueError(message)
    # Whole numbers are compared with whole numbers much faster.
    return int(number) if number < MOST_EXACT and number == int(number) else number
