"""The soak runs, on real sockets, and finds each kind of growth."""

from __future__ import annotations

import sys
from array import array

import pytest

from soak.__main__ import Samples, judge, main

SHORT = ["--minutes", "0.004"]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="stock"),
        pytest.param(
            ["--eager"],
            id="eager",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 12), reason="there are no eager tasks before 3.12"
            ),
        ),
        pytest.param(["--uvloop"], id="uvloop", marks=pytest.mark.exhaustive),
    ],
)
def test_a_short_soak(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """For a quarter of a second no call breaks a promise, and no task or descriptor is left."""
    if "--uvloop" in options:
        pytest.importorskip("uvloop", reason="uvloop is not there for this platform")
    assert main([*SHORT, "--intervals", "3", *options]) == 0
    assert "Nothing has grown" in capsys.readouterr().out


def test_runs_that_are_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C in `asyncio.run` breaks no promise, and leaves no descriptor open."""
    assert main(["--runs", "3"]) == 0
    assert "3 runs were interrupted" in capsys.readouterr().out


@pytest.mark.parametrize(
    "leak", [pytest.param("tasks", marks=pytest.mark.exhaustive), "descriptors"]
)
def test_a_leak_is_found(leak: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One descriptor, or a task of each call, is found."""
    assert main([*SHORT, "--intervals", "2", "--leak", leak]) == 1
    assert f"GREW OR BROKE: {leak}:" in capsys.readouterr().out


def measured(growth: float, jitter: tuple[float, ...], count: int = 30) -> Samples:
    samples = Samples()
    for at in range(count):
        noise = jitter[at % len(jitter)]
        objects = 20_000 + growth * at + noise
        samples.add(at * 10_000, 1, 9, 0, objects, 80_000, 30_000 + noise)
    return samples


def test_growth_is_distinguished_from_noise() -> None:
    """A slope below the noise is found; noise, or growth during the warm-up, is not a slope."""
    noise = (0.0, 90.0, -70.0, 40.0, -100.0, 10.0, 60.0)
    assert judge(measured(0, noise)) == []
    (complaint,) = judge(measured(20, noise))
    assert complaint.startswith("objects: +2.0 per 1,000 requests, at least +1.")
    warming = measured(0, noise)
    warming.values["objects"][:6] = array("d", [0, 5_000, 9_000, 12_000, 15_000, 18_000])
    assert judge(warming) == []


def test_what_is_left_at_rest_is_reported() -> None:
    """Tasks, descriptors and running calls are compared with those before the first interval."""
    samples = measured(0, (0.0,))
    samples.values["tasks"][7] = 3
    assert judge(samples) == ["tasks: 3 after interval 7, 1 at first"]
