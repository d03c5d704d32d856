"""How long people watched, counted while a log is read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

EDGES_S = (0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 18.0, 25.0, 35.0, 60.0, 120.0, 300.0)
"""Lower edges of the bins; the last one is open. The rule's own thresholds are among them."""
CLASSES = ("negative", "positive", "unclear")
"""What a watch can be, by number."""


class WatchTimes:
    """Numbers of watches by class and length."""

    def __init__(self) -> None:
        """None yet."""
        self.counts: NDArray[np.int64] = np.zeros((len(CLASSES), len(EDGES_S)), dtype=np.int64)
        """int64 [classes, bins]."""
        self.without_duration = 0
        """Watches whose duration is missing or 0."""

    def add(self, play: pa.Array, duration: pa.Array | None, labels: pa.Array, unit: str) -> None:
        """Counts watches.

        Args:
            play: float64 [n] from 0 up, without nulls.
            duration: float64 [n]; None where it is not read.
            labels: int8 [n], null where unclear.
            unit: `ms` or `s`.
        """
        if duration is not None:
            self.without_duration += int(np.count_nonzero(duration.fill_null(0.0).to_numpy() <= 0))
        seconds = play.to_numpy() / (1000.0 if unit == "ms" else 1.0)
        bins = np.searchsorted(EDGES_S, seconds, side="right") - 1
        classes = labels.fill_null(2).to_numpy()
        cells = classes.astype(np.int64) * len(EDGES_S) + bins
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)
