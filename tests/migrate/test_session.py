"""The session in tests/integrations/README.md is what the command prints for this small service."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from structgather._migrate.cli import main

README = Path(__file__).parents[1] / "integrations" / "README.md"
SEARCH = '''\
"""Ask several engines at once."""

import asyncio
from collections.abc import Sequence


async def search(engines: Sequence, query: str) -> list[str]:
    answers = await asyncio.wait_for(
        asyncio.gather(*(engine.ask(query) for engine in engines)), timeout=5
    )
    return [hit for answer in answers for hit in answer]


async def first_pages(engines: Sequence, query: str):
    pages = []
    for page in asyncio.as_completed([engine.page(query) for engine in engines]):
        try:
            pages.append(await page)
        except LookupError:
            continue
    return pages
'''
LIFECYCLE = '''\
"""Start and stop."""

import asyncio


class Service:
    def __init__(self, engines):
        self.engines = engines

    async def warm_up(self):
        for engine in self.engines:
            await engine.ask("")

    async def stop(self):
        await asyncio.gather(*(engine.close() for engine in self.engines))

    def start(self):
        return asyncio.gather(*(engine.open() for engine in self.engines))
'''
TESTS = """\
import asyncio

from service.lifecycle import Service
from service.search import first_pages, search


class Engine:
    state = ""

    async def ask(self, query):
        return [query, query.upper()]

    async def page(self, query):
        if not query:
            raise LookupError
        return query

    async def open(self):
        self.state = "open"

    async def close(self):
        self.state = "closed"


def test_search():
    assert asyncio.run(search([Engine(), Engine()], "a")) == ["a", "A", "a", "A"]


def test_first_pages():
    assert asyncio.run(first_pages([Engine()], "a")) == ["a"]
    assert asyncio.run(first_pages([Engine()], "")) == []


def test_service():
    async def main():
        service = Service([Engine(), Engine()])
        await service.start()
        await service.stop()
        return [engine.state for engine in service.engines]

    assert asyncio.run(main()) == ["closed", "closed"]
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the service, and go there."""
    for name, text in (
        ("service/search.py", SEARCH),
        ("service/lifecycle.py", LIFECYCLE),
        ("tests/test_service.py", TESTS),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown() -> list[str]:
    """Return what the session in the README shows, block by block."""
    section = README.read_text("utf-8").split("\n## ")[1]
    return re.findall(r"(?s)```text\n(.*?)```", section)


def last_line(service: Path) -> str:
    """Run the service's own tests, and return the last line."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(service), *sys.path])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(  # noqa: S603 - itself
        command, check=False, capture_output=True, text=True, env=environment
    )
    return done.stdout.splitlines()[-1]


# Python 3.11 makes a Task of what wait_for is given: there the command says so.
@pytest.mark.skipif(sys.version_info < (3, 12), reason="says more on Python 3.11")
def test_the_session_is_what_is_printed(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The scan, the summary of what was written, and the service's tests, green as before."""
    scan, rest = shown()
    *summary, green = rest.splitlines()
    passed = green.partition(" in ")[0]
    assert last_line(service).startswith(passed)
    main(["migrate", "service"])
    assert capsys.readouterr().out == scan
    main(["migrate", "--write", "service"])
    assert capsys.readouterr().out.splitlines()[-2:] == summary
    assert last_line(service).startswith(passed)
