"""What is served of a raw logit."""

from __future__ import annotations

import json
import math

import pytest
import torch

from distributed_il.core.errors import UserError
from distributed_il.evaluation.affine_calibration import AffineCalibration
from distributed_il.evaluation.output import Output


def test_without_anything_a_logit_is_served_as_it_is() -> None:
    logits = torch.linspace(-90, 90, 1001)
    assert Output().served(logits) is logits
    assert torch.equal(Output().probability(logits), torch.sigmoid(logits.double()))


def test_a_calibrated_probability_by_hand() -> None:
    # a = 2, b = log 3: the odds e^(2x) · 3 are 3 at x = 0 and 27 at x = log 3.
    output = Output(calibration=AffineCalibration(2.0, math.log(3)))
    assert output.probability(torch.tensor([0.0, math.log(3)])).tolist() == pytest.approx([3 / 4, 27 / 28], rel=1e-7)


def test_with_a_half_width_the_logit_of_clear_pairs_is_calibrated() -> None:
    # x = 1, t = ½: σ(½) / (σ(½) + σ(−3/2)), the odds being σ(½) / σ(−3/2); a = ½: their root; b = log 2: doubled.
    output = Output(0.5, AffineCalibration(0.5, math.log(2)))
    odds = (1 + math.exp(1.5)) / (1 + math.exp(-0.5))
    assert output.served(torch.ones(1, dtype=torch.float64)).item() == pytest.approx(math.log(odds), rel=1e-14)
    root = 2 * math.sqrt(odds)
    assert output.probability(torch.ones(1)).item() == pytest.approx(root / (1 + root), rel=1e-14)


@pytest.mark.parametrize("half_width", [None, 1e-3, 0.5, 8.0])
def test_the_order_stays(half_width: float | None) -> None:
    logits = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    output = Output(half_width, AffineCalibration(0.3, -0.7))
    assert (output.calibrated(logits).diff() > 0).all()
    assert (output.probability(logits).diff() > 0).all()


def test_it_goes_through_json() -> None:
    for output in (Output(), Output(1 / 3, AffineCalibration(math.pi, -math.e))):
        assert Output.from_dict(json.loads(json.dumps(output.to_dict()))) == output
    assert Output.from_dict(None) == Output()


def test_a_half_width_of_zero_is_refused() -> None:
    with pytest.raises(UserError, match="half_width"):
        Output(0.0)
