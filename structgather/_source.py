"""The inputs of a call that takes an iterable, one by one as there is room for them."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from structgather import _inputs
from structgather._endings import without_our_frame

if TYPE_CHECKING:
    import asyncio


class Source:
    """Hands out the inputs of one call, each checked.

    What is a collection exists already: it is checked as a whole, before anything has started. A
    generator is pulled one by one.
    """

    __slots__ = ("_caller", "_function", "_iterator", "_known", "exhausted", "taken", "total")

    def __init__(
        self,
        function: str,
        values: Iterable[Awaitable[Any]],
        caller: asyncio.Task[Any],
    ) -> None:
        self._function = function
        self._caller = caller
        self._known: list[Awaitable[Any]] | None = None
        if isinstance(values, Collection):
            values = self._known = _inputs.take_all(function, values, caller)
        self._iterator: Iterator[Awaitable[Any]] = iter(values)
        #: How many inputs were handed out.
        self.taken = 0
        #: How many there are in all, where that is known.
        self.total = None if self._known is None else len(self._known)
        self.exhausted = self.total == 0

    def take(self) -> Awaitable[Any] | None:
        """Return the next input, or None if there is none. Raises what the iterable raises."""
        if self.exhausted:
            return None
        try:
            value = next(self._iterator)
            if self._known is None:
                item = f"item {self.taken} of its input"
                _inputs.check_awaitable(self._function, item, value, self._caller)
        except StopIteration:
            self.exhausted = True
            self.total = self.taken
            return None
        except BaseException:
            self.exhausted = True
            raise
        self.taken += 1
        if self.taken == self.total:
            self.exhausted = True
        return value

    def close(self) -> BaseException | None:
        """Let go of the inputs: close the generator, and the coroutines that nobody will start.

        Returns what the generator's own cleanup raised, for the policy to raise in its turn.
        """
        self.exhausted = True
        if self._known is not None:
            _inputs.close_unstarted(self._known)
            self._known = None
        del self._caller
        iterator, self._iterator = self._iterator, iter(())
        if isinstance(iterator, Generator):
            try:
                iterator.close()
            except BaseException as error:  # noqa: BLE001 - it is handed back
                return without_our_frame(error)
        return None
