"""Trials of mutants, each in a fork of this process, which has imported what all of them need.

A trial that takes too much processor time is killed by its timer; its memory is limited.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest

from mutation.mutants import Mutant

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "structgather"
#: What a trial copies of the project.
FOLDERS = (".ci", ".github", "structgather", "tests", "benchmarks")
FILES = (".pre-commit-hooks.yaml", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")
#: How much memory a trial may allocate.
BYTES = 3 << 30
#: The exit code of a trial that could not start.
BROKEN = 70

# Each trial would import these, and compile the tests.
for module in ("hypothesis.strategies", "_hypothesis_pytestplugin", "pytest_asyncio.plugin"):
    importlib.import_module(module)
with contextlib.suppress(ImportError):
    importlib.import_module("anyio.pytest_plugin")  # where it is installed, pytest loads it
sys.dont_write_bytecode = False

# The failure of one example is enough. Otherwise as in conftest.py.
hypothesis.settings.register_profile(
    "mutation",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=400,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=[*hypothesis.HealthCheck],
)


class Verdict(NamedTuple):
    """The result of a trial."""

    killed: bool
    #: The test that failed first, or what happened instead.
    by: str
    seconds: float


class Stage(NamedTuple):
    """Tests that run in sequence until one fails, and how much processor time they may take."""

    name: str
    tests: tuple[str, ...]
    seconds: int


class Work(NamedTuple):
    """The text to try as a module, possibly unchanged."""

    what: Mutant | None
    module: str
    text: str | None
    stages: list[Stage]


class Plot:
    """A copy of the repository with one mutant at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._texts = {
            path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8")
            for path in PACKAGE.rglob("*.py")
        }
        shutil.rmtree(folder, ignore_errors=True)
        forgotten = shutil.ignore_patterns("__pycache__")
        for name in FOLDERS:
            shutil.copytree(ROOT / name, folder / name, ignore=forgotten)
        for name in FILES:
            shutil.copy(ROOT / name, folder / name)

    def start(self, module: str, text: str | None, stage: Stage) -> int:
        """Start a trial of a module's text; return its process."""
        if text is not None:
            self._write(module, text)
        (self.folder / "failed").unlink(missing_ok=True)
        process = os.fork()
        if process == 0:
            self._run(stage)
        return process

    def restore(self, module: str) -> None:
        """Restore a module as it is in the repository."""
        self._write(module, self._texts[module])

    def _write(self, module: str, text: str) -> None:
        path = self.folder / "structgather" / module
        path.write_text(text, "utf-8")
        for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            stale.unlink()  # written in the same second, and of the same size, Python would use it

    def _run(self, stage: Stage) -> None:
        code = BROKEN
        witness = _Witness(self.folder / "failed")
        try:
            os.setsid()
            output = os.open(self.folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_PROF, stage.seconds)
            signal.alarm(4 * stage.seconds)  # for a trial that is blocked, or a busy machine
            resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
            os.chdir(self.folder)
            os.environ["HYPOTHESIS_PROFILE"] = "mutation"
            sys.path[:] = [entry for entry in sys.path if str(ROOT) not in entry]
            files = [f"tests/{name}" for name in stage.tests]
            options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
            options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # it is imported already
            code = int(pytest.main([*options, *files], plugins=[witness]))
        except BaseException:  # noqa: BLE001 - the parent is told
            traceback.print_exc()
            if witness.has_begun:  # a failure at the very end
                code = 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def verdict(self, process: int, status: int, seconds: float) -> Verdict:
        """Return the result of a finished trial."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)  # processes that it left running
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            late = number in {signal.SIGALRM, signal.SIGPROF}
            by = "timeout" if late else f"signal {number}"
            return Verdict(killed=True, by=by, seconds=seconds)
        code = os.WEXITSTATUS(status)
        if code == BROKEN:
            raise RuntimeError((self.folder / "output").read_text("utf-8"))
        failed = self.folder / "failed"
        by = failed.read_text("utf-8") if failed.exists() else f"exit code {code}"
        return Verdict(killed=code != 0, by=by, seconds=seconds)


class _Witness:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.has_begun = False

    def pytest_collection(self) -> None:
        self.has_begun = True

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # Those with random input take longest.
        items.sort(key=lambda item: item.get_closest_marker("hypothesis") is not None)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._path.write_text(report.nodeid, "utf-8")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._path.write_text(f"import of {report.nodeid}", "utf-8")


def trials(work: Iterator[Work], plots: list[Plot]) -> Iterator[tuple[Work, str, Verdict]]:
    """Try each piece of work, stage by stage until it is killed, in as many plots as there are."""
    free = [*plots]
    running: dict[int, tuple[Plot, Work, float]] = {}

    def start(plot: Plot, piece: Work) -> None:
        process = plot.start(piece.module, piece.text, piece.stages[0])
        running[process] = (plot, piece, time.monotonic())

    while True:
        while free and (new := next(work, None)) is not None:
            start(free.pop(), new)
        if not running:
            return
        process, status = os.wait()
        plot, piece, since = running.pop(process)
        verdict = plot.verdict(process, status, time.monotonic() - since)
        if not verdict.killed and piece.stages[1:]:
            start(plot, piece._replace(stages=piece.stages[1:]))
            continue
        plot.restore(piece.module)
        free.append(plot)
        yield piece, piece.stages[0].name, verdict
