"""Run the migration over published packages: `python -m tests.migrate.corpus [PACKAGE...]`.

Downloads each package with pip, unpacks it, moves it, and checks that each file still parses, that
a second run finds nothing more, and that ruff has nothing new to say of its imports. Prints a
Markdown table. Not part of the suite: it needs an index, and what is published changes.
"""

import argparse
import ast
import json
import re
import shutil
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
    "aio-pika",
    "aioesphomeapi",
    "aiogram",
    "aiohomekit",
    "aiohttp",
    "aiokafka",
    "arq",
    "autogen-agentchat",
    "autogen-core",
    "browser-use",
    "crawl4ai",
    "crewai",
    "dagster",
    "deepeval",
    "discord.py",
    "distributed",
    "dspy",
    "faust-streaming",
    "fsspec",
    "gcsfs",
    "graphiti-core",
    "graphql-core",
    "haystack-ai",
    "homeassistant",
    "jupyter_client",
    "jupyter_server",
    "kopf",
    "langchain-core",
    "langgraph",
    "lightrag-hku",
    "litellm",
    "livekit-agents",
    "llama-index-core",
    "mautrix",
    "nats-py",
    "openai-agents",
    "pipecat-ai",
    "playwright",
    "prefect",
    "pydantic-ai-slim",
    "pyppeteer",
    "pyrogram",
    "python-telegram-bot",
    "ragas",
    "redis",
    "s3fs",
    "semantic-kernel",
    "strawberry-graphql",
    "taskiq",
    "telethon",
    "temporalio",
    "textual",
    "tortoise-orm",
    "zarr",
    "zigpy",
]
_MENTIONS = re.compile(rb"gather|as_completed")
COLUMNS = (
    "uses",
    "moved silently",
    "moved with a remark",
    "to decide",
    "not moved",
    "broken",
    "new F401",
    "new I001",
)


def unpacked(package: str, folder: Path) -> Path | None:
    """Fetch a wheel, or else the sources, and unpack it."""
    archives = folder / "archives" / package
    for kind in ("--only-binary", "--no-binary"):
        if archives.exists() and any(archives.iterdir()):
            break
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, ":all:"]
        command += ["--dest", str(archives), package]
        subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - pip
    target = folder / "unpacked" / package
    shutil.rmtree(target, ignore_errors=True)
    for archive in archives.glob("*.*") if archives.exists() else ():
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(target)  # noqa: S202 - it names no path outside
            return target
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive) as sources:
                sources.extractall(target, filter="data")
            return target
    return None


def migrate(files: list[str], *options: str) -> dict[str, Any]:
    """Run the command, and return what it printed."""
    command = [sys.executable, "-m", "structgather", "migrate", "--json", *options, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if not done.stdout:
        sys.exit(f"exit code {done.returncode}: {done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def broken(files: list[str]) -> list[str]:
    """List the files that do not parse."""
    found: list[str] = []
    for name in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(Path(name).read_bytes(), name, "exec", ast.PyCF_ONLY_AST)
        except (SyntaxError, ValueError) as error:
            found.append(f"{name}: {error}")
    return found


def complaints(ruff: str, folder: Path, files: list[str]) -> Counter[tuple[str, str]]:
    """Count what ruff says of the imports of each file."""
    command = [ruff, "check", "--isolated", "--select", "F401,I001", "--output-format", "json"]
    done = subprocess.run(  # noqa: S603 - ruff
        [*command, *files], cwd=folder, capture_output=True, text=True, check=False
    )
    return Counter((one["filename"], one["code"]) for one in json.loads(done.stdout))


def row(package: str, folder: Path, ruff: str, failures: list[str]) -> Counter[str]:
    """Move a package, and return what its row shows, and the rules that applied."""
    mentions = (path for path in folder.rglob("*.py") if _MENTIONS.search(path.read_bytes()))
    files = sorted(str(path) for path in mentions)
    if not files:
        return Counter()
    before = complaints(ruff, folder, files)
    report = migrate(files, "--write")
    changed = [file["path"] for file in report["files"] if file["written"]]
    lost = broken(changed)
    new = complaints(ruff, folder, files) - before
    failures += lost
    failures += [f"{Path(name).relative_to(folder)}: {code}" for name, code in new]
    if migrate(files, "--check")["summary"]["changed"]:
        failures.append(f"{package}: a second run finds more")
    findings = [finding for file in report["files"] for finding in file["findings"]]
    counts = Counter[str](uses=len(findings), broken=len(lost))
    for finding in findings:
        silent = finding["rule"] is None or finding["hint"]
        moved = "moved silently" if silent else "moved with a remark"
        counts[
            {"moved": moved, "decide": "to decide", "left": "not moved"}[finding["verdict"]]
        ] += 1
        counts[f"rule {finding['rule']}"] += 1
    for (_, code), number in new.items():
        counts[f"new {code}"] += number
    return counts


def say(*cells: object) -> None:
    """Print a row at once."""
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


def main() -> int:
    """Print a row for each package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("packages", metavar="PACKAGE", nargs="*", default=PACKAGES)
    parser.add_argument("--folder", type=Path, help="where the packages are kept")
    parser.add_argument("--ruff", default=shutil.which("ruff") or "ruff")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    failures: list[str] = []
    say("package", *COLUMNS)
    sys.stdout.write(f"|---|{'---:|' * len(COLUMNS)}\n")
    with tempfile.TemporaryDirectory() as name:
        for package in options.packages:
            folder = unpacked(package, options.folder or Path(name))
            if folder is None:
                failures.append(f"{package}: could not be downloaded")
                continue
            counts = row(package, folder.resolve(), options.ruff, failures)
            total += counts
            say(package, *(counts[column] for column in COLUMNS))
    say("**all**", *(f"**{total[column]}**" for column in COLUMNS))
    rules = {name[5:]: number for name, number in total.items() if name.startswith("rule ")}
    rules.pop("None", None)
    reasons = sorted(rules.items(), key=lambda rule: -rule[1])
    sys.stdout.write(
        "\nReasons: " + ", ".join(f"{name} {count}" for name, count in reasons) + ".\n"
    )
    sys.stdout.write(
        "\n".join(["", *failures]) if failures else "A second run finds nothing more.\n"
    )
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
