"""The pages and the charts that are kept with the code, from the figures of each Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import chart
from benchmarks.report import heading, report, versions
from benchmarks.results import Results

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, END = "<!-- figures: --publish renews them -->\n", "<!-- end of figures -->\n"


def version(results: Results) -> tuple[int, ...]:
    """Return the version that a user chooses, without the patch release."""
    return tuple(map(int, results.python.split(".")[:2]))


def name(results: Results) -> str:
    """Say under which name results are kept: a newer patch release replaces an older one."""
    loop = "" if results.loop == "asyncio" else f"-{results.loop}"
    return f"python-{'.'.join(map(str, version(results)))}{loop}"


def keep(results: Results, folder: Path) -> None:
    """Put results beside those of other Pythons."""
    published = folder / "published"
    published.mkdir(exist_ok=True)
    results.save(published / f"{name(results)}.json")


def kept(folder: Path) -> list[Results]:
    """Return all results that are kept, by version."""
    found = [Results.load(path) for path in (folder / "published").glob("*.json")]
    return sorted(found, key=lambda results: (results.loop, version(results)))


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the charts of what there is."""
    drawings = chart.charts(results)
    if drawings:
        folder.mkdir(parents=True, exist_ok=True)
    for file, text in drawings.items():
        (folder / file).write_text(text, "utf-8")
    return [folder / file for file in drawings]


def render(folder: Path) -> None:
    """Write the figures into README.md, a page for each Python, and the charts of the first one."""
    everything = kept(folder)
    if not everything:
        return
    first = everything[0]
    for results in everything:
        page = f"# {results.implementation} {results.python}\n\n{report(results, markdown=True)}\n"
        (folder / "published" / f"{name(results)}.md").write_text(page, "utf-8")
    pages = "\n".join(
        f"- [{results.implementation} {results.python}](published/{name(results)}.md): "
        f"{heading(results).partition('; ')[2]}"
        for results in everything
    )
    tables = "\n\n".join(table.markdown() for table in versions(everything))
    details = f"### {first.implementation} {first.python}\n\n{report(first, markdown=True)}"
    readme = folder / "README.md"
    before, rest = readme.read_text("utf-8").split(BEGIN)
    _, after = rest.split(END)
    figures = f"{pages}\n\n{tables}\n\n{details}"
    readme.write_text(f"{before}{BEGIN}\n{figures}\n\n{END}{after}", "utf-8")
    draw(first, folder / "charts")
