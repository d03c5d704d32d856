"""Exposures dealt anew: the same degrees without any taste, to tell structure from chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distributed_il.core.counter_rng import EXPOSURE_DEAL, hash_u64, uniform_below
from distributed_il.data.exposure.exposures import Exposures, Int64, Neighbours, int32_array, rows_of

_CHUNK = 1 << 20
_ROUNDS = 6
"""Of the Feistel network. Four already make a permutation that short samples can't tell from a random one."""


class Permutation:
    """A random permutation of 0 .. size - 1 of which every value can be asked alone.

    A Feistel network over pairs (a, b) with a + b · width a number of at least `size` in all; what falls beyond `size`
    goes through again until it does not. (Black, Rogaway: Ciphers with arbitrary finite domains. CT-RSA 2002.) Each
    round's function is a table of counter hashes, of about √size entries.
    """

    def __init__(self, size: int, seed: int) -> None:
        """Draws the tables.

        Args:
            size: At least 1 and below 2**62.
            seed: Any integer.
        """
        self.size = size
        self.width = int(np.ceil(np.sqrt(size)))
        self.height = -(-size // self.width)
        bounds = (self.width, self.height)
        self._tables = [
            uniform_below(hash_u64(seed, EXPOSURE_DEAL, number, np.arange(bounds[1 - number % 2])), bounds[number % 2])
            for number in range(_ROUNDS)
        ]

    def take(self, values: Int64) -> Int64:
        """Where the permutation sends some numbers.

        Args:
            values: int64 [n], each in [0, size).

        Returns:
            int64 [n], each in [0, size).
        """
        result = self._once(values)
        while (beyond := np.flatnonzero(result >= self.size)).size:
            result[beyond] = self._once(result.take(beyond))
        return result

    def _once(self, values: Int64) -> Int64:
        high, low = np.divmod(values, self.width)
        for number, table in enumerate(self._tables):
            changed, bound, other = (low, self.width, high) if number % 2 == 0 else (high, self.height, low)
            changed += table.take(other)
            changed -= bound * (changed >= bound)
        return low + high * self.width


def deal_anew(exposures: Exposures, seed: int, scratch: Path) -> Exposures:
    """Deals the items anew over all exposures: every user and every item keeps its degree.

    Args:
        exposures: The real ones.
        seed: Of the deal.
        scratch: Directory for three files of 4 bytes an exposure.

    Returns:
        Exposures in one index a side, mapped from files in `scratch`; a pair may occur more than once.
    """
    user_offsets, item_offsets = (
        np.concatenate(([0], np.cumsum(degrees))) for degrees in (exposures.user_degrees(), exposures.item_degrees())
    )
    total = exposures.total
    deck, items, users = (int32_array(total, scratch / f"dealt_{name}") for name in ("deck", "items", "users"))
    starts = range(0, total, _CHUNK)
    for start in starts:
        stop = min(start + _CHUNK, total)
        deck[start:stop] = rows_of(item_offsets, start, stop)
    permutation = Permutation(max(total, 1), seed)
    for start in starts:
        stop = min(start + _CHUNK, total)
        places: NDArray[np.int64] = permutation.take(np.arange(start, stop))
        items[start:stop] = deck.take(places)
        users[places] = rows_of(user_offsets, start, stop)
    return Exposures(by_user=(Neighbours(user_offsets, items),), by_item=(Neighbours(item_offsets, users),))
