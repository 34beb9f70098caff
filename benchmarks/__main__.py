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

from benchmarks import cases, measure, memory, publish, service
from benchmarks.contenders import PEERS, operations_with
from benchmarks.processor_loop import ProcessorTimeLoop
from benchmarks.progress import Progress
from benchmarks.report import comparison, report
from benchmarks.results import Results
from benchmarks.targets import beyond, complaint

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
RESULTS, README = HERE / "results", HERE / "README.md"
DESCRIPTION = """
Measure what structgather costs beside asyncio.gather, a bare TaskGroup, the usual code by hand and
other libraries, and count what an agent service leaves behind with and without it.
"""
FAMILIES = "what --only takes:\n" + "".join(
    f"  {name:<14}{title}\n" for name, title in cases.FAMILIES.items()
)


def parser() -> argparse.ArgumentParser:
    """Say what can be asked for."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=DESCRIPTION,
        epilog=FAMILIES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    effort = made.add_mutually_exclusive_group()
    effort.add_argument(
        "--quick", action="store_true", help="half a minute: fewer sizes, no peers unless named"
    )
    effort.add_argument(
        "--full",
        action="store_true",
        help="up to half an hour: up to 100,000 children, a million in memory",
    )
    made.add_argument(
        "--only",
        action="append",
        choices=cases.FAMILIES,
        metavar="NAME",
        help="leave out all that is not named; may be repeated, the names are below",
    )
    made.add_argument(
        "--peer",
        action="append",
        choices=[*PEERS, "none"],
        metavar="NAME",
        help=f"a library to compare with: {', '.join(PEERS)}, or none; may be repeated; "
        "by default, all that are installed",
    )
    made.add_argument(
        "--wall", action="store_true", help="measure by the clock on the wall, not the processor's"
    )
    made.add_argument("--uvloop", action="store_true", help="run on uvloop, which must be there")
    made.add_argument(
        "--seed",
        type=int,
        default=service.SEED,
        metavar="N",
        help=f"what the agent service's plan is drawn from; by default {service.SEED}",
    )
    made.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    made.add_argument("--json", type=Path, metavar="FILE", help="keep all figures in a file")
    made.add_argument(
        "--charts",
        type=Path,
        default=RESULTS,
        metavar="FOLDER",
        help="where the charts are written; by default benchmarks/results, which git ignores",
    )
    made.add_argument(
        "--publish",
        action="store_true",
        help="keep the figures for this Python in benchmarks/published, and renew the pages and "
        "the charts from all that are kept there",
    )
    made.add_argument(
        "--render",
        action="store_true",
        help="measure nothing; renew the pages and the charts from what --publish has kept",
    )
    made.add_argument(
        "--guard",
        type=float,
        metavar="FACTOR",
        help="exit with 1 where a ratio is surely beyond its target by this factor, also when "
        "measured again",
    )
    made.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("OLD", "NEW"),
        help="measure nothing; compare two files that --json wrote",
    )
    return made


def runner(*, uvloop: bool, own_time: bool = False) -> asyncio.Runner:
    """Return what runs the loop that is asked for."""
    if own_time:
        return asyncio.Runner(loop_factory=ProcessorTimeLoop)
    if uvloop:
        import uvloop as fast  # noqa: PLC0415 - not everybody has it

        return asyncio.Runner(loop_factory=fast.new_event_loop)
    return asyncio.Runner()


def measured(options: argparse.Namespace, progress: Progress) -> Results:
    """Do all that is asked for."""
    results = Results(loop="uvloop" if options.uvloop else "asyncio")
    if options.uvloop:
        results.versions["uvloop"] = version("uvloop")
    peers = options.peer or ([] if options.quick else list(PEERS))
    operations, versions, results.left_out = operations_with(p for p in peers if p != "none")
    results.versions.update(versions)
    sizes, effort, fed = cases.DEFAULT, measure.DEFAULT, 100_000
    if options.quick:
        sizes, effort, fed = cases.QUICK, measure.QUICK, 10_000
    elif options.full:
        sizes, effort, fed = cases.FULL, measure.FULL, 1_000_000
    if options.wall:
        effort = replace(effort, clock=perf_counter)
    results.clock = "wall clock" if effort.clock is perf_counter else "processor time"
    only = options.only or list(cases.FAMILIES)
    chosen = [case for case in cases.cases(operations, sizes) if case.family in only and case.ours]
    deadlines = [case for case in chosen if case.family == "deadline"]
    began = monotonic()

    async def time_them(of: Sequence[cases.Case], start: float, end: float) -> None:
        if of:
            part = progress.part(start, end)
            results.rows += await measure.measure(of, effort, part, results.left_out)

    async def run() -> None:
        await time_them([case for case in chosen if case not in deadlines], 0.1, 0.8)
        if "memory" in only:
            progress.say(0.8, "feeding children, to see how memory grows")
            results.growths = await memory.growths(fed)
        if "service" in only:
            results.tallies = await service.services(progress.part(0.95, 1.0), options.seed)

    by_the_processor = not options.uvloop and results.clock == "processor time"
    with runner(uvloop=options.uvloop, own_time=by_the_processor) as loop:
        loop.run(time_them(deadlines, 0.0, 0.1))
    with runner(uvloop=options.uvloop) as loop:
        loop.run(run())
    results.rows.sort(key=lambda row: list(cases.FAMILIES).index(row.family))
    return replace(results, seconds=monotonic() - began)


def guard(options: argparse.Namespace, results: Results, progress: Progress) -> list[str]:
    """Name what is beyond its target by the factor, twice in a row."""
    found = beyond(results.rows, options.guard)
    if found:
        families = {"only": sorted({row.family for row in found})}
        again = measured(argparse.Namespace(**{**vars(options), **families}), progress)
        before = {(row.family, row.what, row.contender) for row in found}
        found = [
            row
            for row in beyond(again.rows, options.guard)
            if (row.family, row.what, row.contender) in before
        ]
    return [complaint(row, options.guard) for row in found]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    options: Any = parser().parse_args(arguments)
    if options.compare:
        table = comparison(*map(Results.load, options.compare))
        print(table.markdown() if options.markdown else table.plain())
        return 0
    if options.render:
        publish.render(HERE)
        return 0
    progress = Progress()
    try:
        results = measured(options, progress)
        print(report(results, markdown=options.markdown))
        if options.json:
            results.save(options.json)
        if options.publish:
            publish.keep(results, HERE)
            publish.render(HERE)
        else:
            for path in publish.draw(results, options.charts):
                shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
                print(f"chart: {shown}", file=sys.stderr)
        if options.guard is not None and (found := guard(options, results, progress)):
            print("", *found, sep="\n")
            return 1
    except KeyboardInterrupt:
        return 130
    finally:
        progress.clear()
    return 0


if __name__ == "__main__":
    sys.exit(main())
