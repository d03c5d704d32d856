"""Measures runs and writes the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from distributed_il import __version__
from distributed_il.core.errors import UserError
from distributed_il.core.files import write_atomically
from distributed_il.data.dataset import filesystem
from distributed_il.report import curves, data_and_settings, results
from distributed_il.report.html.html import joined, page
from distributed_il.report.measurement import compare
from distributed_il.report.records import read_record, short_names


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """What the report is made of beside the runs."""

    output: str
    """File (or pyarrow URI) of the page, such as page.html."""
    data: str | None = None
    """Prepared dataset; by default the one that each run names. It must be the one that the runs were trained on."""


def report(config: ReportConfig, run_dirs: Sequence[str]) -> None:
    """Writes one page for runs: settings, data, course, and their metrics beside the trivial predictors.

    Args:
        config: Where to.
        run_dirs: Directories or pyarrow URIs of the runs.

    Raises:
        UserError: There is no such run, its dataset is missing or another one, or the page can't be written.
    """
    fs, path = filesystem(config.output)
    records = [read_record(run_dir, name) for run_dir, name in zip(run_dirs, short_names(run_dirs), strict=True)]
    comparisons = compare(records, config.data)
    styles = {record.name: number for number, record in enumerate(records)}
    datasets = {one.dataset.fingerprint: one.dataset for one in comparisons}
    sections = {
        "Runs": data_and_settings.runs(records),
        "Results": joined(*(results.results(one, styles) for one in comparisons)),
        "Curves": curves.curves(records, styles),
        "Decisions": curves.decisions(records),
        "Weights of unlabelled pairs": curves.weights(records),
        "By activity": joined(*(results.slices(one, styles) for one in comparisons)),
        "Data": data_and_settings.data(list(datasets.values())),
        "Settings": data_and_settings.settings(records),
    }
    one_run = len(records) == 1
    title = f"Run {records[0].name}" if one_run else f"{len(records)} runs"
    lead = ", ".join(dict.fromkeys(dataset.manifest.name for dataset in datasets.values()))
    footer = f"distributed_il {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    try:
        write_atomically(fs, path, page(title, lead, sections, footer).encode())
    except OSError as error:
        raise UserError(
            f"--output {config.output} can't be written ({error}); choose a place you may write to"
        ) from error
