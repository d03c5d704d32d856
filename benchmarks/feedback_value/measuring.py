"""One run: trained, and measured on the test split and on the probes of its dataset."""

from __future__ import annotations

import shutil
from typing import Any

import torch

from benchmarks.common.training_task import TrainingTask, carry_out
from benchmarks.feedback_value.datasets import read_probes
from distributed_il.data.dataset import Dataset
from distributed_il.evaluation.baselines import item_mean
from distributed_il.evaluation.metrics import compute_metrics
from distributed_il.inference.evaluate import load_model

METRICS = ("auc", "gauc", "ndcg@10")


def train_and_measure(task: TrainingTask) -> dict[str, Any]:
    """Carries a task out and removes its model.

    Args:
        task: The run.

    Returns:
        What `carry_out` does; where the test split was read also `probes`, the metrics of each probe by the model and
        by the items' means.
    """
    try:
        found = carry_out(task)
        if task.test and "failed" not in found:
            found["probes"] = _probes(task)
        return found
    finally:
        shutil.rmtree(task.model_dir, ignore_errors=True)


def _probes(task: TrainingTask) -> dict[str, dict[str, Any]]:
    probes = read_probes(task.data)
    if not probes:
        return {}
    learner, _ = load_model(task.model_dir, "best", task.data, allow_code=True)
    activity = Dataset.open(task.data).activity()
    mean = item_mean(activity.item_rows, activity.item_positives)
    found: dict[str, dict[str, Any]] = {}
    for name, pairs in probes.items():
        logits = learner.score(torch.from_numpy(pairs.users), torch.from_numpy(pairs.items)).double().numpy()
        for who, scores in (("model", logits), ("item_mean", mean[pairs.items])):
            metrics = compute_metrics(pairs.users, scores, pairs.labels)
            found.setdefault(who, {})[name] = {key: metrics[key] for key in METRICS}
    return found
