"""Counts of weights in equal bins, which add up over steps and ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 50


class WeightHistogram:
    """How the weights w1 of unlabelled pairs are distributed over [0, 1].

    Attributes:
        counts: Weights in each of 50 equal bins, int64 [50].
    """

    edges: NDArray[np.float64] = np.linspace(0.0, 1.0, BINS + 1)

    def __init__(self, counts: NDArray[np.int64] | None = None) -> None:
        """Starts empty, or from counts.

        Args:
            counts: int64 [50].
        """
        self.counts = np.zeros(BINS, dtype=np.int64) if counts is None else counts.copy()

    def add(self, weights: NDArray[np.floating]) -> None:
        """Counts weights, each in [0, 1]; 1 falls in the last bin, and NaN is left out.

        NaN comes from a model that has diverged, which the training loss tells in a better message than a bin could.
        """
        known = weights[~np.isnan(weights)]
        bins = np.minimum((known * BINS).astype(np.int64), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)

    @property
    def total(self) -> int:
        """Weights counted."""
        return int(self.counts.sum())
