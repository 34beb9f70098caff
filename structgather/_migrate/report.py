"""What the command prints: a diff, the findings with their recipes, a summary; or JSON."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from structgather._migrate.rules import Finding, Rule, Verdict
from structgather._migrate.text import split_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.rewrite import Rewritten

CHANGE = """\
What changes: when a child (one of the awaitables) fails, gather_structured cancels the others, its
siblings, waits until they have finished, and raises the same exception. asyncio.gather raises it at
once, and lets the siblings continue.
"""
_TITLES = (
    (Verdict.MOVED, False, "Moved; review these"),
    (
        Verdict.DECIDE,
        False,
        "To decide: not moved, as the program may behave differently after a failure",
    ),
    (Verdict.LEFT, False, "Not moved"),
    (Verdict.MOVED, True, "Hints, about the code as it was"),
)
_LONGEST = 80  # of a source line that is shown


@dataclass(slots=True)
class File:
    """The result for one file."""

    path: str
    #: Whether structgather is among the dependencies of its project.
    depends: bool
    rewritten: Rewritten | None = None
    #: Why it could not be read, parsed or written.
    error: str | None = None
    #: The line at which it does not parse; 0 if that is not what is wrong.
    line: int = 0
    written: bool = False

    @property
    def findings(self) -> list[Finding]:
        """What was found in it, with the places in the file as it is now."""
        if self.rewritten is None:
            return []
        return self.rewritten.findings_after if self.written else self.rewritten.findings

    @property
    def changes(self) -> bool:
        """Whether anything can be moved."""
        return self.rewritten is not None and self.rewritten.before != self.rewritten.after

    def diff(self) -> str:
        """Return a unified diff, as `patch` and `git apply` take it."""
        if self.rewritten is None:
            return ""
        lines = difflib.unified_diff(
            _patch_lines(self.rewritten.before),
            _patch_lines(self.rewritten.after),
            f"a/{self.path.lstrip('/')}",
            f"b/{self.path.lstrip('/')}",
        )
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )

    def place(self, finding: Finding) -> str:
        """Return where a finding is, with its line."""
        assert self.rewritten is not None  # noqa: S101 - it has findings
        text = self.rewritten.after if self.written else self.rewritten.before
        lines = iter(split_lines(text)[finding.line - 1 :])
        shown = next(lines).strip()
        while shown.endswith(("(", "[")) and (line := next(lines, "")):
            shown += line.strip()
        shown = shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
        return f"    {self.path}:{finding.line}:{finding.column}: {shown}\n"


@dataclass(slots=True)
class Report:
    """The results for all files."""

    files: list[File] = field(default_factory=list[File])

    def count(self, verdict: Verdict) -> int:
        """Count the findings with a verdict."""
        return sum(finding.verdict is verdict for file in self.files for finding in file.findings)

    def human(self, *, diff: bool, written: bool) -> Iterator[str]:
        """Yield the text for people, in pieces."""
        if any(file.findings for file in self.files):
            yield f"{CHANGE}\n"
        if diff:
            for file in self.files:
                if piece := file.diff():
                    yield f"{piece}\n"
        if not (diff or written) and (moved := "".join(self._moved())):
            yield f"Can be moved:\n\n{moved}\n"
        for verdict, is_hint, title in _TITLES:
            if piece := "".join(self._reasons(verdict, is_hint=is_hint)):
                yield f"{title}:\n\n{piece}"
        for file in self.files:
            if file.error is not None:
                yield f"{file.path}{f':{file.line}' if file.line else ''}: {file.error}\n"
        yield from self.summary(written=written)

    def _moved(self) -> Iterator[str]:
        """Yield the places of what can be moved without a remark."""
        for file in self.files:
            for finding in file.findings:
                silent = finding.rule is None or finding.rule.is_hint
                if finding.verdict is Verdict.MOVED and silent:
                    yield file.place(finding)

    def _reasons(self, verdict: Verdict, *, is_hint: bool) -> Iterator[str]:
        """Yield each reason, the most frequent first, with the places."""
        found: dict[Rule, list[str]] = {}
        for file in self.files:
            for finding in file.findings:
                rule = finding.rule
                if rule is not None and finding.verdict is verdict and rule.is_hint is is_hint:
                    found.setdefault(rule, []).append(file.place(finding))
        for rule, places in sorted(found.items(), key=lambda item: -len(item[1])):
            for text in (rule.reason, f"What to do: {rule.recipe}"):
                yield f"{textwrap.fill(text, 98, initial_indent='  ', subsequent_indent='  ')}\n"
            yield from places
            yield "\n"

    def summary(self, *, written: bool) -> Iterator[str]:
        """Yield the last lines."""
        counts = {verdict: self.count(verdict) for verdict in Verdict}
        changed = [file for file in self.files if (file.written if written else file.changes)]
        moved = f"{counts[Verdict.MOVED]} {'moved' if written else 'can be moved'}"
        parts = [f"{moved} in {_number(len(changed), 'file')}" if changed else moved]
        parts += [f"{counts[Verdict.DECIDE]} to decide", f"{counts[Verdict.LEFT]} not moved"]
        if errors := sum(file.error is not None for file in self.files):
            parts.append(f"{_number(errors, 'file')} could not be handled")
        uses = _number(sum(counts.values()), "use")
        yield (
            f"{_number(len(self.files), 'file')}, {uses} of asyncio.gather and"
            f" asyncio.as_completed: {', '.join(parts)}.\n"
        )
        if changed and not written:
            yield "No file was changed: --write does that.\n"
        if any(not file.depends for file in changed):
            yield "Add structgather to the project's dependencies.\n"

    def json(self, *, diff: bool) -> dict[str, Any]:
        """Return the same for machines."""
        rules = Counter(
            finding.rule.name
            for file in self.files
            for finding in file.findings
            if finding.rule is not None
        )
        return {
            "version": 2,
            "files": [_file(file, diff=diff) for file in self.files],
            "summary": {
                "files": len(self.files),
                "changed": sum(file.changes for file in self.files),
                "errors": sum(file.error is not None for file in self.files),
                **{verdict.value: self.count(verdict) for verdict in Verdict},
                "rules": dict(rules),
            },
        }


def _patch_lines(text: str) -> list[str]:
    """Split where `patch` and git do: a carriage return alone ends no line for them."""
    return re.findall(r"[^\n]*\n|[^\n]+\Z", text)


def _number(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _file(file: File, *, diff: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "path": file.path,
        "changes": file.changes,
        "written": file.written,
        "error": file.error,
        "error_line": file.line or None,
        "findings": [
            {
                "line": finding.line,
                "column": finding.column,
                "function": finding.function,
                "verdict": finding.verdict.value,
                "rule": finding.rule and finding.rule.name,
                "hint": finding.rule is not None and finding.rule.is_hint,
                "reason": finding.rule and finding.rule.reason,
                "recipe": finding.rule and finding.rule.recipe,
            }
            for finding in file.findings
        ],
    }
    if diff:
        described["diff"] = file.diff()
    return described
