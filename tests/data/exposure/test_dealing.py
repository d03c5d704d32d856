"""Permutations one value at a time, deals that keep degrees, indexes turned round, tall matrices in blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from exposure_reference import exposures_of, neighbours, planted
from hypothesis import given
from hypothesis import strategies as st

from distributed_il.data.exposure import Neighbours, transpose
from distributed_il.data.exposure import blocks as blocks_module
from distributed_il.data.exposure import exposures as exposures_module
from distributed_il.data.exposure.blocks import map_blocks, orthonormalise
from distributed_il.data.exposure.dealing import Permutation, deal_anew
from distributed_il.data.exposure.decomposition import start_columns


@given(size=st.integers(1, 3_000), seed=st.integers(-5, 2**70))
def test_a_permutation_meets_every_value_once(size: int, seed: int) -> None:
    found = Permutation(size, seed).take(np.arange(size))
    np.testing.assert_array_equal(np.sort(found), np.arange(size))


def test_a_permutation_leaves_no_order() -> None:
    size = 200_000
    found = Permutation(size, seed=0).take(np.arange(size))
    assert not np.array_equal(found, Permutation(size, seed=1).take(np.arange(size)))
    for lag in (0, 1, 2, 447, 448, 1000):  # √size is about 447
        other = np.arange(size) if lag == 0 else np.roll(found, lag)
        assert abs(np.corrcoef(found, other)[0, 1]) < 5 / np.sqrt(size)


def test_a_deal_keeps_every_degree(tmp_path: Path) -> None:
    exposures = exposures_of(planted(90, 70, seed=0), planted(90, 70, seed=1))
    dealt = deal_anew(exposures, seed=2, scratch=tmp_path)
    np.testing.assert_array_equal(dealt.user_degrees(), exposures.user_degrees())
    np.testing.assert_array_equal(dealt.item_degrees(), exposures.item_degrees())
    # Both sides hold the same pairs.
    (by_user,), (by_item,) = dealt.by_user, dealt.by_item
    pairs = np.repeat(np.arange(90), by_user.degrees()) * 70 + by_user.ids
    turned = by_item.ids.astype(np.int64) * 70 + np.repeat(np.arange(70), by_item.degrees())
    np.testing.assert_array_equal(np.sort(pairs), np.sort(turned))
    assert not np.array_equal(by_user.ids, exposures.by_user[0].ids[: by_user.ids.size])


@pytest.mark.parametrize("chunk", [1, 13, 1 << 22])
def test_an_index_turned_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(exposures_module, "_CHUNK", chunk)
    counts = planted(50, 30, seed=3)
    for place in (None, tmp_path / "turned"):
        found, expected = transpose(neighbours(counts), 30, place), neighbours(counts.T)
        np.testing.assert_array_equal(found.offsets, expected.offsets)
        np.testing.assert_array_equal(found.ids, expected.ids)


def test_ids_out_of_range_are_refused() -> None:
    index = Neighbours(np.array([0, 2]), np.array([0, 3], dtype=np.int32))
    with pytest.raises(ValueError, match=r"\[0, 3\), not 0 to 3"):
        transpose(index, 3)
    empty = transpose(Neighbours(np.array([0, 0]), np.zeros(0, dtype=np.int32)), 3)
    np.testing.assert_array_equal(empty.offsets, [0, 0, 0, 0])


@pytest.mark.parametrize("rows", [5, 16, 33, 100])
def test_a_tall_matrix_is_orthonormalised_in_blocks(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(blocks_module, "BLOCK_ROWS", 16)
    table = start_columns(rows, 5, seed=0).double()
    table[:, 4] = table[:, 0]  # of rank 4: the columns must be orthonormal all the same
    original = table.clone()
    orthonormalise(table, threads=2)
    torch.testing.assert_close(table.T @ table, torch.eye(5, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(table @ (table.T @ original), original, atol=1e-12, rtol=0)


def test_blocks_come_in_order() -> None:
    rows = 3 * blocks_module.BLOCK_ROWS + 5
    found = list(map_blocks(lambda start, stop: (start, stop), rows, 4))
    assert [start for start, _ in found] == sorted(start for start, _ in found)
    assert found[0][0] == 0
    assert found[-1][1] == rows


def test_the_start_is_gaussian_and_of_the_item_alone() -> None:
    found = start_columns(70_000, 3, seed=5)
    assert abs(float(found.mean())) < 0.01
    assert abs(float(found.std()) - 1) < 0.01
    assert abs(float((found**4).mean()) - 3) < 0.1
    torch.testing.assert_close(start_columns(100, 8, seed=5)[:, :3], found[:100], atol=0, rtol=0)
