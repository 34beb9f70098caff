"""The README's code, run with the packages that it is for."""

from __future__ import annotations

import pytest

from support.documents import Block, blocks_of, check

DOCUMENT = "tests/integrations/README.md"


@pytest.mark.parametrize("block", blocks_of(DOCUMENT), ids=str)
def test_the_readmes_code_does_what_it_shows(
    block: Block,
) -> None:
    """Each block of "In your stack" does what it shows."""
    try:
        check(block)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
