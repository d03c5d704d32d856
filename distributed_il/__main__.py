"""`python -m distributed_il` is the command `distributed-il`."""

import sys

from distributed_il.cli import main

if __name__ == "__main__":
    sys.exit(main())
