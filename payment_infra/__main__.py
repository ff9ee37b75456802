"""`python -m payment_infra`, for where the console script is not on the path."""

import sys
from pathlib import Path

# `-m` looks into the working directory first. Unless this package is there, what has the name of
# a library there is not that.
if not sys.flags.safe_path and sys.path[0] != str(Path(__file__).parents[1]):
    del sys.path[0]

from payment_infra.cli import main

main()
