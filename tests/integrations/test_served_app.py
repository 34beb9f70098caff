"""Starlette and FastAPI, served by uvicorn: a handler fans out, and its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from support.each_call import Call, each_call
from support.real_loops import run, stock

pytest.importorskip("uvicorn", exc_type=ImportError)
pytest.importorskip("fastapi", exc_type=ImportError)
pytest.importorskip("httpx", exc_type=ImportError)

from httpx import HTTPError
from integrations.apps import (
    MakeApp,
    MakeHandler,
    Streamed,
    Work,
    fastapi,
    in_a_group,
    plain,
    starlette,
    streaming,
    unless_gone,
    watching,
    with_middleware,
)
from integrations.served import Record, client, served, until
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from structgather import as_completed_scoped, gather_structured

each_handler = pytest.mark.parametrize("make_handler", [watching, in_a_group, streaming])
each_app = pytest.mark.parametrize("make_app", [starlette, fastapi, with_middleware])


async def get_and_leave(url: str, record: Record) -> None:
    """Make a request, and disconnect when all children have started."""

    async def get() -> None:
        async with client(url) as http, http.stream("GET", "/") as response:
            await response.aread()

    request = asyncio.create_task(get())
    await until(lambda: len(record.started) == 3)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


def watched(record: Record, work: Work) -> tuple[Work, list[int]]:
    """Wrap a handler. The list gets the number of children running when it has returned."""
    running: list[int] = []

    async def watch() -> None:
        try:
            await work()
        finally:
            running.append(record.running)

    return watch, running


@each_app
@each_handler
@each_call
def test_the_client_disconnects(make_app: MakeApp, make_handler: MakeHandler, call: Call) -> None:
    """The handler's call returns when each child has cleaned up, once."""

    async def main() -> None:
        record = Record()
        work, running = watched(record, lambda: call(*record.children()))
        async with served(make_app(make_handler(work))) as (url, _):
            await get_and_leave(url, record)
            await until(lambda: running)
        assert running == [0]
        record.assert_finished_once()

    run(main, stock)


@each_app
@pytest.mark.parametrize("make_handler", [in_a_group, streaming])
def test_with_gather_a_disconnect_interrupts_cleanups(
    make_app: MakeApp, make_handler: MakeHandler
) -> None:
    """In the same application gather forwards each cancellation of anyio: no cleanup finishes."""

    async def main() -> None:
        record = Record()
        work, running = watched(record, lambda: asyncio.gather(*record.children()))
        async with served(make_app(make_handler(work))) as (url, _):
            await get_and_leave(url, record)
            await until(lambda: running)
        assert running == [3]
        assert record.cleaned_up == []

    run(main, stock)


async def fails_when_all_run(record: Record) -> str:
    await until(lambda: len(record.started) == 3)
    raise LookupError


@each_app
def test_a_failure_is_answered_after_the_siblings_have_finished(make_app: MakeApp) -> None:
    """When one child fails, the server's error is sent after the others have cleaned up."""

    async def main() -> None:
        record = Record()

        async def handler(_: Request) -> Response:
            await gather_structured(*record.children(), fails_when_all_run(record))
            raise AssertionError

        async with served(make_app(handler)) as (url, _), client(url) as http:
            assert (await http.get("/")).status_code == 500
            record.assert_finished_once()

    run(main, stock)


@each_app
def test_with_gather_siblings_run_on_after_the_answer(make_app: MakeApp) -> None:
    """In the same application gather's siblings still run when the client has its answer."""

    async def main() -> None:
        record = Record()
        orphans: list[asyncio.Task[str]] = []

        async def handler(_: Request) -> Response:
            orphans.extend(asyncio.create_task(child) for child in record.children())
            await asyncio.gather(*orphans, fails_when_all_run(record))
            raise AssertionError

        async with served(make_app(handler)) as (url, _), client(url) as http:
            assert (await http.get("/")).status_code == 500
            assert record.cancelled == []
        assert not any(orphan.done() for orphan in orphans)
        for orphan in orphans:
            orphan.cancel()
        await asyncio.wait(orphans)

    run(main, stock)


@each_app
@pytest.mark.parametrize("make_handler", [plain, watching, in_a_group, streaming])
@each_call
def test_the_server_shuts_down(make_app: MakeApp, make_handler: MakeHandler, call: Call) -> None:
    """When the server cancels its handlers at shutdown, each child cleans up, once."""

    async def main() -> None:
        record = Record()
        work, running = watched(record, lambda: call(*record.children()))
        app = make_app(make_handler(work))
        async with (
            served(app, timeout_graceful_shutdown=0) as (url, shut_down),
            client(url) as http,
        ):
            request = asyncio.create_task(http.get("/"))
            await until(lambda: len(record.started) == 3)
            await shut_down()
            await until(lambda: running)
            await asyncio.wait([request])
            # It is answered, with what was written so far, or the connection is closed.
            assert request.exception() is None or isinstance(request.exception(), HTTPError)
        assert running == [0]
        record.assert_finished_once()

    run(main, stock)


@each_app
def test_a_page_is_streamed_as_its_parts_arrive(make_app: MakeApp) -> None:
    """The first part is read while the others are awaited; leaving then cancels and joins them."""

    async def main() -> None:
        record = Record()

        async def quick() -> str:
            await until(lambda: len(record.started) == 3)
            return "quick"

        async def produce(write: Callable[[str], Awaitable[None]]) -> None:
            async with as_completed_scoped([*record.children(), quick()]) as outcomes:
                async for outcome in outcomes:
                    await write(await outcome)

        async def handler(_: Request) -> Response:
            response: Response = Streamed(produce)
            return response

        async with served(make_app(handler)) as (url, _):
            async with client(url) as http, http.stream("GET", "/") as response:
                assert await anext(response.aiter_text()) == "quick"
                assert record.cancelled == []
            await until(lambda: not record.running)
        record.assert_finished_once()

    run(main, stock)


@each_app
def test_a_failure_propagates_unchanged(make_app: MakeApp) -> None:
    """A failure while the client waits is raised in the handler, not in a group."""

    async def main() -> None:
        async def fails() -> None:
            raise LookupError("nothing found")

        async def handler(request: Request) -> Response:
            try:
                await unless_gone(request, gather_structured(fails()))
            except LookupError as error:
                return PlainTextResponse(str(error), 404)
            raise AssertionError

        async with served(make_app(handler)) as (url, _), client(url) as http:
            response = await http.get("/")
            assert (response.status_code, response.text) == (404, "nothing found")

    run(main, stock)


def test_a_client_that_stays_gets_the_whole_answer() -> None:
    """The README's code changes nothing for a client that waits."""

    async def main() -> None:
        async def value(text: str) -> str:
            return text

        async def whole(request: Request) -> Response:
            return PlainTextResponse(
                ", ".join(await unless_gone(request, gather_structured(value("a"), value("b"))))
            )

        async def parts(_: Request) -> Response:
            async def produce(write: Callable[[str], Awaitable[None]]) -> None:
                async with as_completed_scoped([value("a"), value("b")]) as outcomes:
                    async for outcome in outcomes:
                        await write(await outcome)

            response: Response = Streamed(produce, media_type="text/html", status_code=203)
            return response

        app = Starlette(routes=[Route("/whole", whole), Route("/parts", parts)])
        async with served(app) as (url, _), client(url) as http:
            assert (await http.get("/whole")).text == "a, b"
            response = await http.get("/parts")
            assert (response.status_code, response.text) == (203, "ab")
            assert response.headers["content-type"].startswith("text/html")

    run(main, stock)
