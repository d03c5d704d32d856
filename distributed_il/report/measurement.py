"""Models and baselines measured on the same rows: metrics, their intervals, and metrics of slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.evaluation.distributed_metrics import ScoredRows
from distributed_il.evaluation.metric_columns import predictor_name
from distributed_il.evaluation.metrics import log_losses_of_logits, log_losses_of_probabilities
from distributed_il.evaluation.metrics.bootstrap import Estimate, bootstrap
from distributed_il.evaluation.split_scores import SplitReader, baseline_predictors, model_scores, score_split
from distributed_il.inference.evaluate import load_model
from distributed_il.report.records import RunRecord
from distributed_il.report.slices import Slices, activity_slices

SEED = 0
"""Of the resampling: the same users are drawn for all predictors."""


@dataclass(frozen=True, eq=False, slots=True)
class Predictor:
    """A predictor on some rows.

    Attributes:
        name: Of the run, or of the baseline.
        metrics: As `compute_metrics` gives them.
        estimates: Metrics that have an interval.
        slices: For each kind of slices the metrics of each group.
    """

    name: str
    metrics: Mapping[str, Any]
    estimates: Mapping[str, Estimate]
    slices: Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """Predictors measured on the same rows.

    Attributes:
        dataset: Where the rows are from.
        split: `test` or `valid`.
        models: The runs' best models.
        baselines: What needs no model, the better one last.
        slices: Groups of the rows by kind: `user`, `item`.
    """

    dataset: Dataset
    split: str
    models: Sequence[Predictor]
    baselines: Sequence[Predictor]
    slices: Mapping[str, Slices]

    @property
    def place(self) -> str:
        """The dataset and the split, in words."""
        return f"{self.dataset.manifest.name}, {'test' if self.split == 'test' else 'validation'}"

    @property
    def predictors(self) -> list[Predictor]:
        """All that was measured, models above baselines."""
        return [*self.models, *self.baselines]


def compare(records: Sequence[RunRecord], data: str | None, *, allow_code: bool = False) -> list[Comparison]:
    """Measures runs, those on the same rows together.

    Args:
        records: The runs.
        data: Dataset of all of them; None for the one that each names.
        allow_code: Whether backbones may be imported that are none of this package's.

    Raises:
        UserError: A run has no best checkpoint, its dataset is not there, or it names code and may not.
    """
    found: dict[tuple[str, str], Comparison] = {}
    for record in records:
        learner, run = load_model(record.run_dir, "best", data, allow_code=allow_code)
        dataset = run.dataset
        reader = SplitReader(dataset, LocalBlockReader(dataset), record.split, rank=0, world_size=1)
        # A page is made in one process, which holds the rows of a split at once: resampling visits them all.
        rows = np.concatenate([*score_split(learner, reader, learner.collectives).parts])
        key = (dataset.fingerprint, record.split)
        if key not in found:
            found[key] = _without_models(dataset, record.split, rows)
        before = found[key]
        model = _measure(record.name, model_scores(rows, run.output), before.slices)
        found[key] = Comparison(dataset, record.split, [*before.models, model], before.baselines, before.slices)
    return list(found.values())


def _without_models(dataset: Dataset, split: str, rows: NDArray[Any]) -> Comparison:
    seen = dataset.activity()
    slices = {
        "user": activity_slices(seen.user_rows[rows["user_id"]]),
        "item": activity_slices(seen.item_rows[rows["item_id"]]),
    }
    baselines = [
        _measure(predictor_name(name), predict(rows), slices) for name, predict in baseline_predictors(dataset).items()
    ]
    return Comparison(dataset, split, [], baselines, slices)


def _measure(name: str, scored: ScoredRows, slices: Mapping[str, Slices]) -> Predictor:
    if scored.probabilities is None:
        logits = scored.scores.astype(np.float64) if scored.served is None else scored.served
        losses = log_losses_of_logits(logits, scored.labels)
    else:
        losses = log_losses_of_probabilities(scored.probabilities, scored.labels)
    return Predictor(
        name=name,
        metrics=scored.metrics(),
        estimates=bootstrap(scored.user_ids, scored.scores, scored.labels, losses, seed=SEED),
        slices={
            kind: [scored.chosen(groups.numbers == number).metrics() for number in range(len(groups.names))]
            for kind, groups in slices.items()
        },
    )
