"""Run every check that a change must pass, on every supported Python that is installed.

    .ci/run             run all checks
    .ci/run WORD ...    run only the checks whose name contains one of the words
    .ci/run --everything exhaustive     hours: every exhaustive search on every Python

Needs git and python3 with pip and venv; everything else is installed under the user's cache. Two
checks run at a time, except the benchmarks, which run alone. All checks run even if some fail.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from check_distributions import repository_files

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "structgather-ci"
TOOLS = CACHE / "tools/bin"
SUPPORTED = ("3.11", "3.12", "3.13", "3.14", "3.15")
OWN = "{}.{}".format(*sys.version_info)
OWN_PYTHON = Path(sys.executable)
REMOVED = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in REMOVED} | {
    "NO_COLOR": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_SYSTEM_CERTS": "true",  # as pip does
}
TESTS = "tests/requirements.txt"
BENCHMARKS = "benchmarks/requirements.txt"
INTEGRATIONS = "tests/integrations/requirements.txt"
LINT = ".ci/requirements-lint.txt"
BENCHMARKS_CHECK = "benchmarks, README's command"
TOO_LONG = 1800.0  # seconds: a command that takes longer has hung
TOO_LONG_FOR_EVERYTHING = 7200.0


@dataclass
class Output:
    """Where a check and its commands print."""

    file: IO[str]
    too_long: float = TOO_LONG

    def run(self, *command: str | Path, cwd: Path = ROOT, **variables: str) -> None:
        """Run a command, and raise CalledProcessError if it fails."""
        arguments = [str(part) for part in command]
        print("$", shlex.join(arguments), file=self.file, flush=True)
        subprocess.run(
            arguments,
            cwd=cwd,
            env=ENVIRONMENT | variables,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=self.file,
            stderr=subprocess.STDOUT,
            timeout=self.too_long,
        )


Check = Callable[[Output], None]


def main() -> int:
    """Run the checks that the command line asks for, and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="part of the name of a check")
    text = "run every exhaustive search on every Python, not a share of them on each"
    parser.add_argument("--everything", action="store_true", help=text)
    options = parser.parse_args()
    words: list[str] = options.words
    started = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    if not attempt("tools", install_tools):
        return 1
    pythons = installed_pythons()
    print(f"\nPythons: {', '.join(pythons)}", flush=True)

    checks = {
        name: check
        for name, check in all_checks(pythons, everything=options.everything).items()
        if not words or any(word in name for word in words)
    }
    alone = checks.pop(BENCHMARKS_CHECK, None)
    with ThreadPoolExecutor(2) as pool:
        passed = dict(zip(checks, pool.map(attempt, checks, checks.values()), strict=True))
    if alone is not None:
        passed[BENCHMARKS_CHECK] = attempt(BENCHMARKS_CHECK, alone)

    failed = [name for name, ok in passed.items() if not ok]
    missing = [version for version in SUPPORTED if version not in pythons]
    print(f"\n{len(passed)} checks, {len(failed)} failed, in {time.monotonic() - started:.0f} s")
    print(f"on Python {', '.join(pythons)}; not installed: {', '.join(missing) or 'none'}")
    for name in failed:
        print(f"FAILED: {name}")
    return 1 if failed or not passed else 0


def attempt(name: str, check: Check) -> bool:
    """Run a check, print its output, and tell whether it passed."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        try:
            check(Output(file))
        except (OSError, subprocess.SubprocessError) as error:
            print(error, file=file)
            verdict = "FAILED"
        else:
            verdict = "ok"
        file.seek(0)
        # One call, so that the outputs of two checks do not mix.
        print(
            f"\n=== {name}\n{file.read()}--- {name}: {verdict}, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    return verdict == "ok"


def all_checks(pythons: dict[str, Path], *, everything: bool) -> dict[str, Check]:
    """Name the checks, the longest first."""
    return {
        **{
            f"exhaustive, {v}": partial(exhaustive, v, path, everything)
            for v, path in pythons.items()
        },
        f"tests, {OWN}, README's command": readme_tests,
        **{f"tests, {v}": partial(tests, v, path) for v, path in pythons.items() if v != OWN},
        "pyright": pyright,
        "mypy": mypy,
        "ruff": ruff,
        **{f"integrations, {v}": partial(integrations, v, path) for v, path in pythons.items()},
        "requirements": requirements,
        "wheel and sdist": distributions,
        BENCHMARKS_CHECK: benchmarks,
    }


# Environments


def install_tools(output: Output) -> None:
    """Install the linters, the type checkers, and uv, which makes environments faster than pip."""
    output.run(OWN_PYTHON, "-m", "venv", TOOLS.parent)
    output.run(TOOLS / "pip", "install", "-q", "-r", LINT)


def installed_pythons() -> dict[str, Path]:
    """Find an interpreter of each supported version: this one, pyenv's, or one on the path."""
    found = {OWN: OWN_PYTHON}
    for candidate in candidates():
        version = subprocess.run(
            [candidate, "-c", "import sys; print('{}.{}'.format(*sys.version_info))"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        if version in SUPPORTED:
            found.setdefault(version, candidate)
    return dict(sorted(found.items()))


def candidates() -> Iterator[Path]:
    """Yield paths that may be interpreters, the newest patch release of a version first."""
    releases = (Path.home() / ".pyenv/versions").glob("3.*/bin/python")
    yield from sorted(releases, key=patch_release, reverse=True)
    # A script that installs Pythons which the machine's packages do not have.
    script = ROOT / "../shared/bin/next-pythons"
    if os.access(script, os.X_OK):
        listed = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=False).stdout
        yield from map(Path, listed.split())
    yield from (Path(path) for v in SUPPORTED if (path := shutil.which(f"python{v}")))


def patch_release(path: Path) -> int:
    """Return the number of the patch release in the name of one of pyenv's folders."""
    return int((*re.findall(r"\d+", path.parts[-3]), 0, 0)[2])


def environment(output: Output, name: str, python: Path, *arguments: str | Path) -> Path:
    """Make a fresh environment, and return its interpreter. The arguments are those of pip."""
    folder = CACHE / name
    output.run(TOOLS / "uv", "venv", "-q", "--clear", "--python", python, folder)
    output.run(TOOLS / "uv", "pip", "install", "-q", "--python", folder, *arguments)
    output.run(folder / "bin/python", "-VV")
    return folder / "bin/python"


def fresh_clone(output: Output, folder: Path) -> Path:
    """Copy the files of the repository, changed and new ones included, to one of their own."""
    clone = folder / "structgather"
    for name in repository_files():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    output.run("git", "init", "-q", clone)
    output.run("git", "add", "-A", cwd=clone)
    return clone


def readme_block(output: Output, number: int, clone: Path) -> None:
    """Run one of the first two `sh` blocks of README.md as a new user would."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", (clone / "README.md").read_text("utf-8"))
    home = clone.parent / "home"
    home.mkdir()
    output.run("sh", "-ec", blocks[number], cwd=clone, HOME=str(home), XDG_CACHE_HOME="")


# Checks


def readme_tests(output: Output) -> None:
    """Run the README's second block, the tests, in a fresh clone."""
    with tempfile.TemporaryDirectory() as folder:
        readme_block(output, 1, fresh_clone(output, Path(folder)))


def benchmarks(output: Output) -> None:
    """Run the README's first block, and fail if a ratio is far beyond its target."""
    with tempfile.TemporaryDirectory() as folder:
        clone = fresh_clone(output, Path(folder))
        readme_block(output, 0, clone)
        guard = ["--quick", "--peer", "none", "--guard", "1.3"]
        output.run(clone / ".venv/bin/python", "-m", "benchmarks", *guard, cwd=clone)


def run_pytest(
    output: Output, name: str, python: Path, requirements: str, *options: str, **variables: str
) -> None:
    """Run tests in an environment of their own. No tests at all (exit code 5) is a failure."""
    interpreter = environment(output, name, python, "-r", requirements)
    cache = f"cache_dir={CACHE / name / 'pytest'}"
    output.run(interpreter, "-m", "pytest", "-q", "-o", cache, *options, **variables)


def tests(version: str, python: Path, output: Output) -> None:
    """Run the tests that README.md runs, with more examples."""
    run_pytest(output, f"tests-{version}", python, TESTS, HYPOTHESIS_PROFILE="ci")


def exhaustive(version: str, python: Path, everything: bool, output: Output) -> None:  # noqa: FBT001 - bound above
    """Run the searches that take too long for every day: all, or a share on each Python."""
    share = ["--share", f"{SUPPORTED.index(version) + 1}/{len(SUPPORTED)}"]
    if everything:
        share = []
        output.too_long = TOO_LONG_FOR_EVERYTHING
    run_pytest(output, f"exhaustive-{version}", python, TESTS, "-m", "exhaustive", *share)


def integrations(version: str, python: Path, output: Output) -> None:
    """Run the tests beside real frameworks; none may be skipped that pyproject.toml installs."""
    options = ["--integrations", "tests/integrations"]
    run_pytest(output, f"integrations-{version}", python, INTEGRATIONS, *options)


def requirements(output: Output) -> None:
    """Check that the requirements files are what pyproject.toml asks for."""
    output.run(TOOLS / "python", ".ci/requirements.py", "--check")


def ruff(output: Output) -> None:
    """Run the linter and the formatter."""
    output.run(TOOLS / "ruff", "check")
    output.run(TOOLS / "ruff", "format", "--check")


def mypy(output: Output) -> None:
    """Check the types of everything on the oldest Python, and the package's on the newest."""
    python = environment(output, "mypy", OWN_PYTHON, "-r", INTEGRATIONS, "-r", BENCHMARKS)
    command = (TOOLS / "mypy", "--cache-dir", CACHE / "mypy-cache", "--python-executable", python)
    output.run(*command)
    output.run(*command, "--python-version", SUPPORTED[-1], "structgather")


def pyright(output: Output) -> None:
    """Check the types of everything with the other type checker."""
    python = environment(output, "pyright", OWN_PYTHON, "-r", INTEGRATIONS, "-r", BENCHMARKS)
    output.run(TOOLS / "pyright", "--pythonpath", python)


def distributions(output: Output) -> None:
    """Build the distributions, check their contents, and check the wheel's public types."""
    folder = CACHE / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    output.run(TOOLS / "uv", "build", "-q", "--out-dir", folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    output.run(OWN_PYTHON, ".ci/check_distributions.py", sdist, wheel)
    python = environment(output, "wheel", OWN_PYTHON, wheel)
    # --verifytypes uses the first python on the path. The working directory must not be ROOT, so
    # that it finds the package of the wheel.
    path = f"{python.parent}{os.pathsep}{ENVIRONMENT['PATH']}"
    output.run(TOOLS / "pyright", "--verifytypes", "structgather", cwd=python.parent, PATH=path)


if __name__ == "__main__":
    sys.exit(main())
