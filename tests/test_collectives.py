"""Reductions within one process and over ranks that are threads; over gloo see methods/test_across_ranks.py."""

from __future__ import annotations

import pytest
import torch
from thread_ranks import run_on_threads

from distributed_il.collectives import LocalCollectives, sum_over_ranks


def test_one_process_is_the_identity() -> None:
    local = LocalCollectives()
    tensor = torch.tensor([1.0, 2.0])
    assert local.all_gather(tensor).tolist() == [[1.0, 2.0]]
    assert local.all_reduce_sum(tensor) is tensor
    local.barrier()
    assert (local.rank, local.world_size, local.sent_bytes, local.seconds) == (0, 1, 0, 0.0)


def test_sums_run_in_rank_order_so_that_ranks_hold_the_same_bits() -> None:
    values = [0.1, 0.2, 0.3, 1e16, -1e16]
    sums = run_on_threads(
        5, lambda ranks: sum_over_ranks(ranks, torch.tensor([values[ranks.rank], 1.0], dtype=torch.float64))
    )
    for found in sums:
        assert torch.equal(found, sums[0])
        assert float(found[1]) == 5
    stacked = torch.tensor([[value, 1.0] for value in values], dtype=torch.float64)
    assert torch.equal(sums[0], stacked.sum(dim=0))


@pytest.mark.parametrize("values", [torch.zeros(2), torch.zeros(2, 1, dtype=torch.float64), torch.tensor(1.0).double()])
def test_sums_are_of_float64_vectors(values: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"values must be float64 \[k\]"):
        sum_over_ranks(LocalCollectives(), values)
