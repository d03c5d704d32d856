"""The loss of a model in training on rows that come in batches, whatever scale its logits are on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.core.collectives import Collectives, FirstError, records_of, sum_over_ranks
from distributed_il.core.record_file import RecordFile
from distributed_il.data.loading.batch import Batch
from distributed_il.evaluation.affine_calibration import Part, affine_loss, fit_affine
from distributed_il.models.learner import Learner

SCORED = np.dtype([("logit", np.float64), ("label", np.float64)])
WEIGHTED = np.dtype([("logit", np.float64), ("label", np.float64), ("weight", np.float64)])
PART_ROWS = 65_536
"""Rows of a rank that are in memory together."""


def calibrated_loss(
    learner: Learner, batches: Iterable[Batch], collectives: Collectives, *, weighted: bool = False
) -> float:
    """Returns the mean log loss of σ(a·x + b) over the rows of all ranks, a and b fitted on these very rows.

    All ranks call it together, with as many batches on each, some perhaps without rows. No row of the model is changed.
    With `weighted` rows have weights, and the mean and the fit are weighted.

    Returns:
        The same on every rank; NaN where a logit is not finite.

    Raises:
        UserError: This rank's disk is full.
        RuntimeError: Another rank's disk is full.
    """
    kept, problem = RecordFile(WEIGHTED if weighted else SCORED, "the scored training-test rows"), FirstError()
    for batch in batches:
        logits = learner.score(batch.user_ids, batch.item_ids, materialized=False)
        columns = {"logit": logits, "label": batch.labels}
        if batch.weights is not None:
            columns["weight"] = batch.weights
        records = records_of({name: values.to(torch.float64).cpu().numpy() for name, values in columns.items()})
        with problem.kept():
            kept.append(records)
    problem.raise_together("the training-test rows could not be kept", collectives, learner.device)

    def parts() -> Iterator[Part]:
        rows = kept.records()
        for start in range(0, rows.size, PART_ROWS):
            part = rows[start : start + PART_ROWS]
            yield (part["logit"], part["label"], part["weight"]) if weighted else (part["logit"], part["label"])

    def summed(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return sum_over_ranks(collectives, torch.from_numpy(sums).to(learner.device)).numpy()

    with np.errstate(invalid="ignore"):  # infinities: what comes of them is no number and says so
        return affine_loss(fit_affine(parts, summed), parts, summed)
