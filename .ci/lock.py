#!/usr/bin/env python3
"""Write or check uv.lock, which names no index.

    .ci/lock.py             bring uv.lock in line with pyproject.toml
    .ci/lock.py --upgrade   the same, with the newest versions; `uv lock` takes what follows
    .ci/lock.py --check     fail unless uv.lock is in line and an index serves its files

uv writes into its lock file which index it asked, although names, versions and hashes are all
that a lock needs. With that taken out, it serves those who install through a mirror as well:
`uv export --frozen` makes hashed requirements of it, and any installer fetches them from the
index that it is set up for. uv reads the result as a lock of local files: `uv lock --check` works,
`uv sync` does not.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "uv.lock"
HEADER = "# Names no index: written by .ci/lock.py, which says why and how to use it.\n"


def uv(*arguments: str, folder: Path = ROOT) -> None:
    """Run the uv of the path, or else the one in .venv."""
    command = shutil.which("uv") or str(ROOT / ".venv/bin/uv")
    subprocess.run([command, "--no-progress", *arguments], cwd=folder, check=True)


def without_index(lock: str) -> str:
    """Leave of each address the name of the file."""
    lock = re.sub(r'\bregistry = "[^"]*"', 'registry = "."', lock)
    lock = re.sub(r'\burl = "[^"]*/([^"/]+)"', r'path = "\1"', lock)
    return HEADER + lock.removeprefix(HEADER)


def files(lock: str) -> dict[str, set[str]]:
    """Map each pinned package to the hashes of its files."""
    return {
        f"{package['name']} {package['version']}": {
            file["hash"]
            for file in [*package.get("wheels", []), package.get("sdist")]
            if file is not None
        }
        for package in tomllib.loads(lock)["package"]
        if "registry" in package["source"]
    }


def write(*arguments: str) -> None:
    """Bring uv.lock in line with pyproject.toml."""
    uv("lock", *arguments)
    LOCK.write_text(without_index(LOCK.read_text()))


def check() -> list[str]:
    """Tell what is wrong with uv.lock."""
    text = LOCK.read_text()
    if text != without_index(text):
        return ["uv.lock names an index: run .ci/lock.py"]
    uv("lock", "--check")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "pyproject.toml", folder)
        # uv asks an index only when the lock does not fit the project: make it misfit.
        misfit = re.sub(r'(?m)^requires-python = ".*"', 'requires-python = ">=3.10"', text)
        (folder / "uv.lock").write_text(misfit)
        uv("lock", folder=folder)
        served = files((folder / "uv.lock").read_text())
    wrong = []
    for package, hashes in files(text).items():
        # An index may serve more than was locked: files are added to a release as time goes by.
        if not hashes <= served.get(package, set()):
            wrong.append(f"the index does not serve {package} as it is locked")
    return wrong


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if problems := check():
            sys.exit("\n".join(problems))
        print(f"uv.lock is in line: {len(files(LOCK.read_text()))} packages")
    else:
        write(*sys.argv[1:])
