"""Which Python parses what this one does not."""

from __future__ import annotations

import re
import sys

# A line that does not parse, and the Python that would parse it: the last before a change, or the
# first with it.
_OLDER = (
    (r"\b(print|exec)\s+[^\s(=.,)]|\bexcept\s+[\w.]+\s*,\s*[a-z_]\w*\s*:", "Python 2"),
    (r"\braise\s+[\w.]+\s*,|`|<>|\bur['\"]|(?<![\w.])0\d+\b|(?<![\w.])\d+L\b", "Python 2"),
    (r"(?<!\w)(async|await)\s*=(?!=)|\basync\s*[,).]|\.async\b", "Python 3.6"),
)
_NEWER = (
    (r"\bexcept\*", (3, 11)),
    (r"^\s*type\s+\w+(\[.*\])?\s*=|\b(def|class)\s+\w+\[|\bf['\"]", (3, 12)),
    (r"\bexcept\s+[\w.]+\s*,|\b[rR]?t['\"]", (3, 14)),
    (r"^\s*lazy\s+(import|from)\b|[\[({]\s*\*{1,2}\w+\s+(async\s+)?for\b", (3, 15)),
)


def parsed_by(line: str) -> str:
    """Tell which Python would parse a line on which this one fails; empty if that is not known."""
    for pattern, python in _OLDER:
        if re.search(pattern, line):
            return python
    for pattern, version in _NEWER:
        if version > sys.version_info[:2] and re.search(pattern, line):
            return f"Python {version[0]}.{version[1]}"
    return ""


def explained(error: SyntaxError | ValueError, text: str) -> tuple[int, str]:
    """Return the line at which a file does not parse, and why."""
    running = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    number = (error.lineno if isinstance(error, SyntaxError) else None) or 1
    lines = text.splitlines()
    line = lines[number - 1] if number <= len(lines) else ""
    python = parsed_by(line)
    instead = f"; {python} would parse it" if python else ""
    return number, f"does not parse on {running}: {reason}{instead}"
