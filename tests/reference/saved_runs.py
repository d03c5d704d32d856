"""Runs that have a checkpoint without having been trained: of random rows some steps from their start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from random_batches import random_batch

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.config import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
    config_to_dict,
)
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.evaluation.output import Output
from distributed_il.methods import make_method
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner
from distributed_il.training.checkpoint import CheckpointStore, SavedState
from distributed_il.training.resume import about_run
from distributed_il.training.side_features import features_for

STEPS = 3


def about_no_run(num_users: int, num_items: int) -> dict[str, Any]:
    """What a checkpoint has to say of its run, for tests that only have a model."""
    config = TrainConfig(data=DataConfig(path="data"), run=RunConfig(dir="run"))
    sizes = {"num_users": num_users, "num_items": num_items}
    return {"config": config_to_dict(config), "dataset": "d", **sizes, "vocabulary": {}, "start": None}


def save_run(
    dataset: Dataset,
    run_dir: Path,
    *,
    backbone: str = "gmf",
    collectives: Collectives | None = None,
    missed_steps: Any = "catch_up",
    output: Output | None = None,
    **model: Any,
) -> Learner:
    """Writes the checkpoints `best` and `last`; returns the learner, materialized after that."""
    collectives = collectives or LocalCollectives()
    config = TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(run_dir)),
        model=ModelConfig(**{"backbone": backbone, "embedding_dim": 4, "init_std": 0.5, **model}),
        optimizer=OptimizerConfig(learning_rate=0.1, weight_decay=1e-3, missed_steps=missed_steps),
    )
    learner = Learner(
        config.model,
        config.optimizer,
        num_users=dataset.num_users,
        num_items=dataset.num_items,
        seed=0,
        collectives=collectives,
        device=torch.device("cpu"),
        features=features_for(config.model, dataset),
    )
    rng, dtype = np.random.default_rng(1), getattr(torch, config.model.dtype)
    for _ in range(STEPS):
        batch = random_batch(rng, rows=7, num_users=dataset.num_users, num_items=dataset.num_items, dtype=dtype)
        make_method(NoneConfig()).step(StepExecutor(learner), batch)
    about = about_run(config, dataset, None, {})
    if output is not None:  # otherwise as before there were such
        about["output"] = output.to_dict()
    CheckpointStore(str(run_dir)).save(learner, SavedState({}, {}), round=1, about=about, names=("best", "last"))
    learner.materialize()
    return learner
