"""What a trainer makes of its model's scores at the end of a round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_datasets import random_rows, write_dataset

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import LocalBlockReader
from distributed_il.evaluation.metrics import compute_metrics
from distributed_il.training.trainer import Trainer

UNSEEN = 20


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    """A trainer for one round; user 20 has rows in valid alone."""
    rows = random_rows(np.random.default_rng(0), UNSEEN, 30, {"train": 200, "valid": 60, "test": 50})
    rows["valid"]["user_id"][:3] = UNSEEN
    dataset = write_dataset(tmp_path / "data", rows, num_users=UNSEEN + 1, num_items=30, lanes=2)
    config = TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(tmp_path / "run"), batch_size=50, max_rounds=1, patience=1),
        method=NoneConfig(),
    )
    return Trainer(
        config,
        dataset,
        reader=LocalBlockReader(dataset),
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
    )


def test_a_round_is_measured_on_the_whole_validation_split(trainer: Trainer) -> None:
    found = trainer.fit()["valid"]
    columns = np.concatenate([*trainer.measurement.splits["valid"].pieces()])
    users, items = (torch.from_numpy(columns[name].astype(np.int64)) for name in ("user_id", "item_id"))
    logits = trainer.learner.score(users, items).numpy()
    labels = columns["label"]
    a, b = trainer.calibration.slope, trainer.calibration.intercept
    expected = compute_metrics(columns["user_id"], logits, labels, calibrated=a * logits.astype(np.float64) + b)
    assert found == pytest.approx(expected, rel=1e-12)
    assert trainer.state.best_value == pytest.approx(expected["calibrated_logloss"], rel=1e-12)
    manifest = trainer.store.manifest("best")
    assert manifest is not None
    assert manifest["output"] == {"half_width": None, "slope": a, "intercept": b}


def test_a_validation_loss_that_is_not_finite_ends_the_run_with_a_cure(trainer: Trainer) -> None:
    trainer.learner.users.packed[UNSEEN] = torch.nan
    with pytest.raises(UserError, match=r"the valid loss is nan, 3 of 60 scores .* lower optimizer\.learning_rate"):
        trainer.fit()
