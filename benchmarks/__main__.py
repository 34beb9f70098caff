"""The command line: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks import cases, measure, memory, service
from benchmarks.contenders import PEERS, operations_with
from benchmarks.report import comparison, render, report
from benchmarks.results import Results
from benchmarks.targets import beyond

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
FAMILIES = {
    **cases.FAMILIES,
    "memory": "Peak of the memory allocated for children",
    "service": "What an agent service leaves behind with either function",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure structgather beside asyncio.gather, a bare TaskGroup, code by hand "
        "and other libraries. Takes some minutes.",
        epilog="families:\n" + "".join(f"  {name:<15}{FAMILIES[name]}\n" for name in FAMILIES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--quick", action="store_true", help="about a minute: fewer sizes, no peers unless named"
    )
    made.add_argument(
        "--only",
        action="append",
        choices=FAMILIES,
        metavar="FAMILY",
        help="measure this alone; may be repeated",
    )
    made.add_argument(
        "--peer",
        action="append",
        choices=[*PEERS, "none"],
        metavar="NAME",
        help=f"compare with this library: {', '.join(PEERS)}, or none; may be repeated; "
        "default: all that are installed",
    )
    made.add_argument("--eager", action="store_true", help="use asyncio.eager_task_factory")
    made.add_argument("--uvloop", action="store_true", help="run on uvloop")
    made.add_argument("--wall", action="store_true", help="measure by the wall clock")
    made.add_argument(
        "--seed", type=int, default=service.SEED, help="draw another plan for the agent service"
    )
    made.add_argument("--save", type=Path, metavar="FILE", help="keep the results in a file")
    made.add_argument(
        "--guard",
        type=float,
        metavar="FACTOR",
        help="exit with 1 where the whole interval of a ratio exceeds its target by this factor, "
        "twice in a row",
    )
    made.add_argument(
        "--publish",
        action="store_true",
        help="keep the results of this Python in benchmarks/published; write pages and charts",
    )
    made.add_argument(
        "--render", action="store_true", help="measure nothing; write pages and charts"
    )
    made.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("OLD", "NEW"),
        help="measure nothing; compare two files that --save has written",
    )
    return made


def progress(words: str) -> None:
    """Show on a terminal what is being done."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{words:.78}", end="", file=sys.stderr, flush=True)


def runner(options: argparse.Namespace, *, deadlines: bool) -> asyncio.Runner:
    """Return a runner of the loop that is asked for."""
    if options.uvloop:
        import uvloop  # noqa: PLC0415 - optional

        made = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    elif deadlines and not options.wall:
        made = asyncio.Runner(loop_factory=measure.ProcessorTimeLoop)
    else:
        made = asyncio.Runner()
    if options.eager and sys.version_info >= (3, 12):
        made.get_loop().set_task_factory(asyncio.eager_task_factory)
    return made


def measured(options: argparse.Namespace) -> Results:
    """Measure what is asked for."""
    start = monotonic()
    results = Results(loop="uvloop" if options.uvloop else "asyncio")
    results.loop += " eager" if options.eager else ""
    peers = options.peer or ([] if options.quick else list(PEERS))
    operations, results.versions, results.left_out = operations_with(p for p in peers if p in PEERS)
    if options.uvloop:
        results.versions["uvloop"] = version("uvloop")
    effort = measure.QUICK if options.quick else measure.FULL
    if options.wall:
        effort = replace(effort, clock=perf_counter)
    results.clock = "wall clock" if effort.clock is perf_counter else "processor time"
    only = options.only or FAMILIES
    chosen = [c for c in cases.cases(operations, quick=options.quick) if c.family in only]
    for deadlines in (False, True):
        of = [case for case in chosen if (case.family == "deadline") == deadlines]
        with runner(options, deadlines=deadlines) as loop:
            timing = measure.measure(of, effort, progress, results.left_out)
            results.measured += loop.run(timing)
    with runner(options, deadlines=False) as loop:
        if "memory" in only:
            progress("memory")
            results.growths = loop.run(memory.growths(10_000 if options.quick else 1_000_000))
        if "service" in only:
            progress("the agent service")
            results.tallies = loop.run(service.services(options.seed))
    progress("")
    results.seconds = round(monotonic() - start)
    return results


def guard(options: argparse.Namespace, results: Results) -> list[str]:
    """Return what is beyond its target by the factor, also when measured again."""
    found = beyond(results, options.guard)
    if not found:
        return []
    families = sorted({family for family, _ in found})
    again = beyond(
        measured(argparse.Namespace(**{**vars(options), "only": families})), options.guard
    )
    return [complaint for key, complaint in again.items() if key in found]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    made = parser()
    options: Any = made.parse_args(arguments)
    if options.publish and (
        options.quick or options.only or options.peer or options.seed != service.SEED
    ):
        made.error("--publish takes a whole run")
    if options.publish and (options.eager or options.uvloop or options.wall):
        made.error("--publish takes a run on asyncio's loop, by processor time")
    if options.compare:
        print(comparison(*map(Results.load, options.compare)).plain(), end="")
        return 0
    if not options.render:
        try:
            results = measured(options)
        except KeyboardInterrupt:
            return 130
        print(report(results), end="")
        if options.save:
            results.save(options.save)
        if options.publish:
            (HERE / "published").mkdir(exist_ok=True)
            results.save(HERE / "published" / f"python-{results.minor}.json")
        if options.guard is not None and (found := guard(options, results)):
            print("", *found, sep="\n")
            return 1
    if options.render or options.publish:
        render(HERE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
