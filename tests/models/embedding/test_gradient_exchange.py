"""The exchange of row gradients, over ranks that are threads, against dense sums."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_ranks import run_on_threads

from distributed_il.core.collectives import LocalCollectives
from distributed_il.models.embedding import gradient_exchange as exchange
from distributed_il.models.embedding.gradient_exchange import exchange_rows, reduce_rows
from distributed_il.models.embedding.table import RowGradients

ROWS = 20


def random_part(generator: torch.Generator, count: int, dim: int, dtype: torch.dtype) -> RowGradients:
    ids = torch.randperm(ROWS, generator=generator)[:count].sort().values
    return RowGradients(ids, torch.randn(count, dim, generator=generator, dtype=torch.float64).to(dtype))


def dense(part: RowGradients) -> torch.Tensor:
    whole = torch.zeros(ROWS, part.gradient.shape[1], dtype=part.gradient.dtype)
    whole[part.ids] = part.gradient
    return whole


def test_rows_of_equal_ids_are_summed_part_after_part() -> None:
    """1e16 + 1 = 1e16 in float64, so the order of the sum shows: (1e16 + 1) − 1e16 = 0."""
    parts = [
        RowGradients(torch.tensor([2, 5]), torch.tensor([[10.0, 20.0], [1e16, 1.0]], dtype=torch.float64)),
        RowGradients(torch.tensor([], dtype=torch.int64), torch.zeros(0, 2, dtype=torch.float64)),
        RowGradients(torch.tensor([5, 9]), torch.tensor([[1.0, 2.0], [0.5, 0.25]], dtype=torch.float64)),
        RowGradients(torch.tensor([5]), torch.tensor([[-1e16, 4.0]], dtype=torch.float64)),
    ]
    reduced = reduce_rows(parts)
    assert reduced.ids.tolist() == [2, 5, 9]
    assert reduced.gradient.tolist() == [[10, 20], [0, 7], [0.5, 0.25]]


@settings(max_examples=60)
@given(
    world_size=st.sampled_from([2, 3, 4]),
    dims=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    counts=st.lists(st.integers(0, 7), min_size=12, max_size=12),
    spare=st.integers(0, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_every_rank_gets_the_mean_of_all_ranks(
    world_size: int, dims: list[int], counts: list[int], spare: int, dtype: torch.dtype, seed: int
) -> None:
    """Any counts, none at all among them, odd widths and odd capacities."""
    generator = torch.Generator().manual_seed(seed)
    parts = [
        [random_part(generator, counts[rank * 3 + table], dim, dtype) for table, dim in enumerate(dims)]
        for rank in range(world_size)
    ]
    capacity = max(1, *counts) + spare
    results = run_on_threads(
        world_size, lambda ranks: exchange_rows(parts[ranks.rank], None, capacity=capacity, collectives=ranks)[0]
    )
    for table in range(len(dims)):
        expected = torch.stack([dense(parts[rank][table]) for rank in range(world_size)]).sum(dim=0) / world_size
        touched = sorted({int(row) for rank in range(world_size) for row in parts[rank][table].ids})
        for result in results:
            assert result[table].ids.tolist() == touched
            torch.testing.assert_close(dense(result[table]), expected)
            assert torch.equal(result[table].gradient, results[0][table].gradient)


def test_one_buffer_travels_for_all_tables() -> None:
    """3 rows rounded up to 4; a head of 2 counts, then 4 · (8 + 5 · 4) and 4 · (8 + 2 · 4) bytes."""
    generator = torch.Generator().manual_seed(0)

    def exchange(ranks):
        parts = [random_part(generator, 3, 5, torch.float32), random_part(generator, 1, 2, torch.float32)]
        exchange_rows(parts, None, capacity=3, collectives=ranks)
        return ranks.sent_bytes

    assert run_on_threads(2, exchange) == [2 * 8 + 4 * 28 + 4 * 16] * 2


def test_one_process_keeps_its_gradients() -> None:
    part = random_part(torch.Generator().manual_seed(0), 4, 3, torch.float64)
    (kept,), _ = exchange_rows([part], None, capacity=1, collectives=LocalCollectives())
    assert kept is part


def test_more_rows_than_the_capacity_are_refused_before_anything_is_sent() -> None:
    part = random_part(torch.Generator().manual_seed(0), 4, 3, torch.float64)
    with pytest.raises(ValueError, match="more than 3 rows"):
        run_on_threads(2, lambda ranks: exchange_rows([part], None, capacity=3, collectives=ranks))


@pytest.mark.parametrize("limit", [exchange.GATHERED_DENSE_BYTES, 0], ids=["gathered with the rows", "reduced apart"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_dense_gradient_is_averaged_too(dtype: torch.dtype, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks hold r + 1 in all of 5 places: the mean of 1, 2 and 3 is 2."""
    monkeypatch.setattr(exchange, "GATHERED_DENSE_BYTES", limit)
    parts = [random_part(torch.Generator().manual_seed(rank), 3, 5, dtype) for rank in range(3)]
    results = run_on_threads(
        3,
        lambda ranks: exchange_rows(
            [parts[ranks.rank]], torch.full((5,), ranks.rank + 1, dtype=dtype), capacity=3, collectives=ranks
        ),
    )
    expected = torch.stack([dense(part) for part in parts]).sum(dim=0) / 3
    for (rows,), averaged in results:
        assert averaged is not None
        assert averaged.tolist() == [2.0] * 5
        torch.testing.assert_close(dense(rows), expected)
