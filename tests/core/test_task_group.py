"""`asyncio.TaskGroup` owns every child: it creates each Task, and is empty when the call returns.

The tests patch `TaskGroup` itself, as code that instruments or displays it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import pytest

from simloop.every_schedule import either_start
from structgather import as_completed_scoped, first_n_within, gather_structured
from support.each_call import Call, each_call, each_call_and_one_child, with_and_without_limit
from support.virtual_tests import forever, stops_slowly, virtual
from support.virtual_time import after, run

Use: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]


class Groups:
    """Records the TaskGroups of one calling task, and the Tasks that they create."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered: list[asyncio.TaskGroup] = []
        self.left: list[asyncio.TaskGroup] = []
        #: Tasks that groups created, and all Tasks that the loop created.
        self.created: list[asyncio.Task[Any]] = []
        self.every_task: list[asyncio.Task[Any]] = []
        enter = asyncio.TaskGroup.__aenter__
        leave = asyncio.TaskGroup.__aexit__
        create_task = asyncio.TaskGroup.create_task

        async def entering(group: asyncio.TaskGroup) -> Any:
            entered = await enter(group)
            self.entered.append(group)
            return entered

        def creating(group: asyncio.TaskGroup, *args: Any, **options: Any) -> asyncio.Task[Any]:
            assert group in self.entered
            assert group not in self.left
            self.created.append(create_task(group, *args, **options))
            return self.created[-1]

        async def leaving(group: asyncio.TaskGroup, *error: Any) -> Any:
            try:
                return await leave(group, *error)
            finally:
                self.left.append(group)

        monkeypatch.setattr(asyncio.TaskGroup, "__aenter__", entering)
        monkeypatch.setattr(asyncio.TaskGroup, "__aexit__", leaving)
        monkeypatch.setattr(asyncio.TaskGroup, "create_task", creating)

    def watch_the_loop(self, *, eager: bool = False) -> None:
        """Record every Task that the running loop creates from now on."""

        def factory(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            if eager:
                options["eager_start"] = True
            # Recorded before its first step.
            self.every_task.append(asyncio.Task(coroutine, loop=loop, **options))
            return self.every_task[-1]

        asyncio.get_running_loop().set_task_factory(factory)

    def check_over(self) -> None:
        """Check that one group created all Tasks, has been left, and is empty."""
        assert len(self.entered) == 1
        assert self.left == self.entered
        assert self.created
        assert set(self.created) == set(self.every_task)
        assert all(task.done() for task in self.created)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    return Groups(monkeypatch)


def two() -> list[Any]:
    return [after(1, "a"), after(2, "b")]


def three() -> list[Any]:
    return [after(1, "a"), after(2, "b"), after(3, "c")]


def three_one_fails() -> list[Any]:
    return [after(1, "a"), after(2, ValueError("first")), after(3, "c")]


def children() -> list[Any]:
    """Three, and one that runs until it is cancelled, and then cleans up."""
    return [*three(), stops_slowly([])]


def failing() -> list[Any]:
    return [*three_one_fails(), stops_slowly([])]


# `gather_structured`


async def gather_succeeds() -> None:
    await gather_structured(*two())


async def gather_of_one() -> None:
    await gather_structured(after(1, "a"))


async def gather_fails() -> None:
    with pytest.raises(ValueError, match="first"):
        await gather_structured(*failing())


async def gather_returns_exceptions() -> None:
    await gather_structured(*three_one_fails(), return_exceptions=True)


async def gather_with_a_limit() -> None:
    await gather_structured(*three(), limit=2)


async def gather_fails_with_a_limit() -> None:
    with pytest.raises(ValueError, match="first"):
        await gather_structured(*failing(), limit=2)


async def gather_with_a_late_child() -> None:
    with pytest.raises(TimeoutError):
        await gather_structured(*children(), child_timeout=2.5)


async def cancelled(call: Coroutine[Any, Any, Any]) -> None:
    """Cancel the calling task, which is the current one, while it waits for the call."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(1.5, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await call
    task.uncancel()


async def gather_is_cancelled() -> None:
    await cancelled(gather_structured(*children()))


async def gather_is_cancelled_at_once() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await gather_structured(*children())
    task.uncancel()


async def gather_times_out() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await gather_structured(*children())


# `first_n_within`


async def first_meets() -> None:
    assert (await first_n_within(children(), 2)).met


async def first_at_its_deadline() -> None:
    assert (await first_n_within(children(), within=1.5)).reason == "deadline"


async def first_is_exhausted() -> None:
    assert (await first_n_within(three_one_fails(), 3)).reason == "exhausted"


async def first_with_a_limit() -> None:
    assert (await first_n_within(iter(three()), limit=1)).met


async def first_is_cancelled() -> None:
    await cancelled(first_n_within(children()))


def raising() -> Iterator[Awaitable[Any]]:
    yield from three()
    raise LookupError("the input")


async def first_with_an_input_that_raises() -> None:
    with pytest.raises(LookupError, match="the input"):
        await first_n_within(raising(), limit=1)


# `as_completed_scoped`


async def take(count: int, *args: Any, **options: Any) -> None:
    """Take so many outcomes, then leave the block with `break`."""
    async with as_completed_scoped(*args, **options) as outcomes:
        async for outcome in outcomes:
            assert outcome.done()
            count -= 1
            if count == 0:
                break


async def stream_to_its_end() -> None:
    await take(99, two())


async def stream_is_left() -> None:
    await take(1, children())


async def stream_with_a_limit() -> None:
    await take(99, iter(three()), limit=1)


async def stream_with_a_limit_is_left() -> None:
    await take(2, children(), limit=2)


async def stream_in_order_is_left() -> None:
    await take(1, children(), ordered=True)


async def stream_times_out() -> None:
    with pytest.raises(TimeoutError):
        await take(99, children(), timeout=1.5)


async def stream_is_cancelled() -> None:
    await cancelled(take(99, children()))


async def stream_is_cancelled_in_its_body() -> None:
    async def use() -> None:
        async with as_completed_scoped(children()):
            await asyncio.sleep(9)

    await cancelled(use())


async def stream_whose_body_raises() -> None:
    async def use() -> None:
        async with as_completed_scoped(children()) as outcomes:
            async for _ in outcomes:
                raise KeyError

    with pytest.raises(KeyError):
        await use()


async def stream_cancels() -> None:
    async with as_completed_scoped(children()) as outcomes:
        await anext(outcomes)
        outcomes.cancel()
        assert len([outcome async for outcome in outcomes]) == 3


async def stream_adds() -> None:
    async with as_completed_scoped(two()) as outcomes:
        async for outcome in outcomes:
            if outcome.index < 2:
                outcomes.add(after(1, "added"))


async def stream_adds_with_a_limit() -> None:
    empty: list[Awaitable[Any]] = []
    async with as_completed_scoped(empty, limit=1) as outcomes:
        for child in three():
            outcomes.add(child)
        await anext(outcomes)


async def inputs() -> AsyncIterator[Awaitable[Any]]:
    for seconds in (1, 2, 3):
        await asyncio.sleep(0.5)
        yield after(seconds, "a")


async def breaking() -> AsyncIterator[Awaitable[Any]]:
    yield after(1, "a")
    await asyncio.sleep(0.5)
    raise LookupError("the input")


async def stream_of_an_async_source() -> None:
    await take(99, inputs())


async def stream_of_an_async_source_is_left() -> None:
    await take(1, inputs(), limit=2)


async def stream_of_an_async_source_that_raises() -> None:
    with pytest.raises(LookupError, match="the input"):
        await take(99, breaking())


USES: list[Use] = [
    gather_succeeds,
    gather_of_one,
    gather_fails,
    gather_returns_exceptions,
    gather_with_a_limit,
    gather_fails_with_a_limit,
    gather_with_a_late_child,
    gather_is_cancelled,
    gather_is_cancelled_at_once,
    gather_times_out,
    first_meets,
    first_at_its_deadline,
    first_is_exhausted,
    first_with_a_limit,
    first_is_cancelled,
    first_with_an_input_that_raises,
    stream_to_its_end,
    stream_is_left,
    stream_with_a_limit,
    stream_with_a_limit_is_left,
    stream_in_order_is_left,
    stream_times_out,
    stream_is_cancelled,
    stream_is_cancelled_in_its_body,
    stream_whose_body_raises,
    stream_cancels,
    stream_adds,
    stream_adds_with_a_limit,
    stream_of_an_async_source,
    stream_of_an_async_source_is_left,
    stream_of_an_async_source_that_raises,
]


@either_start
@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_a_task_group_owns_every_task_of_a_call(groups: Groups, use: Use, *, eager: bool) -> None:
    """One group creates all Tasks, and has been left, empty, when the call returns."""

    async def main() -> None:
        groups.watch_the_loop(eager=eager)
        await use()
        groups.check_over()

    run(main())


@each_call
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_task_group_owns_the_children_of_an_interrupted_call(
    groups: Groups, call: Call, kind: type[BaseException]
) -> None:
    """The loop raises the interrupt; if the loop runs on, the call raises it after the join."""

    async def interrupts() -> None:
        await asyncio.sleep(0)
        raise kind

    async def cleans_up() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)

    async def main() -> None:
        groups.watch_the_loop()
        with pytest.raises(kind):
            await call(cleans_up(), interrupts(), cleans_up())
        groups.check_over()

    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        task = loop.create_task(main())
        with pytest.raises(kind):
            loop.run_until_complete(task)
        loop.run_until_complete(task)


@each_call
@with_and_without_limit
@virtual
async def test_a_nested_call_has_a_group_of_its_own(
    groups: Groups, call: Call, limit: int | None
) -> None:
    """Each call enters one, and all of them are empty when it returns."""
    await call(call(*two()), gather_structured(*two()), limit=limit)
    assert len(groups.entered) == 3
    assert set(groups.left) == set(groups.entered)
    assert len(groups.created) == 6
    assert all(task.done() for task in groups.created)


async def adds_late(groups: Groups, refused: list[str]) -> None:
    async with as_completed_scoped(two()) as outcomes:
        await anext(outcomes)
    with pytest.raises(RuntimeError) as caught:
        outcomes.add(after(1, "late"))
    refused.append(str(caught.value))


@virtual
async def test_add_after_the_block_does_not_reach_the_group(groups: Groups) -> None:
    """The error is ours: no RuntimeError of a TaskGroup reaches the user."""
    refused: list[str] = []
    await adds_late(groups, refused)
    assert refused == ["as_completed_scoped(): the `async with` block has been left"]


@each_call
@with_and_without_limit
@virtual
async def test_adopted_tasks_are_not_created_again(
    groups: Groups, call: Call, limit: int | None
) -> None:
    """A Task that the caller created is joined as it is; the group owns the others."""
    task = asyncio.create_task(after(1, "a"))
    assert await call(task, after(2, "b"), limit=limit) == ["a", "b"]
    assert len(groups.created) == 1
    assert task not in groups.created


# How Tasks and TaskGroups are displayed


async def fetch_orders() -> str:
    await asyncio.sleep(1)
    return "orders"


class Service:
    async def fetch(self) -> str:
        await asyncio.sleep(1)
        return "service"


class Query:
    def __await__(self) -> Any:
        yield from asyncio.sleep(1).__await__()
        return "query"


def children_after(seconds: float) -> list[asyncio.Task[Any]]:
    """Return a list that will have the Tasks of the caller's children after so many seconds."""
    found: list[asyncio.Task[Any]] = []
    others = asyncio.all_tasks()
    loop = asyncio.get_running_loop()
    loop.call_later(seconds, lambda: found.extend(asyncio.all_tasks(loop) - others))
    return found


def names(tasks: list[asyncio.Task[Any]]) -> set[tuple[str, str]]:
    """Return the names of the coroutines of Tasks, as monitors and tracers read them."""
    coroutines: list[Any] = [task.get_coro() for task in tasks]
    return {(coroutine.__name__, coroutine.__qualname__) for coroutine in coroutines}


@each_call
@with_and_without_limit
@virtual
async def test_the_coroutine_of_a_task_has_the_name_of_the_child(
    call: Call, limit: int | None
) -> None:
    """`get_coro().__name__` and `__qualname__` are the child's, as with asyncio.gather."""
    tasks = children_after(0.5)
    await call(fetch_orders(), Service().fetch(), limit=limit)
    assert names(tasks) == {("fetch_orders", "fetch_orders"), ("fetch", "Service.fetch")}


@each_call_and_one_child
@with_and_without_limit
@virtual
async def test_the_coroutine_of_a_task_has_the_name_of_an_awaitable_object(
    call: Any, limit: int | None
) -> None:
    """A child that is not a coroutine has the name of its type."""
    tasks = children_after(0.5)
    await call(Query(), limit=limit)
    assert names(tasks) == {("Query", "Query")}


@each_call_and_one_child
@virtual
async def test_the_repr_of_a_task_names_the_child(call: Any) -> None:
    """What asyncio logs in debug mode, or of a pending Task, names the user's coroutine."""
    shown: list[str] = []
    tasks = children_after(0.5)
    asyncio.get_running_loop().call_later(0.5, lambda: shown.extend(map(repr, tasks)))
    await call(fetch_orders())
    assert len(shown) == 1
    assert "coro=<fetch_orders() running" in shown[0]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="there are no call graphs before 3.14")
@each_call
@virtual
async def test_the_call_graph_of_a_child_leads_to_its_caller(call: Call) -> None:
    """A child is awaited by the calling task, and has its current line."""
    shown: list[str] = []

    async def child() -> None:
        await grandchild()

    async def grandchild() -> None:
        stream = io.StringIO()
        getattr(asyncio, "print_call_graph")(file=stream)  # noqa: B009 - not before 3.14
        shown.append(stream.getvalue())
        await asyncio.sleep(0)

    async def caller() -> None:
        await call(child(), forever_until(1))

    task = asyncio.create_task(caller(), name="the caller")
    await task
    (graph,) = shown
    lines = graph.splitlines()
    awaited = next(number for number, line in enumerate(lines) if "Awaited by" in line)
    assert any("grandchild()" in line for line in lines[:awaited])
    assert any("child()" in line for line in lines[:awaited])
    assert any("the caller" in line for line in lines[awaited:])
    assert any("caller()" in line for line in lines[awaited:])


async def forever_until(seconds: float) -> None:
    await asyncio.sleep(seconds)
