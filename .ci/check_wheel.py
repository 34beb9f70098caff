#!/usr/bin/env python3
"""Check that a wheel holds the package, typed and whole, and that it needs no other.

.ci/check_wheel.py WHEEL
"""

import sys
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

PACKAGE = Path(__file__).resolve().parent.parent / "structgather"


def problems(wheel: ZipFile) -> list[str]:
    """Tell what is wrong with the wheel."""
    names = set(wheel.namelist())
    sources = {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.glob("**/*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    extra = {name for name in names - sources if ".dist-info/" not in name}
    found = [f"holds {name}" for name in sorted(extra)]
    found += [f"lacks {name}" for name in sorted(sources - names)]
    if "structgather/py.typed" not in names:
        found.append("is not marked as typed")
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    for needed in message_from_bytes(wheel.read(metadata)).get_all("Requires-Dist", []):
        found.append(f"needs {needed}")
    return found


if __name__ == "__main__":
    with ZipFile(sys.argv[1]) as opened:
        if wrong := problems(opened):
            sys.exit("\n".join(f"the wheel {problem}" for problem in wrong))
        print(
            f"{len(opened.namelist())} files, no dependency: {', '.join(sorted(opened.namelist()))}"
        )
