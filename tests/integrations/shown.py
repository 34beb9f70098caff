"""The README's code: the README shows the functions that the tests here run, to the letter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("README.md")


def shown(*functions: Callable[..., Any]) -> bool:
    """Tell whether the README shows the source of these functions, in one block of Python."""
    blocks = re.findall(r"(?ms)^```python[^\n]*\n(.*?)^```$", PAGE.read_text("utf-8"))
    return any(all(inspect.getsource(f) in block for f in functions) for block in blocks)
