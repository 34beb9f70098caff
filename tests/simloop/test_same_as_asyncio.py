"""With choice 0 the deterministic loop does what the stock loop does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from simloop.asyncio_programs import PROGRAMS, Log, LoggingProgram, steps
from simloop.choosers import First
from simloop.loop import DeterministicLoop
from simloop.run import run


def deterministic_loop() -> asyncio.AbstractEventLoop:
    return DeterministicLoop(First())  # type: ignore[abstract]  # it has no I/O


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_logs_the_same_on_both_loops(program: LoggingProgram) -> None:
    """Choice 0 is what asyncio would do: the logs are equal, line by line."""
    stock: list[object] = []
    ours: list[object] = []
    asyncio.run(_whole(program, stock.append))
    result = run(lambda: _whole(program, ours.append), First())
    assert result.error is None
    assert ours == stock
    assert len(result.handler_calls) == ours.count("the handler is called")


async def _whole(program: LoggingProgram, log: Log) -> None:
    await program(log)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_an_ordinary_program_has_one_schedule(program: LoggingProgram) -> None:
    """Without points and outer cancellations there is one schedule only."""
    assert not run(lambda: _whole(program, lambda _: None), First()).choices


def test_interrupts_propagate_from_the_loop_which_can_run_on() -> None:
    """KeyboardInterrupt and SystemExit of a task propagate once each; the other tasks run on."""

    def interrupted(loop: asyncio.AbstractEventLoop) -> list[str]:
        log: list[str] = []

        async def stop(error: type[BaseException]) -> None:
            await asyncio.sleep(0)
            raise error

        async def main() -> None:
            tasks = [asyncio.create_task(stop(each)) for each in (KeyboardInterrupt, SystemExit)]
            for _ in range(5):
                log.append("main")
                await asyncio.sleep(0)
            log.extend(repr(task.exception()) for task in tasks)

        task = loop.create_task(main())
        while not task.done():
            try:
                loop.run_until_complete(task)
            except (KeyboardInterrupt, SystemExit) as error:
                log.append(repr(error))
        loop.close()
        return log

    assert interrupted(deterministic_loop()) == interrupted(asyncio.new_event_loop())


def test_asyncio_can_drive_the_loop() -> None:
    """`asyncio.Runner` takes the loop, and cleans up on it: tasks, then asynchronous generators."""

    def driven(factory: Callable[[], asyncio.AbstractEventLoop]) -> list[object]:
        log: list[object] = []

        async def numbers() -> AsyncGenerator[int, None]:
            try:
                yield 1
            finally:
                await asyncio.sleep(0)
                log.append("closed")

        kept = numbers()

        async def main() -> str:
            background = asyncio.create_task(steps(log.append, "background", 99))
            log.append(await anext(kept))
            await asyncio.sleep(0)
            log.append(background.done())
            return "result"

        with asyncio.Runner(loop_factory=factory, debug=True) as runner:
            log.append(runner.get_loop().get_debug())
            log.append(runner.run(main()))
        return log

    assert driven(deterministic_loop) == driven(asyncio.new_event_loop)
