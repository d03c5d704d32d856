"""A model of a few rows, by default float64 and with side features, which most backbones ignore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from random_factors import random_factors
from random_features import random_features

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.models.learner import Learner
from distributed_il.models.tower import Extra


def small_learner(
    num_users: int,
    num_items: int,
    *,
    model: Mapping[str, Any],
    optimizer: Mapping[str, Any],
    seed: int = 5,
    factors: bool = False,
    method_extras: Mapping[str, Extra] | None = None,
    collectives: Collectives | None = None,
    device: str = "cpu",
) -> Learner:
    """Makes a learner; `model` and `optimizer` are what differs from the defaults here."""
    return Learner(
        ModelConfig(**{"embedding_dim": 4, "init_std": 0.3, "dtype": "float64", **model}),
        OptimizerConfig(**{"learning_rate": 5e-3, "weight_decay": 1e-3, **optimizer}),
        num_users=num_users,
        num_items=num_items,
        seed=seed,
        collectives=collectives or LocalCollectives(),
        device=torch.device(device),
        features=random_features(num_users, num_items),
        factors=random_factors(num_users, num_items) if factors else None,
        method_extras=method_extras,
    )
