"""The migration, case by case: cases/*.txt hold the text before and after, and what is said.

A case begins with `## ` and its title. Then comes the source; behind `---- after` how it reads
afterwards, unless nothing changes; behind `---- findings` a line for each use of asyncio's
functions: its line, the verdict, and the rule that applies; `<3.12` behind it says where.
"""

import ast
import re
import sys
import tokenize
from collections import Counter
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from structgather._migrate.rewrite import rewrite
from structgather._migrate.rules import RULES, Verdict

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One case of one file."""

    file: str
    title: str
    before: str
    after: str
    findings: list[str]

    def __str__(self) -> str:
        return f"{self.file}: {self.title}"


def cases() -> list[Case]:
    """Read all cases."""
    older = r" \1" if sys.version_info < (3, 12) else ""
    found: list[Case] = []
    for path in sorted(FOLDER.glob("*.txt")):
        for text in re.split(r"(?m)^## ", path.read_text("utf-8"))[1:]:
            title, _, source = text.partition("\n")
            source, _, findings = source.partition("---- findings\n")
            findings = re.sub(r" (\w+)<3\.12$", older, findings, flags=re.MULTILINE)
            before, _, after = source.partition("---- after\n")
            found.append(
                Case(path.stem, title, before, after or before, findings.strip().splitlines())
            )
    return found


each_case = pytest.mark.parametrize("case", cases(), ids=str)


def said(case: Case, text: str) -> list[str]:
    """Say what is found in a text as the files do."""
    return [
        " ".join(
            [str(finding.line), finding.verdict.value]
            + ([finding.rule.name] if finding.rule else [])
        )
        for finding in rewrite(text).findings
    ]


@each_case
def test_a_case_reads_as_it_should(case: Case) -> None:
    """Each case reads afterwards as its file says."""
    assert rewrite(case.before).after == case.after


@each_case
def test_a_case_says_what_it_should(case: Case) -> None:
    """Of each use it is said whether it is moved or left, and by which rule."""
    assert said(case, case.before) == case.findings


@each_case
def test_a_second_run_finds_nothing_more(case: Case) -> None:
    """What was moved stays as it is, and what was left is left again, for the same reasons."""
    again = rewrite(case.after)
    assert again.after == case.after
    assert Verdict.MOVED not in {finding.verdict for finding in again.findings}
    left = Counter(line.partition(" ")[2] for line in case.findings if " moved" not in line)
    assert left == Counter(line.partition(" ")[2] for line in said(case, case.after))


@each_case
def test_what_compiled_compiles(case: Case) -> None:
    """What Python compiles before, it compiles afterwards."""
    try:
        compile(case.before, "before", "exec", dont_inherit=True)
    except SyntaxError:
        ast.parse(case.after)
    else:
        compile(case.after, "after", "exec", dont_inherit=True)


@each_case
def test_places_are_told_for_the_text_as_it_is(case: Case) -> None:
    """Where something is left, its place afterwards is the one that a second run tells."""
    rewritten = rewrite(case.before)
    left = [one for one in rewritten.findings_after if one.verdict is not Verdict.MOVED]
    assert left == rewrite(case.after).findings
    lines = case.after.split("\n")
    for one in rewritten.findings_after:
        if one.verdict is Verdict.MOVED:
            is_loop = one.function == "asyncio.as_completed"
            wanted = r"async with \w+\(" if is_loop else r"\b\w+ ?\("
            assert re.compile(wanted).match(lines[one.line - 1], one.column - 1)


def strings_and_comments(text: str) -> list[str]:
    """List the strings and comments of a text in order."""
    kinds = {"STRING", "COMMENT", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"}
    tokens = tokenize.generate_tokens(StringIO(text).readline)
    return [token.string for token in tokens if tokenize.tok_name[token.type] in kinds]


@each_case
def test_strings_and_comments_stay(case: Case) -> None:
    """No string and no comment is lost, changed or moved past another."""
    assert strings_and_comments(case.after) == strings_and_comments(case.before)


def test_every_rule_has_a_case() -> None:
    """There is a case for each reason to leave a use, or to look at it."""
    named = {line.split()[2] for case in cases() for line in case.findings if line.count(" ") > 1}
    assert set(RULES) == named


def test_a_text_without_these_calls_must_parse_too() -> None:
    """A file that does not parse is never reported as fine."""
    with pytest.raises(SyntaxError):
        rewrite("def\n")
