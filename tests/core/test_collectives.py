"""Collectives within one process, over ranks that are threads, and over gloo (there see also test_across_ranks.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from collective_cases import swaps
from gloo_ranks import run_on_gloo
from thread_ranks import run_on_threads

from distributed_il.core.collectives import LocalCollectives, sum_over_ranks


def test_one_process_is_the_identity() -> None:
    local = LocalCollectives()
    tensor = torch.tensor([1.0, 2.0])
    assert local.all_gather(tensor).tolist() == [[1.0, 2.0]]
    assert local.all_reduce_sum(tensor) is tensor
    assert local.all_to_all([tensor])[0] is tensor
    assert local.all_to_all([tensor], [2])[0] is tensor
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


def on_threads(world_size: int, folder: Path) -> list[Any]:
    return run_on_threads(world_size, swaps)


def on_gloo(world_size: int, folder: Path) -> list[Any]:
    found = run_on_gloo(world_size, folder, swaps)
    assert all(results["seconds"] > 0 for results in found)
    return found


@pytest.mark.parametrize(("run", "world_size"), [(on_threads, 1), (on_threads, 2), (on_threads, 4), (on_gloo, 3)])
def test_all_to_all_brings_each_part_to_its_rank(
    run: Callable[[int, Path], list[Any]], world_size: int, tmp_path: Path
) -> None:
    for rank, found in enumerate(run(world_size, tmp_path)):
        for name, columns, dtype in (
            ("known", (2,), torch.int64),
            ("asked", (), torch.float64),
            ("bytes", (3, 1), torch.int8),
        ):
            assert [part.dtype for part in found[name]] == [dtype] * world_size
            for sender, part in enumerate(found[name]):
                assert torch.equal(
                    part, torch.full(((sender + 2 * rank) % 3, *columns), 10 * sender + rank, dtype=dtype)
                )
        assert [tuple(part.shape) for part in found["nothing"]] == [(0, 4)] * world_size
        rows = sum((rank + 2 * to) % 3 for to in range(world_size) if to != rank)
        # 2 int64, 1 float64 and 3 int8 a row; sizes of 8 bytes to each other rank where they are not known.
        assert found["sent_bytes"] == rows * (16 + 8 + 3) + 3 * 8 * (world_size - 1)


def test_all_to_all_takes_one_part_for_each_rank() -> None:
    with pytest.raises(ValueError, match="2 parts for 1 ranks"):
        LocalCollectives().all_to_all([torch.zeros(1)] * 2)
    with pytest.raises(ValueError, match="1 parts and 2 counts for 1 ranks"):
        LocalCollectives().all_to_all([torch.zeros(1)], [1, 1])
