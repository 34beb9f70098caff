"""How many instructions the processor executes for a call: `python -m benchmarks.instructions`.

Times waver by some percent from one run to the next, on a busy machine by more. The number of
instructions hardly does: with it a change of half a percent is seen in one run. It is not time:
what waits for memory costs more than it says. valgrind, which counts, must be installed.

Each figure is the difference between two runs, of which the second makes twice as many calls: what
starting up and warming up takes cancels out.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.contenders import AGAIN, GATHER, is_ours, own_operations
from benchmarks.counted import CASES, MEANING

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve()


class Count(NamedTuple):
    """Instructions of a call, in all and by function of the interpreter and its libraries."""

    total: float
    functions: dict[str, float]

    @classmethod
    def of_file(cls, path: Path) -> Count:
        """Read what valgrind has written."""
        functions: dict[str, float] = {}
        names: dict[str, str] = {}
        function, inclusive = "", False
        for line in path.read_text("utf-8", "replace").splitlines():
            if match := re.match(r"fn=\((\d+)\)(?: (.*))?", line):
                number, name = match.groups()
                function = names.setdefault(number, name or "?")
            elif match := re.match(r"cfn=\((\d+)\) (.*)", line):
                names.setdefault(*match.groups())
            elif line.startswith("calls="):
                inclusive = True  # the next line is what the called function took
            elif re.match(r"[+*\d-]", line):
                if not inclusive:
                    cost = int(line.split()[1])
                    functions[function] = functions.get(function, 0) + cost
                inclusive = False
        return cls(sum(functions.values()), functions)

    def since(self, other: Count, calls: int) -> Count:
        """Return what each of so many calls more has taken."""
        functions = {
            name: (cost - other.functions.get(name, 0)) / calls
            for name, cost in self.functions.items()
        }
        return Count((self.total - other.total) / calls, functions)


@dataclass(frozen=True)
class Counter:
    """Counts in processes of their own, with nothing in them that differs from run to run."""

    package: Path
    cache: Path
    collector: bool = False
    eager: bool = False

    def command(self, name: str, contender: str, calls: int) -> list[str]:
        """Say what is run."""
        options = {"collector": self.collector, "eager": self.eager}
        script = str(HERE.with_name("counted.py"))
        return [
            sys.executable,
            "-P",
            script,
            str(self.package),
            name,
            contender,
            str(calls),
            *(option for option, given in options.items() if given),
        ]

    def environment(self) -> dict[str, str]:
        """Have all compiled modules in one place: none is compiled while others are counted."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {**kept, "PYTHONHASHSEED": "0", "PYTHONPYCACHEPREFIX": str(self.cache)}

    def compile(self) -> None:
        """Run once without counting."""
        command = self.command("none", GATHER, 1)
        subprocess.run(command, env=self.environment(), check=True)  # noqa: S603 - what is above

    def run(self, name: str, contender: str, calls: int) -> Count:
        """Count so many calls, and all that is done before them."""
        with TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
            command += self.command(name, contender, calls)
            done = subprocess.run(  # noqa: S603 - what is above
                command, env=self.environment(), capture_output=True, text=True, check=False
            )
            if done.returncode:
                message = f"{name}, {contender}:\n{done.stderr}"
                raise RuntimeError(message)
            return Count.of_file(out)

    def count(self, name: str, contender: str) -> Count:
        """Return what one call takes."""
        calls = CASES[name].calls
        once, twice = (self.run(name, contender, times * calls) for times in (1, 2))
        return twice.since(once, calls)


def show(name: str, counts: dict[str, Count], functions: int) -> None:
    """Print what was counted for one case."""
    children = CASES[name].children
    baseline = next(iter(counts.values()))
    print(f"\n{MEANING[name]} ({name})")
    for contender, count in counts.items():
        ratio = count.total / baseline.total
        each = f"{count.total / children:12,.0f} a child" if children else ""
        print(f"  {contender:<22}{count.total:14,.0f} a call{each:>20}  {ratio:6.3f}")
    if functions:
        ours = next(count for contender, count in counts.items() if is_ours(contender))
        apart = {
            function: ours.functions.get(function, 0) - baseline.functions.get(function, 0)
            for function in {*ours.functions, *baseline.functions}
        }
        print("  where the difference is:")
        for function in sorted(apart, key=lambda f: (-abs(apart[f]), f))[:functions]:
            was, now = (count.functions.get(function, 0) for count in (baseline, ours))
            print(f"    {was:12,.0f} {now:12,.0f} {apart[function]:+12,.0f}  {function:.60}")


def parser() -> argparse.ArgumentParser:
    """Say what can be asked for."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions",
        description="Count the instructions that a call takes, with valgrind.",
        epilog="cases:\n" + "".join(f"  {name:<14}{MEANING[name]}\n" for name in CASES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("case", nargs="*", help="what to count; by default, everything")
    made.add_argument(
        "--package",
        type=Path,
        default=HERE.parent.parent,
        metavar="FOLDER",
        help="where structgather and benchmarks are; by default, here",
    )
    made.add_argument(
        "--functions",
        type=int,
        default=0,
        metavar="N",
        help="show the N functions of the interpreter with the greatest difference",
    )
    made.add_argument(
        "--all", action="store_true", help="the other code by hand, too, such as a bare TaskGroup"
    )
    made.add_argument(
        "--eager", action="store_true", help="on a loop with asyncio.eager_task_factory"
    )
    made.add_argument("--collector", action="store_true", help="leave the garbage collector on")
    made.add_argument(
        "--jobs", type=int, default=os.cpu_count(), metavar="N", help="how many processes at a time"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    made = parser()
    options = made.parse_args(arguments)
    names: list[str] = options.case or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        made.error(f"no such case: {', '.join(unknown)}")
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return 2
    if options.eager and sys.version_info < (3, 12):
        made.error("--eager needs Python 3.12")
    operations = own_operations()
    print(
        f"Python {sys.version.split()[0]}, instructions, the ratio to the first; {options.package}"
    )
    with TemporaryDirectory() as cache, ThreadPoolExecutor(options.jobs) as pool:
        # A copy: what is edited meanwhile would be compiled in one of two runs, and counted.
        copy = Path(cache) / "copy"
        for part in ("structgather", "benchmarks"):
            shutil.copytree(options.package / part, copy / part)
        counter = Counter(copy, Path(cache) / "compiled", options.collector, options.eager)
        counter.compile()
        waiting = {
            name: {
                contender: pool.submit(counter.count, name, contender)
                for place, contender in enumerate(operations[CASES[name].operation])
                if place == 0 or is_ours(contender) or (options.all and contender != AGAIN)
            }
            for name in names
        }
        for name, futures in waiting.items():
            counts = {contender: future.result() for contender, future in futures.items()}
            show(name, counts, options.functions)
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
