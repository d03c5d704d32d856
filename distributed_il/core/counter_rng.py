"""A counter-based random generator: a row's draws depend on its number, never on what was drawn before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

UInt64 = NDArray[np.uint64]

SPLIT = 1
"""Stream that splits rows into train, valid and test, or into training-train and training-test."""
ORDER = 2
"""Stream that orders the rows of a pass."""
UNLABELLED = 3
"""Stream that draws unlabelled pairs."""
MIX = 4
"""Stream that chooses between logged and sampled pairs."""
INIT = 5
"""Stream of initial weights."""
SHUFFLE = 6
"""Stream of the one shuffle made at preparation."""
SIMULATE = 7
"""Stream of simulated logs."""
SWEEP = 8
"""Stream of the settings that a sweep tries."""
LOGGED = 9
"""Stream that draws logged unclear pairs, whoever's they are."""
EXPOSURE_START = 10
"""Stream of the columns that the decomposition of the exposures starts with."""
EXPOSURE_DEAL = 11
"""Stream that deals items anew over all exposures."""
ROW_DROPOUT = 12
"""Stream that drops the rows' own parts."""
RANKED = 13
"""Stream that chooses the users whose rankings are measured."""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def _mix_int(state: int) -> int:
    state = ((state ^ (state >> 30)) * _FIRST) & _MASK
    state = ((state ^ (state >> 27)) * _SECOND) & _MASK
    return state ^ (state >> 31)


def _mix_array(state: UInt64) -> UInt64:
    """The finaliser of splitmix64, in place; `state` is at least 1-D, so that numpy wraps without a warning."""
    state ^= state >> np.uint64(30)
    state *= np.uint64(_FIRST)
    state ^= state >> np.uint64(27)
    state *= np.uint64(_SECOND)
    state ^= state >> np.uint64(31)
    return state


def hash_u64(seed: int, stream: int, *counters: NDArray[Any] | int) -> UInt64:
    """Hashes (seed, stream, counters) to 64 bits, the same on every machine and in every version.

    The words are folded in one by one: each is the number of the output to take from a splitmix64 generator that was
    started in the hash of the words before it.

    Args:
        seed: Any integer, taken modulo 2**64.
        stream: What the numbers are for; one of this module's constants.
        *counters: Integers or integer arrays that broadcast together, taken modulo 2**64. Their order matters.

    Returns:
        uint64 of the counters' broadcast shape, 0-d where all are integers; uniform over 0 .. 2**64 - 1.

    Raises:
        ValueError: A counter is not of an integer dtype.
    """
    state: int | UInt64 = 0
    for word in (seed, stream, *counters):
        if isinstance(word, np.ndarray) and word.ndim:
            if word.dtype.kind not in "iu":
                raise ValueError(f"counters must be integers, not {word.dtype}")
            step = word.astype(np.uint64)
            step += np.uint64(1)
            step *= np.uint64(_GOLDEN)
            # A sum of arrays is a new array, which may be mixed in place.
            state = _mix_array(step + (np.uint64(state) if isinstance(state, int) else state))
            continue
        word = int(word)
        step = (_GOLDEN * (word + 1)) & _MASK
        if isinstance(state, int):
            state = _mix_int((state + step) & _MASK)
        else:
            state = _mix_array(state + np.uint64(step))
    return np.asarray(state, dtype=np.uint64)


def uniform_below(hashes: UInt64, bound: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Maps hashes to integers uniform over 0 .. bound - 1: the upper 64 bits of the product hash × bound.

    The bias of a value is below bound / 2**64. No floats take part, so the result is exact everywhere.

    Args:
        hashes: uint64 [n].
        bound: At least 1 and below 2**63; one for all, or int64 [n].

    Returns:
        int64 [n].

    Raises:
        ValueError: `hashes` is not uint64, or a bound is below 1.
    """
    if hashes.dtype != np.uint64:
        raise ValueError(f"hashes must be uint64, not {hashes.dtype}")
    bounds = np.atleast_1d(np.asarray(bound, dtype=np.int64))
    if bounds.size == 0:
        return np.zeros(np.broadcast_shapes(hashes.shape, bounds.shape), dtype=np.int64)
    if bounds.min() < 1:
        raise ValueError(f"bounds must be at least 1, not {bounds.min()}")
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    factor = bounds.astype(np.uint64)
    words = np.atleast_1d(hashes)
    upper, lower = words >> half, words & low
    if bounds.max() <= 0xFFFFFFFF:
        result = (upper * factor + ((lower * factor) >> half)) >> half
    else:
        factor_upper, factor_lower = factor >> half, factor & low
        middle = upper * factor_lower + ((lower * factor_lower) >> half)
        carried = (middle & low) + lower * factor_upper
        result = upper * factor_upper + (middle >> half) + (carried >> half)
    return result.astype(np.int64).reshape(np.broadcast_shapes(hashes.shape, np.shape(bound)))
