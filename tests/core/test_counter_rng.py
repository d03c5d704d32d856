"""Counter-based randomness: golden values, uniformity, and the arithmetic of the upper product half."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributed_il.core.counter_rng import ORDER, SHUFFLE, hash_u64, uniform_below

GOLDEN_NO_COUNTER = 7141179953334974231
GOLDEN_ARRAY = [4775995486069809784, 2795842588532596053, 15137016665468170031, 8507904523029101384]


def reference_hash(*words: int) -> int:
    """The definition in plain integers."""
    mask, state = 2**64 - 1, 0
    for word in words:
        z = (state + 0x9E3779B97F4A7C15 * (word + 1)) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        state = z ^ (z >> 31)
    return state


def test_the_mixer_is_splitmix64() -> None:
    """0xE220A8397B1DCDAF is the well-known first output of splitmix64 for seed 0, which is one word 0 here."""
    assert reference_hash(0) == 0xE220A8397B1DCDAF


def test_golden_values_never_change() -> None:
    """Datasets, checkpoints and published results hang on these."""
    assert int(hash_u64(0, ORDER)) == GOLDEN_NO_COUNTER
    assert hash_u64(7, SHUFFLE, 3, np.array([0, 1, 2, 10**12])).tolist() == GOLDEN_ARRAY


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4), st.integers(0, 2**32))
def test_array_and_integer_counters_agree_with_the_definition(counters: list[int], seed: int) -> None:
    expected = reference_hash(seed, 5, *counters)
    assert int(hash_u64(seed, 5, *counters)) == expected
    for position in range(len(counters)):
        mixed = [np.array([c, c]) if i == position else c for i, c in enumerate(counters)]
        assert hash_u64(seed, 5, *mixed).tolist() == [expected, expected]


def test_counters_broadcast_and_are_left_untouched() -> None:
    rows, draws = np.arange(3)[:, None], np.arange(4, dtype=np.uint64)
    hashes = hash_u64(1, 2, rows, draws)
    assert hashes.shape == (3, 4)
    assert int(hashes[2, 3]) == reference_hash(1, 2, 2, 3)
    assert draws.tolist() == [0, 1, 2, 3]


def test_neighbouring_counters_give_independent_uniform_numbers() -> None:
    """Chi-square of 256 cells over 2**18 rows: mean 255, standard deviation 22.6."""
    for shift in (0, 28, 56):
        cells = (hash_u64(0, 6, np.arange(2**18)) >> np.uint64(shift)) & np.uint64(255)
        counts = np.bincount(cells.astype(np.int64), minlength=256)
        assert 150 < ((counts - 1024.0) ** 2 / 1024.0).sum() < 370


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 2**63 - 1)), min_size=1, max_size=8))
def test_uniform_below_is_the_upper_half_of_the_product(pairs: list[tuple[int, int]]) -> None:
    hashes = np.array([h for h, _ in pairs], dtype=np.uint64)
    bounds = np.array([b for _, b in pairs], dtype=np.int64)
    assert uniform_below(hashes, bounds).tolist() == [(h * b) >> 64 for h, b in pairs]
    assert uniform_below(hashes, pairs[0][1]).tolist() == [(h * pairs[0][1]) >> 64 for h, _ in pairs]
    small = bounds % 1000 + 1
    assert uniform_below(hashes, small).tolist() == [(h * int(b)) >> 64 for (h, _), b in zip(pairs, small, strict=True)]


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        uniform_below(hash_u64(0, 1, np.arange(2)), np.array([3, 0]))
    with pytest.raises(ValueError, match="uint64"):
        uniform_below(np.arange(2), 3)
    with pytest.raises(ValueError, match="integers"):
        hash_u64(0, 1, np.array([0.5]))


def test_empty_and_scalar_inputs() -> None:
    assert uniform_below(hash_u64(0, 1, np.zeros(0, dtype=np.int64)), 5).shape == (0,)
    assert uniform_below(hash_u64(0, 1, 3), 5).shape == ()
