"""`python -m relit` is the command `relit`."""

import sys

from relit.cli import main

sys.exit(main())
