"""Other projects' tests, run with `gather_structured` in place of `asyncio.gather`."""
