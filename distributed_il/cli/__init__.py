"""The command line: each command parses, prints, and calls one function."""

from distributed_il.cli.main import main

__all__ = ["main"]
