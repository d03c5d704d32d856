"""`distributed-il prepare`: raw feedback becomes a dataset."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from distributed_il.cli.command import ConfigCommand
from distributed_il.core.progress import ProgressLine

if TYPE_CHECKING:
    import pyarrow as pa

    from distributed_il.data.prepare import PrepareConfig
    from distributed_il.data.prepare.sources.reader import RawReader


def _prepare(config: PrepareConfig) -> None:
    from distributed_il.data.prepare import factors_text, prepare, read_summary, summary_text
    from distributed_il.report.dataset_page import summary_page

    with ProgressLine() as line:
        manifest = prepare(
            config,
            line.update_stage,
            summary_page=summary_page,
            read_in_parallel=_read_in_parallel,
            say=line.note,
        )
    if not config.factors_only:
        print(summary_text(manifest))
    summary = read_summary(config.output)
    if summary is not None:
        print(factors_text(summary["factors"]))
    print(f"Pictures: {config.output.rstrip('/')}/summary.html")
    print(f"\nNext: distributed-il train --data.path={config.output} --run.dir=DIR")


def _read_in_parallel(reader: RawReader, workers: int) -> Generator[tuple[str, pa.Table]]:
    # Who reads in this process alone does not wait for Ray to be imported.
    from distributed_il.runtime.parallel_reading import read_in_parallel

    return read_in_parallel(reader, workers)


PREPARE = ConfigCommand(
    "prepare",
    "Turns raw feedback (triples, MovieLens, CSV, Parquet) into a dataset.",
    "distributed_il.data.prepare:PrepareConfig",
    _prepare,
)
