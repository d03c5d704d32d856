"""Gains over the stronger baseline, paired, and Holm's adjustment."""

from __future__ import annotations

import math

import pytest

from benchmarks.feedback_value.gains import gains_over, holm


def test_a_gain_is_over_the_stronger_baseline_seed_by_seed() -> None:
    values = {"none": [0.7, 0.8], "bias": [0.72, 0.8], "ordinal": [0.75, 0.81]}
    gains = gains_over(values, ("none", "bias"))
    assert set(gains) == {"none", "ordinal"}
    assert gains["ordinal"].over == "bias"
    assert gains["ordinal"].gains == pytest.approx((0.03, 0.01))
    # t = 0.02 / (0.0141421 / √2) = 2 with one degree of freedom: p = 1 − 2·atan(2) / π.
    assert gains["ordinal"].p == pytest.approx(1 - 2 * math.atan(2) / math.pi)
    assert not gains_over({"ordinal": [0.7]}, ("none", "bias"))


def test_one_seed_or_equal_gains_have_no_p() -> None:
    assert math.isnan(gains_over({"none": [0.5], "ns": [0.6]}, ("none",))["ns"].p)
    assert math.isnan(gains_over({"none": [0.5, 0.5], "ns": [0.5, 0.5]}, ("none",))["ns"].p)


def test_holm_by_hand() -> None:
    # 0.01 · 3, 0.03 · 2, and 0.04 · 1, which may not fall below the one before it.
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    found = holm({"a": math.nan, "b": 0.5})
    assert math.isnan(found["a"])
    assert found["b"] == 0.5
    assert holm({}) == {}
