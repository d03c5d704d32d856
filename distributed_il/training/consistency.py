"""All ranks must train the same model: they compare what they are about to do, and the bits that they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives
from distributed_il.core.errors import UserError
from distributed_il.models.learner import Learner

CHUNK_ROWS = 65_536


def check_agreement(collectives: Collectives, facts: Mapping[str, int | str], device: torch.device) -> None:
    """Compares facts that must be the same on every rank, in one small collective; also a barrier.

    Ranks that disagree on the number of steps would wait for each other until a time-out, and ranks that disagree on
    the rest would train on different things without a word. The facts, fingerprints as text and numbers, have the same
    names on every rank.

    Raises:
        UserError: Fingerprints differ, on every rank: the nodes do not see the same files or programs.
        RuntimeError: Numbers differ, on every rank; a restart reads the position from the checkpoint again.
    """
    own = torch.tensor([_number(value) for value in facts.values()], dtype=torch.int64, device=device)
    gathered = collectives.all_gather(own).tolist()
    for name, value, column in zip(facts, facts.values(), zip(*gathered, strict=True), strict=True):
        others = [rank for rank, number in enumerate(column) if number != column[0]]
        if not others:
            continue
        if isinstance(value, str):
            raise UserError(
                f"ranks {others} have another {name} than rank 0: their nodes see other files or programs; all nodes "
                "need the same packages, and data.path and run.dir on storage that they share"
            )
        found = ", ".join(f"rank {rank} {number}" for rank, number in enumerate(column))
        raise RuntimeError(f"ranks do not agree on the {name}: {found}")


def check_replicas(learner: Learner, collectives: Collectives) -> None:
    """Compares the fingerprints of this rank's replica and all others.

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


def fingerprint(learner: Learner) -> Tensor:
    """Returns the step and a number for each tensor that all ranks hold; any changed bit shows, but for rare luck.

    A table of which this rank keeps a part only is no replica of anything and is left out.

    Returns:
        int64 [1 + tensors], sums of bit patterns, wrapping.
    """
    tables = [table.packed for table in (learner.users, learner.items) if table.rows.step == 1]
    sums = [_bits(tensor) for tensor in (*tables, learner.tower.packed)]
    return torch.stack([torch.tensor(learner.step, device=learner.device), *sums])


def _bits(tensor: Tensor) -> Tensor:
    words = torch.int64 if tensor.element_size() == 8 else torch.int32
    # Summed in 64 bits, 32-bit words are copied to twice their size; so not all at a time.
    chunks = tensor.contiguous().view(words).split(CHUNK_ROWS)
    return torch.stack([chunk.sum(dtype=torch.int64) for chunk in chunks]).sum()


def _number(value: int | str) -> int:
    if isinstance(value, int):
        return value
    return int.from_bytes(hashlib.sha256(value.encode()).digest()[:8], signed=True)
