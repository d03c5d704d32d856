"""`distributed-il prepare`: raw feedback becomes a dataset."""

from __future__ import annotations

from collections.abc import Sequence

from distributed_il.cli.options import read_options
from distributed_il.cli.stage_line import StageLine

ABOUT = "Turns raw feedback (triples, MovieLens, CSV, Parquet) into a dataset."


def run(argv: Sequence[str]) -> None:
    """Prepares a dataset and says what is in it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: See `distributed_il.prepare.prepare`.
    """
    from distributed_il.prepare import PrepareConfig, prepare, summary

    config = PrepareConfig(**read_options("prepare", ABOUT, argv, lambda _: {"": PrepareConfig}))
    with StageLine() as line:
        manifest = prepare(config, line.update)
    print(summary(manifest))
    print(f"\nNext: distributed-il train --data.path={config.output} --run.dir=DIR")
