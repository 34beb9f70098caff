"""Fixtures for every test."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

import structgather
from structgather import _stuck

# A shell that starts the tests in the background lets them ignore Ctrl-C, which some tests raise.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option that divides the tests among several runs."""
    parser.addoption("--share", metavar="K/N", help="only the K-th of N shares of the tests")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the share that the option asks for."""
    share = config.getoption("share")
    if share:
        # By name: not every Python has the same tests, and the shares of several cover all.
        which, shares = map(int, share.split("/"))
        items[:] = [one for one in items if crc32(one.nodeid.encode()) % shares == which - 1]


SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]

# The same examples each time, more of them in .ci/run. `HYPOTHESIS_PROFILE=long` draws others.
for profile, max_examples in ("default", 50), ("ci", 150):
    settings.register_profile(
        profile,
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=max_examples,
        suppress_health_check=SLOW_IS_FINE,
    )
settings.register_profile(
    "long", deadline=None, max_examples=20_000, suppress_health_check=SLOW_IS_FINE
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True, scope="module")
def nothing_to_collect() -> None:
    """Freeze existing objects, so that the many collections of a module do not traverse them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_stuck_warnings() -> Iterator[None]:
    """Turn the stuck-child warning off: its timers would add choices to every search."""
    before = _stuck._after
    structgather.warn_stuck_after(None)
    yield
    structgather.warn_stuck_after(before)
