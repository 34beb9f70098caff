"""`python -m structgather`: see `structgather migrate --help`."""

import sys

from structgather._migrate.cli import main, run

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(run())
