#!/usr/bin/env python3
"""Check the contents of the distributions.

    .ci/check_distributions.py SDIST WHEEL

The source distribution holds every file of the repository. The wheel holds the package, marked as
typed, and depends on no other.
"""

import subprocess
import sys
import tarfile
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent


def repository_files() -> set[str]:
    """List the files that git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {name for name in listed.split("\0") if (ROOT / name).is_file()}


def differences(expected: set[str], found: set[str]) -> list[str]:
    """Describe how two sets of files differ."""
    return [f"has {name}" for name in sorted(found - expected)] + [
        f"lacks {name}" for name in sorted(expected - found)
    ]


def sdist_problems(path: str, files: set[str]) -> list[str]:
    """Describe what is wrong with a source distribution."""
    with tarfile.open(path) as sdist:
        found = {name.partition("/")[2] for name in sdist.getnames()}
    return [f"the sdist {problem}" for problem in differences(files | {"PKG-INFO"}, found)]


def wheel_problems(path: str, files: set[str]) -> list[str]:
    """Describe what is wrong with a wheel."""
    with ZipFile(path) as wheel:
        found = set(wheel.namelist())
        metadata = {name for name in found if ".dist-info/" in name}
        (file,) = (name for name in metadata if name.endswith("/METADATA"))
        needed = message_from_bytes(wheel.read(file)).get_all("Requires-Dist", [])
    package = {name for name in files if name.startswith("structgather/")}
    problems = differences(package | {"structgather/py.typed"}, found - metadata)
    problems += [f"requires {name}" for name in needed]
    if not any(name.endswith("/licenses/LICENSE") for name in metadata):
        problems.append("lacks its license")
    return [f"the wheel {problem}" for problem in problems]


if __name__ == "__main__":
    sdist_path, wheel_path = sys.argv[1:]
    tracked = repository_files()
    if wrong := sdist_problems(sdist_path, tracked) + wheel_problems(wheel_path, tracked):
        sys.exit("\n".join(wrong))
    print(f"the distributions of {len(tracked)} files are complete")
