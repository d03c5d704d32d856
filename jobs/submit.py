"""`python -m jobs.submit …` is the command `distributed-il submit …`."""

import sys

from distributed_il.cli import main

if __name__ == "__main__":
    sys.exit(main(["submit", *sys.argv[1:]]))
