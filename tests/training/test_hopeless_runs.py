"""Runs that can't learn say so: no row in training-test, or a loss that has left all measure."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from local_runs import local_trainer
from small_datasets import make_small_dataset

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import DataConfig, OptimizerConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseGradientConfig, NoneConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.trainer import Trainer


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_small_dataset(tmp_path_factory.mktemp("hopeless") / "dataset", train=203)


def test_a_share_that_draws_no_row_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    config = TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(tmp_path)),
        method=InverseGradientConfig(test_share=1e-5),
    )
    with pytest.raises(UserError, match=r"method\.test_share 1e-05 draws none of the 203 training rows"):
        local_trainer(config)


def test_a_loss_that_has_left_all_measure_is_told_once(dataset: Dataset, tmp_path: Path) -> None:
    config = TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(tmp_path), batch_size=20, max_rounds=2),
        optimizer=OptimizerConfig(learning_rate=1e6),
        method=NoneConfig(),
    )
    notes: list[str] = []
    Trainer(
        config,
        dataset,
        reader=LocalBlockReader(dataset),
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
        hooks=RunHooks(on_note=notes.append),
    ).fit()
    assert sum("training has probably diverged; lower optimizer.learning_rate" in note for note in notes) == 1
