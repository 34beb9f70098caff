"""The command that swaps gather in other projects' tests finds what differs, and only that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swapped.__main__ import main

PROJECT = """
import asyncio
from asyncio.tasks import gather

async def child(log, steps, error=None):
    for _ in range(steps):
        await asyncio.sleep(0)
    if error:
        raise error
    log.append(steps)
    return steps

def test_passes_with_both():
    async def main():
        assert await gather(child([], 1), child([], 2)) == [1, 2]
        kept = gather(child([], 1), child([], 2))
        done = []
        kept.add_done_callback(done.append)
        assert await asyncio.wait_for(kept, 9) == [1, 2]
        assert done == [kept]
    asyncio.run(main())

    loop = asyncio.new_event_loop()
    task = loop.create_task(child([], 1))
    assert loop.run_until_complete(gather(task)) == [1]
    loop.close()

def test_relies_on_siblings_that_run_on():
    async def main():
        log = []
        try:
            await asyncio.gather(child(log, 1, OSError("refused")), child(log, 9))
        except OSError:
            await asyncio.sleep(0.01)
        assert log == [9], "the sibling is needed"
    asyncio.run(main())

def test_fails_with_both():
    assert False
"""

# Stands for a hang, without one.
STOPS = """
import asyncio, os

async def fails():
    raise OSError

async def child(log):
    await asyncio.sleep(0.01)
    log.append("done")

def test_comes_first():
    pass

def test_waits_for_an_orphan():
    async def main():
        log = []
        try:
            await asyncio.gather(fails(), child(log))
        except OSError:
            await asyncio.sleep(0.1)
            if not log:
                os._exit(1)
    asyncio.run(main())

def test_comes_last():
    pass
"""


@pytest.fixture(autouse=True)
def pytest_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load no plugins of this environment, which takes seconds."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def swap(project: Path, source: str, *arguments: str) -> int:
    project.joinpath("test_project.py").write_text(source, "utf-8")
    # The checkout is no part of this repository: its settings don't count.
    project.joinpath("pytest.ini").write_text("[pytest]\n", "utf-8")
    return main([str(project), *arguments])


def test_a_test_that_needs_orphans_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each test is listed by where it fails, with the reason, and the exit code is 1."""
    assert swap(tmp_path, PROJECT) == 1
    assert capsys.readouterr().out == (
        "gather was called 4 times: 2 calls awaited, 2 kept\n"
        "     1 passed or skipped in both\n"
        "     1 failed in both\n"
        "     0 failed only with asyncio.gather\n"
        "     1 failed only with gather_structured\n"
        "       test_project.py::test_relies_on_siblings_that_run_on\n"
        "           AssertionError: the sibling is needed\n"
        "     0 did not finish with gather_structured\n"
    )


@pytest.mark.exhaustive
def test_arguments_are_those_of_pytest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands behind `--` is for pytest; without a difference the exit code is 0."""
    assert swap(tmp_path, PROJECT, "--timeout", "60", "--", "-k", "both") == 0
    assert "     1 failed in both" in capsys.readouterr().out


def test_a_test_that_does_not_finish_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a run stops, the test that ran is named, and those that did not run are counted."""
    assert swap(tmp_path, STOPS) == 1
    assert capsys.readouterr().out == (
        "     1 passed or skipped in both\n"
        "     0 failed in both\n"
        "     0 failed only with asyncio.gather\n"
        "     0 failed only with gather_structured\n"
        "     1 did not finish with gather_structured\n"
        "       test_project.py::test_waits_for_an_orphan\n"
        "     1 passed with asyncio.gather, and did not run with gather_structured\n"
    )


def test_a_run_is_stopped_after_the_timeout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a timeout that not even the project as it is can meet, the exit code is 2."""
    assert swap(tmp_path, PROJECT, "--timeout", "0.001") == 2
    assert "did not finish with asyncio.gather" in capsys.readouterr().out


def test_no_test_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If no test runs, the exit code is 2, and what pytest printed is shown."""
    assert swap(tmp_path, PROJECT, "--", "-k", "nothing") == 2
    assert "3 deselected" in capsys.readouterr().out


def test_the_clone_is_not_on_the_path_of_the_project(tmp_path: Path) -> None:
    """The plugin alone swaps gather, and folders of the clone hide none of the project's."""
    source = "import sys\ndef test_path():\n    assert not set(sys.path) & set({})\n"
    clone = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
    tmp_path.joinpath("test_project.py").write_text(source.format(clone), "utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "swapped_gather"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(  # noqa: S603
        command, cwd=tmp_path, env=environment, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stdout
