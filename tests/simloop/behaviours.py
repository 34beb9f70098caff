"""How a child can behave. `points` is the number of points that it awaits first.

A behaviour is an `async def behave(child)` that awaits `child.point()` or `child.watch(anything)`.
It must not keep an exception in a local variable.
"""

from __future__ import annotations

import asyncio

from simloop.run import Program
from simloop.worlds import Behaviour, Call, Child, ChildError, scope, world


def returns(points: int = 1) -> Behaviour:
    """Returns its label."""

    async def behave(child: Child) -> str:
        await child.points(points)
        return child.label

    return behave


def returns_at_once() -> Behaviour:
    """Returns its label in its first step."""
    return returns(points=0)


def sleeps(seconds: float) -> Behaviour:
    """Returns its label after so many seconds of virtual time."""

    async def behave(child: Child) -> str:
        await child.watch(asyncio.sleep(seconds))
        return child.label

    return behave


def hangs() -> Behaviour:
    """Waits until it is cancelled."""

    async def behave(child: Child) -> None:
        await child.watch(asyncio.get_running_loop().create_future())

    return behave


def fails(points: int = 1) -> Behaviour:
    """Raises a ChildError."""

    async def behave(child: Child) -> str:
        await child.points(points)
        raise ChildError(child.label)

    return behave


def fails_at_once() -> Behaviour:
    """Raises a ChildError in its first step."""
    return fails(points=0)


def exits(points: int = 1, error: type[BaseException] = KeyboardInterrupt) -> Behaviour:
    """Raises what no library may catch: KeyboardInterrupt or SystemExit."""

    async def behave(child: Child) -> str:
        await child.points(points)
        raise error(child.label)

    return behave


def cancels_itself(points: int = 1) -> Behaviour:
    """Raises a CancelledError without having been cancelled."""

    async def behave(child: Child) -> str:
        await child.points(points)
        child.disturbed = True  # so that it does not count as a cancellation
        child.log("cancels itself")
        raise asyncio.CancelledError

    return behave


def cleans_up_slowly(points: int = 1) -> Behaviour:
    """Returns its label; in any case it awaits one more point in its `finally`."""

    async def behave(child: Child) -> str:
        try:
            await child.points(points)
        finally:
            await child.point()
        return child.label

    return behave


def fails_in_cleanup(points: int = 1) -> Behaviour:
    """Returns its label; if it is cancelled, its cleanup raises a ChildError."""

    async def behave(child: Child) -> str:
        try:
            await child.points(points)
        except asyncio.CancelledError:
            raise ChildError(child.label) from None
        return child.label

    return behave


def ignores_one_cancellation(points: int = 2) -> Behaviour:
    """Returns its label; the first cancellation only interrupts the point that it awaits."""

    async def behave(child: Child) -> str:
        patience = 1
        for _ in range(points):
            try:
                await child.point()
            except asyncio.CancelledError:
                if not patience:
                    raise
                patience -= 1
        return child.label

    return behave


def returns_while_cancelled(points: int = 1) -> Behaviour:
    """Returns its label, or another value if it is cancelled."""

    async def behave(child: Child) -> str:
        try:
            await child.points(points)
        except asyncio.CancelledError:
            return f"{child.label}, cancelled"
        return child.label

    return behave


def nests(call: Call, **children: Behaviour) -> Behaviour:
    """Awaits a call of its own with `children`, and returns its label."""

    async def behave(child: Child) -> str:
        child.log("is a program")
        inner = {f"{child.label}.{label}": behaviour for label, behaviour in children.items()}
        await child.watch(scope(f"scope of {child.label}", call, inner))
        return child.label

    return behave


def three_children(call: Call) -> Program:
    """The world behind the published figures: a returns, b fails, c cleans up, two points each."""
    return world(call, a=returns(points=2), b=fails(points=2), c=cleans_up_slowly(points=2))
