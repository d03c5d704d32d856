"""Branches: several ways to take the first pass of a round, of which the best on training-test is kept.

For `ig` with `decision: round` the check of Algorithm 1 is put off to the end of a pass: one update tells nothing of
whether the dual loss helps, a pass does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseDualConfig
from distributed_il.data.loading.batch import Batch, Phase
from distributed_il.methods.steps.decision import StepReport
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.methods.supervised import Supervised


@dataclass(frozen=True, slots=True)
class Branch:
    """One way to take a pass."""

    name: str  # what people see
    sign: int  # s, of the dual loss
    phase: Phase
    step: Callable[[StepExecutor, Batch], StepReport]  # takes the place of `Method.step`


def signed_branches(weight: float) -> tuple[Branch, ...]:
    """Returns passes over training-train of labelled loss + s·λ·dual loss, for s = 1, 0 and −1.

    Steps are those of `idl`, through the persistent optimiser; for s = 0 those of `none`, which draw no pairs and touch
    no rows of such. The one that would win a tie with s = −1 comes before it, and last comes the one that wins most
    often: what was done last need not be done again.

    Args:
        weight: λ.
    """

    def branch(name: str, sign: int) -> Branch:
        phase = Phase(f"training-train, {name}", "train", unlabelled=sign != 0, joined=sign != 0, trial=True)
        if not sign:
            return Branch(name, sign, phase, StepExecutor.plain)
        return Branch(name, sign, phase, Supervised(InverseDualConfig(unlabelled_weight=sign * weight)).step)

    return branch("plus", 1), branch("zero", 0), branch("minus", -1)


def best_branch(branches: Sequence[Branch], losses: Mapping[str, float]) -> Branch:
    """Chooses the branch of smallest loss; ties go to s = 0, then to the branch that comes first.

    Args:
        branches: Those that were tried.
        losses: Of each by name. One that is not finite never wins.

    Raises:
        UserError: No loss is finite.
    """
    finite = [branch for branch in branches if math.isfinite(losses[branch.name])]
    if not finite:
        raise UserError(
            f"the training-test losses of all branches are not finite ({dict(losses)}): training has diverged; lower "
            "optimizer.learning_rate (γ)"
        )
    return min(finite, key=lambda branch: (losses[branch.name], abs(branch.sign)))  # min keeps the first of equals
