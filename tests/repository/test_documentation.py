"""Every fenced block of code in the documentation does what it shows."""

import re

import pytest

from support.documents import ROOT, Block, blocks, blocks_of, check, execute

# tests/integrations has a test for its page, which needs other packages.
DOCUMENTS = [
    "README.md",
    "structgather/README.md",
    "tests/README.md",
    "benchmarks/README.md",
    "benchmarks/TARGETS.md",
    ".github/CONTRIBUTING.md",
    "CHANGELOG.md",
]

DOCUMENTED = [block for document in DOCUMENTS for block in blocks_of(document)]


def check_all(text: str) -> None:
    """Check each block of a text."""
    for block in blocks("text.md", text):
        check(block)


@pytest.mark.parametrize("block", DOCUMENTED, ids=str)
def test_each_block_does_what_it_shows(block: Block) -> None:
    """Each block of the documentation does what it shows."""
    check(block)


def test_the_first_two_commands_are_the_benchmarks_and_the_tests() -> None:
    """README.md first says how the benchmarks are run, then how the tests are."""
    commands = [b.source for b in DOCUMENTED if b.document == "README.md" and b.language == "sh"]
    assert commands[0].endswith("\n.venv/bin/python -m benchmarks --quick\n")
    assert commands[1].endswith("\n.venv/bin/python -m pytest\n")


def test_a_block_that_skips_idle_time() -> None:
    """An hour of sleep takes no time, and exactly an hour by the loop's clock."""
    source = """
import asyncio

async def main():
    loop = asyncio.get_running_loop()
    start = loop.time()
    await asyncio.sleep(3600)
    print(round(loop.time() - start, 1))

asyncio.run(main())
"""
    (example,) = blocks("example.md", f"```python skip-idle-time{source}```")
    assert execute(example) == "3600.0\n"


def test_tests_named_in_pages_exist() -> None:
    """Each test function and test module that a page names exists."""
    tests = {path: path.read_text("utf-8") for path in (ROOT / "tests").glob("**/test_*.py")}
    defined = set(re.findall(r"(?m)^(?:async )?def (test_\w+)", "\n".join(tests.values())))
    for document in DOCUMENTS:
        text = (ROOT / document).read_text("utf-8")
        assert set(re.findall(r"`(test_\w+)`", text)) <= defined
        for pattern in re.findall(r"`([\w*/]+/test_[\w*]+\.py)`", text):
            assert any((ROOT / "tests").glob(pattern)), pattern


@pytest.mark.parametrize(
    "wrong",
    [
        "```\nno language\n```",
        "```bash\nanother language\n```",
        "```python\n1 / 0\n```",
        "```python\nawait nothing\n```",
        "```python\nasync def main(): ...\nmain()\n```",
        "```python\ndef test_it():\n    assert False\n```",
        "```python\nprint(1)\n```\n```text\n2\n```",
        "```text\nout of nowhere\n```",
        "```python\nprint(1)\n```\n# Another section\n```text\n1\n```",
        "```pycon\n>>> 1\n2\n```",
        "```sh\nif true\n```",
        "```diff\n- import asyncio\n+ import (asyncio\n```",
        "```toml\nkey =\n```",
        "```python\nprint('never closed')\n",
    ],
)
def test_the_check_finds_wrong_blocks(wrong: str) -> None:
    """It finds each way for documentation to be wrong."""
    with pytest.raises((Exception, pytest.fail.Exception)):
        check_all(wrong)
