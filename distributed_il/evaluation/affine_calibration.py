"""An affine fit of logits to labels, so that a loss can be compared whatever scale the logits are on (Platt 1999)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Part = tuple[Float64, ...]
"""Logits, float64 [n], labels 0 or 1, float64 [n], and perhaps the weights of the rows, float64 [n]."""
Parts = Callable[[], Iterable[Part]]
"""This rank's rows, part after part. Where they have weights, means are Σ w·ℓ over Σ w."""
SumOverRanks = Callable[[Float64], Float64]
"""Sums float64 [k] over ranks in rank order: the same bits on every rank."""

MIN_SLOPE, MAX_SLOPE = 1e-3, 1e3
"""Of standard scores: a fit that would turn the order around, or follow separable classes to infinity, ends here."""
_STEPS, _HALVINGS = 50, 30
_LAST_GAIN = 1e-12
"""Of the loss: a step that promises less is the last one. What it leaves is of the order of its square, and the loss,
which holds 16 digits, could not tell."""


@dataclass(frozen=True, slots=True)
class AffineCalibration:
    """P(positive) = σ(a·x + b).

    Attributes:
        slope: a > 0, so that no two rows change their order.
        intercept: b.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, logits: Float64) -> Float64:
        """Returns a·x + b, float64 of the shape given."""
        return self.slope * logits + self.intercept


def fit_affine(parts: Parts, sum_over_ranks: SumOverRanks = lambda sums: sums) -> AffineCalibration:
    """Fits a and b by Newton's method on the mean log loss of σ(a·x + b).

    All ranks call it together. Each sum of a step (loss, gradient, Hessian) is taken over a rank's own rows first and
    over ranks in their order then, so that all of them take the same steps.

    Args:
        parts: This rank's rows; asked for anew at every evaluation.
        sum_over_ranks: Sums over ranks; the identity for one process.

    Returns:
        The fit; a = 1 and b = 0 where there are no rows or all labels are the same.
    """
    rows, positives = (float(total) for total in sum_over_ranks(_counts(parts())))
    if not 0 < positives < rows:
        return AffineCalibration()
    mean = float(sum_over_ranks(_total(parts(), lambda logits: logits))[0]) / rows
    variance = float(sum_over_ranks(_total(parts(), lambda logits: (logits - mean) ** 2))[0]) / rows
    # On standard scores, so that Newton starts where the curvature is, however far logits are apart.
    scale = math.sqrt(variance) or 1.0

    def standard() -> Iterable[Part]:
        return (((logits - mean) / scale, *others) for logits, *others in parts())

    slope, intercept = _newton(lambda point: sum_over_ranks(_sums(standard(), point)) / rows)
    return AffineCalibration(slope / scale, intercept - slope * mean / scale)


def affine_loss(
    calibration: AffineCalibration, parts: Parts, sum_over_ranks: SumOverRanks = lambda sums: sums
) -> float:
    """Returns the mean log loss of σ(a·x + b) over the rows of all ranks, NaN where there are none.

    Args:
        calibration: a and b.
        parts: This rank's rows.
        sum_over_ranks: As in `fit_affine`.
    """
    point = np.array([calibration.slope, calibration.intercept])
    rows, _ = sum_over_ranks(_counts(parts()))
    loss = sum_over_ranks(_sums(parts(), point))[0]
    return float(loss / rows) if rows else math.nan


def _newton(means: Callable[[Float64], Float64]) -> tuple[float, float]:
    """Minimises a loss whose value, gradient and Hessian `means` gives, by steps that are halved until they help."""
    point = np.array([1.0, 0.0])
    found = means(point)
    for _ in range(_STEPS):
        step = _newton_step(found, point)
        if -float(found[1:3] @ step) < _LAST_GAIN * found[0]:
            point = point + step
            break
        for halving in range(_HALVINGS):
            tried = point + step * 0.5**halving
            tried[0] = min(max(tried[0], MIN_SLOPE), MAX_SLOPE)
            new = means(tried)
            if new[0] < found[0]:
                break
        else:
            break
        point, found = tried, new
    return min(max(float(point[0]), MIN_SLOPE), MAX_SLOPE), float(point[1])


def _newton_step(means: Float64, point: Float64) -> Float64:
    """−H⁻¹ g, over b alone where a stands at a bound that the gradient pushes against."""
    _, g_a, g_b, h_aa, h_ab, h_bb = means
    at_bound = (point[0] <= MIN_SLOPE and g_a > 0) or (point[0] >= MAX_SLOPE and g_a < 0)
    determinant = h_aa * h_bb - h_ab * h_ab
    if at_bound or determinant <= 1e-14 * h_aa * h_bb:
        return np.array([0.0, -g_b / h_bb if h_bb > 0 else 0.0])
    return -np.array([h_bb * g_a - h_ab * g_b, h_aa * g_b - h_ab * g_a]) / determinant


def _total(parts: Iterable[Part], function: Callable[[Float64], Float64]) -> Float64:
    """The sum of a function of the logits, [1]."""
    return np.array([sum(_summed(function(logits), weights) for logits, _, *weights in parts)])


def _counts(parts: Iterable[Part]) -> Float64:
    """Rows and positives, or what they weigh."""
    total = np.zeros(2)
    for _, labels, *weights in parts:
        total += (weights[0].sum() if weights else labels.size, _summed(labels, weights))
    return total


def _summed(values: Float64, weights: Sequence[Float64]) -> float:
    """Sums values, each times its weight where there is one array of such."""
    return float((values * weights[0] if weights else values).sum())


def _sums(parts: Iterable[Part], point: Float64) -> Float64:
    """Loss, its gradient in a and b, and its Hessian (aa, ab, bb), summed over the rows: [6]."""
    total = np.zeros(6)
    for logits, labels, *weights in parts:
        if logits.shape != labels.shape or logits.ndim != 1:
            raise ValueError(f"logits {logits.shape} and labels {labels.shape} must both have shape [n]")
        scores = point[0] * logits + point[1]
        exponential = np.exp(-np.abs(scores))
        losses = np.maximum(scores, 0.0) - scores * labels + np.log1p(exponential)
        probabilities = np.where(scores >= 0, 1.0, exponential) / (1.0 + exponential)
        slope, curvature = probabilities - labels, exponential / (1.0 + exponential) ** 2
        curved = curvature * logits
        total += [
            _summed(values, weights) for values in (losses, slope * logits, slope, curved * logits, curved, curvature)
        ]
    return total
