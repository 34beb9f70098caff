"""What structured concurrency costs, and what it saves: `python -m benchmarks`.

__main__.py     the command line
by_hand.py      the usual code by hand
contenders.py   how each library and this package do the same thing
cases.py        what is timed, with how many children, and what is to be reached
drivers.py      the children, and what exactly is timed
measure.py      how it is timed: rounds, blocks, ratios and their spread
memory.py       how memory grows with the number of children
echo.py         a server for children that make a round trip over a socket
processor_loop.py  an event loop in which no other program makes anybody late
instructions.py how many instructions a call takes: `python -m benchmarks.instructions`
counted.py      the process in which they are counted
server.py       the services that the agents call: what is asked of them, and a server for it
service.py      the agents: one program, run with asyncio.gather and with gather_structured
results.py      what a run has found, as it is kept in a file
targets.py      what is to be reached, and whether it was
report.py       the same as tables
chart.py        the same as drawings, one for each question
lines.py        charts of lines over the number of children
drawing.py      SVG by hand
publish.py      what is kept with the code, for each Python
progress.py     how far a run has come

README.md says what the figures mean, and what they do not.
"""
