"""`python -m relit` is the command `relit`."""

import sys

from relit.cli import main

if __name__ == "__main__":
    sys.exit(main())
