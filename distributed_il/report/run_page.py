"""The page of runs: measures them, and writes what they were told, how they went and how good they are."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from distributed_il.core.errors import UserError
from distributed_il.core.files import write_atomically
from distributed_il.core.machine import machine_text, versions_text
from distributed_il.data.dataset import Dataset, filesystem
from distributed_il.evaluation.metric_columns import METRICS, metric_text
from distributed_il.evaluation.metrics.bootstrap import RESAMPLES
from distributed_il.report import curves, findings, results, seed_groups
from distributed_il.report.measurement import Comparison, compare
from distributed_il.report.records import RunRecord, read_records
from distributed_il.report.render import plain, render, setting_text


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """What the report is made of beside the runs."""

    output: str | None = None
    """File (or pyarrow URI) of the page, such as page.html."""
    figures: str | None = None
    """Directory (or pyarrow URI) for the paper's Figures 3 to 5 as PDF and SVG, a panel for each run: w1 of unlabelled
    pairs in the first and in the last round, and the loss of each step's winner marked by what was decided."""
    alpha_study: str | None = None
    """JSON file of `python -m benchmarks.alpha_study`, which becomes Figure 6 beside them."""
    data: str | None = None
    """Prepared dataset; by default the one that each run names. It must be the one that the runs were trained on."""
    allow_code: bool = False
    """Import backbones that the runs name as `module:Class`. They may do anything: for runs that you trust."""


def write_report(config: ReportConfig, run_dirs: Sequence[str]) -> None:
    """Writes one page for runs: settings, data, curves, and their metrics beside those of the baselines.

    Raises:
        UserError: There is no such run, its dataset is missing or another one, or the page can't be written.
    """
    assert config.output is not None
    fs, path = filesystem(config.output)
    with _told_unwritable(config.output):  # now, since measuring takes its time
        write_atomically(fs, f"{path}.probe", b"")
        fs.delete_file(f"{path}.probe")
    records = read_records(run_dirs)
    comparisons = compare(records, config.data, allow_code=config.allow_code)
    keys = list(dict.fromkeys(key for one in records for key in one.settings))
    settings = [[key, *(setting_text(one.settings.get(key, "–")) for one in records)] for key in keys]
    page = render(
        "run.html",
        runs=records,
        run_names=[one.name for one in records],
        run_rows=[_run_row(one) for one in records],
        environment_rows=[_environment_row(one) for one in records],
        comparisons=comparisons,
        runs_by_dataset=_by_dataset(records, comparisons),
        datasets=list({one.dataset.fingerprint: one.dataset for one in comparisons}.values()),
        styles={record.name: number for number, record in enumerate(records)},
        all_settings=settings,
        different_settings=[
            row for row in settings if len({repr(one.settings.get(row[0], "–")) for one in records}) > 1
        ],
        curves=curves,
        findings=findings,
        results=results,
        seeds=seed_groups,
        dataset_facts=_dataset_facts,
        resamples=RESAMPLES,
        headings=list(METRICS.values()),
        valid_headings=[f"valid {heading}" for heading in METRICS.values()],
        slice_headings=[METRICS[name] for name in results.SHOWN],
    )
    with _told_unwritable(config.output):
        write_atomically(fs, path, page.encode())


@contextmanager
def _told_unwritable(output: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--output {output} can't be written ({error}); choose a place you may write to") from error


def _run_row(one: RunRecord) -> list[str]:
    return [
        one.name,
        str(one.settings["model.backbone"]),
        str(one.settings["method.name"]),
        f"{len(one.history)}",
        f"{one.best_round}",
        f"{one.settings['run.seed']}",
        "–" if one.results is None else f"{one.results['run']['throughput']['rows_per_s']:,.0f}",
        "–" if one.duration is None else str(one.duration),
        one.environment.get("finished", "–")[:10],
        metric_text(one.history[one.best_round - 1]["logloss"]),
        one.selection.name,
    ]


def _environment_row(one: RunRecord) -> list[str]:
    told = one.environment
    known = [told["finished"], machine_text(told), versions_text(told)] if told else ["–"] * 3
    return [one.name, f"{one.history[-1]['step']:,}", f"{one.settings['run.workers']}", *known]


def _by_dataset(
    records: Sequence[RunRecord], comparisons: Sequence[Comparison]
) -> list[tuple[Dataset, list[RunRecord]]]:
    """Returns the runs of each dataset, whose curves can be held against each other."""
    found: dict[str, tuple[Dataset, list[RunRecord]]] = {}
    for one in comparisons:
        names = [model.name for model in one.models]
        runs = found.setdefault(one.dataset.fingerprint, (one.dataset, []))[1]
        runs += [record for record in records if record.name in names]
    return list(found.values())


def _dataset_facts(dataset: Dataset) -> list[tuple[str, str]]:
    manifest = dataset.manifest
    rows = sum(split.rows for split in manifest.splits.values())
    facts = {
        "users × items": f"{manifest.num_users:,} × {manifest.num_items:,}",
        "density": f"{rows / (manifest.num_users * manifest.num_items):.4%} of all pairs",
        "feedback rule": plain(manifest.rule),
        "policies": plain(manifest.policies),
        "set aside": plain(manifest.counts),
        "prepared": manifest.created,
        "path": dataset.path,
        "fingerprint": manifest.fingerprint,
    }
    return [(name, text) for name, text in facts.items() if text]
