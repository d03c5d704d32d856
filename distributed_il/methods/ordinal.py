"""Ordinal: labelled rows and logged unclear pairs as three ordered classes of one logit (proportional odds)."""

from __future__ import annotations

from torch import Tensor

from distributed_il.core.method_config import OrdinalConfig
from distributed_il.data.loading.batch import Batch, Phase
from distributed_il.methods.losses import weighted_sum
from distributed_il.methods.ordinal_loss import (
    clear_log_loss,
    learned_half_width,
    ordinal_log_loss,
    unclear_constant,
    unclear_loss,
)
from distributed_il.methods.steps.decision import StepReport
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.tower import Extra, Tower

HALF_WIDTH = "ordinal.half_width"
"""Name, among the tower's extras, of the scalar that a learned half width comes from."""


class Ordinal:
    """Minimises the mean of −log P(y) over labelled rows + λ · the mean of −log P(unclear) over logged unclear pairs.

    P as in `ordinal_loss`. With a fixed half width the constant of log P(unclear) is left out. Rows are ranked by the
    raw logit, and w1 and w0 (Eq. 4) come from it; the probability served is that of a positive among clear pairs, whose
    logit is `clear_logit`. That is the loss reported too.

    Attributes:
        extras: What it learns beside the backbone: the half width, without decay, where that is learned.
    """

    phases = (Phase("train", "all", unlabelled=True, joined=True),)
    test_share = 0.0

    def __init__(self, config: OrdinalConfig) -> None:
        self.config = config
        self.extras = {HALF_WIDTH: Extra(())} if config.half_width == "learned" else {}

    def step(self, executor: StepExecutor, batch: Batch) -> StepReport:
        """Takes one step on labelled rows and unclear pairs together; see `Method.step`."""
        return executor.plain(batch, self._loss)

    def half_width(self, tower: Tower) -> float:
        """Returns t as the tower stands."""
        if self.config.half_width == "learned":
            return float(learned_half_width(tower.extra(HALF_WIDTH)))
        return self.config.half_width

    def _loss(
        self, logits: Tensor, labels: Tensor, *extras: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `BatchLoss`. A row stands for its pairs: λ over their number weighs each of them, times its weight.

        Pairs are drawn whatever their row is, so that their weighted mean, too, is one over all unclear pairs.
        """
        config, size = self.config, labels.shape[0]
        rows, pairs = logits[:size], logits[size:]
        of_pairs = None if weights is None else weights.repeat_interleave(config.pairs)
        if config.half_width != "learned":
            total = weighted_sum(ordinal_log_loss(rows, labels, config.half_width), weights)
            unclear = weighted_sum(unclear_loss(pairs, config.half_width), of_pairs)
            total = total + unclear * (config.unlabelled_weight / config.pairs)
            return clear_log_loss(rows.detach(), labels, config.half_width), total
        width = learned_half_width(*extras)
        count = size if weights is None else weights.sum()
        unclear = weighted_sum(unclear_loss(pairs, width), of_pairs) / config.pairs + count * unclear_constant(width)
        total = weighted_sum(ordinal_log_loss(rows, labels, width), weights) + config.unlabelled_weight * unclear
        return clear_log_loss(rows.detach(), labels, width.detach()), total
