"""The long search: `python tests/searches`. It can be stopped at any time, and goes on from there.

plan      what is searched, and in which order
calls     asyncio's functions in the shape of the calls under test
work      a piece of a search: so many runs, judged and counted
state     what has been found, in a file
campaign  goes through the plan, in several processes if there are several
report    the figures, as Markdown
examples  small plans, some of which must find something
"""
