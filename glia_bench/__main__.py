"""`python -m glia_bench` is `glia-bench`."""

import sys

from glia_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
