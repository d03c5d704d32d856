"""Collectives through memory, between processes of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from collective_cases import swaps
from gloo_ranks import run_on_gloo

from distributed_il.core import shared_memory
from distributed_il.core.collectives import Collectives, DistributedCollectives, LocalCollectives
from distributed_il.core.shared_memory import LEAST_AREA_BYTES, NodeCollectives, join_ranks


def compare(ranks: Collectives) -> dict[str, Any]:
    """The same collectives in memory and over gloo, of sizes that let areas grow, and a hundred in a row."""
    memory = join_ranks(60)
    assert isinstance(memory, NodeCollectives)
    generator = torch.Generator().manual_seed(memory.rank)
    equal: list[bool] = []
    sums: list[torch.Tensor] = []
    before = memory.sent_bytes, ranks.sent_bytes
    for size in (3, 0, LEAST_AREA_BYTES // 8, 5, LEAST_AREA_BYTES, 7, *range(100)):
        for dtype in (torch.float64, torch.int64):
            tensor = torch.randn(size, generator=generator, dtype=torch.float64).mul(100).to(dtype)
            equal.append(torch.equal(memory.all_gather(tensor), ranks.all_gather(tensor)))
        columns = torch.randn(2, size, generator=generator).T  # not contiguous
        equal.append(torch.equal(memory.all_gather(columns), ranks.all_gather(columns)))
        parts = [columns[: (memory.rank + to) % 3] for to in range(memory.world_size)]
        found = zip(memory.all_to_all(parts), ranks.all_to_all(parts), strict=True)
        equal.append(all(torch.equal(ours, theirs) for ours, theirs in found))
        memory.barrier()
        ranks.barrier()
    scalar = torch.tensor(memory.rank)
    equal.append(torch.equal(memory.all_gather(scalar), ranks.all_gather(scalar)))
    sent = memory.sent_bytes - before[0], ranks.sent_bytes - before[1]
    for size in (1, 1000):
        sums.append(memory.all_reduce_sum(torch.randn(size, generator=generator)))
    return {"equal": equal, "sums": sums, "sent": sent, "swaps": swaps(join_ranks(60))}


def test_memory_brings_what_gloo_brings(tmp_path: Path) -> None:
    found = run_on_gloo(3, tmp_path, compare)
    for rank, results in enumerate(found):
        assert all(results["equal"])
        assert results["sent"][0] == results["sent"][1]
        for ours, theirs in zip(results["sums"], found[0]["sums"], strict=True):
            assert torch.equal(ours, theirs)
        for sender, part in enumerate(results["swaps"]["known"]):
            assert torch.equal(part, torch.full(((sender + 2 * rank) % 3, 2), 10 * sender + rank))


def test_a_rank_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    assert run_on_gloo(2, tmp_path, outlive) == ["rank 1 has ended", ""]


def outlive(ranks: Collectives) -> str:
    memory = join_ranks(60)
    memory.barrier()
    if memory.rank == 1:
        del memory  # closes its sockets, as the system does for a process that has died
        return ""
    with pytest.raises(RuntimeError) as caught:
        memory.barrier()
    return str(caught.value)


def wait_for_a_late_rank(ranks: Collectives) -> str:
    memory = join_ranks(1)
    found = ""
    if memory.rank == 0:
        with pytest.raises(RuntimeError) as caught:
            memory.barrier()
        found = str(caught.value)
    ranks.barrier()
    return found


def test_a_rank_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    assert run_on_gloo(2, tmp_path, wait_for_a_late_rank) == ["rank 1 has not come within 1 s", ""]


def without_links(ranks: Collectives) -> str:
    if ranks.rank == 1:  # as on another machine: its connection is refused

        class Refused(shared_memory.socket.socket):
            def connect(self, address: Any) -> None:
                raise ConnectionRefusedError

        shared_memory.socket.socket = Refused  # type: ignore[misc]
    return type(join_ranks(60)).__name__


def test_ranks_that_do_not_reach_each_other_use_torch(tmp_path: Path) -> None:
    assert run_on_gloo(3, tmp_path, without_links) == [DistributedCollectives.__name__] * 3


def alone(ranks: Collectives) -> str:
    return type(join_ranks(60)).__name__


def test_one_rank_needs_nobody(tmp_path: Path) -> None:
    assert run_on_gloo(1, tmp_path, alone) == [LocalCollectives.__name__]
