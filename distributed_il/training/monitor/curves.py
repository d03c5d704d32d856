"""Which numbers of a run TensorBoard draws as curves, under which names, and what each means.

Groups stand in the order of their names, and the first two are open when TensorBoard is. What stays the same in each
round, such as the number of rows, is no curve: it stands in the texts, and the settings stand in HParams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distributed_il.core.config import flat
from distributed_il.evaluation.selection import RANKING
from distributed_il.methods.steps.decision import Decision

VALID, TRAIN, TEST = "1_valid", "2_train", "test"
"""Groups."""
_METRICS = {
    "auc": "Area under the ROC curve over all labelled rows; 0.5 is chance.",
    "gauc": "Mean over users of the AUC of a user's own rows; users with one class alone are left out.",
    "gauc_impressions": "As gauc, each user weighted by its rows.",
    "ndcg": "NDCG@k of a user's own labelled rows (not of all items), mean over users with both classes.",
    "mrr": "Mean over users of the mean of 1/rank over a user's positives, among its own labelled rows.",
    "mrr_first": "Mean over users of 1/rank of the first positive, among a user's own labelled rows.",
    "logloss": "Mean log loss of the probabilities; lower is better.",
    "ece": "Expected calibration error of the probabilities; lower is better.",
    "calibrated_logloss": "Log loss after an affine fit of the logits to valid, as they are served; lower is better.",
    "calibrated_ece": "Calibration error after an affine fit of the logits to valid; lower is better.",
}
_RANKINGS = {
    "recall": "Share of a user's positives among the k unseen items ranked highest.",
    "ndcg": "NDCG@k over all unseen items.",
    "hit_rate": "Share of users with a positive among the k unseen items ranked highest.",
    "precision": "Share of positives among the k unseen items ranked highest.",
    "map": "Mean average precision of the k unseen items ranked highest.",
    "mrr": "Mean of 1/rank of the first positive among the k unseen items ranked highest.",
    "coverage": "Share of all items that is among the k highest of some user.",
    "popularity": "Mean number of training positives of the k items ranked highest.",
}
_OTHERS = {
    f"{TRAIN}/loss_round": "Mean training loss of the round's labelled rows.",
    f"{TRAIN}/loss_train": "Mean training loss of the labelled rows since the last report.",
    f"{TRAIN}/loss_training-train": "The same, in the pass over training-train.",
    f"{TRAIN}/loss_training-test": "The same, in the pass over training-test, after the chosen update.",
    "candidates/skip": "Mean log loss on training-test batches without the dual-loss update, since the last report.",
    "candidates/direct_less_skip": "How far the dual-loss update θ − δ changes that loss; below 0 it helps.",
    "candidates/inverse_less_skip": "How far the inverted update θ + δ changes that loss; below 0 it helps.",
    "candidates/chosen_less_skip": "How far the update that was chosen changes that loss: what the checks gain.",
    "decisions/direct": "Share of all inverse steps so far that took the dual-loss update.",
    "decisions/skip": "Share of all inverse steps so far that left the update out.",
    "decisions/inverse": "Share of all inverse steps so far that inverted the update.",
    "branches/plus": "Calibrated training-test loss of the round with the dual loss.",
    "branches/zero": "Calibrated training-test loss of the round without the dual loss.",
    "branches/minus": "Calibrated training-test loss of the round against the dual loss.",
    "branches/chosen_sign": "Sign of the dual loss in the round that was kept: 1, 0 or −1.",
    "throughput/rows_per_s": "Labelled rows of all workers a second.",
    "throughput/data_wait_share": "Share of the time in which workers wait for data.",
    "throughput/collectives_share": "Share of the time in which workers wait for each other.",
    "throughput/sent_bytes": "Bytes that a worker has sent to others since the last report, mean over workers.",
}


def metric_curves(group: str, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metrics of a split by their tags in a group; counts and other facts are left out.

    Args:
        group: `VALID` or `TEST`.
        metrics: As `Measurement` gives them, rankings within.
    """
    tags = {f"{group}/{name}": value for name, value in flat(metrics, separator="/").items()}
    return {tag: float(value) for tag, value in tags.items() if description(tag)}


def description(tag: str) -> str:
    """Says what a curve means; empty for what is unknown here."""
    group, _, name = tag.partition("/")
    if group not in (VALID, TEST):
        return _OTHERS.get(tag, "")
    known, name = (_RANKINGS, name.removeprefix(f"{RANKING}/")) if name.startswith(f"{RANKING}/") else (_METRICS, name)
    return known.get(name.partition("@")[0], "")


def candidate_curves(decisions: Sequence[Decision]) -> dict[str, float]:
    """Means over inverse steps: skip's loss, and how far direct, inverse and what was chosen lie from it, in nats.

    Args:
        decisions: At least one.
    """
    direct, skip, inverse = np.mean([decision.losses for decision in decisions], axis=0).tolist()
    chosen = float(np.mean([decision.losses[decision.choice] for decision in decisions]))
    differences = {"direct": direct - skip, "inverse": inverse - skip, "chosen": chosen - skip}
    return {"candidates/skip": skip} | {f"candidates/{name}_less_skip": value for name, value in differences.items()}
