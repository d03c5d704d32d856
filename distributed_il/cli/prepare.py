"""`distributed-il prepare`: raw feedback becomes a dataset."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from distributed_il.cli.options import read_options
from distributed_il.core.progress import ProgressLine

if TYPE_CHECKING:
    import pyarrow as pa

    from distributed_il.data.prepare import PrepareConfig
    from distributed_il.data.prepare.sources.reader import RawReader

ABOUT = "Turns raw feedback (triples, MovieLens, CSV, Parquet) into a dataset."


def read(argv: Sequence[str]) -> PrepareConfig:
    """The dataset to be prepared, as the arguments describe it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: A setting is unknown, missing or wrong.
    """
    from distributed_il.data.prepare import PrepareConfig

    return PrepareConfig(**read_options("prepare", ABOUT, argv, lambda _: {"": PrepareConfig}))


def run(argv: Sequence[str]) -> None:
    """Prepares a dataset and says what is in it.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: See `distributed_il.data.prepare.prepare`.
    """
    config = read(argv)
    from distributed_il.data.prepare import prepare, summary_text
    from distributed_il.report.dataset_page import summary_page

    with ProgressLine() as line:
        manifest = prepare(config, line.update_stage, summary_page=summary_page, read_in_parallel=_read_in_parallel)
    print(summary_text(manifest))
    print(f"Pictures: {config.output.rstrip('/')}/summary.html")
    print(f"\nNext: distributed-il train --data.path={config.output} --run.dir=DIR")


def _read_in_parallel(reader: RawReader, workers: int) -> Generator[tuple[str, pa.Table]]:
    # Who reads in this process alone does not wait for Ray to be imported.
    from distributed_il.runtime.parallel_reading import read_in_parallel

    return read_in_parallel(reader, workers)
