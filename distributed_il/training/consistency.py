"""Replicas must hold the same bits on every rank: a fingerprint that says whether they do."""

from __future__ import annotations

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives
from distributed_il.models.learner import Learner

CHUNK_ROWS = 65_536


def fingerprint(learner: Learner) -> Tensor:
    """A number for the step and one for each tensor that all ranks hold; any changed bit shows, but for rare luck.

    A table of which this rank keeps a part only is no replica of anything and is left out.

    Returns:
        int64 [1 + tensors], sums of bit patterns, wrapping.
    """
    tables = [table.packed for table in (learner.users, learner.items) if table.stride == 1]
    sums = [_bits(tensor) for tensor in (*tables, learner.tower.packed)]
    return torch.stack([torch.tensor(learner.step, device=learner.device), *sums])


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
    # Summed in 64 bits, 32-bit words are copied to twice their size; so not all at a time.
    chunks = tensor.contiguous().view(words).split(CHUNK_ROWS)
    return torch.stack([chunk.sum(dtype=torch.int64) for chunk in chunks]).sum()
