"""Exposure factors against a dense reference and scipy, and the same bits on every number of threads."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exposure_reference import exposures_of, neighbours, normalise, planted, reference
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from distributed_il.data.exposure import ExposureFactors, Exposures, compute_factors, null_edge, transpose
from distributed_il.data.exposure import blocks as blocks_module

EXACT: dict[str, Any] = {"passes": 60, "dtype": torch.float64, "edge": False}
"""So many passes that nothing is left of the start."""


def factors_of(exposures: Exposures, scratch: Path, **options: Any) -> ExposureFactors:
    return compute_factors(exposures, **({"columns": 4, "tau": 0.5, "seed": 3, "scratch": scratch} | options))


def sparse(users: int, items: int, count: int, seed: int) -> Exposures:
    """Random exposures without a dense matrix."""
    rng = np.random.default_rng(seed)
    keys = np.unique(rng.integers(users, size=count) * items + (items * rng.random(count) ** 2).astype(np.int64))
    offsets = np.concatenate(([0], np.cumsum(np.bincount(keys // items, minlength=users))))
    index = blocks_module.Neighbours(offsets, (keys % items).astype(np.int32))
    return Exposures((index,), (transpose(index, items),))


def assert_same_bits(first: ExposureFactors, second: ExposureFactors) -> None:
    for field in dataclasses.fields(ExposureFactors):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), err_msg=field.name)


def test_identities_of_the_reference() -> None:
    counts, tau = planted(60, 40, seed=0), 0.5
    found = reference(counts, tau, 4)
    _, tau_users, tau_items = normalise(counts, tau)
    users, items = counts.sum(axis=1, keepdims=True), counts.sum(axis=0)[:, None]
    z_users = (counts @ found.item_vectors - users * found.item_centre) / (users + tau_users)
    np.testing.assert_allclose(z_users, found.user_factors, atol=1e-10)
    z_items = (counts.T @ found.user_vectors - items * found.user_centre) / (items + tau_items)
    np.testing.assert_allclose(z_items, found.item_factors, atol=1e-10)


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0])
def test_equals_the_reference(tmp_path: Path, tau: float) -> None:
    counts = planted(60, 40, seed=1)
    exposures, expected = exposures_of(counts), reference(counts, tau, 4)
    found = factors_of(exposures, tmp_path, tau=tau, **EXACT)
    np.testing.assert_allclose(found.singular_values, expected.singular_values, atol=1e-10)
    np.testing.assert_allclose(found.item_vectors, expected.item_vectors, atol=1e-10)
    np.testing.assert_allclose(found.item_centre, expected.item_centre, atol=1e-10)
    np.testing.assert_allclose(found.user_centre, expected.user_centre, atol=1e-10)
    np.testing.assert_allclose(found.of_items(), expected.item_factors, atol=1e-10)
    np.testing.assert_allclose(found.user_folder().fold(exposures.by_user), expected.user_factors, atol=1e-10)
    folder = found.item_folder(exposures.by_user, tmp_path)
    np.testing.assert_allclose(folder.fold(exposures.by_item), expected.item_factors, atol=1e-10)
    assert found.energy == pytest.approx(expected.energy, abs=1e-12)
    for scales, factors in (
        (found.user_scales, expected.user_factors),
        (found.item_scales, expected.item_factors),
    ):
        known = factors.any(axis=1)
        np.testing.assert_allclose(scales, np.sqrt((factors[known] ** 2).mean(axis=0)), atol=1e-10)
    assert not list(tmp_path.iterdir())


def test_a_pair_in_both_indexes_counts_twice(tmp_path: Path) -> None:
    observed, logged = planted(60, 40, seed=2), planted(60, 40, seed=3)
    assert (observed * logged).any()
    expected = reference(observed + logged, 0.5, 4)
    found = factors_of(exposures_of(observed, logged), tmp_path, **EXACT)
    np.testing.assert_allclose(found.item_vectors, expected.item_vectors, atol=1e-10)
    assert found.energy == pytest.approx(expected.energy, abs=1e-12)


def test_default_passes_find_the_subspace_of_scipy(tmp_path: Path) -> None:
    counts, columns = planted(900, 500, seed=4, groups=9), 8
    found = factors_of(exposures_of(counts), tmp_path, columns=columns, tau=1.0)
    normalised, _, tau_items = normalise(counts, 1.0)
    _, values, right = svds(normalised, k=columns, rng=np.random.default_rng(0))
    vectors = found.item_vectors * np.sqrt(counts.sum(axis=0) + tau_items)[:, None] * np.sqrt(found.singular_values)
    cosines = np.linalg.svd(right @ vectors, compute_uv=False)
    assert np.sqrt(1 - min(cosines.min(), 1) ** 2) <= 0.1
    assert (found.singular_values**2).sum() / (values**2).sum() >= 0.999
    np.testing.assert_allclose(found.singular_values, np.sort(values)[::-1], rtol=2e-3)
    assert found.has_structure


@pytest.mark.parametrize("threads", [2, 3, 4, 8])
def test_same_bits_on_every_number_of_threads(tmp_path: Path, threads: int) -> None:
    exposures = sparse(users=20_000, items=9_000, count=80_000, seed=5)
    assert min(exposures.num_users, exposures.num_items) > 2 * blocks_module.BLOCK_ROWS
    options: dict[str, Any] = {"columns": 3, "passes": 2}
    assert_same_bits(
        factors_of(exposures, tmp_path, threads=threads, **options), factors_of(exposures, tmp_path, **options)
    )


def test_same_bits_however_many_entries_are_gathered_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exposures = exposures_of(planted(200, 100, seed=6))
    whole = factors_of(exposures, tmp_path)
    monkeypatch.setattr(blocks_module, "_GATHER", 7)
    assert_same_bits(factors_of(exposures, tmp_path), whole)


def test_the_number_of_threads_of_torch_is_left_as_it_was(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    factors_of(exposures_of(planted(60, 40, seed=0)), tmp_path, threads=2)
    assert torch.get_num_threads() == threads


def test_null_edge_is_the_largest_value_of_a_deal(tmp_path: Path) -> None:
    exposures = sparse(users=1_500, items=700, count=30_000, seed=7)
    edge = null_edge(exposures, 0.5, seed=1, scratch=tmp_path)
    # Another deal, by numpy, and its value by scipy.
    index = exposures.by_user[0]
    counts = np.zeros((1_500, 700))
    shuffled = np.random.default_rng(0).permutation(index.ids)
    np.add.at(counts, (np.repeat(np.arange(1_500), index.degrees()), shuffled), 1)
    expected = svds(normalise(counts, 0.5)[0], k=1, return_singular_vectors=False, rng=np.random.default_rng(0))
    assert edge == pytest.approx(float(expected[0]), rel=0.02)


def test_without_taste_the_first_value_is_about_the_edge(tmp_path: Path) -> None:
    counts = planted(900, 500, seed=8)
    with_taste = factors_of(exposures_of(counts), tmp_path)
    assert with_taste.singular_values[0] > 1.5 * with_taste.null_edge
    without = factors_of(sparse(users=1_500, items=700, count=30_000, seed=9), tmp_path)
    assert without.singular_values[0] == pytest.approx(without.null_edge, rel=0.06)


def test_ids_without_exposures_are_exactly_zero(tmp_path: Path) -> None:
    counts = planted(60, 40, seed=10)
    counts[7] = counts[:, 5] = 0
    exposures = exposures_of(counts)
    found = factors_of(exposures, tmp_path)
    z_users, z_items = found.user_folder().fold(exposures.by_user), found.of_items()
    for factors, degrees in ((z_users, counts.sum(axis=1)), (z_items, counts.sum(axis=0))):
        assert not factors[degrees == 0].any()
        assert factors[degrees > 0].any(axis=1).all()


def test_columns_beyond_the_rank_are_zero(tmp_path: Path) -> None:
    same = np.ones((6, 5), dtype=np.int64)
    found = factors_of(exposures_of(same), tmp_path, columns=8)
    assert not found.singular_values.any()
    assert not found.item_vectors.any()
    assert found.energy == 0
    # Two groups that share no item: N has rank 1 after the mean is taken out.
    halves = np.kron(np.eye(2, dtype=np.int64), np.ones((3, 4), dtype=np.int64))
    found = factors_of(exposures_of(halves), tmp_path, columns=12, tau=0)
    np.testing.assert_allclose(found.singular_values, [1] + [0] * 11, atol=1e-6)
    assert not found.item_vectors[:, 1:].any()
    assert found.energy == pytest.approx(1)


def test_an_earlier_basis_spares_passes(tmp_path: Path) -> None:
    counts = planted(900, 500, seed=11)
    exposures = exposures_of(counts)
    exact = factors_of(exposures, tmp_path, **EXACT)
    first = factors_of(exposures_of(counts[:700, :450]), tmp_path, edge=False)

    def distance(found: ExposureFactors) -> float:
        weights = np.sqrt(counts.sum(axis=0) + exact.tau_items)[:, None]
        bases = [weights * item.item_vectors * np.sqrt(item.singular_values) for item in (exact, found)]
        return float(1 - np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).min())

    warm = factors_of(exposures, tmp_path, start=first, passes=1, edge=False)
    cold = factors_of(exposures, tmp_path, passes=1, edge=False)
    assert distance(warm) < distance(cold)
    assert distance(factors_of(exposures, tmp_path, start=first, edge=False)) < 0.005


def test_sides_of_other_pairs_are_refused() -> None:
    counts: NDArray[np.int64] = planted(60, 40, seed=0)
    index = neighbours(counts)
    with pytest.raises(ValueError, match="by_user holds"):
        Exposures((index, index), (neighbours(counts.T),))
    with pytest.raises(ValueError, match="at least one index"):
        Exposures((), (neighbours(counts.T),))
    with pytest.raises(ValueError, match="must run from 0"):
        dataclasses.replace(index, ids=index.ids[1:])


@pytest.mark.parametrize(
    ("options", "message"), [({"columns": 0}, "columns is 0"), ({"tau": -1.0}, "tau is -1"), ({}, "no exposures")]
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    counts = planted(60, 40, seed=0) if options else np.zeros((3, 2))
    with pytest.raises(ValueError, match=message):
        factors_of(exposures_of(counts), tmp_path, **options)
