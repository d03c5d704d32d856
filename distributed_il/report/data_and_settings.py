"""The parts of the page that say what was measured: data and settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distributed_il.data.dataset import UNCLEAR, Dataset
from distributed_il.evaluation.metric_columns import metric_text
from distributed_il.report.html.html import Markup, details, heading, joined, paragraph, table, words
from distributed_il.report.records import RunRecord


def data(datasets: Sequence[Dataset]) -> Markup:
    """What the datasets say of themselves.

    Args:
        datasets: Each once.
    """
    parts: list[Markup] = []
    for dataset in datasets:
        manifest = dataset.manifest
        pairs = manifest.num_users * manifest.num_items
        rows = [
            [name, f"{split.rows:,}", "–" if name == UNCLEAR else f"{split.positives / split.rows:.1%}"]
            for name, split in manifest.splits.items()
        ]
        facts = {
            "users × items": f"{manifest.num_users:,} × {manifest.num_items:,}",
            "density": f"{sum(split.rows for split in manifest.splits.values()) / pairs:.4%} of all pairs",
            "feedback rule": words(manifest.rule),
            **({"policies": words(manifest.policies)} if manifest.policies else {}),
            **({"set aside": words(manifest.counts)} if manifest.counts else {}),
            "prepared": manifest.created,
            "path": dataset.path,
            "fingerprint": manifest.fingerprint,
        }
        parts.append(heading(manifest.name))
        parts.append(table(["split", "rows", "positive"], rows))
        parts.append(details("Facts", table(["", ""], [[name, value] for name, value in facts.items()], texts=2)))
    return joined(*parts)


def runs(records: Sequence[RunRecord]) -> Markup:
    """What each run was, in a few numbers.

    Args:
        records: The runs.
    """
    columns = [
        "run",
        "backbone",
        "method",
        "rounds",
        "best round",
        "steps",
        "seed",
        "workers",
        "rows/s",
        "valid log loss",
    ]
    rows = [
        [
            one.name,
            str(one.settings["model.backbone"]),
            str(one.settings["method.name"]),
            f"{len(one.history)}",
            f"{one.best_round}",
            f"{one.history[-1]['step']:,}",
            f"{one.settings['run.seed']}",
            f"{one.settings['run.workers']}",
            _speed(one),
            metric_text(one.history[one.best_round - 1]["logloss"]),
        ]
        for one in records
    ]
    started = [
        paragraph(f"{one.name} started from {one.settings['run.start_from']}.", "note")
        for one in records
        if one.settings.get("run.start_from")
    ]
    return joined(table(columns, rows, texts=3), *started)


def settings(records: Sequence[RunRecord]) -> Markup:
    """Settings of the runs; of several runs, those that differ come first.

    Args:
        records: The runs.
    """
    keys = list(dict.fromkeys(key for one in records for key in one.settings))
    different = [key for key in keys if len({repr(one.settings.get(key, "–")) for one in records}) > 1]
    columns = ["setting", *(one.name for one in records)]

    def rows(shown: Sequence[str]) -> list[list[str]]:
        return [[key, *(_value(one.settings.get(key, "–")) for one in records)] for key in shown]

    texts = len(columns)
    parts = [details("All settings", table(columns, rows(keys), texts=texts))]
    if different:
        parts.insert(0, table(columns, rows(different), caption="Settings that differ", texts=texts))
    return joined(*parts)


def _speed(one: RunRecord) -> str:
    return "–" if one.results is None else f"{one.results['run']['throughput']['rows_per_s']:,.0f}"


def _value(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
