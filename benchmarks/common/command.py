"""What the command lines of the benchmarks have in common: two options, and a process set up like a worker's."""

from __future__ import annotations

import argparse
import os
import sys

from distributed_il.core.process import process_environment


def command_line(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--out` and `--quick`; a benchmark adds its own options.

    Args:
        description: The benchmark's module docstring.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="benchmarks/results", help="directory for the report")
    parser.add_argument("--quick", action="store_true", help="a coarse answer within a minute")
    return parser


def start_as_worker(threads: int = 1) -> None:
    """Starts this process again, in its own place, if it lacks the environment that a run's workers have.

    What the caller has set stays as it is; a report shows it. Call this first in `main`: nothing done before is kept.

    Args:
        threads: Threads that the process may use for one operation.
    """
    wanted = process_environment(threads)
    if all(name in os.environ for name in wanted):
        return
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted | dict(os.environ))
