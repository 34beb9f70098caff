"""Random trees: a function makes each choice, with `random` or with hypothesis."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from simloop.loop import Mode
from simloop.random_programs.around import Finally, Group, Timeout
from simloop.random_programs.nodes import (
    QUIET,
    Adopted,
    Leaf,
    Node,
    Shared,
    Shielded,
    is_adopted,
)
from simloop.random_programs.scopes import First, Gather, Stream
from simloop.run import Options

EAGER_TASKS = sys.version_info >= (3, 12)

Choose: TypeAlias = Callable[[int], int]  # one of so many options; 0 is the simplest


LEAVES = (
    *QUIET,
    "fails",
    "fails",
    "cancels_itself",
    "fails_in_cleanup",
    "ignores_one_cancellation",
    "exits",
)


class Sort(NamedTuple):
    """What may be drawn."""

    calls: tuple[str, ...] = ("Gather", "First", "Stream")
    options: frozenset[str] = frozenset({"*"})
    adopted: bool = True
    asyncio: bool = True  # timeouts, groups and cleanups
    leaves: tuple[str, ...] = LEAVES
    eager: bool = EAGER_TASKS


ANY = Sort()

ACTIONS = ("take", "pause", "sleep", "add", "cancel", "break", "raise", "call")
FEEDS = ("collection", "collection", "generator", "raising")
SLOW_FEEDS = (*FEEDS, "slow", "stubborn", "breaking")
DEPTH = 3


class Drawing:
    """Draws a tree, by a function that makes each choice."""

    def __init__(self, choose: Choose, sort: Sort = ANY) -> None:
        self.choose = choose
        self.sort = sort

    def one_of(self, things: tuple[Any, ...]) -> Any:
        return things[self.choose(len(things))]

    def root(self) -> Node:
        if self.sort.asyncio:
            match self.choose(8):
                case 5:
                    return Timeout(self.call(DEPTH), seconds=self.choose(3))
                case 6:
                    return Group(*[self.call(DEPTH - 1) for _ in range(1 + self.choose(3))])
                case 7:
                    return Finally(self.call(DEPTH), self.tame())
                case _:
                    pass
        return self.call(DEPTH)

    def call(self, depth: int) -> Node:
        match self.one_of(self.sort.calls):
            case "Gather":
                return self.gather(depth)
            case "First":
                return self.first(depth)
            case _:
                return self.stream(depth)

    def gather(self, depth: int, *, tame: bool = False) -> Node:
        options = self.options(limit=self.limit, child_timeout=self.seconds)
        how = 1 if tame else self.choose(3)
        if how == 1 and "return_exceptions" in self.options(return_exceptions=self.yes):
            options["return_exceptions"] = True
        elif how == 2 and not tame:
            options |= self.options(exception_group=self.yes)
        parts = self.parts(depth)
        if parts and not self.choose(6):
            options |= self.options(twice=lambda: (self.choose(len(parts)),))
        return Gather(*parts, **options)

    def first(self, depth: int) -> Node:
        parts = self.parts(depth)
        return First(
            *parts,
            **self.feeding(
                parts,
                FEEDS,
                n=lambda: self.one_of((1, 2, 0, 3)),
                within=self.seconds,
                limit=self.limit,
                child_timeout=self.seconds,
            ),
        )

    def stream(self, depth: int) -> Node:
        parts = self.parts(depth, adding=True)
        return Stream(
            *parts,
            **self.feeding(
                parts,
                SLOW_FEEDS,
                body=self.body,
                timeout=self.seconds,
                limit=self.limit,
                child_timeout=self.seconds,
                held_back=lambda: self.choose(3),
            ),
        )

    def feeding(
        self, parts: list[Node], feeds: tuple[str, ...], **makers: Callable[[], Any]
    ) -> dict[str, Any]:
        """Draw some of these options, and the kind of input."""
        options = self.options(**makers, feed=lambda: self.one_of(feeds))
        if options.get("feed") == "raising" and any(map(is_adopted, parts)):
            options.setdefault("limit", self.limit())
        return options

    def options(self, **makers: Callable[[], Any]) -> dict[str, Any]:
        """Draw some of these options, of those that may be drawn."""
        allowed = self.sort.options
        return {
            name: make()
            for name, make in makers.items()
            if ("*" in allowed or name in allowed) and (make == self.yes or self.choose(3) == 2)
        }

    def yes(self) -> bool:
        return True

    def limit(self) -> int:
        return 1 + self.choose(3)

    def seconds(self) -> int:
        seconds: int = self.one_of((1, 2, 0))
        return seconds

    def body(self) -> tuple[str | Node, ...]:
        actions = [self.one_of(ACTIONS) for _ in range(1 + self.choose(3))]
        return tuple(self.tame() if action == "call" else action for action in actions)

    def parts(self, depth: int, *, adding: bool = False) -> list[Node]:
        parts = [self.part(depth - 1, adding=adding) for _ in range(self.choose(4 + (depth > 1)))]
        names = [part.options.get("name") for part in parts]
        return [
            part
            for at, part in enumerate(parts)
            if names[at] is None or names[at] not in names[:at]
        ]

    def part(self, depth: int, *, adding: bool) -> Node:
        """Draw an argument of a call."""
        if self.sort.adopted:
            match self.choose(10):
                case 6 | 7:
                    return Adopted(self.node(depth))
                case 8:
                    return Shared(self.leaf(), name=self.one_of(("s", "t")))
                case 9:
                    return Shielded(self.tame() if depth and self.choose(2) else self.leaf(QUIET))
                case _:
                    pass
        if adding and self.choose(8) == 7:
            return Leaf("adds_a_child", points=self.choose(3))
        return self.node(depth)

    def node(self, depth: int) -> Node:
        """Draw what a child does."""
        kind = self.choose(10) if depth else 0
        if kind < 5:
            return self.leaf()
        if kind < 8 or not self.sort.asyncio:
            return self.call(depth)
        match kind - 8 + self.choose(2):
            case 0:
                return Timeout(self.call(depth), seconds=self.choose(3))
            case 1:
                parts = [self.node(depth - 1) for _ in range(self.choose(3))]
                return Group(self.call(depth - 1), *parts)
            case _:
                return Finally(self.node(depth - 1), self.tame())

    def leaf(self, does: tuple[str, ...] = ()) -> Node:
        name = self.one_of(does or self.sort.leaves)
        # An exit in an eager first step propagates to what creates the task, not to the loop.
        return Leaf(name, points=self.choose(3) or int(name == "exits"))

    def tame(self) -> Node:
        """Draw a call that raises nothing but the cancellation of its caller."""
        sort = self.sort._replace(adopted=False, asyncio=False, leaves=LEAVES[:-1])
        quiet = Drawing(self.choose, sort)
        if self.sort.calls == ("Gather",) or self.choose(2):
            return quiet.gather(1, tame=True)
        return quiet.first(1)


def draw_options(choose: Choose, sort: Sort = ANY) -> Options:
    """How to run it."""
    mode: Mode = "racy" if choose(2) else "fifo"
    return {"mode": mode, "cancels": choose(4), "eager": sort.eager and choose(3) == 2}
