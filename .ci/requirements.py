"""Write or check the requirements files: locked, hashed, for every supported Python and platform.

    python .ci/requirements.py            bring the files in line with pyproject.toml
    python .ci/requirements.py --upgrade  the same, with the newest versions
    python .ci/requirements.py --check    fail unless the files are in line with pyproject.toml

Runs in an environment with .ci/requirements-lint.txt, which has the locked release of uv: another
might format the files in another way. Each file locks one dependency group of pyproject.toml.
Versions that are locked stay as they are unless pyproject.toml excludes them, so a new release of
a package does not fail the check.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11"
SHARED = "tests/integrations/requirements.txt"
# The first one constrains the others, so that all agree on the packages that they share.
FILES = {
    "integrations": SHARED,
    "dev": "tests/requirements.txt",
    "bench": "benchmarks/requirements.txt",
    "lint": ".ci/requirements-lint.txt",
    "proof": ".ci/requirements-proof.txt",
}


def compile_all(folder: Path, *options: str) -> None:
    """Lock every group of the pyproject.toml in a folder."""
    command = [sys.executable, "-m", "uv"]
    command += ["pip", "compile", "--quiet", "--universal", "--generate-hashes"]
    command += ["--python-version", OLDEST_PYTHON]
    command += ["--custom-compile-command", ".ci/requirements.py"]
    for group, file in FILES.items():
        constraints = [] if file == SHARED else ["--constraints", SHARED]
        subprocess.run(
            [*command, *options, *constraints, "--group", group, "--output-file", file],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )


def outdated() -> list[str]:
    """List the files that change when the groups are locked again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("pyproject.toml", *FILES.values()):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / file)
        compile_all(folder)
        return [f for f in FILES.values() if (ROOT / f).read_bytes() != (folder / f).read_bytes()]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--upgrade", action="store_true", help="take the newest versions")
    either.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    if not options.check:
        compile_all(ROOT, *(["--upgrade"] if options.upgrade else []))
    elif files := outdated():
        sys.exit(f"not in line with pyproject.toml, run .ci/requirements.py: {', '.join(files)}")
    else:
        print(f"{len(FILES)} requirements files are in line with pyproject.toml")


if __name__ == "__main__":
    main()
