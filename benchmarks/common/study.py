"""What studies of many training runs have in common: their options, their directory, and the command to ask again."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.common.command import command_line, start_as_worker
from distributed_il.core.errors import UserError

SOURCE = "DISTRIBUTED_IL_ML1M"
"""Environment variable that names the directory of MovieLens-1M."""


class Amount(NamedTuple):
    """A number that decides how much is measured."""

    about: str
    """For `--help`."""
    usual: int | None
    """Where none is given; None leaves it to the study."""
    quick: int | None
    """The same with `--quick`."""


def study_line(description: str | None, rows: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with the options of a study; it adds its own.

    Args:
        description: The study's module docstring.
        rows: That it can measure.
    """
    parser = command_line(description)
    parser.add_argument(
        "--source", default=os.environ.get(SOURCE), help=f"directory of MovieLens-1M (default: that of ${SOURCE})"
    )
    parser.add_argument("--rows", nargs="+", choices=rows, help="which (default: all)")
    parser.add_argument("--work", type=Path, help="directory of datasets and finished runs (default: a temporary one)")
    return parser


def parse_study(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, amounts: Mapping[str, Amount]
) -> argparse.Namespace:
    """Reads the command line.

    Args:
        parser: From `study_line`.
        arguments: Of the command line; None: its own.
        amounts: By name of option; `--jobs` is among them without being named.
    """
    amounts = {**amounts, "jobs": Amount("processes, one core each", 2, 2)}
    for name, (about, usual, _) in amounts.items():
        told = "" if usual is None else f" (default: {usual})"
        parser.add_argument(f"--{name}", type=int, help=about + told)
    options = parser.parse_args(arguments)
    for name, (_, usual, quick) in amounts.items():
        given = getattr(options, name)
        if given is not None and given < 1:
            parser.error(f"--{name} must be at least 1")
        setattr(options, name, given or (quick if options.quick else usual))
    return options


def need_source(parser: argparse.ArgumentParser, options: argparse.Namespace, otherwise: str = "") -> None:
    """Ends with a message where the directory of MovieLens-1M is not named.

    Args:
        parser: From `study_line`.
        options: From `parse_study`.
        otherwise: What one may do instead.
    """
    if not options.source:
        parser.error(f"give --source, or set {SOURCE}, the directory of MovieLens-1M{otherwise}")


def run_study(
    module: str,
    options: argparse.Namespace,
    arguments: Sequence[str] | None,
    carry_out: Callable[[Path, str], None],
) -> int:
    """Carries a study out, each process of it on one thread.

    Args:
        module: Its name, for the command to ask again.
        options: From `parse_study`.
        arguments: Of the command line; None: its own.
        carry_out: Measures and publishes, given the directory of datasets and runs, and the command.

    Returns:
        0, or 2 where the user has to cure something.
    """
    if arguments is None:
        start_as_worker()
        arguments = sys.argv[1:]
    command = " ".join([f"python -m benchmarks.{module}", *arguments]).replace(options.source or "\0", "DIR")
    try:
        with tempfile.TemporaryDirectory() as temporary:
            carry_out(options.work or Path(temporary), command)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
