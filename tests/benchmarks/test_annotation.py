"""The annotation benchmark holds w1 against the right watch's truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.annotation import METHODS, Plan, annotated, auc, simulated, train
from benchmarks.unlabelled import column
from distributed_il.core.method_config import METHODS as ALL_METHODS
from distributed_il.inference.evaluate import load_model
from distributed_il.methods.losses import inverse_dual_weights

TINY = Plan(users=60, items=80, positives=300, negatives=250, unclear=200, rounds=1, seeds=1)


def test_weights_stand_beside_the_watch_that_they_are_of(tmp_path: Path) -> None:
    dataset = simulated(TINY, str(tmp_path / "data"))
    run_dir = str(tmp_path / "run")
    train(TINY, dataset, run_dir, "none", 0)
    learner, _ = load_model(run_dir, "best", None)
    users, items = (torch.from_numpy(column(dataset, "unclear", f"{name}_id")).long() for name in ("user", "item"))
    expected, _ = inverse_dual_weights(learner.score(users, items))
    np.testing.assert_allclose(annotated(run_dir, dataset), expected.numpy(), rtol=1e-5)
    truth = column(dataset, "unclear", "preference")
    assert auc(dataset, truth) == 1
    assert auc(dataset, 1 - truth) == 0
    assert set(METHODS) == set(ALL_METHODS) - {"ordinal"}  # asked of the paper's methods
