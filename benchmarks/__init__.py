"""What structured concurrency costs, and what it saves: `python -m benchmarks`.

contenders.py  how asyncio, code by hand, this package and other libraries do the same job
drivers.py     the children, and what exactly is timed
cases.py       which operation, with which children, and how many
measure.py     rounds, blocks and clocks
memory.py      how memory grows with the number of children
service.py     an agent service, run with asyncio.gather and with gather_structured
server.py      the tools that its agents call, and their plan
results.py     what a run has measured, and the file that keeps it
targets.py     the targets, and the guard
report.py      tables, and the generated regions of the pages
charts.py      charts as SVG

README.md has the figures; TARGETS.md, for developers, the targets and the method.
"""
