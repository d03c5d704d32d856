"""What there is to learn in a simulated log: the true preference's metrics, beside those of the baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from distributed_il.core.progress import StageProgress
from distributed_il.data.dataset.manifest import Manifest
from distributed_il.data.prepare.dataset_factors import simulated_dataset_factors
from distributed_il.data.prepare.simulate.simulator import Simulation
from distributed_il.data.sampling import PairIndex
from distributed_il.evaluation.baselines import item_mean, user_item_bias
from distributed_il.evaluation.metrics import compute_metrics


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What came out."""

    manifest: Manifest  # of the dataset
    # metrics of the true preference on the test split; no model can expect a lower logloss
    oracle: dict[str, float | int]
    trivial: dict[str, dict[str, float | int]]  # metrics of `item_mean` and `user_item_bias` on the same rows
    popularity: dict[str, float | int]  # of the items' numbers of training rows; they are no probabilities
    exposures: dict[str, Any]  # what a summary says of exposure factors

    def summary(self) -> str:
        """A few lines for people: sizes, and what there is to learn between the baselines and the oracle."""
        splits = self.manifest.splits
        positives = sum(split.positives for split in splits.values())
        labelled = sum(split.rows for name, split in splits.items() if name != "unclear")
        unclear = splits["unclear"].rows if "unclear" in splits else 0
        lines = [
            f"{self.manifest.num_users:,} users, {self.manifest.num_items:,} items, {positives:,} positives, "
            f"{labelled - positives:,} negatives, {unclear:,} unclear watches",
            ", ".join(f"{name} {split.rows:,} rows" for name, split in splits.items()),
            f"{'test split':<16}{'AUC':>8}{'GAUC':>8}{'logloss':>9}",
        ]
        lines.append(f"{'popularity':<16}{self.popularity['auc']:>8.4f}{self.popularity['gauc']:>8.4f}")
        for name, row in {**self.trivial, "oracle": self.oracle}.items():
            lines.append(f"{name:<16}{row['auc']:>8.4f}{row['gauc']:>8.4f}{row['logloss']:>9.4f}")
        return "\n".join([*lines, self._who_watched_what()])

    def _who_watched_what(self) -> str:
        found = self.exposures
        if not found["columns"]:
            return f"who watched what: {found['reason']}"
        told = "beyond chance, so exposure factors have something to say" if found["has_structure"] else "chance alone"
        first, edge = found["singular_values"][0], found["null_edge"]
        return f"who watched what: first singular value {first:.3f}, null edge {edge:.3f}, {told}"


def simulation_report(simulation: Simulation, progress: StageProgress | None = None) -> SimulationReport:
    """Scores the test split with the true preference, and with the baselines fitted on the training split.

    Args:
        simulation: What was simulated. Where it has no exposure factors they are computed, but not stored.
        progress: Told the stage.
    """
    train, test, size = simulation.train, simulation.test, simulation.size
    positive = train.labels == 1
    items = np.bincount(train.items, minlength=size.items), np.bincount(train.items[positive], minlength=size.items)
    users = np.bincount(train.users, minlength=size.users), np.bincount(train.users[positive], minlength=size.users)
    observed = PairIndex.from_pairs(train.users.astype(np.int64), train.items.astype(np.int64), size.users)
    bias, mean = user_item_bias(*users, *items, observed)
    preferences = test.preferences.astype(np.float64)
    scores = {
        "item_mean": item_mean(*items)[test.items],
        "user_item_bias": np.clip(bias[test.users] + mean[test.items], 1e-6, 1 - 1e-6),
        "oracle": preferences,
    }
    rows = {
        name: compute_metrics(test.users, score, test.labels, probabilities=score.astype(np.float64))
        for name, score in scores.items()
    }
    popularity = compute_metrics(test.users, items[0][test.items].astype(np.float64), test.labels)
    exposures = simulation.factors or simulated_dataset_factors(
        simulation.path, progress or (lambda stage, done, total: None), store=False
    )
    return SimulationReport(simulation.manifest, rows.pop("oracle"), rows, popularity, exposures)
