"""`python -m structgather`: see `python -m structgather migrate --help`."""

import sys

from structgather._migrate.cli import main

# What Python itself compiles may be a chain of some thousand calls, additions or branches.
RECURSION = 20_000

if __name__ == "__main__":
    sys.setrecursionlimit(max(RECURSION, sys.getrecursionlimit()))
    sys.exit(main())
