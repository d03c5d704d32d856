"""Ids that come later are folded in, and what a basis holds stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exposure_reference import exposures_of, neighbours, planted

from distributed_il.data.exposure import ExposureFactors, compute_factors, grown

COUNTS = planted(300, 120, seed=0)


@pytest.fixture
def factors(tmp_path: Path) -> ExposureFactors:
    return compute_factors(exposures_of(COUNTS), columns=4, tau=0.5, seed=1, scratch=tmp_path, edge=False)


def test_a_history_gives_the_factor_of_its_user_bit_for_bit(factors: ExposureFactors) -> None:
    folder = factors.user_folder()
    everybody = folder.fold([neighbours(COUNTS)])
    for user in (0, 1, 17, 299):
        np.testing.assert_array_equal(folder.fold_one(np.flatnonzero(COUNTS[user])), everybody[user])
    np.testing.assert_array_equal(folder.fold([neighbours(COUNTS)], 40, 90), everybody[40:90])


def test_a_factor_is_a_shrunken_mean_over_the_history(factors: ExposureFactors) -> None:
    history = np.array([3, 8, 50])
    expected = (factors.item_vectors[history] - factors.item_centre).sum(axis=0) / (3 + factors.tau_users)
    found = factors.user_folder().fold_one(history)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_items_without_a_vector_do_not_count(factors: ExposureFactors) -> None:
    folder = factors.user_folder()
    # Item 119 has no exposures, 500 is none of the basis.
    np.testing.assert_array_equal(folder.fold_one(np.array([3, 119, 8, 500])), folder.fold_one(np.array([3, 8])))
    assert not folder.fold_one(np.array([119, 500])).any()
    assert not folder.fold_one(np.zeros(0, dtype=np.int64)).any()


def test_an_item_folded_in_from_its_users_is_about_itself(factors: ExposureFactors) -> None:
    folder = factors.item_folder([neighbours(COUNTS)])
    found = folder.fold([neighbours(COUNTS.T)])
    np.testing.assert_allclose(found, factors.of_items(), atol=0.02 * np.abs(factors.of_items()).max())
    np.testing.assert_array_equal(folder.fold_one(np.flatnonzero(COUNTS[:, 7])), found[7])
    # User 0 has no history, 999 is no user.
    users = np.flatnonzero(COUNTS[:, 7])
    np.testing.assert_array_equal(folder.fold_one(np.append(users, [0, 999])), found[7])
    np.testing.assert_allclose(folder.vectors(found) * factors.singular_values, found, rtol=1e-5)


def test_users_vectors_may_lie_in_a_file(factors: ExposureFactors, tmp_path: Path) -> None:
    in_memory, in_file = (factors.item_folder([neighbours(COUNTS)], place) for place in (None, tmp_path))
    np.testing.assert_array_equal(in_memory.fold([neighbours(COUNTS.T)]), in_file.fold([neighbours(COUNTS.T)]))


def test_growth_keeps_the_basis_and_folds_new_items_in(tmp_path: Path) -> None:
    before = compute_factors(exposures_of(COUNTS[:250, :100]), columns=4, tau=0.5, seed=1, scratch=tmp_path, edge=False)
    today = exposures_of(COUNTS)
    after = grown(before, today, tmp_path)
    np.testing.assert_array_equal(after.item_vectors[:100], before.item_vectors)
    np.testing.assert_array_equal(after.singular_values, before.singular_values)
    assert after.item_vectors[100:119].any(axis=1).all()
    assert not after.item_vectors[119].any()
    # A new item likes what a basis of all says it likes: columns agree but for their sign and a small rotation.
    everything = compute_factors(today, columns=4, tau=0.5, seed=1, scratch=tmp_path, edge=False)
    old, new = after.of_items()[:119], everything.of_items()[:119]
    old = old @ np.linalg.lstsq(old[:100], new[:100])[0]
    old, new = old[100:], new[100:]
    cosine = np.sum(old * new) / np.linalg.norm(old) / np.linalg.norm(new)
    assert cosine > 0.9
    # Somebody who came later and saw new items alone has a factor now.
    history = np.array([101, 105, 110])
    assert not before.user_folder().fold_one(history).any()
    assert after.user_folder().fold_one(history).any()
    # Nothing new, nothing changes.
    np.testing.assert_array_equal(grown(after, today).item_vectors, after.item_vectors)


def test_a_basis_gives_no_item_another_vector(factors: ExposureFactors) -> None:
    with pytest.raises(ValueError, match="another"):
        factors.extended(factors.item_vectors * np.float32(2))
    with pytest.raises(ValueError, match="lose"):
        factors.extended(factors.item_vectors[:50])


def test_shapes_are_checked(factors: ExposureFactors) -> None:
    with pytest.raises(ValueError, match="item_centre must be float64"):
        ExposureFactors(
            item_vectors=factors.item_vectors,
            singular_values=factors.singular_values,
            item_centre=factors.item_centre[:2],
            user_centre=factors.user_centre,
            tau_users=1.0,
            tau_items=1.0,
            user_scales=factors.user_scales,
            item_scales=factors.item_scales,
            energy=0.5,
            null_edge=0.1,
        )
