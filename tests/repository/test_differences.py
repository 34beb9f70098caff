"""The documentation's tables of differences are complete, and tests prove each row."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.both_sides import SIDES
from support.differences import AS_COMPLETED, GATHER, SAME, TABLES, Row, Said, Table

ROOT = Path(__file__).resolve().parents[2]
NOT_RUN = {"skip", "skipif", "xfail"}

each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.ours.strip("`"))


def printed_table(text: str, heading: str) -> list[list[str]]:
    """Read the cells of the first table under a heading, without the line below its first row."""
    section = re.split(rf"(?m)^#+ {re.escape(heading)}$", text)[1]
    lines = itertools.dropwhile(lambda line: not line.startswith("|"), section.splitlines())
    table = [*itertools.takewhile(lambda line: line.startswith("|"), lines)]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table]
    assert set("".join(rows.pop(1))) <= {"-", ":"}
    return rows


@each_table
def test_the_documentation_prints_each_row(table: Table) -> None:
    """The table in the documentation has these rows and cells, and no others."""
    text = (ROOT / table.document).read_text("utf-8")
    assert printed_table(text, table.heading) == table.printed


def find(proof: str) -> Any:
    """Import the test that a proof names."""
    module, _, function = proof.partition("::")
    return getattr(importlib.import_module(module), function)


def runs_over_both(test: Any) -> bool:
    """Tell whether a test runs once for each function, and is not skipped."""
    marks = getattr(test, "pytestmark", [])
    names: list[Any] = [mark.kwargs.get("ids") for mark in marks]
    twice = any(isinstance(ids, list) and ids[: len(SIDES)] == SIDES for ids in names)
    return twice and not NOT_RUN.intersection(mark.name for mark in marks)


def claims() -> Iterator[tuple[str, Row | Said]]:
    """Yield every row and statement, with a name."""
    for table in TABLES:
        for row in table.rows:
            yield f"{table.ours}, {row.what}", row
        for said in table.said:
            yield f"{table.theirs}: {said.what}", said


@pytest.mark.parametrize("claim", dict(claims()).values(), ids=dict(claims()))
def test_every_claim_is_proved_on_both_sides(claim: Row | Said) -> None:
    """Each row, and each statement of asyncio's documentation, has tests that run over both."""
    assert claim.proofs
    assert [proof for proof in claim.proofs if not runs_over_both(find(proof))] == []


def test_a_difference_has_a_test_with_different_results() -> None:
    """If the cells differ, one of the row's tests expects different results."""
    for table in TABLES:
        for row in table.rows:
            marks = [mark for proof in row.proofs for mark in find(proof).pytestmark]
            expects = [mark for mark in marks if "expected" in mark.args[0]]
            assert expects or row.ours == SAME, row.what


def test_every_test_over_both_sides_proves_a_claim() -> None:
    """Each test that runs over both functions is listed with a row or a statement."""
    proofs = {proof for _, claim in claims() for proof in claim.proofs}
    modules = {proof.partition("::")[0] for proof in proofs}
    over_both: set[str] = set()
    for name in modules:
        module = importlib.import_module(name)
        tests = {test for test in vars(module) if test.startswith("test_")}
        over_both |= {f"{name}::{test}" for test in tests if runs_over_both(vars(module)[test])}
    assert over_both == proofs


# The documentation of asyncio


def sentences(function: Callable[..., Any]) -> Iterator[str]:
    """Yield the sentences of a docstring, without its examples."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(function.__doc__ or ""))
    for paragraph in paragraphs:
        prose = " ".join(line for line in paragraph.splitlines() if not line.startswith("  "))
        yield from filter(None, re.split(r"(?<=[.)]) +(?=[A-Z(*])", prose))


@pytest.mark.parametrize(
    ("function", "table"),
    [(asyncio.gather, GATHER), (asyncio.as_completed, AS_COMPLETED)],
    ids=["gather", "as_completed"],
)
def test_each_sentence_of_asyncios_documentation_is_listed(
    function: Callable[..., Any], table: Table
) -> None:
    """Each sentence of this Python's docstring is one of the statements."""
    said = [begin for statement in table.said for begin in statement.begins]
    found = [*sentences(function)]
    assert found
    for sentence in found:
        assert sentence.startswith(tuple(said)), "nothing proves this"


# The checks themselves


def test_a_changed_cell_is_found() -> None:
    """A table with another word, a row less or a row more differs."""
    text = "# Here\n\ntext\n\n| | a | b |\n|---|:-:|---|\n| x | `1` | 2 |\n\n| y |\n"
    assert printed_table(text, "Here") == [["", "a", "b"], ["x", "`1`", "2"]]


@pytest.mark.parametrize(
    ("names", "runs"),
    [(SIDES, True), ([*SIDES, "a third"], True), (SIDES[:1], False), (None, False)],
)
def test_a_test_of_one_side_is_found(names: list[str] | None, *, runs: bool) -> None:
    """A test counts only if it has the names of both functions, and is not skipped."""
    values = range(len(names or [1]))

    @pytest.mark.parametrize("side", values, ids=names)
    def test() -> None: ...

    assert runs_over_both(test) == runs
    assert not runs_over_both(pytest.mark.skip(test))
