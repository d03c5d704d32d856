"""`distributed-il prepare`: raw feedback becomes a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distributed_il.cli.options import read_options
from distributed_il.cli.stage_line import StageLine

if TYPE_CHECKING:
    from distributed_il.prepare import PrepareConfig

ABOUT = "Turns raw feedback (triples, MovieLens, CSV, Parquet) into a dataset."


def read(argv: Sequence[str]) -> PrepareConfig:
    """The dataset to be prepared, as the arguments describe it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: A setting is unknown, missing or wrong.
    """
    from distributed_il.prepare import PrepareConfig

    return PrepareConfig(**read_options("prepare", ABOUT, argv, lambda _: {"": PrepareConfig}))


def run(argv: Sequence[str]) -> None:
    """Prepares a dataset and says what is in it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: See `distributed_il.prepare.prepare`.
    """
    from distributed_il.prepare import prepare, summary

    config = read(argv)
    with StageLine() as line:
        manifest = prepare(config, line.update)
    print(summary(manifest))
    print(f"Pictures: {config.output.rstrip('/')}/summary.html")
    print(f"\nNext: distributed-il train --data.path={config.output} --run.dir=DIR")
