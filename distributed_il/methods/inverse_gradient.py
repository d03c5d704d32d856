"""Inverse gradient: every dual-loss update is checked against held-out labelled rows (Algorithm 1)."""

from __future__ import annotations

from torch import Tensor

from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.loading.batch import Batch, Phase
from distributed_il.methods.branches import Branch, signed_branches
from distributed_il.methods.steps.decision import StepReport
from distributed_il.methods.steps.executor import StepExecutor

EPSILON = 1e-8


class InverseGradient:
    """A round is a labelled pass over training-train, then a pass of inverse steps over training-test (Algorithm 1).

    Deviation: the released program never clears gradients in the first pass and builds fresh optimisers for each
    inverse step; here gradients are cleared and the labelled steps share one persistent optimiser, as Algorithm 1
    has it.

    With `decision: round` the check is of a whole pass. From one state training-train is gone over three times
    (`branches`), and the outcome of lowest calibrated loss on training-test is kept. Then training-test is gone over by
    plain labelled steps, which are all that is left of its inverse steps: its rows train the model once a round as
    before, after they have decided.
    """

    phases = (Phase("training-train", "train", unlabelled=False), Phase("training-test", "test", unlabelled=True))
    branches: tuple[Branch, ...] = ()

    def __init__(self, config: InverseGradientConfig) -> None:
        self.config = config
        self.test_share = config.test_share
        if config.decision == "round":
            self.branches = signed_branches(config.unlabelled_weight)
            self.phases = (self.branches[0].phase, Phase("training-test", "test", unlabelled=False))

    def step(self, executor: StepExecutor, batch: Batch) -> StepReport:
        """Takes an inverse step where the batch has unlabelled pairs, otherwise a labelled one; see `Method.step`."""
        if batch.unlabelled is None:
            return executor.plain(batch)
        return executor.inverse(batch, self._direction)

    def _direction(self, gradient: Tensor) -> Tensor:
        """Returns α · d(g), odd in g: g itself, or g / (|g| + ε), a fresh Adam's first step."""
        alpha = self.config.dual_learning_rate
        if self.config.direction == "sgd":
            return gradient * alpha
        return gradient.mul(alpha).div_(gradient.abs().add_(EPSILON))
