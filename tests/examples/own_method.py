"""A training method of one's own, the focal loss, which makes less of pairs that the model already tells apart.

Named as `method.name: own_method:FocalLoss`; `method.focus` is its setting.
"""

from dataclasses import dataclass

from torch import Tensor

from distributed_il.data.loading.batch import Batch, Phase
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.methods.losses import log_loss
from distributed_il.methods.steps.decision import StepReport
from distributed_il.methods.steps.executor import StepExecutor


class FocalLoss:
    """Minimises the mean of (1 − p)^γ · (−log p) over the labelled rows, p the probability given to the label."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The settings in `method.*`."""

        focus: float = 2.0
        """γ; 0 is log loss."""

    phases = (Phase("train", "all", unlabelled=False),)
    test_share = 0.0

    def __init__(self, config: Config) -> None:
        self.focus = config.focus

    def step(self, executor: StepExecutor, batch: Batch) -> StepReport:
        """Takes one optimiser step on this rank's part of a global batch."""

        def loss(logits: Tensor) -> tuple[Tensor, StepReport]:
            losses = log_loss(logits, batch.labels)
            losses = losses * (1 - (-losses).exp()) ** self.focus
            return losses.sum() * scale, StepReport(losses.detach().sum(), losses.numel())

        # Gradients are averaged over ranks, so a part of the global mean counts world_size times.
        scale = executor.learner.collectives.world_size / batch.global_count
        plan = batch.plan or IndexPlan.of(batch.user_ids, batch.item_ids)
        return executor.minimize(plan, loss, capacity=batch.capacity)
