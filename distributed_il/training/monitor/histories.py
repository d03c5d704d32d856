"""The decisions of a run: exact shares, and a curve thinned to a size that can be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

NAMES = ("direct", "skip", "inverse")
MOST_POINTS = 20_000


class DecisionHistory:
    """Counts every decision and keeps every `stride`-th as a point; the stride doubles when there are too many.

    Attributes:
        counts: Decisions for direct, skip and inverse, int64 [3].
    """

    def __init__(self) -> None:
        """Starts empty."""
        self.counts = np.zeros(len(NAMES), dtype=np.int64)
        self._stride = 1
        self._points: list[tuple[int, int, float]] = []

    @property
    def total(self) -> int:
        """Number of decisions so far."""
        return int(self.counts.sum())

    def append(self, step: int, choice: int, losses: Sequence[float]) -> None:
        """Adds a step's decision, 0 direct, 1 skip or 2 inverse, and the candidates' training-test losses."""
        if self.total % self._stride == 0:
            self._points.append((step, choice, losses[choice]))
            if len(self._points) > MOST_POINTS:
                self._points = self._points[::2]
                self._stride *= 2
        self.counts[choice] += 1

    def shares(self) -> dict[str, float]:
        """Returns the share of each decision; 0 before the first."""
        return {name: float(count / max(self.total, 1)) for name, count in zip(NAMES, self.counts, strict=True)}

    def curve(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int8]]:
        """Returns the points kept: steps int64 [n], losses of the chosen candidates float64 [n], choices int8 [n]."""
        steps, choices, losses = zip(*self._points, strict=True) if self._points else ((), (), ())
        return np.array(steps, dtype=np.int64), np.array(losses, dtype=np.float64), np.array(choices, dtype=np.int8)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Returns arrays that `from_state` resumes from."""
        steps, losses, choices = self.curve()
        stride = np.array([self._stride], dtype=np.int64)
        return {"counts": self.counts.copy(), "stride": stride, "steps": steps, "losses": losses, "choices": choices}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.generic]]) -> DecisionHistory:
        """Rebuilds a history from `state`."""
        history = cls()
        history.counts = np.array(state["counts"], dtype=np.int64)
        history._stride = int(state["stride"][0])
        columns = (state[name].tolist() for name in ("steps", "choices", "losses"))
        history._points = list(zip(*columns, strict=True))
        return history


BINS = 50


class WeightHistogram:
    """How the weights w1 of unlabelled pairs are distributed over [0, 1].

    Attributes:
        counts: Weights in each of 50 equal bins, int64 [50].
    """

    edges: NDArray[np.float64] = np.linspace(0.0, 1.0, BINS + 1)

    def __init__(self, counts: NDArray[np.int64] | None = None) -> None:
        self.counts = np.zeros(BINS, dtype=np.int64) if counts is None else counts.copy()

    def add(self, weights: NDArray[np.floating]) -> None:
        """Counts weights, each in [0, 1]; 1 falls in the last bin, and NaN is left out.

        NaN comes from a model that has diverged; the check of the training loss says so in a better message.
        """
        known = weights[~np.isnan(weights)]
        bins = np.minimum((known * BINS).astype(np.int64), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)

    @property
    def total(self) -> int:
        """Number of weights counted."""
        return int(self.counts.sum())
