"""The lines to paste, run beside the packages that they are for."""

from __future__ import annotations

import pytest

from support.documents import Block, blocks_of, check

DOCUMENT = "tests/integrations/README.md"


@pytest.mark.parametrize("block", blocks_of(DOCUMENT), ids=str)
def test_the_lines_to_paste_do_what_they_show(
    block: Block,
) -> None:
    """Each block of "In your stack" does what it shows."""
    try:
        check(block)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
