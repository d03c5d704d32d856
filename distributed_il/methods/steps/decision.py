"""The report of a step, and the decision that all ranks take together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives, sum_over_ranks
from distributed_il.core.errors import UserError

DIRECT, SKIP, INVERSE = 0, 1, 2
SIGNS = {DIRECT: -1.0, SKIP: 0.0, INVERSE: 1.0}
TIE_ORDER = (SKIP, DIRECT, INVERSE)


def decide(losses: Sequence[float]) -> int:
    """Chooses the candidate of smallest loss; ties go to skip, then direct, then inverse.

    Args:
        losses: Mean training-test loss of direct, skip and inverse.

    Returns:
        0 direct, 1 skip or 2 inverse. A candidate whose loss is not finite never wins.

    Raises:
        UserError: No loss is finite.
    """
    finite = [choice for choice in TIE_ORDER if math.isfinite(losses[choice])]
    if not finite:
        raise UserError(
            f"the training-test losses of all three candidates are not finite ({list(losses)}): training has "
            "diverged; lower optimizer.learning_rate (γ) and method.dual_learning_rate (α)"
        )
    return min(finite, key=lambda choice: losses[choice])  # min keeps the first of equals


@dataclass(frozen=True, slots=True)
class Decision:
    """The choice of an inverse step, the same on every rank."""

    choice: int  # 0 direct, 1 skip, 2 inverse
    # mean log loss of the three candidates on the training-test batch, in that order
    losses: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step reports for monitoring."""

    loss_sum: Tensor  # sum of this rank's labelled log losses before the update, detached scalar
    rows: int  # rows that the sum is over
    # logits of the pairs whose inverse dual weights are of interest, detached [n]; or None
    unlabelled_logits: Tensor | None = None
    decision: Decision | None = None  # of an inverse step; or None


def decide_together(collectives: Collectives, sums: Tensor, rows: int, weights: Tensor | None = None) -> Decision:
    """Decides from the losses of all ranks: sums and row counts travel together, and all divide the same float64.

    `sums` are this rank's sums of log losses of direct, skip and inverse, float64 [3], each over `rows` rows; where
    these have weights, float [rows], sums of w·ℓ, and Σ w stands for the count.

    Raises:
        UserError: No loss is finite.
    """
    if weights is None:
        count = sums.new_full((1,), rows)  # filled on the device, without waiting for it
    else:
        count = weights.to(torch.float64).sum().reshape(1)
    *totals, total_rows = sum_over_ranks(collectives, torch.cat([sums, count])).tolist()
    losses = (totals[0] / total_rows, totals[1] / total_rows, totals[2] / total_rows)
    return Decision(decide(losses), losses)
