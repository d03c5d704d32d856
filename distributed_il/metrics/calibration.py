"""How far probabilities can be taken at their word."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Probabilities of exactly 0 or 1 are moved inwards by one rounding of float64, so that one wrong certainty costs 36.7
# and not infinity.
_SMALLEST = 2.0**-53


def log_loss_of_logits(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean of softplus(−x) over positives and softplus(x) over negatives, in float64.

    Args:
        logits: float [n], finite.
        labels: Integers [n], each 0 or 1.

    Returns:
        The mean, NaN where there are no rows.
    """
    if not labels.size:
        return float("nan")
    return float(np.mean(np.logaddexp(0.0, np.where(labels > 0, -1.0, 1.0) * logits)))


def log_loss_of_probabilities(probabilities: NDArray[np.float64], labels: NDArray[Any]) -> float:
    """Mean of −log ŷ over positives and −log(1 − ŷ) over negatives.

    Args:
        probabilities: float64 [n] in [0, 1]; values nearer than 2⁻⁵³ to an end are moved to that distance.
        labels: Integers [n], each 0 or 1.

    Returns:
        The mean, NaN where there are no rows.
    """
    if not labels.size:
        return float("nan")
    clipped = np.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    return float(-np.mean(np.where(labels > 0, np.log(clipped), np.log1p(-clipped))))


def expected_calibration_error(probabilities: NDArray[np.float64], labels: NDArray[Any], num_bins: int = 15) -> float:
    """ECE: Σ_b (n_b / n) · |mean label − mean probability| over bins of equal width.

    Bin b holds b / num_bins ≤ ŷ < (b + 1) / num_bins, the last one also ŷ = 1.

    Args:
        probabilities: float64 [n] in [0, 1], of label 1.
        labels: Integers [n], each 0 or 1.
        num_bins: Bins, 15 as is usual.

    Returns:
        A number in [0, 1], NaN where there are no rows.
    """
    if not labels.size:
        return float("nan")
    bins = np.minimum((probabilities * num_bins).astype(np.int64), num_bins - 1)
    gaps = np.bincount(bins, weights=labels - probabilities, minlength=num_bins)
    return float(np.abs(gaps).sum() / labels.size)
