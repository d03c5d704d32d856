"""Exchanges of parts of unequal size, to be run on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from distributed_il.core.collectives import Collectives


def swap(ranks: Collectives, dtype: torch.dtype, columns: Sequence[int], known: bool) -> list[torch.Tensor]:
    """Rank s sends (s + 2·r) mod 3 rows to rank r, all of the value 10·s + r."""
    rank, world = ranks.rank, ranks.world_size
    parts = [torch.full(((rank + 2 * to) % 3, *columns), 10 * rank + to, dtype=dtype) for to in range(world)]
    return ranks.all_to_all(parts, [(sender + 2 * rank) % 3 for sender in range(world)] if known else None)


def swaps(ranks: Collectives) -> dict[str, Any]:
    """All forms of the exchange on one rank, and what they have sent."""
    found: dict[str, Any] = {
        "known": swap(ranks, torch.int64, (2,), True),
        "asked": swap(ranks, torch.float64, (), False),
        "bytes": swap(ranks, torch.int8, (3, 1), False),
        "nothing": ranks.all_to_all([torch.zeros(0, 4)] * ranks.world_size),
    }
    return found | {"sent_bytes": ranks.sent_bytes, "seconds": ranks.seconds}
