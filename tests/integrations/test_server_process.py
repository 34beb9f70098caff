"""A server process that is asked to terminate while a handler's children run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.documents import ROOT

pytest.importorskip("uvicorn", exc_type=ImportError)
pytest.importorskip("starlette", exc_type=ImportError)

PROGRAM = Path(__file__).with_name("server_process.py")


def request_to(port: int) -> socket.socket:
    """Make a request as soon as the server accepts it, and do not wait for the answer."""
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: server\r\n\r\n")
            return connection


def how_the_children_finished(lifespan: str, ends: signal.Signals) -> list[str]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with subprocess.Popen(  # noqa: S603 - a program of these tests
        [sys.executable, PROGRAM, str(port), lifespan],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        with request_to(port):
            said = [server.stdout.readline().strip() for _ in range(2)]
            server.send_signal(ends)
            said += server.stdout.read().split("\n")[:-1]
    return said


@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGINT])
def test_a_lifespan_that_waits_lets_cleanups_finish(ends: signal.Signals) -> None:
    """With the README's code, the process exits when each child has cleaned up, once."""
    said = how_the_children_finished("waits", ends)
    assert said == ["started"] * 2 + ["cancelled"] * 2 + ["cleaned up"] * 2


def test_without_it_the_process_exits_during_the_cleanups() -> None:
    """Uvicorn waits for nothing that it has cancelled, whatever function fans out."""
    said = how_the_children_finished("ends", signal.SIGTERM)
    assert said == ["started"] * 2 + ["cancelled"] * 2
