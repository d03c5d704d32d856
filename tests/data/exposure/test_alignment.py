"""Factors computed anew after growth are turned into the columns of those before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from exposure_reference import exposures_of, neighbours, planted
from numpy.typing import NDArray

from distributed_il.data.exposure import ExposureFactors, Exposures, aligned, compute_factors, grown

COLUMNS, USERS, ITEMS = 4, 250, 100
COUNTS = planted(300, 120, seed=0)
TODAY = exposures_of(COUNTS)


def computed(exposures: Exposures, scratch: Path, seed: int = 1) -> ExposureFactors:
    return compute_factors(exposures, columns=COLUMNS, tau=0.5, seed=seed, scratch=scratch, edge=False)


def flipped(factors: ExposureFactors) -> ExposureFactors:
    """The same factors as another computation might have found them: two columns with the other sign."""
    sign = np.array([1, -1, 1, -1])
    return replace(
        factors,
        item_vectors=(factors.item_vectors * sign).astype(np.float32),
        item_centre=factors.item_centre * sign,
        user_centre=factors.user_centre * sign,
    )


def deviations(factors: ExposureFactors, exposures: Exposures) -> tuple[NDArray[Any], NDArray[Any]]:
    """z of users and of items, each over its deviation where it is not aligned."""
    ones = np.ones(COLUMNS)
    scales = (factors.user_scales, factors.item_scales) if factors.rotation is None else (ones, ones)
    return factors.user_folder().fold(exposures.by_user) / scales[0], factors.of_items() / scales[1]


def turned_to(factors: ExposureFactors, before: ExposureFactors, threads: int = 1) -> ExposureFactors:
    """Aligns factors of today to those of before, of the first users and items alone."""
    z = before.user_folder().fold(TODAY.by_user)[:USERS], before.of_items()[:ITEMS]
    ones = np.ones(COLUMNS)
    scales = (before.user_scales, before.item_scales) if before.rotation is None else (ones, ones)
    return aligned(factors, TODAY, z, scales, threads)


@pytest.fixture
def before(tmp_path: Path) -> ExposureFactors:
    return computed(exposures_of(COUNTS[:USERS, :ITEMS]), tmp_path)


def test_the_rotation_is_that_of_orthogonal_procrustes(before: ExposureFactors, tmp_path: Path) -> None:
    today = computed(TODAY, tmp_path)
    old, new = (
        np.concatenate([users[:USERS], items[:ITEMS]])
        for users, items in (deviations(before, TODAY), deviations(today, TODAY))
    )
    expected, _ = scipy.linalg.orthogonal_procrustes(new, old)
    found = turned_to(today, before).rotation
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found @ found.T, np.eye(COLUMNS), atol=1e-12)


def test_turned_factors_are_close_to_those_before_where_columns_flip(before: ExposureFactors, tmp_path: Path) -> None:
    today = flipped(computed(TODAY, tmp_path))
    after = turned_to(today, before)
    sides = zip(deviations(before, TODAY), deviations(today, TODAY), deviations(after, TODAY), strict=True)
    for rows, side in zip((USERS, ITEMS), sides, strict=True):
        old, plain, turned = (z[:rows] for z in side)
        assert np.linalg.norm(plain - old) > 1.5 * np.linalg.norm(old)
        assert np.linalg.norm(turned - old) < 0.2 * np.linalg.norm(old)
        # Turned means turned: (z / scales) Q, to the rounding of float32.
        np.testing.assert_allclose(turned, plain @ after.rotation, atol=1e-5)


def test_a_second_recomputation_stays_in_the_columns_of_the_first(before: ExposureFactors, tmp_path: Path) -> None:
    first = turned_to(flipped(computed(TODAY, tmp_path)), before)
    second = turned_to(computed(TODAY, tmp_path), first)
    for one, other in zip(deviations(first, TODAY), deviations(second, TODAY), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_same_bits_on_every_number_of_threads(
    before: ExposureFactors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributed_il.data.exposure.blocks.BLOCK_ROWS", 32)
    today = computed(TODAY, tmp_path)
    rotations = [turned_to(today, before, threads).rotation for threads in (1, 2, 3)]
    np.testing.assert_array_equal(rotations[1], rotations[0])
    np.testing.assert_array_equal(rotations[2], rotations[0])


def test_whoever_comes_later_is_folded_in_to_the_same_columns(before: ExposureFactors, tmp_path: Path) -> None:
    after = turned_to(flipped(computed(TODAY, tmp_path)), before)
    folder = after.user_folder()
    everybody = folder.fold([neighbours(COUNTS)])
    for user in (1, 17, 299):
        np.testing.assert_array_equal(folder.fold_one(np.flatnonzero(COUNTS[user])), everybody[user])
    assert not folder.fold_one(np.zeros(0, dtype=np.int64)).any()
    # An item from its users comes out about where it is.
    found, items = after.item_folder(TODAY.by_user).fold(TODAY.by_item), after.of_items()
    np.testing.assert_allclose(found, items, atol=0.03 * np.abs(items).max())


def test_growth_keeps_the_rotation(before: ExposureFactors, tmp_path: Path) -> None:
    first = exposures_of(COUNTS[:USERS, :ITEMS])
    z = before.user_folder().fold(first.by_user), before.of_items()
    after = aligned(flipped(before), first, z, (before.user_scales, before.item_scales))
    today = grown(after, TODAY, tmp_path)
    plain = grown(before, TODAY, tmp_path)
    np.testing.assert_array_equal(today.rotation, after.rotation)
    np.testing.assert_array_equal(today.of_items()[:ITEMS], after.of_items())
    for one, other in zip(deviations(today, TODAY), deviations(plain, TODAY), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_what_does_not_fit_is_refused(before: ExposureFactors) -> None:
    with pytest.raises(ValueError, match=r"rotation must be \[4, 4\], not \(3, 3\)"):
        replace(before, rotation=np.eye(3))
    z = before.user_folder().fold(TODAY.by_user)[:, :3], before.of_items()[:, :3]
    with pytest.raises(ValueError, match="4 columns can't be turned into 3"):
        aligned(before, TODAY, z, (np.ones(3), np.ones(3)))
