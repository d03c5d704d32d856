"""Collectives within one process, over ranks that are threads, and over gloo (there see also test_across_ranks.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from collective_cases import swaps
from gloo_ranks import run_on_gloo
from thread_ranks import ThreadCollectives, run_on_threads

from distributed_il.core.collectives import (
    LocalCollectives,
    records_of,
    send_slices,
    send_to_owners,
    sum_over_ranks,
)

CPU = torch.device("cpu")


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


def test_records_hold_columns_without_gaps() -> None:
    records = records_of({"id": np.array([7, 8], dtype=np.int32), "label": np.array([1, 0], dtype=np.int8)})
    assert records.dtype.itemsize == 5
    assert records.tolist() == [(7, 1), (8, 0)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_every_record_reaches_its_owner_once_and_in_order(world_size: int) -> None:
    # Rank r has 5·r rows, so rank 0 none; row n of rank r is (100·r + n, n / 8), and belongs to rank n² mod W.
    def owned(ranks: ThreadCollectives) -> list[tuple[int, float]]:
        numbers = np.arange(5 * ranks.rank)
        records = records_of({"number": 100 * ranks.rank + numbers, "share": (numbers / 8).astype(np.float32)})
        return send_to_owners(records, numbers**2 % world_size, collectives=ranks, device=CPU).tolist()

    for rank, found in enumerate(run_on_threads(world_size, owned)):
        assert found == [
            (100 * sender + n, n / 8)
            for sender in range(world_size)
            for n in range(5 * sender)
            if n**2 % world_size == rank
        ]


def test_slices_go_where_their_borders_say() -> None:
    def arrived(ranks: ThreadCollectives) -> list[tuple[int]]:
        records = records_of({"number": 10 * ranks.rank + np.arange(4)})
        borders = np.array([[0, 0, 3, 4], [0, 4, 4, 4], [0, 1, 1, 4]][ranks.rank])
        return send_slices(records, borders, collectives=ranks, device=CPU).tolist()

    numbers = [[number for (number,) in found] for found in run_on_threads(3, arrived)]
    assert numbers == [[10, 11, 12, 13, 20], [0, 1, 2], [3, 21, 22, 23]]


def test_one_rank_keeps_its_records() -> None:
    records = records_of({"number": np.arange(3)})
    assert send_to_owners(records, np.zeros(3, dtype=np.int64), collectives=LocalCollectives(), device=CPU) is records
