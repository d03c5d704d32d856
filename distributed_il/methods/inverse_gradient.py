"""Inverse gradient: every dual-loss update is checked against held-out labelled rows (Algorithm 1)."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distributed_il.collectives import sum_over_ranks
from distributed_il.config import InverseGradientConfig
from distributed_il.errors import UserError
from distributed_il.learner import Learner, Tiles
from distributed_il.methods.batch import Batch, Decision, StepReport, Unlabelled
from distributed_il.methods.protocol import Phase
from distributed_il.models import Backbone
from distributed_il.objectives import inverse_dual_loss, log_loss
from distributed_il.tables import RowGradients, Tile

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


@dataclass(frozen=True, slots=True)
class _Delta:
    """δ = α·d(g): by row for the unlabelled rows of all ranks, and for the tower; with the logits g came from."""

    users: RowGradients
    items: RowGradients
    tower: list[Tensor]
    logits: Tensor


@dataclass(frozen=True, slots=True)
class _Candidate:
    """θ ∓ δ where the training-test batch sees it, with the graph of its loss."""

    leaves: list[Tensor]
    losses: Tensor


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
        self._towers: tuple[Backbone, Backbone] | None = None

    def step(self, learner: Learner, batch: Batch) -> StepReport:
        """A labelled step where the batch has no unlabelled pairs, otherwise an inverse step; see `Method.step`."""
        if batch.unlabelled is None:
            return self._labelled_step(learner, batch)
        delta = self._delta(learner, batch, batch.unlabelled)
        tiles = learner.tiles(batch.user_ids, batch.item_ids)
        towers = self._candidate_towers(learner, delta)
        candidates = [
            self._candidate(tiles, delta, batch.labels, sign=SIGNS[choice], tower=towers[choice])
            for choice in (DIRECT, SKIP, INVERSE)
        ]
        decision = self._decide(learner, batch, candidates)
        chosen = candidates[decision.choice]
        # The winner's graph is at hand, so its labelled gradient costs only a backward pass.
        loss = chosen.losses.sum() * (learner.collectives.world_size / batch.global_count)
        tower = towers[decision.choice]
        gradients = torch.autograd.grad(loss, [*chosen.leaves, *tower.parameters()])
        self._take(learner, delta, tower, SIGNS[decision.choice])
        rows = learner.exchange(tiles, gradients[:2], capacity=batch.capacity)
        learner.adam_step(rows, learner.average_tower(gradients[2:]))
        return StepReport(
            chosen.losses.detach().sum(),
            batch.labels.numel(),
            unlabelled_logits=delta.logits,
            decision=decision,
        )

    def _labelled_step(self, learner: Learner, batch: Batch) -> StepReport:
        tiles = learner.tiles(batch.user_ids, batch.item_ids)
        losses = log_loss(learner.replica(tiles.users.pairs(), tiles.items.pairs()), batch.labels)
        loss = losses.sum() * (learner.collectives.world_size / batch.global_count)
        learner.descend(loss, tiles, capacity=batch.capacity)
        return StepReport(losses.detach().sum(), batch.labels.numel())

    def _delta(self, learner: Learner, batch: Batch, pairs: Unlabelled) -> _Delta:
        """g = ∇ mean dual loss over the unlabelled pairs of all ranks; δ = α·d(g)."""
        tiles = learner.tiles(pairs.user_ids, pairs.item_ids)
        logits = learner.tower(tiles.users.pairs(), tiles.items.pairs())
        scale = learner.collectives.world_size / (batch.global_count * pairs.rate)
        dual = (inverse_dual_loss(logits) * pairs.weight).sum() * scale
        gradients = torch.autograd.grad(dual, [*tiles.leaves, *learner.parameters])
        users, items = learner.exchange(tiles, gradients[:2], capacity=batch.capacity * pairs.rate)
        tower = learner.average_tower(gradients[2:])
        return _Delta(
            RowGradients(users.ids, self._direction(users.gradient)),
            RowGradients(items.ids, self._direction(items.gradient)),
            [self._direction(gradient) for gradient in tower],
            logits.detach(),
        )

    def _direction(self, gradient: Tensor) -> Tensor:
        """α·d(g), odd in g: g itself, or g / (|g| + ε), a fresh Adam's first step."""
        alpha = self.config.dual_learning_rate
        if self.config.direction == "sgd":
            return gradient * alpha
        return gradient.mul(alpha).div_(gradient.abs().add_(EPSILON))

    def _candidate_towers(self, learner: Learner, delta: _Delta) -> tuple[Backbone, Backbone, Backbone]:
        """The towers of direct, skip and inverse; the outer two are copies that are written anew each step."""
        if self._towers is None:
            self._towers = (copy.deepcopy(learner.tower), copy.deepcopy(learner.tower))
        with torch.no_grad():
            for tower, sign in zip(self._towers, (SIGNS[DIRECT], SIGNS[INVERSE]), strict=True):
                for copied, parameter, part in zip(tower.parameters(), learner.parameters, delta.tower, strict=True):
                    torch.add(parameter, part, alpha=sign, out=copied.data)
        return self._towers[0], learner.tower, self._towers[1]

    @staticmethod
    def _candidate(tiles: Tiles, delta: _Delta, labels: Tensor, *, sign: float, tower: Backbone) -> _Candidate:
        users = _shifted(tiles.users, delta.users, sign)
        items = _shifted(tiles.items, delta.items, sign)
        return _Candidate([users.weight, items.weight], log_loss(tower(users.pairs(), items.pairs()), labels))

    @staticmethod
    def _decide(learner: Learner, batch: Batch, candidates: Sequence[_Candidate]) -> Decision:
        """Sums and row count travel together; every rank divides the same float64 numbers."""
        sums = torch.stack([candidate.losses.detach().to(torch.float64).sum() for candidate in candidates])
        count = torch.tensor([batch.labels.numel()], dtype=torch.float64, device=sums.device)
        *totals, rows = sum_over_ranks(learner.collectives, torch.cat([sums, count])).tolist()
        losses = (totals[0] / rows, totals[1] / rows, totals[2] / rows)
        return Decision(decide(losses), losses)

    @staticmethod
    def _take(learner: Learner, delta: _Delta, tower: Backbone, sign: float) -> None:
        """Makes the winner θ. δ moves weights only: moments and step count stay."""
        if sign == 0:
            return
        for table, part in ((learner.users, delta.users), (learner.items, delta.items)):
            table.shift(part.ids, part.gradient * sign, step=learner.step, optimizer=learner.optimizer)
        with torch.no_grad():
            for parameter, chosen in zip(learner.parameters, tower.parameters(), strict=True):
                parameter.copy_(chosen)


def _shifted(tile: Tile, delta: RowGradients, sign: float) -> Tile:
    """A batch's rows under one candidate: θ + sign·δ for those that any rank's unlabelled batch touched."""
    weight = tile.weight.detach()
    if sign and delta.ids.numel():
        position = torch.searchsorted(delta.ids, tile.ids).clamp_(max=delta.ids.numel() - 1)
        touched = (delta.ids.index_select(0, position) == tile.ids).unsqueeze(1)
        weight = weight + delta.gradient.index_select(0, position) * (touched * sign)
    return Tile(tile.ids, tile.inverse, weight.requires_grad_())
