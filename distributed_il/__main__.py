"""`python -m distributed_il` is the command `distributed-il`."""

import os
import sys


def _leave_current_folder_out() -> None:
    """Python looks into the current folder first, where an innocent `torch.py` would be taken for torch."""
    here, home = os.getcwd(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    if home == here:  # this package itself was found there
        sys.path.append(here)


if __name__ == "__main__":
    _leave_current_folder_out()
    from distributed_il.cli import main

    sys.exit(main())
