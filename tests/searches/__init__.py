"""Searches over the schedules of small worlds.

worlds         the worlds that are searched
counted        the searches of the tests; `schedules.toml` has their numbers of schedules
renewing       `python tests/searches --renew`, which updates the numbers

The long search, `python tests/searches long`, can be stopped at any time, and resumes there:

plan           what it does, in which order
asyncio_calls  asyncio's functions, called as the functions under test
work           pieces of a search: some runs, judged and counted
state          the results in a file
campaign       runs the plan, in several processes if there are several
report         the figures as Markdown
examples       small plans, some of which must find something
"""
