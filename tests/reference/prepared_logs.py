"""Prepares a log and tells the label of each of its pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataset_rows import pairs_in_order, triples_in_order

from distributed_il.data.dataset import SPLITS, Dataset
from distributed_il.data.prepare import PrepareConfig, prepare

Label = int | None
Expected = dict[tuple[Any, Any], Label]
"""Label of each pair, None where unclear."""


def run(source: str | Path, **options: Any) -> Dataset:
    output = Path(str(source).partition("*")[0]).parent / "prepared"
    prepare(PrepareConfig(source=str(source), output=str(output), **{"lanes": 2, **options}))
    return Dataset.open(str(output))


def labels(dataset: Dataset) -> Expected:
    found: Expected = {}
    for split in SPLITS:
        found |= {(user, item): label for user, item, label in triples_in_order(dataset, split)}
    return found | (dict.fromkeys(pairs_in_order(dataset, "unclear")) if dataset.rows("unclear") else {})


def sizes(dataset: Dataset) -> dict[str, int]:
    return {split: dataset.rows(split) for split in (*SPLITS, "unclear")}
