"""What a model's raw logit becomes before it is served: the logit of clear pairs, then a calibrated probability."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from distributed_il.core.errors import require_positive
from distributed_il.evaluation.affine_calibration import AffineCalibration
from distributed_il.methods.ordinal_loss import clear_logit, raw_logit


@dataclass(frozen=True, slots=True)
class Output:
    """P(positive) = σ(a·s + b) of the served logit s, which rises with the raw logit x: the order stays that of x.

    Attributes:
        half_width: t where x has cut points at ±t (`ordinal_loss`), then s is `clear_logit`; None: s = x.
        calibration: a and b, fitted to s on the validation split.
    """

    half_width: float | None = None
    calibration: AffineCalibration = field(default_factory=AffineCalibration)

    def __post_init__(self) -> None:
        if self.half_width is not None:
            require_positive("half_width (t)", self.half_width)

    def served(self, logits: Tensor) -> Tensor:
        """Returns s of raw logits, float [B]: as they are, or with a half width float64 [B].

        Rank by x: far from 0, neighbours of x may be the same s.
        """
        return logits if self.half_width is None else clear_logit(logits, self.half_width)

    def calibrated(self, logits: Tensor) -> Tensor:
        """Returns a·s + b of raw logits, float [B], as float64 [B]."""
        return self.served(logits).double() * self.calibration.slope + self.calibration.intercept

    def probability(self, logits: Tensor) -> Tensor:
        """Returns σ(a·s + b) of raw logits, float [B], as float64 [B]."""
        return torch.sigmoid(self.calibrated(logits))

    def raw(self, calibrated: Tensor) -> Tensor:
        """Returns the raw logits x, float64 [B], of a·s + b, float [B]: where a probability stands among the logits."""
        served = (calibrated.double() - self.calibration.intercept) / self.calibration.slope
        return served if self.half_width is None else raw_logit(served, self.half_width)

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values, from which `from_dict` makes the same output."""
        return {"half_width": self.half_width, **dataclasses.asdict(self.calibration)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Output:
        """Returns the output that a checkpoint holds; None is that of one from before: x itself, a = 1, b = 0."""
        if values is None:
            return cls()
        return cls(values["half_width"], AffineCalibration(values["slope"], values["intercept"]))
