"""Tables: what a step gathers, updates and writes back, and what it leaves alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from distributed_il.core.config import OptimizerConfig
from distributed_il.core.errors import UserError
from distributed_il.data.loading.index_plan import UniqueIds
from distributed_il.models.embedding import table as tables
from distributed_il.models.embedding.table import EmbeddingTable, RowGradients

LAZY = OptimizerConfig(learning_rate=1e-2, weight_decay=1e-2)
CATCHING_UP = dataclasses.replace(LAZY, missed_steps="catch_up")


def make_table(
    num_rows: int = 10, dim: int = 3, *, seed: int = 1, dtype: torch.dtype = torch.float64
) -> EmbeddingTable:
    return EmbeddingTable(range(num_rows), dim, std=0.5, seed=seed, dtype=dtype, device=torch.device("cpu"))


def row_plan(ids: torch.Tensor) -> UniqueIds:
    return UniqueIds(*torch.unique(ids, return_inverse=True))


def test_weights_are_normal_by_the_seed_and_moments_are_0() -> None:
    table = make_table(5000, 4)
    assert table.packed.shape == (5000, 12)
    assert float(table.weight.mean()) == pytest.approx(0, abs=0.02)
    assert float(table.weight.std()) == pytest.approx(0.5, rel=0.02)
    assert not table.packed[:, 4:].any()
    assert torch.equal(table.packed, make_table(5000, 4).packed)
    assert not torch.equal(table.packed, make_table(5000, 4, seed=2).packed)


def test_a_chunk_of_rows_can_be_drawn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "INIT_CHUNK_ROWS", 4)
    table = make_table(10)
    generator = torch.Generator().manual_seed(1 + 4)
    expected = torch.empty(4, 3, dtype=torch.float64).normal_(0, 0.5, generator=generator)
    assert torch.equal(table.weight[4:8], expected)
    assert not torch.equal(table.weight[:4], table.weight[4:8])


def test_a_table_that_no_memory_can_hold_is_answered() -> None:
    with pytest.raises(UserError, match="no memory for 500,000,000,000,000 embedding rows .* 36,000,000.00 GB"):
        EmbeddingTable(range(1, 10**15, 2), 3, std=1, seed=0, dtype=torch.float64, device=torch.device("cpu"))


def test_gathering_finds_distinct_rows_and_gives_each_pair_its_own() -> None:
    table = make_table()
    ids = torch.tensor([7, 2, 7, 0])
    rows = table.gather(row_plan(ids), step=0, optimizer=LAZY, whole=False)
    assert rows.plan.ids.tolist() == [0, 2, 7]
    assert torch.equal(rows.pairs(), table.weight[ids])
    assert rows.weight.is_leaf
    rows.pairs().sum().backward()
    assert rows.weight.grad is not None
    assert rows.weight.grad[:, 0].tolist() == [1, 1, 2]  # row 7 occurs twice
    before = table.weight.clone()
    rows.weight.detach().add_(1)
    assert torch.equal(table.weight, before)  # a copy, not a view


def test_an_empty_batch() -> None:
    rows = make_table().gather(row_plan(torch.zeros(0, dtype=torch.int64)), step=0, optimizer=LAZY, whole=True)
    assert rows.weight.shape == (0, 3)
    assert rows.pairs().shape == (0, 3)


@pytest.mark.parametrize("optimizer", [LAZY, CATCHING_UP], ids=["skip", "catch_up"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_touched_by_every_step_follow_torch_adam_and_others_stay(
    optimizer: OptimizerConfig, dtype: torch.dtype
) -> None:
    table = make_table(dtype=dtype)
    before = table.packed.clone()
    ids = torch.tensor([1, 4, 9])
    theirs = torch.nn.Parameter(table.weight[ids].clone())
    adam = torch.optim.Adam([theirs], lr=1e-2, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(3)
    for step in range(1, 51):
        gradient = torch.randn(3, 3, generator=generator, dtype=torch.float64).to(dtype)
        table.adam_step(RowGradients(ids, gradient), step=step, optimizer=optimizer)
        theirs.grad = gradient
        adam.step()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(table.weight[ids], theirs.detach(), rtol=tolerance, atol=tolerance)
    others = torch.tensor([0, 2, 3, 5, 6, 7, 8])
    assert torch.equal(table.packed[others], before[others])


def test_a_delta_moves_weights_and_leaves_moments() -> None:
    table = make_table()
    table.adam_step(RowGradients(torch.arange(10), torch.ones(10, 3, dtype=torch.float64)), step=1, optimizer=LAZY)
    before = table.packed.clone()
    delta = torch.full((2, 3), 0.125, dtype=torch.float64)
    table.apply_delta(torch.tensor([3, 5]), delta, sign=1, step=1, optimizer=LAZY, gathered=None)
    expected = before.clone()
    expected[3, :3] += 0.125
    expected[5, :3] += 0.125
    assert torch.equal(table.packed, expected)


def test_deferred_updates_reach_a_row_when_it_is_next_touched() -> None:
    """Touched in steps 1 and 12: the second finds the row as it would be materialized after step 11."""
    gradient = RowGradients(torch.tensor([2]), torch.ones(1, 3, dtype=torch.float64))
    late, materialized = make_table(), make_table()
    for table in (late, materialized):
        table.adam_step(gradient, step=1, optimizer=CATCHING_UP)
    after_one = late.packed[2].clone()
    seen = late.gather(row_plan(torch.tensor([2])), step=11, optimizer=CATCHING_UP, whole=False).weight.detach()[0]
    materialized.materialize(step=11, optimizer=CATCHING_UP)
    assert torch.equal(seen, materialized.weight[2])
    assert not torch.equal(seen, after_one[:3])
    assert torch.equal(late.packed[2], after_one)  # gathering writes nothing back
    for table in (late, materialized):
        table.adam_step(gradient, step=12, optimizer=CATCHING_UP)
    assert torch.equal(late.packed[2], materialized.packed[2])
    assert int(late.last_step[2]) == 12


def test_applying_a_delta_materializes_deferred_updates_once() -> None:
    gradient = RowGradients(torch.tensor([2]), torch.ones(1, 3, dtype=torch.float64))
    shifted, plain = make_table(), make_table()
    for table in (shifted, plain):
        table.adam_step(gradient, step=1, optimizer=CATCHING_UP)
    nothing = torch.zeros(1, 3, dtype=torch.float64)
    shifted.apply_delta(torch.tensor([2]), nothing, sign=-1, step=6, optimizer=CATCHING_UP, gathered=None)
    for table in (shifted, plain):
        table.adam_step(gradient, step=7, optimizer=CATCHING_UP)
    assert torch.equal(shifted.packed[2], plain.packed[2])


def test_materializing_twice_is_materializing_once_and_lazy_rows_defer_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "INIT_CHUNK_ROWS", 4)
    table = make_table()
    table.adam_step(RowGradients(torch.arange(10), torch.ones(10, 3, dtype=torch.float64)), step=1, optimizer=LAZY)
    before = table.packed.clone()
    table.materialize(step=30, optimizer=LAZY)
    assert torch.equal(table.packed, before)
    table.materialize(step=30, optimizer=CATCHING_UP)
    once = table.packed.clone()
    assert (once != before)[:, :3].all()  # every chunk was reached
    table.materialize(step=30, optimizer=CATCHING_UP)
    assert torch.equal(table.packed, once)
    assert table.last_step.tolist() == [30] * 10


@pytest.mark.parametrize("optimizer", [LAZY, CATCHING_UP], ids=["skip", "catch up"])
@pytest.mark.parametrize("at_hand", [False, True])
def test_rows_are_updated_some_at_a_time(
    optimizer: OptimizerConfig, at_hand: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all at once, the last ones too, whose number is not that of the others."""
    gradients = RowGradients(torch.arange(0, 14, 2), torch.randn(7, 3, dtype=torch.float64))
    found: list[torch.Tensor] = []
    for cached_bytes in (1 << 20, 3 * 9 * 8):  # all rows, three
        monkeypatch.setattr("distributed_il.models.embedding.table.CACHED_BYTES", cached_bytes)
        table = make_table(14)
        packed = table.gather_packed(gradients.ids, step=4, optimizer=optimizer) if at_hand else None
        table.adam_step(gradients, step=5, optimizer=optimizer, packed=packed)
        found.append(table.packed)
    # Catching up takes powers, which depend on a row's place in a vector register.
    torch.testing.assert_close(*found, rtol=0, atol=1e-15 if optimizer is CATCHING_UP else 0)
