"""A soak test: for minutes, thousands of calls a second over real sockets; nothing may grow.

    python tests/soak                    10 minutes on asyncio's own loop
    python tests/soak --minutes 1        shorter
    python tests/soak --uvloop           on uvloop
    python tests/soak --eager            with Python's eager tasks (3.12 and later)
    python tests/soak --leak objects     leaks on purpose: it must be found
    python tests/soak --runs 100         instead, `asyncio.run` so often, interrupted in the middle

Callers fan out with the three functions under one RateLimit over a server on loopback that answers,
is slow, fails, stalls, hangs up and resets; they are cancelled and timed out at any moment. After
each interval they pause until no call is running. Then tasks, open descriptors and running calls
must be the same as at the start; memory is measured: objects of the collector, blocks of the
allocator, resident set. It has grown if its slope, per 1,000 requests, exceeds the tolerance with
95% confidence (Theil and Sen's, by Kendall's statistic), without the first quarter.
The exit code is 1 if anything has grown or a promise was broken; the last lines say what.

With `--runs`, Ctrl-C comes while 50 callers are at work, and `asyncio.run` cancels every task. When
it has returned, every call must have kept its promise, and no descriptor be left open.
"""

# ruff: noqa: E402, T201 - run as a script, it finds the package first, and prints what it found

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import math
import os
import platform
import signal
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from soak.service import PER, Callers, Server

#: The tolerated growth per 1,000 requests: far below one leaked object in 100 requests.
TOLERATED = {"objects": 1.0, "blocks": 5.0, "KiB resident": 4.0}
#: These must return to their initial value.
EXACT = ("tasks", "descriptors", "under way")
CALLERS = 50
FEWEST = 12  # measurements needed to judge a slope
AT_REST = 10.0  # seconds until the server's connections and tasks must be gone


class Samples:
    """Measurements at rest, before the first call and after each interval.

    In arrays, which take one block each however long they are: a list itself would grow.
    """

    def __init__(self, names: Sequence[str] = (*EXACT, *TOLERATED)) -> None:
        self.requests = array("d")
        self.values = {name: array("d") for name in names}

    def add(self, requests: float, *values: float) -> None:
        self.requests.append(requests)
        for measured, value in zip(self.values.values(), values, strict=True):
            measured.append(value)

    def __len__(self) -> int:
        return len(self.requests)

    def warm(self, name: str) -> tuple[array[float], array[float]]:
        """Return the requests and values to judge, without the first quarter."""
        begin = max(1, len(self) // 4)
        return self.requests[begin:], self.values[name][begin:]


class Slope(NamedTuple):
    """The growth per 1,000 requests: an estimate, with the bounds of its 95% interval."""

    likely: float
    least: float
    most: float


def slope(requests: Sequence[float], values: Sequence[float]) -> Slope:
    """Return the median of the slopes of all pairs, with Sen's interval."""
    slopes = sorted(
        (values[b] - values[a]) / (requests[b] - requests[a]) * 1_000
        for a, b in itertools.combinations(range(len(requests)), 2)
        if requests[b] > requests[a]
    )
    if not slopes:
        return Slope(0.0, -math.inf, math.inf)
    count, pairs = len(requests), len(slopes)
    half = 1.96 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low, high = math.floor((pairs - half) / 2), math.ceil((pairs + half) / 2)
    return Slope(
        slopes[pairs // 2],
        slopes[low] if low >= 0 else -math.inf,
        slopes[high] if high < pairs else math.inf,
    )


def judge(samples: Samples) -> list[str]:
    """Return what has grown; nothing if all is well."""
    complaints: list[str] = []
    for name in EXACT:
        first, *others = samples.values[name]
        for number, value in enumerate(others, 1):
            if value > first:
                complaints.append(f"{name}: {value:g} after interval {number}, {first:g} at first")
                break
    for name, tolerated in TOLERATED.items():
        warm = samples.warm(name)
        found = slope(*warm)
        if len(warm[0]) >= FEWEST and found.least > tolerated:
            complaints.append(
                f"{name}: {found.likely:+.1f} per 1,000 requests, at least {found.least:+.1f}"
            )
    return complaints


def resident() -> float:
    """Return the resident set in KiB; 0 if the system does not report it."""
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1024
    return math.nan


def descriptors() -> float:
    """Return the number of open descriptors; 0 if the system does not report it."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return sum(1 for _ in Path(folder).iterdir())
    return 0


def types() -> Counter[str]:
    """Count the objects that the garbage collector tracks, by type."""
    return Counter(type(thing).__qualname__ for thing in gc.get_objects())


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace, server: Server, callers: Callers) -> None:
        self._options = options
        self._server = server
        self._callers = callers
        self._samples = Samples()
        self._types = Counter[str]()
        self._leaked: list[Any] = []

    async def run(self) -> list[str]:
        """Run all intervals; return what was wrong."""
        options = self._options
        length = options.minutes * 60 / options.intervals
        names = [*EXACT, *TOLERATED]
        print(f"{'seconds':>8} {'requests':>10}", *(f"{name:>13}" for name in names))
        begin = time.monotonic()
        await self._sample(begin)
        for number in range(options.intervals):
            end = time.monotonic() + length
            async with asyncio.TaskGroup() as group:
                for _ in range(CALLERS):
                    group.create_task(self._keep_calling(end))
            await self._sample(begin)
            if number + 1 == options.intervals // 4 or not self._types:
                self._types = types()
        return self._verdict()

    async def _keep_calling(self, end: float) -> None:
        while time.monotonic() < end:
            await self._callers.call()
            self._leak()

    def _leak(self) -> None:
        """Leak on purpose what the run must find."""
        match self._options.leak:
            case "objects":
                self._leaked.append([])
            case "descriptors":
                self._leaked.append(os.open(os.devnull, os.O_RDONLY) if not self._leaked else None)
            case "tasks":
                self._leaked.append(asyncio.create_task(asyncio.sleep(3600)))
            case _:
                pass

    async def _sample(self, begin: float) -> None:
        """Wait until no call is running, and measure."""
        first = self._samples.values["tasks"][0] if self._samples else math.inf
        until = time.monotonic() + AT_REST
        while True:
            await asyncio.sleep(0.01)  # the last iterations of closed connections, on both sides
            gc.collect()
            at_rest = not self._server.open and len(asyncio.all_tasks()) <= first
            if at_rest or self._options.leak == "tasks" or time.monotonic() > until:
                break
        await asyncio.sleep(PER)
        async with self._callers.limit():
            pass  # it drops the expired entries of its window
        gc.collect()
        gate = self._callers.limit._gate
        self._samples.add(
            self._callers.requests,
            len(asyncio.all_tasks()),
            descriptors(),
            self._server.open + gate.running + gate.waiting,
            len(gc.get_objects()),
            sys.getallocatedblocks(),
            resident(),
        )
        row = (f"{values[-1]:>13,.0f}" for values in self._samples.values.values())
        seconds = time.monotonic() - begin
        print(f"{seconds:>8.1f} {self._callers.requests:>10,}", *row, flush=True)

    def _verdict(self) -> list[str]:
        calls = self._callers.calls
        print("\ncalls:", ", ".join(f"{number:,} {name}" for name, number in calls.most_common()))
        for name, tolerated in TOLERATED.items():
            found = slope(*self._samples.warm(name))
            print(
                f"{name}: {found.likely:+.2f} per 1,000 requests"
                f" ({found.least:+.2f} to {found.most:+.2f}; tolerated: {tolerated:g})"
            )
        if len(self._samples.warm("objects")[0]) < FEWEST:
            print(f"too few measurements to judge the memory by: {FEWEST} are needed")
        complaints = judge(self._samples)
        if any(complaint.startswith(("objects", "blocks")) for complaint in complaints):
            grown = (types() - self._types).most_common(8)
            print("more of:", ", ".join(f"{number:,} {name}" for name, number in grown))
        complaints += [f"{name}, {count} times" for name, count in self._callers.broken.items()]
        for thing in self._leaked:
            if isinstance(thing, asyncio.Task):
                thing.cancel()
            elif isinstance(thing, int):
                os.close(thing)
        return complaints


def report_to(complaints: list[str]) -> asyncio.AbstractEventLoop:
    """Add the errors that the running loop reports to the complaints; return the loop."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _, context: complaints.append(f"the loop: {context.get('message')}")
    )
    return loop


async def soak(options: argparse.Namespace) -> list[str]:
    """Run a server and its callers; return what was wrong, with errors that the loop reported."""
    complaints: list[str] = []
    loop = report_to(complaints)
    if options.eager and sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1024) as listening:
        callers = Callers(listening.sockets[0].getsockname()[1], options.seed)
        complaints += await Soak(options, server, callers).run()
    return complaints


@contextlib.contextmanager
def serving() -> Generator[tuple[Server, int]]:
    """Serve on a loop in a thread of its own, which no interrupt reaches."""
    loop, server = asyncio.new_event_loop(), Server()
    started = loop.run_until_complete(
        asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1024)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server, started.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(started.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def interrupted(callers: Callers, complaints: list[str]) -> None:
    """Keep calling until Ctrl-C comes, which this causes itself."""
    loop = report_to(complaints)
    tasks = [loop.create_task(callers.keep_calling()) for _ in range(CALLERS)]
    loop.call_later(0.05 + 5 * callers.moment(), signal.raise_signal, signal.SIGINT)
    try:
        await asyncio.wait(tasks)
    finally:
        callers.stopped = True


def tear_down(options: argparse.Namespace) -> list[str]:
    """Interrupt `asyncio.run` so often; return what was wrong."""
    complaints: list[str] = []
    requests, first = 0, 0.0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    with serving() as (server, port):
        for number in range(options.runs):
            callers = Callers(port, options.seed + number)
            with (
                contextlib.suppress(KeyboardInterrupt),
                new_runner(options) as runner,
            ):
                runner.run(interrupted(callers, complaints))
                complaints.append(f"run {number} was not interrupted")
            requests += callers.requests
            complaints += [f"{name}, {count} times" for name, count in callers.broken.items()]
            del runner, callers
            gc.collect()
            until = time.monotonic() + AT_REST
            while server.open or (first and descriptors() > first):
                time.sleep(0.01)
                if time.monotonic() > until:
                    complaints.append(f"open after run {number}: {server.open}, {descriptors()}")
                    break
            first = first or descriptors()
    print(f"{options.runs} runs were interrupted, after {requests:,} requests")
    return complaints


def new_loop(*, uvloop: bool) -> asyncio.AbstractEventLoop:
    """Return the event loop to run on."""
    if not uvloop:
        return asyncio.new_event_loop()
    import uvloop as module  # noqa: PLC0415 - asked for

    loop: asyncio.AbstractEventLoop = module.new_event_loop()
    return loop


def new_runner(options: argparse.Namespace) -> asyncio.Runner:
    """Return a runner of the event loop that the options ask for."""
    return asyncio.Runner(loop_factory=lambda: new_loop(uvloop=options.uvloop))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--intervals", type=int, default=40, help="how many measurements (40)")
    parser.add_argument("--seed", type=int, default=0, help="of the random choices (0)")
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop")
    parser.add_argument("--eager", action="store_true", help="with Python's eager tasks")
    parser.add_argument("--leak", choices=["objects", "tasks", "descriptors"], help="on purpose")
    parser.add_argument("--runs", type=int, default=0, help="of `asyncio.run`, interrupted")
    options = parser.parse_args(arguments)
    if options.eager and sys.version_info < (3, 12):
        parser.error("there are no eager tasks before 3.12")
    print(
        f"CPython {platform.python_version()},",
        "uvloop" if options.uvloop else "asyncio's own loop",
        *(["with eager tasks"] if options.eager else []),
    )
    if options.runs:
        complaints = tear_down(options)
    else:
        with new_runner(options) as runner:
            complaints = runner.run(soak(options))
    for complaint in complaints:
        print("GREW OR BROKE:", complaint)
    if not complaints:
        print("Nothing has grown, no promise was broken.")
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
