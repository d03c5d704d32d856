"""The validation metric by which a run chooses its best round, stops, and a sweep chooses among runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distributed_il.core.config import SelectBy, ranking_cutoff
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.evaluation.metric_columns import LOWER_IS_BETTER, ranking_heading

_NAMES = {"calibrated_logloss": "calibrated log loss", "logloss": "log loss", "auc": "AUC", "gauc": "GAUC"}
RANKING = "ranking"
"""Where a round's metrics hold those of the ranking over all unseen items."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice by one metric.

    Attributes:
        key: Of the metric, `run.select_by`.
    """

    key: SelectBy

    @property
    def name(self) -> str:
        """What people call the metric."""
        return _NAMES.get(self.key) or f"{ranking_heading(self.key)} of unseen items"

    @property
    def cutoff(self) -> int | None:
        """The k of a metric of the ranking over all unseen items; None for one of labelled rows."""
        return ranking_cutoff(self.key)

    @property
    def lowest(self) -> bool:
        """Whether the lowest value is the best."""
        return self.key in LOWER_IS_BETTER

    @property
    def superlative(self) -> str:
        """`lowest` or `highest`: what the best value is."""
        return "lowest" if self.lowest else "highest"

    def value(self, metrics: Mapping[str, Any]) -> float:
        """Returns the metric of a round; NaN where it is not defined, or was not measured."""
        found = (metrics if self.cutoff is None else metrics.get(RANKING, {})).get(self.key)
        return math.nan if found is None else float(found)

    def cost(self, value: float) -> float:
        """Returns what is lower for the better value, and infinite for one that is not finite."""
        if not math.isfinite(value):
            return math.inf
        return value if self.lowest else -value

    def best(self, values: Sequence[float]) -> int | None:
        """Returns the place of the best value, the first among equals; None where none is finite."""
        costs = [self.cost(value) for value in values]
        lowest = min(costs, default=math.inf)
        return None if math.isinf(lowest) else costs.index(lowest)


def check_selection(selection: Selection, dataset: Dataset) -> None:
    """Refuses to choose by a metric that the validation split does not define.

    A log loss always is, calibrated or not: where all labels are the same, calibration leaves the logits alone.

    Raises:
        UserError: By AUC, and all rows have the same label; by GAUC, and each user's rows have; by a metric of the
            ranking, and there are no positives.
    """
    rows = dataset.manifest.splits["valid"]
    fitting = "ndcg@20" if dataset.manifest.positives_only else "calibrated_logloss"
    cure = f"set run.select_by to {fitting}, or prepare a dataset with more validation rows"
    if selection.key in ("auc", "gauc") and rows.positives in (0, rows.rows):
        raise UserError(f"run.select_by is {selection.key}, but all rows of valid have the same label; {cure}")
    if selection.cutoff is not None and not rows.positives:
        raise UserError(f"run.select_by is {selection.key}, but no row of valid is a positive; {cure}")
    if selection.key == "gauc" and not _some_user_has_both_labels(dataset):
        raise UserError(f"run.select_by is gauc, but no user has both labels in valid; {cure}")


def _some_user_has_both_labels(dataset: Dataset) -> bool:
    """Reads the validation split until there is one."""
    seen = np.zeros((2, dataset.num_users), dtype=np.bool_)
    for lane in range(dataset.lanes):
        for block in dataset.blocks("valid", lane):
            table = dataset.read_block(block, ["user_id", "label"])
            users = table.column("user_id").to_numpy()
            seen[table.column("label").to_numpy(), users] = True
            if (seen[0, users] & seen[1, users]).any():
                return True
    return False
