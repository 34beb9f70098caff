"""Small asyncio programs of all kinds, each of which logs its events.

They sleep a few milliseconds at most, and where two timers could change places on a slow machine
nothing depends on their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeAlias

from simloop.loop import current, point

Log: TypeAlias = Callable[[object], None]
LoggingProgram: TypeAlias = Callable[[Log], Coroutine[Any, Any, object]]
PROGRAMS: list[LoggingProgram] = []
A_LITTLE = 0.001
LONG = 60  # longer than any program runs


def program(function: LoggingProgram) -> LoggingProgram:
    PROGRAMS.append(function)
    return function


async def steps(log: Log, name: str, count: int = 2) -> str:
    try:
        for number in range(count):
            log(f"{name}{number}")
            await asyncio.sleep(0)
    except asyncio.CancelledError as error:
        log(f"{name} cancelled {error.args}")
        raise
    log(f"{name} done")
    return name


async def fail(log: Log, name: str, count: int = 1) -> None:
    await steps(log, name, count)
    raise ValueError(name)


@program
async def callbacks_run_in_order(log: Log) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(log, "first")
    loop.call_soon(lambda: loop.call_soon(log, "from a callback"))
    loop.call_soon(log, "never").cancel()
    loop.call_soon_threadsafe(log, "second")
    future = loop.create_future()
    future.add_done_callback(lambda _: log("done 1"))
    future.add_done_callback(lambda _: log("done 2"))
    future.set_result(None)
    log("set")
    await future
    log("awaited")
    await asyncio.sleep(0)


@program
async def timers_run_in_the_order_of_their_times(log: Log) -> None:
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(4 * A_LITTLE, over.set_result, None)
    loop.call_later(2 * A_LITTLE, log, "late")
    loop.call_later(A_LITTLE, log, "early")
    loop.call_later(A_LITTLE, log, "never").cancel()
    loop.call_at(loop.time() - 1, log, "overdue")
    loop.call_soon(log, "soon")
    await over
    log(loop.time() > 0)


@program
async def due_timers_join_the_queue_at_the_end_of_the_iteration(log: Log) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: loop.call_at(loop.time() - 1, log, "timer"))
    loop.call_soon(lambda: loop.call_soon(log, "soon"))
    await steps(log, "main", 4)


@program
async def sleeping_gives_back_its_result(log: Log) -> None:
    log(await asyncio.sleep(0, "a"))
    log(await asyncio.sleep(A_LITTLE, "b"))


@program
async def timeouts_cancel_their_block(log: Log) -> None:
    for seconds in (None, 0, A_LITTLE):
        timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                await steps(log, f"within {seconds}: ")
                await asyncio.sleep(LONG if seconds is not None else 0)
        except TimeoutError:
            log("timed out")
        log(timeout.expired())
    outer, inner = asyncio.timeout(LONG), asyncio.timeout(A_LITTLE)
    with contextlib.suppress(TimeoutError):
        async with outer, inner:
            await asyncio.sleep(LONG)
    log((outer.expired(), inner.expired()))


@program
async def a_timeout_can_be_moved(log: Log) -> None:
    timeout = asyncio.timeout(LONG)
    with contextlib.suppress(TimeoutError):
        async with timeout:
            timeout.reschedule(asyncio.get_running_loop().time() + A_LITTLE)
            await asyncio.sleep(LONG)
    log(timeout.expired())


@program
async def wait_for_returns_raises_or_times_out(log: Log) -> None:
    log(await asyncio.wait_for(steps(log, "a"), LONG))
    for awaitable in (fail(log, "b"), asyncio.sleep(LONG)):
        try:
            await asyncio.wait_for(awaitable, 2 * A_LITTLE)
        except (TimeoutError, ValueError) as error:
            log(repr(error))


@program
async def a_group_joins_its_tasks(log: Log) -> None:
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(steps(log, name), name=name)
        log("body done")
    log("joined")


@program
async def a_failing_group_cancels_its_tasks(log: Log) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(steps(log, "a", 9))
            group.create_task(fail(log, "b"))
            await steps(log, "body", 9)
    except* ValueError as errors:
        log(repr(errors.exceptions))


@program
async def groups_nest(log: Log) -> None:
    async def inner(name: str) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(steps(log, f"{name}x"))
            group.create_task(steps(log, f"{name}y", 3))

    async with asyncio.TaskGroup() as group:
        group.create_task(inner("a"))
        group.create_task(inner("b"))


@program
async def gather_keeps_the_order(log: Log) -> None:
    log(await asyncio.gather(steps(log, "a", 3), steps(log, "b", 1)))
    results = await asyncio.gather(fail(log, "c"), steps(log, "d"), return_exceptions=True)
    log([repr(result) for result in results])
    try:
        await asyncio.gather(fail(log, "e"), steps(log, "f", 5))
    except ValueError as error:
        log(repr(error))
    await steps(log, "main", 5)


@program
async def wait_stops_at_the_first(log: Log) -> None:
    tasks = [asyncio.create_task(steps(log, name, n)) for n, name in enumerate("abc", start=1)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    log((len(done), len(pending)))
    done, pending = await asyncio.wait(tasks)
    log(sorted(task.result() for task in done))
    late = asyncio.create_task(asyncio.sleep(LONG))
    log([len(tasks) for tasks in await asyncio.wait([late], timeout=A_LITTLE)])
    log(late.cancel())


@program
async def as_completed_yields_in_completion_order(log: Log) -> None:
    # Tasks, since the order in which it starts coroutines depends on their addresses.
    tasks = [asyncio.create_task(steps(log, "a", 3)), asyncio.create_task(steps(log, "b", 1))]
    for awaitable in asyncio.as_completed(tasks):
        log(await awaitable)
    try:
        for late in asyncio.as_completed([asyncio.sleep(LONG)], timeout=A_LITTLE):
            await late
    except TimeoutError:
        log("timed out")


@program
async def shielded_tasks_run_on(log: Log) -> None:
    inner = asyncio.create_task(steps(log, "inner", 4))

    async def outer() -> None:
        await asyncio.shield(inner)

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    task.cancel("stop")
    log(repr((await asyncio.gather(task, return_exceptions=True))[0]))
    log(await inner)


@program
async def a_queue_is_first_in_first_out(log: Log) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)

    async def produce() -> None:
        for number in range(5):
            await queue.put(number)
            log(f"put {number}")

    async def consume(name: str) -> None:
        while True:
            log(f"{name} got {await queue.get()}")
            queue.task_done()

    consumers = [asyncio.create_task(consume(name)) for name in "xy"]
    await produce()
    await queue.join()
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)


@program
async def locks_are_fair(log: Log) -> None:
    event, lock, semaphore = asyncio.Event(), asyncio.Lock(), asyncio.Semaphore(2)
    condition = asyncio.Condition()

    async def worker(name: str) -> None:
        await event.wait()
        async with lock:
            await steps(log, f"{name} locked ", 1)
        async with semaphore:
            await steps(log, f"{name} in ", 2)
        async with condition:
            await condition.wait()
            log(f"{name} notified")

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(worker(name))
        await asyncio.sleep(0)
        event.set()
        await steps(log, "main", 12)
        async with condition:
            condition.notify_all()


@program
async def async_generators_are_closed(log: Log) -> None:
    async def numbers(name: str) -> AsyncGenerator[int, None]:
        try:
            for number in range(3):
                yield number
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            log(f"{name} closed")

    async with contextlib.aclosing(numbers("a")) as generator:
        async for number in generator:
            log(number)
            if number:
                break
    async for _ in numbers("b"):
        break  # dropped here: the loop closes it
    await steps(log, "main", 3)
    log([number async for number in numbers("c")])


@program
async def tasks_copy_their_context(log: Log) -> None:
    variable = contextvars.ContextVar("variable", default="default")

    async def child(name: str) -> None:
        log(variable.get())
        variable.set(name)
        await asyncio.sleep(0)
        log(variable.get())

    variable.set("parent")
    empty = contextvars.Context()
    async with asyncio.TaskGroup() as group:
        group.create_task(child("a"))
        group.create_task(child("b"), context=empty)
        asyncio.get_running_loop().call_soon(lambda: log(variable.get()), context=empty)
    log((variable.get(), empty[variable]))


@program
async def cancellations_come_once_and_with_their_message(log: Log) -> None:
    unstarted = asyncio.create_task(steps(log, "never"))
    unstarted.cancel("too early")
    started = asyncio.create_task(steps(log, "a", 5))
    await asyncio.sleep(0)
    started.cancel("first")
    started.cancel("second")
    log((started.cancelling(), started.uncancel()))
    for task in (unstarted, started):
        try:
            await task
        except asyncio.CancelledError as error:
            log(error.args)
    log(started.cancel())


@program
async def errors_in_callbacks_reach_the_handler(log: Log) -> None:
    loop = asyncio.get_running_loop()

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        log("the handler is called")
        log(repr(context["exception"]))

    loop.set_exception_handler(handle)
    loop.call_soon(lambda: 1 / 0)
    log("scheduled")
    await asyncio.sleep(0)
    task = asyncio.create_task(fail(log, "a"))
    await steps(log, "main", 4)
    del task
    log("dropped")
    loop.set_exception_handler(None)
    log(loop.get_exception_handler())


@program
async def the_rest_of_the_last_iteration_is_run(log: Log) -> None:
    loop = asyncio.get_running_loop()
    wake = loop.create_future()

    def end_main() -> None:
        wake.set_result(None)
        loop.call_soon(lambda: loop.call_soon(log, "behind the stop"))

    loop.call_soon(end_main)
    await wake
    loop.call_soon(log, "before the stop")
    log("main over")


@program
async def eager_tasks_start_at_once(log: Log) -> None:
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)

    async def at_once() -> str:
        log(f"at once, in {asyncio.current_task() is not outer}")
        return "value"

    outer = asyncio.current_task()
    task = asyncio.create_task(at_once(), name="at once")
    log((task.done(), task.get_name()))
    log(await task)
    async with asyncio.TaskGroup() as group:
        group.create_task(steps(log, "a"))
        group.create_task(steps(log, "b"))
        log("body")
    log(await asyncio.gather(steps(log, "c"), at_once()))
    loop.set_task_factory(None)
    log(loop.get_task_factory())


# Programs with points, for the deterministic loop alone.


async def at_points(name: str, count: int) -> None:
    for number in range(count):
        await point(f"{name}{number}")
        current().log(name, "passed", number)


async def two_by_two() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(at_points("a", 2))
        group.create_task(at_points("b", 2))
