"""Inverse gradient: every dual-loss update is checked against held-out labelled rows (Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from distributed_il.collectives import sum_over_ranks
from distributed_il.config import InverseGradientConfig
from distributed_il.errors import UserError
from distributed_il.fused_steps import FusedSteps
from distributed_il.graphed_steps import GraphedSteps
from distributed_il.learner import Learner
from distributed_il.methods.batch import Batch, Decision, StepReport, Unlabelled
from distributed_il.methods.plain_step import plain_step
from distributed_il.methods.protocol import Phase
from distributed_il.passes import PassResult
from distributed_il.plan import Overlap, PairPlan, plan_pairs
from distributed_il.row_store import Gradients, Tiles
from distributed_il.tables import RowGradients

DIRECT, SKIP, INVERSE = 0, 1, 2
SIGNS = {DIRECT: -1.0, SKIP: 0.0, INVERSE: 1.0}
TIE_ORDER = (SKIP, DIRECT, INVERSE)
EPSILON = 1e-8


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


class InverseGradient:
    """A round is a labelled pass over training-train, then a pass of inverse steps over training-test (Algorithm 1).

    Deviation: the released program never clears gradients in the first pass and builds fresh optimisers for each
    inverse step; here gradients are cleared and the labelled steps share one persistent optimiser, as Algorithm 1
    has it.
    """

    phases = (Phase("training-train", "train", unlabelled=False), Phase("training-test", "test", unlabelled=True))

    def __init__(self, config: InverseGradientConfig) -> None:
        """Fixes α, d and the size of training-test.

        Args:
            config: The `method` section of the run.
        """
        self.config = config
        self.test_share = config.test_share

    def step(self, learner: Learner, batch: Batch) -> StepReport:
        """A labelled step where the batch has no unlabelled pairs, otherwise an inverse step; see `Method.step`."""
        if batch.unlabelled is None:
            return plain_step(learner, batch)
        pairs, rows, step = batch.unlabelled, learner.rows, learner.step
        pair_plan = pairs.plan or plan_pairs(pairs.user_ids, pairs.item_ids)
        plan = batch.plan or plan_pairs(batch.user_ids, batch.item_ids)
        if learner.fused is not None and learner.fused.fits(pair_plan, plan):
            return self._fused_step(learner, learner.fused, batch, pairs, pair_plan, plan)
        pair_tiles = learner.tiles(pair_plan, whole=False)
        dual = self._dual(learner, batch, pairs, pair_tiles)
        delta = self._delta(learner.reduce(dual, pair_tiles, capacity=batch.capacity * pairs.rate))
        tiles, shifts = rows.tiles_and_shifts(plan, delta, step=step)
        towers = learner.tower.candidates(delta.tower)
        candidates = learner.passes.candidates(towers, tiles, shifts, batch.labels)
        decision = self._decide(learner, batch, candidates.sums)
        sign = SIGNS[decision.choice]
        if sign:
            # The winner becomes θ: rows at hand, rows where they are kept, tower. Moments and step count stay.
            tiles.move(shifts, sign)
            rows.shift(delta, sign, step=step, tiles=pair_tiles)
            learner.tower.shift(delta.tower, sign)
        scale = batch.labels.new_full((), learner.collectives.world_size / batch.global_count)
        found = learner.passes.chosen(candidates, decision.choice, towers, tiles, batch.labels, scale)
        learner.apply(learner.reduce(found, tiles, capacity=batch.capacity), tiles)
        return StepReport(found.values.sum(), batch.labels.numel(), unlabelled_logits=dual.values, decision=decision)

    def _fused_step(
        self,
        learner: Learner,
        fused: FusedSteps | GraphedSteps,
        batch: Batch,
        pairs: Unlabelled,
        pair_plan: PairPlan,
        plan: PairPlan,
    ) -> StepReport:
        """The same step of one process, in two compiled functions with the decision between them."""
        labels, count = batch.labels, batch.global_count
        overlap = pairs.overlap or Overlap.of(plan, pair_plan)
        scale = 1 / (count * pairs.rate)
        look = fused.look(pair_plan, pairs.weight, scale, plan, overlap, labels, self._direction, learner.step)
        decision = self._decide(learner, batch, look.sums)
        if sign := SIGNS[decision.choice]:
            fused.shift(look, sign, pair_plan, learner.step)
        learner.step += 1
        losses = fused.plain(plan, labels, 1 / count, learner.step)
        return StepReport(losses.sum(), labels.numel(), unlabelled_logits=look.logits, decision=decision)

    @staticmethod
    def _dual(learner: Learner, batch: Batch, pairs: Unlabelled, tiles: Tiles) -> PassResult:
        """g = ∇ mean dual loss over the unlabelled pairs of all ranks: this rank's part."""
        scale = learner.collectives.world_size / (batch.global_count * pairs.rate)
        return learner.passes.dual(learner.tower.module, tiles, pairs.weight, batch.labels.new_full((), scale))

    def _delta(self, g: Gradients) -> Gradients:
        """δ = α · d(g), for the rows that are kept here and for the tower."""
        return Gradients(
            RowGradients(g.users.ids, self._direction(g.users.gradient)),
            RowGradients(g.items.ids, self._direction(g.items.gradient)),
            self._direction(g.tower),
        )

    def _direction(self, gradient: Tensor) -> Tensor:
        """α · d(g), odd in g: g itself, or g / (|g| + ε), a fresh Adam's first step."""
        alpha = self.config.dual_learning_rate
        if self.config.direction == "sgd":
            return gradient * alpha
        return gradient.mul(alpha).div_(gradient.abs().add_(EPSILON))

    @staticmethod
    def _decide(learner: Learner, batch: Batch, sums: Tensor) -> Decision:
        """Sums and row count travel together; every rank divides the same float64 numbers."""
        count = sums.new_full((1,), batch.labels.numel())  # filled on the device, which nobody need wait for
        *totals, rows = sum_over_ranks(learner.collectives, torch.cat([sums, count])).tolist()
        losses = (totals[0] / rows, totals[1] / rows, totals[2] / rows)
        return Decision(decide(losses), losses)
