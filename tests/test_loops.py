"""Loops that are not asyncio's: what is asked of them, and what is taken for the answer."""

from __future__ import annotations

import asyncio

from structgather._loops import is_closed, keeps_a_history


class NeverClosed(asyncio.AbstractEventLoop):
    """Raises NotImplementedError, as a workflow engine's loop does: it can't be closed."""


def test_a_loop_that_cannot_be_closed_is_open_and_keeps_a_history() -> None:
    """No timer is set on it for the sake of a log."""
    loop = NeverClosed()  # type: ignore[abstract]  # nothing else is asked of it
    assert not is_closed(loop)
    assert keeps_a_history(loop)


def test_asyncios_own_loop_is_open_until_it_is_closed_and_keeps_none() -> None:
    """It says so itself."""
    loop = asyncio.new_event_loop()
    assert (is_closed(loop), keeps_a_history(loop)) == (False, False)
    loop.close()
    assert (is_closed(loop), keeps_a_history(loop)) == (True, False)
