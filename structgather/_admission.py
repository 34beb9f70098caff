"""One call under a `RateLimit`: what `async with limit(...)` enters, and what is settled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, final

from structgather import _arguments as _inputs
from structgather._gate import NEW, Call

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from structgather._gate import Gate


@final
class Admission(Call):
    """One call under a `RateLimit`, to be entered once."""

    __slots__ = ("gate", "loop")

    gate: Gate
    place: int
    #: On which it is under way, from its admission on.
    loop: asyncio.AbstractEventLoop | None

    async def __aenter__(self) -> Self:
        if self.place != NEW:
            message = "this admission was entered before: call the RateLimit anew for each call"
            raise RuntimeError(message)
        gate = self.gate
        loop = asyncio.get_running_loop()
        if loop is not gate.loop:
            gate.bind(loop)
        if gate.queue or gate.running >= gate.max_concurrent:
            await gate.wait(self, loop)
        elif not gate.windowed:
            gate.running += 1
            self.place = 0
        else:
            now = loop.time()
            place = gate.last + 1
            requests = gate.requests + self.requests
            tokens = gate.tokens + self.tokens
            if (
                requests <= gate.most_requests
                and tokens <= gate.max_tokens
                and ((few := place < gate.many_from) or now <= gate.merges_until)
            ):  # what `due` and `spend` would do, without the calls
                if few:
                    gate.window.append((now, self.requests, self.tokens))
                    gate.last = place
                else:
                    _, of_requests, of_tokens = gate.window[-1]
                    gate.window[-1] = (now, of_requests + self.requests, of_tokens + self.tokens)
                gate.requests = requests
                gate.tokens = tokens
                self.place = gate.last
                gate.running += 1
            elif gate.due(self, now) <= now:
                gate.spend(self, self.requests, now)
                gate.running += 1
            else:
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
            return  # it was under way when its loop was closed, and is collected now: see `bind`
        gate.running -= 1
        # While the timer is set, the head waits for room in the window, not for a place.
        if gate.queue and gate.timer is None:
            gate.admit()

    def settle(self, *, tokens: float) -> None:
        """Say how many tokens the call has really used.

        What was not used is given back at once. What was used beyond the estimate is repaid by
        those who come later. May be said again, and after the block; the last word counts.

        Args:
            tokens: How many in all, the estimate included.

        Raises:
            ValueError: It is negative, or beyond all measure.
            TypeError: It is not a number.
            RuntimeError: The call has not been admitted.
        """
        used = _inputs.check_number("settle", "tokens", tokens)
        if self.loop is None:
            message = "settle() tells what a call has used: enter it first, with `async with`"
            raise RuntimeError(message)
        self.gate.settle(self, used)


def check_weight(argument: str, value: float, most: float) -> float:
    """Check what a call is to count for: a number that can be admitted."""
    number = _inputs.check_number("RateLimit", argument, value)
    if number > most:
        hint = "" if most >= 1 else f": let it be 1 in a longer `per`, not {most:g} in a shorter"
        message = f"RateLimit: {value!r} {argument} can never be admitted, {most:g} is the most"
        raise ValueError(message + hint)
    return number
