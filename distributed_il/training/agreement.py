"""Before each pass the ranks make sure that they are about to do the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch

from distributed_il.core.collectives import Collectives
from distributed_il.core.errors import UserError


def check_agreement(collectives: Collectives, facts: Mapping[str, int | str], device: torch.device) -> None:
    """Compares facts that must be the same on every rank, in one small collective; also a barrier.

    Ranks that disagree on the number of steps would wait for each other until a time-out, and ranks that disagree on
    the rest would train on different things without a word.

    Args:
        collectives: The ranks.
        facts: Fingerprints, as text, and numbers, by name; the same names on every rank.
        device: Where collectives take their tensors.

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


def _number(value: int | str) -> int:
    if isinstance(value, int):
        return value
    return int.from_bytes(hashlib.sha256(value.encode()).digest()[:8], signed=True)
