"""Methods that are one loss over the batch: none, ns, t_ce, r_ce, idl."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distributed_il.core.collectives import Collectives, sum_over_ranks
from distributed_il.core.method_config import (
    InverseDualConfig,
    NegativeSamplingConfig,
    NoneConfig,
    ReweightedConfig,
    TruncatedConfig,
)
from distributed_il.data.loading.batch import Batch, Phase, Unlabelled
from distributed_il.methods.losses import (
    inverse_dual_loss,
    log_loss,
    r_ce_weights,
    soft_log_loss,
    t_ce_drop_rate,
    t_ce_global_keep_mask,
    t_ce_keep_mask,
    t_ce_scores,
    weighted_sum,
)
from distributed_il.methods.steps.decision import StepReport
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner

SupervisedConfig = NoneConfig | NegativeSamplingConfig | TruncatedConfig | ReweightedConfig | InverseDualConfig


@dataclass(frozen=True, slots=True)
class _Examples:
    """Labelled examples of this rank, and how many all ranks have together, or what they weigh."""

    logits: Tensor
    labels: Tensor
    keys: Tensor  # a number for each example that no other example of the global batch has
    global_count: float  # of weights, where examples have such
    capacity: int
    weights: Tensor | None


class Supervised:
    """Minimises a mean log loss of the labelled rows, plus a mean loss of unlabelled pairs where there is one."""

    test_share = 0.0

    def __init__(self, config: SupervisedConfig) -> None:
        self.config = config
        negatives = getattr(config, "negatives", "labelled")
        self.all_positive = negatives == "sampled_all_positive"
        self.sampled_negatives = self.all_positive or negatives == "sampled"
        self.has_unlabelled_term = isinstance(config, NegativeSamplingConfig | InverseDualConfig)
        self.is_plain = isinstance(config, NoneConfig) and not self.sampled_negatives
        uses_pairs = self.has_unlabelled_term or self.sampled_negatives
        self.phases = (Phase("train", "all", unlabelled=uses_pairs, joined=uses_pairs),)

    def step(self, executor: StepExecutor, batch: Batch) -> StepReport:
        """Takes one step on labelled rows and unlabelled pairs together; see `Method.step`."""
        if self.is_plain:
            return executor.plain(batch)
        return executor.minimize(
            batch.joined_plan,
            lambda logits: self._loss(batch, logits, executor.learner),
            capacity=batch.joined_capacity,
        )

    def _loss(self, batch: Batch, logits: Tensor, learner: Learner) -> tuple[Tensor, StepReport]:
        """Computes this rank's part of the loss, times world_size, and its report."""
        pairs, size = batch.unlabelled, batch.labels.numel()
        examples = self._examples(batch, logits, learner.collectives)
        losses = log_loss(examples.logits, examples.labels)
        loss = self._labelled_mean(examples, losses, learner)
        if self.has_unlabelled_term and pairs is not None:
            loss = loss + self._unlabelled_mean(batch, pairs, logits[size:], learner.collectives.world_size)
        watched = logits[size:].detach() if isinstance(self.config, InverseDualConfig) else None
        return loss, StepReport(losses.detach().sum(), losses.numel(), unlabelled_logits=watched)

    def _examples(self, batch: Batch, logits: Tensor, collectives: Collectives) -> _Examples:
        """Selects the labelled term's examples: labelled rows, or positives with sampled negatives.

        In the setting of WSDM 2021 every row is a positive; else labelled negatives are left out beside sampled ones.
        """
        size, pairs = batch.labels.numel(), batch.unlabelled
        if not self.sampled_negatives or pairs is None:
            count = batch.total_weight
            return _Examples(logits[:size], batch.labels, batch.row_numbers, count, batch.capacity, batch.weights)
        of_rows = torch.ones_like(batch.labels) if self.all_positive else batch.labels
        rate, positive = pairs.rate, of_rows == 1
        used = torch.cat([positive, positive.repeat_interleave(rate) & (pairs.weight > 0)])
        labels = torch.cat([of_rows, torch.zeros_like(pairs.weight)])
        draws = torch.arange(pairs.weight.numel(), device=positive.device) % rate
        keys = batch.row_numbers * (rate + 1)
        keys = torch.cat([keys, keys.repeat_interleave(rate) + 1 + draws])
        # A pair weighs as much as its row.
        weights = None if batch.weights is None else torch.cat([batch.weights, pairs.weight])[used]
        count = _over_ranks(collectives, used, weights)
        return _Examples(logits[used], labels[used], keys[used], count, batch.capacity * (rate + 1), weights)

    def _labelled_mean(self, examples: _Examples, losses: Tensor, learner: Learner) -> Tensor:
        """Computes this rank's part of the labelled term's global mean, times world_size."""
        count = examples.global_count
        if isinstance(self.config, ReweightedConfig):
            losses = losses * r_ce_weights(examples.logits, examples.labels, self.config.exponent)
        elif isinstance(self.config, TruncatedConfig):
            rate = t_ce_drop_rate(learner.step, self.config.max_drop_rate, self.config.num_gradual_steps)
            keep, count = self._kept(self.config, examples, losses, rate, learner.collectives)
            losses = losses * keep
        return weighted_sum(losses, examples.weights) * (learner.collectives.world_size / count)

    @staticmethod
    def _kept(
        config: TruncatedConfig, examples: _Examples, losses: Tensor, rate: float, collectives: Collectives
    ) -> tuple[Tensor, float]:
        """Returns which of this rank's examples T-CE keeps, and how many all ranks keep together, at least 1.

        Where they have weights, what those kept weigh; which are kept does not depend on weights.
        """
        if config.ranking == "local":
            keep = t_ce_keep_mask(losses, examples.labels, rate)
            return keep, _over_ranks(collectives, keep, _kept_weights(examples, keep))
        scores = losses.new_zeros(examples.capacity, dtype=torch.float64)
        keys = torch.full((examples.capacity,), -1, dtype=torch.int64, device=losses.device)
        size = losses.numel()
        scores[:size] = t_ce_scores(losses, examples.labels).to(torch.float64)
        keys[:size] = examples.keys
        gathered = collectives.all_gather(torch.stack([scores.view(torch.int64), keys]))
        keep = t_ce_global_keep_mask(
            gathered[:, 0].contiguous().view(torch.float64).view(-1), gathered[:, 1].reshape(-1), rate
        )
        mine = keep.view(collectives.world_size, -1)[collectives.rank, :size]
        if examples.weights is not None:
            return mine, _over_ranks(collectives, mine, _kept_weights(examples, mine))
        return mine, max(float(keep.sum()), 1.0)

    def _unlabelled_mean(self, batch: Batch, pairs: Unlabelled, logits: Tensor, world_size: int) -> Tensor:
        """Computes this rank's part of the weighted unlabelled term's global mean, times world_size."""
        assert isinstance(self.config, NegativeSamplingConfig | InverseDualConfig)
        if isinstance(self.config, InverseDualConfig):
            losses = inverse_dual_loss(logits)
        else:
            losses = soft_log_loss(logits, self.config.target)
        count = batch.total_weight * pairs.rate
        return (losses * pairs.weight).sum() * (self.config.unlabelled_weight * world_size / count)


def _kept_weights(examples: _Examples, keep: Tensor) -> Tensor | None:
    return None if examples.weights is None else examples.weights[keep]


def _over_ranks(collectives: Collectives, used: Tensor, weights: Tensor | None) -> float:
    """Counts the examples that all ranks use, or sums their weights, those of this rank [n]; 1 where there are none."""
    mine = used.sum() if weights is None else weights.to(torch.float64).sum()
    return float(sum_over_ranks(collectives, mine.to(torch.float64).reshape(1))) or 1.0
