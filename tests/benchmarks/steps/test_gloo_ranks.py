from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.steps.gloo_ranks import RankGroup
from distributed_il.core.collectives import Collectives


def add(ranks: Collectives, memory: dict[str, Any], value: int) -> list[int]:
    """Gathers what each rank has added up so far; rank r adds r + value."""
    memory["sum"] = memory.get("sum", 0) + ranks.rank + value
    return ranks.all_gather(torch.tensor([memory["sum"]])).flatten().tolist()


def refuse(ranks: Collectives, memory: dict[str, Any]) -> None:
    raise ValueError(f"not on rank {ranks.rank}")


def test_ranks_keep_their_memory_meet_each_other_and_tell_of_errors() -> None:
    with RankGroup(2) as group:
        assert group.run(add, 10) == [[10, 11], [10, 11]]
        assert group.run(add, 100) == [[110, 112], [110, 112]]
        with pytest.raises(RuntimeError, match="rank 0 of 2: ValueError: not on rank 0"):
            group.run(refuse)


def test_one_rank_needs_no_process_group() -> None:
    with RankGroup(1) as group:
        assert group.run(add, 7) == [[7]]
