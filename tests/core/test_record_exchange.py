"""Records on their way between ranks that are threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from thread_ranks import ThreadCollectives, run_on_threads

from distributed_il.core.collectives import LocalCollectives, records_of, send_slices, send_to_owners

CPU = torch.device("cpu")


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
