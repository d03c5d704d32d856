"""When a process first asks its model for logits, left in a file."""

from __future__ import annotations

import os
import time

from torch import Tensor

from distributed_il.models.backbones.bias_mf import BiasMF

STAMP = "DISTRIBUTED_IL_BENCHMARK_FIRST_STEP"
"""Environment variable with the file's path."""


def stamp() -> None:
    """Writes the time, seconds since the epoch, unless somebody has."""
    try:
        with open(os.environ[STAMP], "x") as file:
            file.write(repr(time.time()))
    except FileExistsError:
        pass


class StampedBiasMF(BiasMF):
    """`bias_mf` that leaves a stamp."""

    stamped = False

    def forward(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        if not StampedBiasMF.stamped:
            StampedBiasMF.stamped = True
            stamp()
        return super().forward(user_rows, item_rows)
