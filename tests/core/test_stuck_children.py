"""A child that ignores its cancellation keeps its caller waiting, and a warning is logged."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from structgather import (
    _stuck,
    as_completed_scoped,
    first_n_within,
    gather_structured,
    warn_stuck_after,
)
from support.virtual_tests import forever
from support.virtual_time import now, run, still_to_ring, timers_from_now_on


async def stubborn(seconds: float) -> str:
    """Run for so many seconds, and ignore cancellations."""
    until = now() + seconds
    while now() < until:
        try:
            await later(until)  # the line that the warning names
        except asyncio.CancelledError:
            continue
    return "at last"


def later(time: float) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def arrive() -> None:
        if not future.done():
            future.set_result(None)

    loop.call_at(time, arrive)
    return future


async def fails(seconds: float = 0) -> None:
    await asyncio.sleep(seconds)
    raise ValueError("first")


def run_code(
    code: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    return subprocess.run(  # noqa: S603 - this very Python
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )


def warnings_of(*children: Any, **options: Any) -> list[str]:
    """Call with these children, of which one fails, and return the warnings with their times."""
    told: list[str] = []

    class Clock(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert (record.name, record.levelno) == ("structgather", logging.WARNING)
            told.append(f"{now():g}: {record.getMessage()}")

    async def main() -> None:
        with pytest.raises(ValueError, match="first"):
            await gather_structured(*children, **options)

    handler = Clock()
    logging.getLogger("structgather").addHandler(handler)
    try:
        run(main())
    finally:
        logging.getLogger("structgather").removeHandler(handler)
    return told


async def calls_stubborn(seconds: float) -> str:
    return await stubborn(seconds)


@pytest.mark.parametrize("child", [stubborn, calls_stubborn])
def test_the_warning_names_the_child_and_its_line(child: Any) -> None:
    """It has the child's index and age, the time since its cancellation, and its current line."""
    warn_stuck_after(5)
    (told,) = warnings_of(fails(2), child(9))
    line = stubborn.__code__.co_firstlineno + 5
    assert told.startswith("7: gather_structured(): still waiting for child 1, ")
    assert f"{child.__name__} (Task-" in told
    assert "cancelled 5.0 s ago, started 7.0 s ago" in told
    assert told.endswith(f"core/test_stuck_children.py:{line} in stubborn")


def test_the_age_of_a_single_child() -> None:
    """It counts from the start of the call."""
    warn_stuck_after(5)

    async def calls_later() -> None:
        await asyncio.sleep(1)
        await gather_structured(stubborn(9))

    told = [text for text in warnings_of(fails(2), calls_later()) if "child 0, " in text]
    assert len(told) == 1
    assert "cancelled 5.0 s ago, started 6.0 s ago" in told[0]


class Uncancellable(asyncio.Future[None]):
    """A Future that refuses to be cancelled."""

    def cancel(self, msg: Any = None) -> bool:
        return False


def test_the_line_of_a_child_beside_a_future_that_two_calls_share(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where the Future was looked at before, the line is that of the other child."""
    warn_stuck_after(5)

    async def main() -> None:
        shared = Uncancellable()
        asyncio.get_running_loop().call_later(9, shared.set_result, None)
        inner = gather_structured(shared, gather_structured(shared, stubborn(9)))
        with pytest.raises(ValueError, match="first"):
            await gather_structured(fails(2), inner)

    run(main())
    told = [text for text in caplog.messages if "child 1, gather_structured" in text]
    assert [text.rpartition(" in ")[2] for text in told] == ["stubborn"] * 2


def test_the_warning_is_repeated_at_growing_intervals() -> None:
    """Each interval is twice as long as the one before."""
    warn_stuck_after(5)
    told = warnings_of(fails(), stubborn(100))
    assert [line.partition(":")[0] for line in told] == ["5", "10", "20", "40", "80"]


def test_each_child_is_warned_about() -> None:
    """Several stuck children are named one by one."""
    warn_stuck_after(5)
    told = warnings_of(stubborn(6), stubborn(6), fails(), stubborn(4))
    assert [line.partition(",")[0] for line in told] == [
        "5: gather_structured(): still waiting for child 0",
        "5: gather_structured(): still waiting for child 1",
    ]


def test_a_late_child_that_will_not_stop() -> None:
    """The time counts from its cancellation, which is its timeout."""
    warn_stuck_after(5)
    told = warnings_of(stubborn(10), fails(2.5), child_timeout=3)
    assert [line.partition(":")[0] for line in told] == ["7.5"]
    told = warnings_of(stubborn(10), fails(0), child_timeout=3, limit=1)
    assert [line.partition(":")[0] for line in told] == ["8"]


def test_children_cancelled_at_different_times(caplog: pytest.LogCaptureFixture) -> None:
    """The time of each counts from its own cancellation, here at 3 and at 4."""
    warn_stuck_after(5)

    async def main() -> None:
        children = stubborn(12), asyncio.sleep(1), stubborn(12)
        await gather_structured(*children, limit=2, child_timeout=3, return_exceptions=True)

    with caplog.at_level(logging.WARNING, "structgather"):
        run(main())
    for index, told in zip((0, 2), caplog.messages, strict=True):
        assert f"child {index}, stubborn" in told
        assert "cancelled 5.0 s ago, started 8.0 s ago" in told


class Refuses(asyncio.Future[None]):
    """Can't be cancelled, and says so."""

    def cancel(self, msg: Any = None) -> bool:
        return False


def test_a_child_behind_one_that_cannot_be_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """It is warned about all the same; the other one was not cancelled."""
    warn_stuck_after(5)

    async def main() -> None:
        refuses = Refuses()
        asyncio.get_running_loop().call_later(7, refuses.set_result, None)
        with pytest.raises(ValueError, match="first"):
            await gather_structured(refuses, fails(), stubborn(6))

    with caplog.at_level(logging.WARNING, "structgather"):
        run(main())
    (told,) = caplog.messages
    assert "child 2, stubborn" in told


def test_an_adopted_task_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """It is a child like any other."""
    warn_stuck_after(5)

    async def main() -> None:
        task = asyncio.create_task(stubborn(9), name="the search")
        with pytest.raises(ValueError, match="first"):
            await gather_structured(fails(), task)

    with caplog.at_level(logging.WARNING, "structgather"):
        run(main())
    (told,) = caplog.messages
    assert "child 1, stubborn (the search), cancelled 5.0 s ago" in told


def test_a_child_that_finishes_in_time_is_not_mentioned() -> None:
    """A cleanup that takes less than `warn_stuck_after` seconds is not logged."""
    warn_stuck_after(5)
    assert warnings_of(fails(), stubborn(4.9)) == []


def test_the_warning_can_be_turned_off() -> None:
    """With None nothing is logged, however long it takes."""
    warn_stuck_after(None)
    assert warnings_of(fails(), stubborn(1000)) == []


def test_the_time_can_be_set() -> None:
    """Each call of `warn_stuck_after` replaces the time."""
    warn_stuck_after(0.5)
    told = warnings_of(fails(), stubborn(0.9))
    assert [line.partition(":")[0] for line in told] == ["0.5"]


@pytest.mark.parametrize(
    ("bad", "error"),
    [(-1, ValueError), (float("nan"), ValueError), ("5", TypeError), (True, TypeError)],
)
def test_a_bad_time_is_refused(bad: Any, error: type[Exception]) -> None:
    """It is a number of seconds above 0, or None."""
    with pytest.raises(error, match=r"warn_stuck_after\(\): seconds must be"):
        warn_stuck_after(bad)


@pytest.mark.parametrize(
    ("value", "expected", "told"),
    [
        (None, "5.0", ""),
        ("", "5.0", ""),
        ("2.5", "2.5", ""),
        ("off", "None", ""),
        ("soon", "5.0", "='soon' is neither a number of seconds nor 'off': ignored"),
        ("-1", "5.0", "='-1' is neither a number of seconds nor 'off': ignored"),
    ],
)
def test_the_environment_variable_sets_the_time(
    value: str | None, expected: str, told: str
) -> None:
    """`STRUCTGATHER_WARN_STUCK_AFTER` sets it where the code can't be changed."""
    variable = "STRUCTGATHER_WARN_STUCK_AFTER"
    environment = {name: text for name, text in os.environ.items() if name != variable}
    if value is not None:
        environment[variable] = value
    done = run_code("from structgather import _stuck; print(_stuck._after)", environment)
    assert done.stdout.strip() == expected
    assert told in done.stderr
    assert bool(told) == bool(done.stderr)


def test_children_that_are_not_cancelled_are_not_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One child is late and stuck; another has started since, and has time left."""
    warn_stuck_after(1)

    async def main() -> None:
        await gather_structured(
            asyncio.sleep(4), stubborn(8), asyncio.sleep(4), limit=2, child_timeout=5
        )

    run(main())
    assert [record.getMessage().split(", ")[0] for record in caplog.records] == [
        "gather_structured(): still waiting for child 1"
    ] * 2


@pytest.mark.parametrize("tenths", range(1, 100))
def test_a_clock_on_which_sums_are_inexact(tenths: int) -> None:
    """9.4 + 10 - 9.4 is less than 10: the timer must not fire again and again in one instant."""
    warn_stuck_after(5)
    told = warnings_of(fails(tenths / 10), stubborn(tenths / 10 + 60))
    times = [float(line.split(":")[0]) for line in told]
    assert times == pytest.approx([tenths / 10 + after for after in (5, 10, 20, 40)])


async def timers_of_a_failure(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> list[asyncio.TimerHandle]:
    """Return the timers of a call that fails beside a child that runs on for so long."""
    warn_stuck_after(5)
    timers = timers_from_now_on(monkeypatch)
    with pytest.raises(ValueError, match="first"):
        await gather_structured(fails(), stubborn(seconds))
    return timers


def test_no_timer_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call leaves no timer in the loop."""

    async def main() -> None:
        timers = await timers_of_a_failure(monkeypatch, 12)
        assert now() == 12
        assert still_to_ring(timers) == []
        assert len(timers) >= 3

    run(main())


def test_the_first_timer_is_set_for_the_first_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that finishes before costs the loop no iteration."""

    async def main() -> None:
        timers = await timers_of_a_failure(monkeypatch, 1)
        assert [timer.when() for timer in timers] == [1, 5, 1]  # `stubborn` has two

    run(main())


async def block(*children: Coroutine[Any, Any, Any]) -> None:
    async with as_completed_scoped(children) as outcomes:
        await anext(outcomes)


@pytest.mark.parametrize("call", [gather_structured, block])
@pytest.mark.parametrize("children", [1, 2])
def test_a_call_that_is_closed_leaves_no_timer(
    call: Any, children: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose coroutine is closed warns about no child."""
    warn_stuck_after(5)

    async def main() -> None:
        timers = timers_from_now_on(monkeypatch)
        running = call(*(forever() for _ in range(children)))
        running.send(None)
        await asyncio.sleep(0)
        running.close()
        assert timers
        assert still_to_ring(timers) == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(main())


def test_a_time_of_0_is_refused() -> None:
    """A warning at once about each cancelled child is no use: None turns it off."""
    with pytest.raises(ValueError, match="must be more than 0; None, or 'off', turns warnings"):
        warn_stuck_after(0)


class Proxy:
    """An awaitable in a child, of a class of its own, with an arbitrary object as its frame."""

    def __init__(self, shown: Callable[[], object]) -> None:
        self._shown = shown

    def __await__(self) -> Proxy:
        return self

    def __iter__(self) -> Proxy:
        return self

    def __next__(self) -> None:
        """Yield to the loop, forever."""

    @property
    def cr_frame(self) -> object:
        return self._shown()

    @property
    def cr_await(self) -> object:
        return self


async def stands_at(awaitable: Any) -> str:
    async def child() -> None:
        await awaitable

    task = asyncio.create_task(child())
    await asyncio.sleep(0)
    line = _stuck.where(task)
    task.cancel()
    await asyncio.wait([task])
    return line


def no_frame() -> object:
    raise LookupError


def test_a_proxy_that_has_no_frame() -> None:
    """An object that can't be inspected is skipped: the line is the one that awaits it."""
    assert run(stands_at(Proxy(no_frame))).endswith(" in child")


class Unreadable(Coroutine[Any, Any, None]):
    """A coroutine of a class of its own that can't be inspected."""

    def send(self, value: Any) -> Any:
        """Yield to the loop, forever."""

    def throw(self, *error: Any) -> Any:
        raise error[0]

    def close(self) -> None:
        """Do nothing."""

    def __await__(self) -> Any:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        raise LookupError(name)


def test_a_task_whose_coroutine_cannot_be_inspected_has_no_line() -> None:
    """Nothing is raised from the timer of the warning."""

    async def main() -> str:
        task = asyncio.create_task(Unreadable())
        await asyncio.sleep(0)
        line = _stuck.where(task)
        task.cancel()
        await asyncio.wait([task])
        return line

    assert run(main()) == "an unknown line"


def test_a_proxy_that_awaits_itself() -> None:
    """The search for the line terminates, also where a chain of awaits is endless."""
    assert run(stands_at(Proxy(sys._getframe))).endswith(" in cr_frame")


class Compiled(Proxy):
    """An awaitable without frames, as of a compiled extension, that ignores cancellations."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def throw(self, *error: Any) -> None:
        """Ignore it."""

    def __next__(self) -> None:
        if now() >= 7:
            raise StopIteration

    @property
    def cr_await(self) -> object:
        return None


def test_a_child_without_frames_has_no_line() -> None:
    """The warning does not name the line of a sibling instead."""
    warn_stuck_after(5)
    told = warnings_of(stubborn(7), fails(1), Compiled(), stubborn(7))
    assert [line.rpartition(" in ")[2] for line in told[::2]] == ["stubborn"] * 2
    assert told[1].endswith("it is at an unknown line")


def test_a_future_has_no_line() -> None:
    """An adopted Future has no coroutine to inspect."""

    async def main() -> str:
        return _stuck.where(asyncio.get_running_loop().create_future())

    assert run(main()) == "an unknown line"


async def cleans_up_in_sleep() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(7)


def test_the_line_is_not_in_asyncio() -> None:
    """It is the line of the child that called asyncio, such as a sleep."""
    warn_stuck_after(5)
    (told,) = warnings_of(fails(), cleans_up_in_sleep())
    assert told.endswith(" in cleans_up_in_sleep")


# The line, through nested calls of the package


async def stuck_in_its_cleanup() -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.shield(asyncio.sleep(7))


def cleanup_line() -> str:
    line = stuck_in_its_cleanup.__code__.co_firstlineno + 4
    return f"core/test_stuck_children.py:{line} in stuck_in_its_cleanup"


async def in_gather(child: Any) -> None:
    await gather_structured(child, asyncio.sleep(60))


async def in_first(child: Any) -> None:
    await first_n_within([child, asyncio.sleep(60)], limit=2)


async def in_iteration(child: Any) -> None:
    async with as_completed_scoped([child]) as outcomes:
        async for _ in outcomes:
            pass


async def in_a_block(child: Any) -> None:
    async with as_completed_scoped([child]):
        await asyncio.sleep(60)


def bare_gather(child: Any) -> Coroutine[Any, Any, Any]:
    call: Any = gather_structured
    return call(child)  # type: ignore[no-any-return]


def bare_first(child: Any) -> Coroutine[Any, Any, Any]:
    return first_n_within([child])


Around = Callable[[Any], Coroutine[Any, Any, Any]]


# The last two pass the call itself as a child, without a frame of the user in between.
@pytest.mark.parametrize(
    "around",
    [in_gather, in_first, in_iteration, in_a_block, bare_gather, bare_first],
    ids=lambda around: around.__name__,
)
@pytest.mark.parametrize("calls", [1, 2, 5])
def test_the_line_is_in_the_users_code(around: Around, calls: int) -> None:
    """Through any number of nested calls, each call's warning names a line of the user."""
    warn_stuck_after(5)
    child: Any = stuck_in_its_cleanup()
    for _ in range(calls):
        child = around(child)
    told = warnings_of(fails(1), child)
    assert len(told) == calls + 1
    assert sum(line.endswith(cleanup_line()) for line in told) >= 1
    for line in told:
        where = line.partition("it is at ")[2]
        assert "core/test_stuck_children.py:" in where
        assert "structgather/_" not in line
        assert "asyncio/" not in line


def test_the_outer_call_names_the_line_of_its_own_child() -> None:
    """The innermost line of the user in that child is the one that awaits the nested call."""
    warn_stuck_after(5)
    told = warnings_of(fails(1), in_gather(stuck_in_its_cleanup()))
    by_child = {line.partition("child ")[2].partition(" (")[0]: line for line in told}
    outer, inner = by_child["1, in_gather"], by_child["0, stuck_in_its_cleanup"]
    assert inner.endswith(cleanup_line())
    line = in_gather.__code__.co_firstlineno + 1
    assert outer.endswith(f"core/test_stuck_children.py:{line} in in_gather")


@pytest.mark.parametrize("layers", [1, 2])
def test_many_nested_calls_are_searched_once(layers: int) -> None:
    """Calls of calls, each of which joins all those before it, end at a Future."""

    async def main() -> str:
        future = asyncio.get_running_loop().create_future()
        layer: list[Any] = [future]
        for _ in range(40):
            layer = [asyncio.create_task(gather_structured(*layer)) for _ in range(layers)]
            await asyncio.sleep(0)
        line = _stuck.where(layer[0])
        future.set_result(None)
        await asyncio.wait(layer)
        return line

    assert run(main()) == "an unknown line"


DEADLOCK = """
import asyncio, os
from structgather import _stuck, as_completed_scoped, first_n_within

async def main():
    outcomes = as_completed_scoped([])
    await outcomes.__aenter__()
    leaving = []
    outcomes.add(first_n_within(task for task in leaving))
    leaving.append(asyncio.create_task(outcomes.__aexit__(None, None, None)))
    await asyncio.sleep(0.01)
    print(_stuck.where(leaving[0]), flush=True)
    os._exit(0)  # neither ends

asyncio.run(main())
"""


def test_children_that_wait_for_each_other_have_no_line() -> None:
    """A child of a block joins the Task that leaves the block."""
    assert run_code(DEADLOCK).stdout.strip() == "an unknown line"
