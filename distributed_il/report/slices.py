"""Groups of rows by how often their user, or their item, occurs in the training data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUPS = 5


@dataclass(frozen=True, eq=False, slots=True)
class Slices:
    """Groups of rows.

    Attributes:
        names: `0`, `1–12`, …: training rows of the user or item, ascending.
        numbers: Group of each row, int64 [n].
    """

    names: list[str]
    numbers: NDArray[np.int64]


def activity_slices(activity: NDArray[np.int64]) -> Slices:
    """Assigns rows to at most five groups of about equal size, and one more for those that training never met.

    Rows of equal activity stay together, so that there may be fewer groups, and uneven ones.

    Args:
        activity: int64 [n], training rows of each row's user or item.
    """
    met = activity[activity > 0]
    cuts = np.zeros(1, dtype=np.int64)
    if met.size:
        shares = np.arange(1, GROUPS) / GROUPS
        cuts = np.unique(np.append(cuts, np.quantile(met, shares, method="inverted_cdf")))
    _, numbers = np.unique(np.searchsorted(cuts, activity), return_inverse=True)
    names: list[str] = []
    for number in range(int(numbers.max(initial=-1)) + 1):
        inside = activity[numbers == number]
        low, high = int(inside.min()), int(inside.max())
        names.append(f"{low:,}" if low == high else f"{low:,}–{high:,}")
    return Slices(names, numbers)
