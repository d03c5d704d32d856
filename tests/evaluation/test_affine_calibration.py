"""The affine fit against scikit-learn's logistic regression, by hand, and over ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from distributed_il.evaluation.affine_calibration import (
    MAX_SLOPE,
    MIN_SLOPE,
    AffineCalibration,
    affine_loss,
    fit_affine,
)

Float64 = NDArray[np.float64]


def rows(seed: int = 0, size: int = 4000, slope: float = 0.4, intercept: float = -0.7) -> tuple[Float64, Float64]:
    """Logits on a scale of their own, with labels that follow σ(slope·x + intercept)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(1, 3, size)
    labels = rng.random(size) < 1 / (1 + np.exp(-slope * logits - intercept))
    return logits, labels.astype(np.float64)


def test_the_fit_is_that_of_unpenalised_logistic_regression() -> None:
    logits, labels = rows()
    oracle = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky").fit(logits[:, None], labels)
    found = fit_affine(lambda: [(logits, labels)])
    assert found.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-7)
    assert found.intercept == pytest.approx(oracle.intercept_[0], rel=1e-7)
    # At the minimum the mean probability is the share of positives.
    assert (1 / (1 + np.exp(-found.apply(logits)))).mean() == pytest.approx(labels.mean(), abs=1e-9)


def test_by_hand() -> None:
    # At x = 1 three of four are positive, at −1 one of four: σ(a + b) = 3/4 and σ(b − a) = 1/4, so a = log 3, b = 0.
    logits = np.repeat([1.0, -1.0], 4)
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0], dtype=np.float64)
    found = fit_affine(lambda: [(logits, labels)])
    assert found.slope == pytest.approx(math.log(3), rel=1e-10)
    assert found.intercept == pytest.approx(0, abs=1e-10)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert affine_loss(found, lambda: [(logits, labels)]) == pytest.approx(entropy, rel=1e-12)


def test_logits_on_another_scale_have_the_same_loss() -> None:
    logits, labels = rows()
    losses = []
    for scale in (0.05, 1.0, 40.0):
        parts = [(logits * scale - 3 * scale, labels)]
        losses.append(affine_loss(fit_affine(lambda parts=parts: parts), lambda parts=parts: parts))
    assert losses == pytest.approx([losses[1]] * 3, rel=1e-12)
    assert losses[1] <= affine_loss(AffineCalibration(), lambda: [(logits, labels)])


def test_parts_of_ranks_give_the_fit_of_the_whole() -> None:
    logits, labels = rows(size=999)
    cuts = [slice(0, 10), slice(10, 10), slice(10, 500), slice(500, None)]
    whole = fit_affine(lambda: [(logits, labels)])
    found = fit_affine(lambda: [(logits[cut], labels[cut]) for cut in cuts])
    assert (found.slope, found.intercept) == pytest.approx((whole.slope, whole.intercept), rel=1e-12)
    # Two ranks of the same rows: twice the sums, the same fit.
    twice = fit_affine(lambda: [(logits, labels)], lambda sums: sums + sums)
    assert (twice.slope, twice.intercept) == pytest.approx((whole.slope, whole.intercept), rel=1e-12)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_and_no_rows_leave_the_logits_alone(label: float) -> None:
    logits = np.array([0.5, -2.0])
    assert fit_affine(lambda: [(logits, np.full(2, label))]) == AffineCalibration(1.0, 0.0)
    assert fit_affine(lambda: []) == AffineCalibration(1.0, 0.0)
    assert math.isnan(affine_loss(AffineCalibration(), lambda: []))


def test_the_order_is_never_turned_around_and_separable_classes_end() -> None:
    logits, labels = rows()
    turned = fit_affine(lambda: [(-logits, labels)])
    assert turned.slope == pytest.approx(MIN_SLOPE / logits.std())
    apart = np.array([-1.0, -0.5, 0.5, 1.0])
    found = fit_affine(lambda: [(apart, np.array([0.0, 0.0, 1.0, 1.0]))])
    assert 10 < found.slope <= MAX_SLOPE / apart.std()
    assert math.isfinite(found.intercept)


def test_huge_logits_and_equal_ones() -> None:
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    found = fit_affine(lambda: [(np.array([1e4, -1e4, 9e3, -8e3]), labels)])
    assert math.isfinite(found.slope)
    assert found.slope > 0
    constant = fit_affine(lambda: [(np.full(4, 2.0), np.array([1.0, 1.0, 1.0, 0.0]))])
    assert constant.apply(np.array([2.0]))[0] == pytest.approx(math.log(3), rel=1e-9)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="shape"):
        fit_affine(lambda: [(np.zeros((2, 1)), np.array([0.0, 1.0]))])
