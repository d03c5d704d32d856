"""Labelled rows as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled rows of one lane.

    Attributes:
        numbers: Global row numbers, int64 [n].
        user_ids: int32 or int64 [n].
        item_ids: int32 or int64 [n].
        labels: 0 or 1, [n].
    """

    numbers: NDArray[np.int64]
    user_ids: NDArray[np.integer]
    item_ids: NDArray[np.integer]
    labels: NDArray[np.integer]

    def __len__(self) -> int:
        return self.numbers.size

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Rows:
        """The rows at some places."""
        return Rows(self.numbers[index], self.user_ids[index], self.item_ids[index], self.labels[index])

    @classmethod
    def join(cls, parts: list[Rows]) -> Rows:
        """One after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.user_ids for part in parts]),
            np.concatenate([part.item_ids for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )
