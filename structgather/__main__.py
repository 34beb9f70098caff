"""`python -m structgather`: see `python -m structgather migrate --help`."""

import sys

from structgather._migrate.cli import main

if __name__ == "__main__":
    sys.exit(main())
