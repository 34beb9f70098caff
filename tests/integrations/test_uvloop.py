"""The three functions on uvloop, with the same promises as on asyncio's own loop."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from structgather import (
    Ok,
    RateLimit,
    TimedOut,
    as_completed_scoped,
    first_n_within,
    gather_structured,
)
from support.each_call import Call, Leave, each_call, each_way_to_leave
from support.real_loops import Loop, run, stock, uvloop

pytest.importorskip("uvloop", exc_type=ImportError)

each_loop = pytest.mark.parametrize("loop", [stock, uvloop])


class Record:
    """Children that wait for a long time, and then clean up for a moment."""

    def __init__(self) -> None:
        self.started = 0
        self.cleaned_up = 0

    async def child(self) -> None:
        self.started += 1
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            self.cleaned_up += 1

    def assert_finished(self, children: int = 3) -> None:
        """Fail unless each child has cleaned up, and no other task runs."""
        assert self.started == self.cleaned_up == children
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def value(seconds: float, value: Any) -> Any:
    await asyncio.sleep(seconds)
    return value


@each_loop
@each_call
def test_the_caller_is_cancelled(loop: Loop, call: Call) -> None:
    """The CancelledError propagates with its message when each child has finished."""

    async def main() -> None:
        record = Record()
        task = asyncio.create_task(call(record.child(), record.child(), record.child()))
        await asyncio.sleep(0.01)
        task.cancel("the user left")
        with pytest.raises(asyncio.CancelledError, match="the user left"):
            await task
        record.assert_finished()

    run(main, loop)


@each_loop
@each_call
def test_a_timeout_around_it(loop: Loop, call: Call) -> None:
    """A timeout around a call raises TimeoutError after every child has finished."""

    async def main() -> None:
        record = Record()

        async def last() -> None:
            # Not earlier: uvloop runs a timer that is due before the first steps of the children.
            deadline.reschedule(asyncio.get_running_loop().time())
            await record.child()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as deadline:
                await call(record.child(), record.child(), last())
        record.assert_finished()

    run(main, loop)


@each_loop
def test_no_child_is_left_running(loop: Loop) -> None:
    """After a failure, n values, a deadline or a `break` no child runs."""

    async def main() -> None:
        record = Record()

        async def fails() -> None:
            await asyncio.sleep(0.01)
            raise LookupError

        with pytest.raises(LookupError):
            await gather_structured(record.child(), fails())
        record.assert_finished(1)
        found = await first_n_within([record.child(), value(0.01, "a")], 1)
        assert (found.values, found.reason) == (["a"], "met")
        record.assert_finished(2)
        found = await first_n_within([record.child(), value(0, "a")], within=0.2)
        assert (found.values, found.reason) == (["a"], "deadline")
        record.assert_finished(3)
        async with as_completed_scoped([record.child(), value(0.01, "a")]) as outcomes:
            async for outcome in outcomes:
                assert await outcome == "a"
                break
        record.assert_finished(4)
        with pytest.raises(TimeoutError):
            async with as_completed_scoped([record.child()], timeout=0.05) as outcomes:
                await anext(outcomes)
        record.assert_finished(5)

    run(main, loop)


@each_call
def test_limit_and_child_timeout(call: Call) -> None:
    """At most `limit` children run at a time, and each is timed from its own start."""

    async def main() -> None:
        running = most = 0

        async def child(seconds: float) -> float:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(seconds)
            finally:
                running -= 1
            return seconds

        times = [0, 3600, 0, 0, 3600]
        ended = await call(*map(child, times), limit=2, child_timeout=0.2)
        assert most == 2
        late = TimeoutError
        assert [e if e == 0 else type(e) for e in ended] == [0, late, 0, 0, late]

    run(main, uvloop)


@each_loop
def test_input_is_pulled_lazily(loop: Loop) -> None:
    """An endless input is pulled no further ahead of the consumer than the limit."""

    async def main() -> None:
        pulled = 0

        async def endless() -> AsyncIterator[Any]:
            nonlocal pulled
            while True:
                pulled += 1
                yield value(0, pulled)

        async with as_completed_scoped(endless(), limit=4) as outcomes:
            for taken in range(1, 100):
                assert isinstance(await anext(outcomes), Ok)
                assert pulled <= taken + 4
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main, loop)


@each_loop
def test_a_rate_is_kept(loop: Loop) -> None:
    """No window of the loop's clock exceeds the limit."""

    async def main() -> None:
        limit, admitted = RateLimit(requests=5, per=0.1), list[float]()
        window = limit._gate.window
        assert window is not None

        async def child() -> None:
            async with limit():
                admitted.append(window.entries[-1][0])  # by the clock it may be later now

        await gather_structured(*(child() for _ in range(20)))
        assert all(b - a >= 0.09 for a, b in zip(admitted, admitted[5:], strict=False))
        assert admitted[-1] - admitted[0] < 30

    run(main, loop)


@each_loop
def test_a_deadline_is_not_early(loop: Loop) -> None:
    """`within` and `child_timeout` do not fire early."""

    async def main() -> None:
        begin = time.perf_counter()
        found = await first_n_within([value(3600, "a")], within=0.05)
        assert time.perf_counter() - begin > 0.048  # uvloop's clock has whole milliseconds
        assert isinstance(found.outcomes[0], TimedOut)
        begin = time.perf_counter()
        found = await first_n_within([value(3600, "a")], child_timeout=0.05)
        assert time.perf_counter() - begin > 0.048
        assert isinstance(found.outcomes[0], TimedOut)

    run(main, loop)


@each_way_to_leave
def test_a_cancellation_during_the_join(leave: Leave) -> None:
    """A cancellation during the join interrupts no cleanup, and is not lost."""

    async def main() -> None:
        log: list[str] = []

        async def child() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                task.cancel("meanwhile")
                await asyncio.sleep(0.01)
                log.append("cleaned up")

        task = asyncio.create_task(leave(child(), child(), seconds=0))
        with pytest.raises(asyncio.CancelledError, match="meanwhile"):
            await task
        assert log == ["cleaned up"] * 2

    run(main, uvloop)


@each_loop
@each_call
def test_threads_processes_and_sockets(loop: Loop, call: Call) -> None:
    """Children await what only a real loop has: a thread, a process, a connection."""

    async def process() -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('process')", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return output.strip()

    async def connection(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"connection")
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            children = [asyncio.to_thread(pow, 2, 3), process(), connection(port)]
            assert await call(*children) == [8, b"process", b"connection"]

    run(main, loop)


@each_loop
@each_call
def test_nothing_is_kept_alive(loop: Loop, call: Call) -> None:
    """With the collector off no value outlives the call."""

    class Value:
        alive = 0

        def __init__(self) -> None:
            Value.alive += 1

        def __del__(self) -> None:
            Value.alive -= 1

    async def child() -> Value:
        await asyncio.sleep(0)
        return Value()

    async def main() -> None:
        gc.disable()
        try:
            values = await call(*(child() for _ in range(10)))
            assert Value.alive == 10
            del values
            await asyncio.sleep(0)
            assert Value.alive == 0
        finally:
            gc.enable()

    run(main, loop)
