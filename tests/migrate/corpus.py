"""Run the migration over published packages: `python -m tests.migrate.corpus [PACKAGE...]`.

Downloads each package with pip, unpacks it into a temporary folder, moves it, and checks that each
file still parses and that a second run finds nothing more. Prints a Markdown table. Not part of the
suite: it needs an index, and what is published changes.
"""

import argparse
import ast
import json
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

PACKAGES = [
    "aiohomekit",
    "aiohttp",
    "aiokafka",
    "browser-use",
    "dagster",
    "discord.py",
    "distributed",
    "faust-streaming",
    "graphiti-core",
    "homeassistant",
    "jupyter_client",
    "jupyter_server",
    "kopf",
    "langchain-core",
    "langgraph",
    "lightrag-hku",
    "litellm",
    "llama-index-core",
    "nats-py",
    "openai-agents",
    "prefect",
    "pydantic-ai-slim",
    "python-telegram-bot",
    "strawberry-graphql",
    "tortoise-orm",
    "zarr",
    "zigpy",
]
HEADER = """\
| package | files | uses | moved | of these to look at | left | do not parse any more |
|---|---:|---:|---:|---:|---:|---:|"""


def download(package: str, folder: Path) -> Path | None:
    """Fetch a wheel, or else the sources, and unpack it."""
    for kind in ("--only-binary", "--no-binary"):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, ":all:"]
        command += ["--dest", str(folder), package]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - pip
        if done.returncode == 0:
            break
    unpacked = folder / "unpacked"
    for archive in folder.glob("*.*"):
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(unpacked)  # noqa: S202 - it names no path outside
            return unpacked
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive) as sources:
                sources.extractall(unpacked, filter="data")
            return unpacked
    return None


def migrate(folder: Path, *options: str) -> dict[str, Any]:
    """Run the command, and return what it printed."""
    command = [sys.executable, "-m", "structgather", "migrate", "--json", *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if not done.stdout:
        sys.exit(f"exit code {done.returncode}: {done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def broken(report: dict[str, Any]) -> list[str]:
    """List the files that were written and do not parse."""
    found: list[str] = []
    for file in report["files"]:
        if file["written"]:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    compile(
                        Path(file["path"]).read_bytes(), file["path"], "exec", ast.PyCF_ONLY_AST
                    )
            except (SyntaxError, ValueError) as error:
                found.append(f"{file['path']}: {error}")
    return found


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def counts(report: dict[str, Any], lost: list[str]) -> dict[str, int]:
    """Count what a row shows."""
    summary = report["summary"]
    findings = [finding for file in report["files"] for finding in file["findings"]]
    look = [one for one in findings if one["verdict"] == "moved" and one["rule"] is not None]
    return {
        "files": summary["files"],
        "uses": summary["moved"] + summary["left"],
        "moved": summary["moved"],
        "look": len(look),
        "left": summary["left"],
        "lost": len(lost),
    }


def main() -> int:
    """Print a row for each package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("packages", metavar="PACKAGE", nargs="*", default=PACKAGES)
    parser.add_argument("--simplify", action="store_true", help="with --simplify")
    options = parser.parse_args()
    simplify = ["--simplify"] if options.simplify else []
    total: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    failures: list[str] = []
    say(HEADER)
    for package in options.packages:
        with tempfile.TemporaryDirectory() as name:
            unpacked = download(package, Path(name))
            if unpacked is None:
                say(f"| {package} | could not be had | | | | | |")
                continue
            written = migrate(unpacked, "--write", *simplify)
            again = migrate(unpacked, "--check", *simplify)
            lost = broken(written)
        row = counts(written, lost)
        total.update(row)
        rules.update(written["summary"]["rules"])
        failures += lost
        if again["summary"]["moved"] or again["summary"]["changed"]:
            failures.append(f"{package}: a second run finds more")
        say(f"| {package} | {' | '.join(map(str, row.values()))} |")
    say(f"| **all** | {' | '.join(f'**{count}**' for count in total.values())} |\n")
    say("Reasons: " + ", ".join(f"{rule} {count}" for rule, count in rules.most_common()) + ".")
    say("\n".join(["", *failures]) if failures else "Each second run found nothing more to move.")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
