"""What the command prints: a diff, the findings with their recipes, a summary; or JSON."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from structgather._migrate.rules import Finding, Rule, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structgather._migrate.rewrite import Rewritten


@dataclass(slots=True)
class File:
    """What became of one file."""

    path: str
    rewritten: Rewritten | None = None
    #: Why it could not be read, parsed or written.
    error: str | None = None
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


@dataclass(slots=True)
class Report:
    """What became of all files."""

    files: list[File] = field(default_factory=list[File])

    def count(self, verdict: Verdict) -> int:
        """Count the findings that ended so."""
        return sum(finding.verdict is verdict for file in self.files for finding in file.findings)

    def human(self, *, diff: bool, written: bool) -> Iterator[str]:
        """Yield the text for people, in pieces."""
        if diff:
            for file in self.files:
                if piece := file.diff():
                    yield f"{piece}\n"
        for verdict, title in (
            (Verdict.SIMPLIFIED, "Simplified"),
            (Verdict.MOVED, "Moved; look at these"),
            (Verdict.LEFT, "Left as they are"),
        ):
            if piece := "".join(self._findings(verdict)):
                yield f"{title}:\n\n{piece}"
        for file in self.files:
            if file.error is not None:
                yield f"{file.path}: {file.error}\n"
        yield f"{self.summary(written=written)}\n"

    def _findings(self, verdict: Verdict) -> Iterator[str]:
        found: dict[Rule | None, list[str]] = {}
        for file in self.files:
            for finding in file.findings:
                if finding.verdict is verdict and (finding.rule or verdict is Verdict.SIMPLIFIED):
                    place = f"{file.path}:{finding.line}:{finding.column}"
                    found.setdefault(finding.rule, []).append(f"  {place}: {finding.function}\n")
        for rule, places in sorted(found.items(), key=lambda item: -len(item[1])):
            yield from places
            if rule is not None:
                yield f"    {rule.reason}\n    -> {rule.recipe}\n"
            yield "\n"

    def summary(self, *, written: bool) -> str:
        """Say it in one line."""
        moved, left = self.count(Verdict.MOVED), self.count(Verdict.LEFT)
        changed = sum(file.written if written else file.changes for file in self.files)
        errors = sum(file.error is not None for file in self.files)
        parts = [
            _number(len(self.files), "file"),
            _number(moved + left, "use") + " of asyncio.gather and asyncio.as_completed",
            f"{moved} {'moved' if written else 'can be moved'} in {_number(changed, 'file')}",
            f"{left} left",
        ]
        if simplified := self.count(Verdict.SIMPLIFIED):
            parts.append(f"{simplified} simplified")
        if errors:
            parts.append(f"{_number(errors, 'file')} could not be handled")
        return "; ".join(parts) + "."

    def json(self, *, diff: bool) -> dict[str, Any]:
        """Return the same for machines."""
        rules = Counter(
            finding.rule.name.lower()
            for file in self.files
            for finding in file.findings
            if finding.rule is not None
        )
        return {
            "version": 1,
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
        "findings": [
            {
                "line": finding.line,
                "column": finding.column,
                "function": finding.function,
                "verdict": finding.verdict.value,
                "rule": finding.rule and finding.rule.name.lower(),
                "reason": finding.rule and finding.rule.reason,
                "recipe": finding.rule and finding.rule.recipe,
            }
            for finding in file.findings
        ],
    }
    if diff:
        described["diff"] = file.diff()
    return described
