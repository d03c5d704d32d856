"""A run in this process, without Ray."""

from __future__ import annotations

import torch

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.config import TrainConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.training.trainer import Trainer


def local_trainer(config: TrainConfig, collectives: Collectives | None = None) -> Trainer:
    """A trainer that reads files itself and tells nobody."""
    dataset = Dataset.open(config.data.path)
    return Trainer(
        config,
        dataset,
        reader=LocalBlockReader(dataset),
        collectives=collectives or LocalCollectives(),
        device=torch.device("cpu"),
    )
