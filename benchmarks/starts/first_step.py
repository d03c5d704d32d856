"""A backbone that tells when it is first asked."""

from __future__ import annotations

from torch import Tensor

from benchmarks.starts.stamp import stamp
from distributed_il.models.backbones.bias_mf import BiasMF


class StampedBiasMF(BiasMF):
    """`bias_mf` that leaves a stamp."""

    stamped = False

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        if not StampedBiasMF.stamped:
            StampedBiasMF.stamped = True
            stamp()
        return super().forward(user_rows, item_rows)
