"""How far probabilities can be taken at their word."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Probabilities of exactly 0 or 1 are moved inwards by one rounding of float64, so that one wrong certainty costs 36.7
# and not infinity.
_SMALLEST = 2.0**-53


def log_losses_of_logits(logits: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Returns softplus(−x) of a positive, softplus(x) of a negative: float64 [n], at least 0.

    Args:
        logits: float [n], finite.
        labels: Integers [n], each 0 or 1.
    """
    return np.logaddexp(0.0, np.where(labels > 0, -1.0, 1.0) * logits)


def log_losses_of_probabilities(probabilities: NDArray[np.floating], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Returns −log ŷ of a positive, −log(1 − ŷ) of a negative: float64 [n], at least 0.

    Args:
        probabilities: Float [n] in [0, 1]; values nearer than 2⁻⁵³ to an end are moved to that distance.
        labels: Integers [n], each 0 or 1.
    """
    clipped = np.clip(probabilities.astype(np.float64, copy=False), _SMALLEST, 1 - _SMALLEST)
    return -np.where(labels > 0, np.log(clipped), np.log1p(-clipped))


def calibration_gaps(
    probabilities: NDArray[np.float64], labels: NDArray[Any], num_bins: int = 15
) -> NDArray[np.float64]:
    """Returns Σ (label − ŷ) over the rows of each bin, float64 [num_bins]; gaps of parts of the rows add up.

    Bin b holds b / num_bins ≤ ŷ < (b + 1) / num_bins, the last one also ŷ = 1.

    Args:
        probabilities: float64 [n] in [0, 1], of label 1.
        labels: Integers [n], each 0 or 1.
        num_bins: Bins, 15 as is usual.
    """
    bins = np.minimum((probabilities * num_bins).astype(np.int64), num_bins - 1)
    return np.bincount(bins, weights=labels - probabilities, minlength=num_bins).astype(np.float64)


def expected_calibration_error(gaps: NDArray[np.float64], rows: int) -> float:
    """Returns the ECE: Σ_b (n_b / n) · |mean label − mean probability| over bins b of n_b rows.

    Args:
        gaps: float64 [num_bins] of `calibration_gaps`.
        rows: n.

    Returns:
        A number in [0, 1], NaN where there are no rows.
    """
    return float(np.abs(gaps).sum() / rows) if rows else float("nan")
