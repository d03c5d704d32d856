"""Carries out the steps of a method on one rank: eager, under DDP, compiled, fused, or as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from distributed_il.core.shared_memory import NodeCollectives
from distributed_il.data.loading.batch import Batch, Unlabelled
from distributed_il.data.loading.index_plan import IndexPlan, Overlap
from distributed_il.methods.steps.compiled import CompiledPasses
from distributed_il.methods.steps.cuda_graphs import GraphedSteps
from distributed_il.methods.steps.decision import SIGNS, StepReport, decide_together
from distributed_il.methods.steps.eager import BatchLoss, EagerPasses, Passes, chosen_pass, losses_of, summed_log_loss
from distributed_il.methods.steps.fused import FusedSteps, InverseBatch
from distributed_il.models.embedding.embedding_store import GatheredBatch, Gradients
from distributed_il.models.embedding.table import RowGradients
from distributed_il.models.learner import Learner

Direction = Callable[[Tensor], Tensor]
"""g → α · d(g), odd in g; the same function at every step."""
Result = TypeVar("Result")


DDP_FROM_PARAMETERS = 4096
"""Below this many parameters DDP's own work costs more than the step; such a tower travels with the row gradients."""


class StepExecutor:
    """Takes the steps of one rank: a method says which steps, this class how they are carried out.

    Attributes:
        learner: The replica that is trained.
        passes: The arithmetic between exchanges, eager or compiled.
        fused: Whole compiled steps; None where steps are not compiled or several ranks take them.
    """

    def __init__(self, learner: Learner) -> None:
        """Takes steps eagerly, under DDP where the tower is large and ranks talk over a network."""
        self.learner = learner
        self.passes: Passes = EagerPasses()
        self.fused: FusedSteps | GraphedSteps | None = None
        self._ddp = (
            DistributedDataParallel(learner.tower.module, gradient_as_bucket_view=True)
            if learner.collectives.world_size > 1
            and learner.tower.module_size >= DDP_FROM_PARAMETERS
            # In memory the gradient travels with the rows at less than DDP costs, with a hook into memory, too.
            and not isinstance(learner.collectives, NodeCollectives)
            else None
        )

    def compile(self, warn: Callable[[str], None], *, batch_size: int) -> None:
        """Compiles the arithmetic of plain and inverse steps, at the first step of each kind.

        One process has whole steps compiled, and on a GPU replays full batches as CUDA graphs. With several, each
        passes its own rows through compiled functions and the exchanges stay between them; what follows an exchange is
        not compiled, so that all ranks hold the same bits even where one of them could not compile. A process that
        drops rows does as several do: the hashes that decide come between.

        Args:
            warn: Told why compilation failed, if it does; the step then goes on without it.
            batch_size: Labelled rows of a full batch of one rank.
        """
        learner = self.learner
        if learner.collectives.world_size > 1 or learner.drops_rows:
            self.passes = CompiledPasses(warn)
            # DDP does not know gradients that a compiled function asks for; the tower's are exchanged instead.
            self._ddp = None
        elif learner.device.type == "cuda":
            self.fused = GraphedSteps(learner, batch_size=batch_size, warn=warn)
        else:
            self.fused = FusedSteps(learner, warn)

    def plain(self, batch: Batch, loss: BatchLoss = summed_log_loss) -> StepReport:
        """Takes one Adam step on a mean over the global batch's labelled rows, of their log loss unless told otherwise.

        Args:
            batch: Labelled rows, and unlabelled pairs where the loss is of such too.
            loss: Of this rank's rows and pairs, and of the method's extras; the same function at every step.
        """
        learner, labels, weights, capacity = self.learner, batch.labels, batch.weights, batch.joined_capacity
        plan, extras = batch.joined_plan, learner.method_extras
        scale = learner.collectives.world_size / batch.total_weight
        if self.fused is not None and self.fused.fits(labels, plan):
            learner.announce(plan)
            learner.step += 1
            losses = self.fused.plain(plan, labels, scale, learner.step, loss, weights)
            return StepReport(losses.sum(), labels.numel())
        if self._ddp is not None:
            extras = tuple(weight.detach().requires_grad_() for weight in extras)

            def mean_loss(logits: Tensor) -> tuple[Tensor, Tensor]:
                losses, total = losses_of(loss, logits, labels, extras, weights)
                return total * scale, losses.detach().sum()

            return StepReport(self.minimize(plan, mean_loss, capacity=capacity, extras=extras), labels.numel())
        gathered = learner.gather(plan)
        rows = gathered.pair_rows(learner.features)
        label_scale = labels.new_full((), scale)
        found = self.passes.labelled(learner.tower.module, rows, labels, label_scale, loss, extras, weights)
        learner.apply(learner.reduce(found, gathered, capacity=capacity), gathered)
        return StepReport(found.values.sum(), labels.numel())

    def minimize(
        self,
        plan: IndexPlan,
        loss: Callable[[Tensor], tuple[Tensor, Result]],
        *,
        capacity: int,
        extras: tuple[Tensor, ...] = (),
    ) -> Result:
        """Takes one Adam step on a loss of some pairs' logits, operation by operation.

        Args:
            plan: The pairs of this rank.
            loss: From logits [B] to this rank's part of the global mean, times world_size (DDP and the exchange
                average over ranks), and whatever is to be returned.
            capacity: Most pairs that any rank has in this batch.
            extras: The method's extras, leaves that the loss depends on; none where the method has none.
        """
        learner = self.learner
        gathered = learner.gather(plan)
        forward = self._ddp or learner.tower.module
        logits = forward(gathered.users.pairs(), gathered.items.pairs(), *gathered.codes(learner.features))
        value, result = loss(logits)
        learner.apply(self._gradients(value, gathered, capacity, extras), gathered)
        return result

    def _gradients(self, loss: Tensor, gathered: GatheredBatch, capacity: int, extras: tuple[Tensor, ...]) -> Gradients:
        """Differentiates a loss and averages over ranks; DDP averages the tower's gradients in its backward pass."""
        learner, tower, leaves = self.learner, self.learner.tower, gathered.leaves
        if self._ddp is None:
            users, items, *parameters = torch.autograd.grad(
                loss, [*leaves, *tower.parameters, *extras], allow_unused=True, materialize_grads=True
            )
            return learner.embeddings.reduce(gathered, (users, items), tower.flatten(parameters), capacity=capacity)
        loss.backward()
        users, items, *of_extras = (
            torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in (*leaves, *extras)
        )
        dense = torch.cat([part.reshape(-1) for part in of_extras]) if extras else None
        rows = learner.embeddings.reduce(gathered, (users, items), dense, capacity=capacity)
        # What came with the rows is the gradient of the extras.
        return replace(rows, tower=torch.cat([tower.take_gradient(), rows.tower]))

    def inverse(self, batch: Batch, direction: Direction) -> StepReport:
        """Takes one inverse step (Algorithm 1): the best of θ − δ, θ and θ + δ, then a plain step from there.

        `direction` gives δ as a function of the gradient of the mean dual loss.
        """
        pairs = batch.unlabelled
        assert pairs is not None
        plan = batch.plan or IndexPlan.of(batch.user_ids, batch.item_ids)
        pair_plan = pairs.plan or IndexPlan.of(pairs.user_ids, pairs.item_ids)
        if self.fused is not None and self.fused.fits(batch.labels, pair_plan, plan):
            overlap = pairs.overlap or Overlap.of(plan, pair_plan)
            inverse_batch = InverseBatch(plan, batch.labels, pair_plan, pairs.weight, overlap, batch.weights)
            return self._fused_inverse(self.fused, inverse_batch, batch.total_weight, pairs.rate, direction)
        return self._inverse_between_exchanges(batch, pairs, (plan, pair_plan), direction)

    def _inverse_between_exchanges(
        self, batch: Batch, pairs: Unlabelled, plans: tuple[IndexPlan, IndexPlan], direction: Direction
    ) -> StepReport:
        learner, labels, weights, (plan, pair_plan) = self.learner, batch.labels, batch.weights, plans
        embeddings, tower, step = learner.embeddings, learner.tower, learner.step
        scale = learner.collectives.world_size / batch.total_weight
        gathered_pairs = learner.gather(pair_plan, whole=False)
        # g = ∇ mean dual loss over the unlabelled pairs of all ranks, of which this is one rank's part.
        dual_scale = labels.new_full((), learner.collectives.world_size / (batch.total_weight * pairs.rate))
        dual = self.passes.dual(tower.module, gathered_pairs.pair_rows(learner.features), pairs.weight, dual_scale)
        delta = _delta(learner.reduce(dual, gathered_pairs, capacity=batch.capacity * pairs.rate), direction)
        gathered = embeddings.gather_with_delta(plan, delta, step=step)
        rows, towers = gathered.pair_rows(learner.features), tower.candidates(delta.tower)
        candidates = self.passes.candidates(towers, rows, gathered.deltas, labels, weights)
        decision = decide_together(learner.collectives, candidates.sums, labels.numel(), weights)
        if sign := SIGNS[decision.choice]:
            # The winner becomes θ: rows at hand, rows of their owners, tower. Moments and step count stay.
            gathered.apply_delta(sign)
            embeddings.apply_delta(delta, sign, step=step, gathered=gathered_pairs)
            tower.apply_delta(delta.tower, sign)
        label_scale = labels.new_full((), scale)
        if candidates.graphs is None:
            found = self.passes.labelled(tower.module, rows, labels, label_scale, weights=weights)
        else:
            graph = candidates.graphs[decision.choice]
            found = chosen_pass(towers[decision.choice], graph, rows, label_scale, weights)
        learner.apply(learner.reduce(found, gathered, capacity=batch.capacity), gathered)
        return StepReport(found.values.sum(), labels.numel(), unlabelled_logits=dual.values, decision=decision)

    def _fused_inverse(
        self, fused: FusedSteps | GraphedSteps, batch: InverseBatch, count: float, rate: int, direction: Direction
    ) -> StepReport:
        """Takes the same step in one process, as two compiled functions with the decision between them."""
        learner, labels, weights = self.learner, batch.labels, batch.row_weights
        found = fused.evaluate_candidates(batch, 1 / (count * rate), direction, learner.step)
        decision = decide_together(learner.collectives, found.sums, labels.numel(), weights)
        if sign := SIGNS[decision.choice]:
            learner.announce(batch.pairs)
            fused.apply_delta(found, sign, learner.step)
        learner.announce(batch.plan)
        learner.step += 1
        losses = fused.plain(batch.plan, labels, 1 / count, learner.step, weights=weights)
        return StepReport(losses.sum(), labels.numel(), unlabelled_logits=found.logits, decision=decision)


def _delta(g: Gradients, direction: Direction) -> Gradients:
    """Computes δ = α · d(g), for the rows owned here and for the tower."""
    return Gradients(
        RowGradients(g.users.ids, direction(g.users.gradient)),
        RowGradients(g.items.ids, direction(g.items.gradient)),
        direction(g.tower),
    )
