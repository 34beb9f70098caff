"""Fixtures for the tests of the core."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Turn the garbage collector off: only reference counts free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
