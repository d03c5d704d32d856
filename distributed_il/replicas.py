"""Replicas must hold the same bits on every rank: a fingerprint that says whether they do."""

from __future__ import annotations

import torch
from torch import Tensor

from distributed_il.collectives import Collectives
from distributed_il.learner import Learner


def fingerprint(learner: Learner) -> Tensor:
    """One number for each tensor of a replica, that changes when any bit of it does (but for rare collisions).

    Returns:
        int64 [tensors], sums of bit patterns, wrapping.
    """
    tensors = [learner.users.packed, learner.items.packed, learner.tower.packed]
    return torch.stack([_bits(tensor) for tensor in tensors])


def check_replicas(learner: Learner, collectives: Collectives) -> None:
    """Compares the fingerprints of all ranks.

    Args:
        learner: This rank's replica.
        collectives: The ranks.

    Raises:
        RuntimeError: They differ; the run must not go on, since every later decision would be taken from different
            models.
    """
    gathered = collectives.all_gather(fingerprint(learner))
    different = (gathered != gathered[0]).any(dim=1).nonzero().flatten().tolist()
    if different:
        raise RuntimeError(
            f"replicas differ after optimiser step {learner.step}: ranks {different} do not hold the bits of rank 0; "
            "this is a bug or failing hardware, the run's last checkpoint is from before it"
        )


def _bits(tensor: Tensor) -> Tensor:
    words = torch.int64 if tensor.element_size() == 8 else torch.int32
    return tensor.contiguous().view(words).sum(dtype=torch.int64)
