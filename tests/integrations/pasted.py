"""The README's code, as the tests use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.documents import ROOT, blocks_of

README = "tests/integrations/README.md"


def pasted(heading: str) -> dict[str, Any]:
    """Run the first block of Python under a heading of the README, and return its namespace."""
    lines = (ROOT / README).read_text("utf-8").splitlines()
    start = next(n for n, line in enumerate(lines, 1) if line.lstrip("#") == f" {heading}")
    block = next(b for b in blocks_of(README) if b.line > start and b.language == "python")
    namespace: dict[str, Any] = {"__name__": Path(README).stem}
    code = compile("\n" * block.line + block.source, str(ROOT / README), "exec")
    exec(code, namespace)  # noqa: S102 - this project's own documentation
    return namespace
