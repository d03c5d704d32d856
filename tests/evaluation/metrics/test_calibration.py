"""Log loss and expected calibration error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from distributed_il.evaluation.metrics import (
    calibration_gaps,
    expected_calibration_error,
    log_losses_of_logits,
    log_losses_of_probabilities,
)


def test_log_loss_by_hand() -> None:
    # −log ¾ for the positive at ¾, −log ¼ for the negative at ¾.
    expected = [-math.log(0.75), -math.log(0.25)]
    labels = np.array([1, 0])
    assert log_losses_of_probabilities(np.array([0.75, 0.75]), labels) == pytest.approx(expected, rel=1e-15)
    assert log_losses_of_logits(np.array([math.log(3), math.log(3)]), labels) == pytest.approx(expected, rel=1e-15)


def test_log_loss_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal(1000) * 4, rng.integers(0, 2, 1000)
    probabilities = 1 / (1 + np.exp(-logits))
    expected = log_loss(labels, probabilities)
    assert log_losses_of_logits(logits, labels).mean() == pytest.approx(expected, rel=1e-12)
    assert log_losses_of_probabilities(probabilities, labels).mean() == pytest.approx(expected, rel=1e-12)


def test_log_losses_of_extreme_logits_is_exact() -> None:
    # Wrong by 1,000: a loss of 1,000; right by 1,000: none.
    assert log_losses_of_logits(np.array([-1000.0, 1000.0]), np.array([1, 1])).tolist() == [1000.0, 0.0]


def test_a_wrong_certainty_costs_53_bits() -> None:
    assert log_losses_of_probabilities(np.array([0.0]), np.array([1])) == pytest.approx(53 * math.log(2))
    assert log_losses_of_probabilities(np.array([1.0]), np.array([0])) == pytest.approx(53 * math.log(2))
    ones = np.array([1.0], dtype=np.float32)  # of which float32 has no neighbour that near
    assert log_losses_of_probabilities(ones, np.array([0])) == pytest.approx(53 * math.log(2))


def calibration_error(probabilities: list[float], labels: list[int], num_bins: int) -> float:
    gaps = calibration_gaps(np.array(probabilities), np.array(labels, dtype=np.int64), num_bins=num_bins)
    assert gaps.shape == (num_bins,)
    return expected_calibration_error(gaps, len(labels))


def test_calibration_error_by_hand() -> None:
    # Two bins of width ½. Lower: probabilities 0.1, 0.3, labels 0, 1: |½ − 0.2| · 2/4. Upper, with 0.5 and 1 in it:
    # labels 1, 1: |1 − 0.75| · 2/4.
    assert calibration_error([0.1, 0.3, 0.5, 1.0], [0, 1, 1, 1], 2) == pytest.approx(0.15 + 0.125)


def test_15_bins_unless_told_otherwise() -> None:
    # 0.06 and 0.07 lie on both sides of 1/15 = 0.0667: (0.06 + 0.93) / 2. In one bin: |½ − 0.065|.
    gaps = calibration_gaps(np.array([0.06, 0.07]), np.array([0, 1]))
    assert expected_calibration_error(gaps, 2) == pytest.approx(0.495)
    assert calibration_error([0.06, 0.07], [0, 1], 1) == pytest.approx(0.435)


def test_no_rows_have_no_calibration() -> None:
    assert math.isnan(calibration_error([], [], 15))
    nothing, no_labels = np.array([]), np.array([], dtype=np.int64)
    assert log_losses_of_logits(nothing, no_labels).size == log_losses_of_probabilities(nothing, no_labels).size == 0
