"""Calls of the three functions, with their parts as children."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import traceback
from collections.abc import Awaitable, Iterator
from functools import partial
from string import ascii_lowercase
from typing import Any, ClassVar, TypeAlias

from simloop import calls
from simloop.base_loop import born_in
from simloop.calls import BodyError, Coro, Feed, log
from simloop.loop import current, point
from simloop.random_programs.nodes import Node, Shared, argument, is_adopted
from simloop.worlds import Child, scope
from structgather import Outcome, as_completed_scoped, first_n_within, gather_structured

Functions: TypeAlias = dict[str, Any]

FUNCTIONS: Functions = {
    "gather": gather_structured,
    "first": first_n_within,
    "stream": as_completed_scoped,
}
under_test: contextvars.ContextVar[Functions] = contextvars.ContextVar("under_test")


class Call(Node):
    """A call under test, with its parts as children."""

    deadline: ClassVar[str] = ""  # the option with the deadline of the whole call

    def __init__(self, *parts: Node, **options: Any) -> None:
        super().__init__(*parts, **options)
        shared = [part.options["name"] for part in parts if isinstance(part, Shared)]
        if len(shared) != len({*shared}):
            raise TypeError("one Task can't be given twice")
        # A call without a limit pulls its whole input before it starts a child; if that raises, it
        # adopts nothing, and the Tasks run on.
        if (
            self.options.get("feed") == "raising"
            and self.options["limit"] is None
            and any(map(is_adopted, parts))
        ):
            raise TypeError("the Tasks would run on")

    async def run(self, child: Child) -> str:
        child.log("is a program")
        children = {
            part.options["name"] if isinstance(part, Shared) else f"{child.label}.{letter}": part
            for letter, part in zip(ascii_lowercase, self.parts, strict=False)
        }
        await child.watch(
            scope(
                f"scope of {child.label}",
                partial(self.start, [*children]),
                {label: part.run for label, part in children.items()},
                self.options.get(self.deadline),
                self.child_deadline(),
            )
        )
        return child.label

    def child_deadline(self) -> float | None:
        # An adopted Task waits under the limit as well, and its time counts from its admission.
        waits = self.options["limit"] is not None and any(map(is_adopted, self.parts))
        seconds: float | None = None if waits else self.options["child_timeout"]
        return seconds

    async def start(self, labels: list[str], *children: Coro) -> Any:
        name = born_in.get().rpartition("/")[2]
        current().log(name, "time of each child", self.options["child_timeout"])
        return await self.call(labels, *children)

    def call(self, labels: list[str], *children: Coro) -> Awaitable[Any]:
        """Make the call."""
        raise NotImplementedError

    def given(self, *but: str) -> dict[str, Any]:
        """The options that do not have their defaults."""
        return {
            name: value
            for name, value in self.options.items()
            if value != self.defaults[name] and name not in but
        }

    def feed(self, labels: list[str]) -> Feed:
        """The input, with Tasks and Futures for the children that are adopted."""
        feed: Feed = getattr(calls, self.options["feed"])
        if not any(map(is_adopted, self.parts)):
            return feed
        return lambda left: feed(map(argument, self.parts, labels, left))


class Gather(Call):
    """`gather_structured`. `twice` has the places of arguments that are passed once more."""

    defaults: ClassVar = {
        "return_exceptions": False,
        "exception_group": False,
        "limit": None,
        "child_timeout": None,
        "twice": (),
    }

    def is_quiet(self) -> bool:
        return self.options["return_exceptions"] and "exits" not in repr(self)

    async def call(self, labels: list[str], *children: Coro) -> Any:
        log("caller", "limit", self.options["limit"])
        arguments: list[Any] = [*map(argument, self.parts, labels, children)]
        twice = [place % len(children) for place in self.options["twice"] if children]
        arguments += [arguments[place] for place in twice]
        call = under_test.get()["gather"](*arguments, **self.given("twice"))
        del arguments  # a frame that a Task's exception refers to must not refer to the Task
        try:
            values = await call
        except BaseException as error:
            log("caller", "shows", "".join(traceback.format_exception(error)))
            raise
        assert [*values[len(children) :]] == [values[place] for place in twice]
        return values[: len(children)]


class First(Call):
    """`first_n_within`."""

    deadline = "within"
    defaults: ClassVar = {
        "n": None,
        "within": None,
        "limit": None,
        "child_timeout": None,
        "feed": "collection",
    }

    def is_quiet(self) -> bool:
        return "exits" not in repr(self)

    def call(self, labels: list[str], *children: Coro) -> Awaitable[Any]:
        feed, of = self.feed(labels), under_test.get()["first"]
        return calls.first(*children, feed=feed, of=of, **self.given("feed"))


class Stream(Call):
    """`as_completed_scoped`. `body` has an action for each outcome, or a call to await."""

    deadline = "timeout"
    defaults: ClassVar = {
        "body": (),
        "timeout": None,
        "limit": None,
        "child_timeout": None,
        "feed": "collection",
        "held_back": 0,
    }

    def call(self, labels: list[str], *children: Coro) -> Awaitable[Any]:
        feed, of = self.feed(labels), under_test.get()["stream"]
        held_back = min(self.options["held_back"], len(children))
        if self.options["feed"] != "collection" or any(map(is_adopted, self.parts)):
            held_back = 0  # the index of what is added would not be its place
        return calls.stream(
            *children,
            feed=feed,
            of=of,
            held_back=held_back,
            body=acting(self.options["body"]),
            **self.given("feed", "held_back", "body"),
        )


def acting(actions: tuple[str | Node, ...]) -> calls.Body:
    """Return the body of a loop, with one action for each outcome."""
    left = enumerate(actions)

    async def body(outcomes: Any, outcome: Outcome[Any], more: Iterator[Coro]) -> bool:
        number, action = next(left, (0, "take"))
        match action:
            case Node():
                name = born_in.get().rpartition(" of ")[2]
                with contextlib.suppress(Exception):  # such as an error of its input
                    await action.run(Child(f"{name}-{number}", current()))
            case "break":
                return True
            case "raise":
                raise BodyError
            case "pause":
                await point("pause")
            case "sleep":
                await asyncio.sleep(1)
            case "cancel":
                outcomes.cancel()
            case "add":
                add_another(outcomes, more)
            case _:
                pass
        return False

    return body


def add_another(outcomes: Any, more: Iterator[Coro]) -> None:
    for child in more:
        try:
            outcomes.add(child)
        except RuntimeError as error:
            assert "can't add a child" in str(error)  # noqa: PT017 - it may be too late
        break
