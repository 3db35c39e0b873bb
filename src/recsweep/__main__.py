"""`python -m recsweep` is `recsweep`."""

import sys

from recsweep.cli import main

sys.exit(main())
