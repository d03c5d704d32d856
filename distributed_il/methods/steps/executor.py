"""How the steps of a method are carried out on this rank: eager, under DDP, compiled, fused, or as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from distributed_il.data.loading.batch import Batch, Unlabelled
from distributed_il.data.loading.index_plan import IndexPlan, Overlap
from distributed_il.methods.losses import log_loss
from distributed_il.methods.steps.compiled import CompiledPasses
from distributed_il.methods.steps.cuda_graphs import GraphedSteps
from distributed_il.methods.steps.decision import SIGNS, StepReport, decide_together
from distributed_il.methods.steps.eager import EagerPasses, Passes, PassResult
from distributed_il.methods.steps.fused import FusedSteps
from distributed_il.models.embedding.embedding_store import GatheredBatch, Gradients
from distributed_il.models.embedding.table import RowGradients
from distributed_il.models.learner import Learner

Direction = Callable[[Tensor], Tensor]
"""g → α · d(g), odd in g; the same function at every step."""
Result = TypeVar("Result")


class StepExecutor:
    """Takes the steps of one rank; a method says which, this says how.

    Attributes:
        learner: The replica that is trained.
        passes: The arithmetic between exchanges, eager or compiled.
        fused: Whole compiled steps; None where steps are not compiled or several ranks take them.
    """

    def __init__(self, learner: Learner) -> None:
        """Takes steps eagerly, under DDP where the tower is large.

        Args:
            learner: The replica to train.
        """
        self.learner = learner
        self.passes: Passes = EagerPasses(learner.features)
        self.fused: FusedSteps | GraphedSteps | None = None

    def compile(self, say: Callable[[str], None], *, batch_size: int) -> None:
        """Compiles the arithmetic of plain and inverse steps, at the first step of each kind.

        One process has whole steps compiled, and on a GPU replays full batches as CUDA graphs. With several, each
        passes its own rows through compiled functions and the exchanges stay between them; what follows an exchange is
        not compiled, so that all ranks hold the same bits even where one of them could not compile.

        Args:
            say: Told why compilation failed, if it does; the step then goes on without it.
            batch_size: Labelled rows of a full batch of one rank.
        """
        learner = self.learner
        if learner.collectives.world_size == 1:
            parts = (learner.users, learner.items, learner.tower, learner.optimizer)
            told: dict[str, Any] = {"say": say, "features": learner.features}
            on_gpu = learner.device.type == "cuda"
            self.fused = GraphedSteps(*parts, batch_size=batch_size, **told) if on_gpu else FusedSteps(*parts, **told)
            return
        self.passes = CompiledPasses(say, learner.features)
        # DDP does not know gradients that a compiled function asks for; the tower's are exchanged instead.
        learner.tower.replica = None

    def plain(self, batch: Batch) -> StepReport:
        """Takes one Adam step on the mean log loss of the global batch's labelled rows.

        Args:
            batch: This rank's part.
        """
        learner, labels = self.learner, batch.labels
        plan = batch.plan or IndexPlan.of(batch.user_ids, batch.item_ids)
        scale = learner.collectives.world_size / batch.global_count
        if self.fused is not None and self.fused.fits(plan):
            learner.step += 1
            losses = self.fused.plain(plan, labels, scale, learner.step)
            return StepReport(losses.sum(), labels.numel())
        if learner.tower.replica is not None:

            def mean_loss(logits: Tensor) -> tuple[Tensor, Tensor]:
                losses = log_loss(logits, labels)
                return losses.sum() * scale, losses.detach().sum()

            return StepReport(self.minimize(plan, mean_loss, capacity=batch.capacity), labels.numel())
        gathered = learner.gather(plan)
        found = self.passes.labelled(learner.tower.module, gathered, labels, labels.new_full((), scale))
        learner.apply(learner.reduce(found, gathered, capacity=batch.capacity), gathered)
        return StepReport(found.values.sum(), labels.numel())

    def minimize(self, plan: IndexPlan, loss: Callable[[Tensor], tuple[Tensor, Result]], *, capacity: int) -> Result:
        """Takes one Adam step on a loss of some pairs' logits, operation by operation.

        Args:
            plan: The pairs of this rank.
            loss: From logits [B] to this rank's part of the global mean, times world_size (DDP and the exchange
                average over ranks), and whatever is to be returned.
            capacity: Most pairs that any rank has in this batch.
        """
        learner = self.learner
        gathered = learner.gather(plan)
        value, result = loss(learner.logits(gathered))
        learner.descend(value, gathered, capacity=capacity)
        return result

    def inverse(self, batch: Batch, direction: Direction) -> StepReport:
        """Takes one inverse step (Algorithm 1): the better of θ − δ, θ and θ + δ, then a plain step from there.

        Args:
            batch: This rank's part of a training-test batch with its unlabelled pairs.
            direction: δ as a function of the gradient of the mean dual loss.
        """
        learner, pairs = self.learner, batch.unlabelled
        assert pairs is not None
        pair_plan = pairs.plan or IndexPlan.of(pairs.user_ids, pairs.item_ids)
        plan = batch.plan or IndexPlan.of(batch.user_ids, batch.item_ids)
        if self.fused is not None and self.fused.fits(pair_plan, plan):
            return self._fused_inverse(self.fused, batch, (pair_plan, plan), direction)
        rows, step = learner.embeddings, learner.step
        gathered_pairs = learner.gather(pair_plan, whole=False)
        dual = self._dual(batch, pairs, gathered_pairs)
        delta = _delta(learner.reduce(dual, gathered_pairs, capacity=batch.capacity * pairs.rate), direction)
        gathered, shifts = rows.gather_with_deltas(plan, delta, step=step)
        towers = learner.tower.candidates(delta.tower)
        candidates = self.passes.candidates(towers, gathered, shifts, batch.labels)
        decision = decide_together(learner.collectives, candidates.sums, batch.labels.numel())
        sign = SIGNS[decision.choice]
        if sign:
            # The winner becomes θ: rows at hand, rows where they are owned, tower. Moments and step count stay.
            gathered.move(shifts, sign)
            rows.shift(delta, sign, step=step, gathered=gathered_pairs)
            learner.tower.shift(delta.tower, sign)
        scale = batch.labels.new_full((), learner.collectives.world_size / batch.global_count)
        found = self.passes.chosen(candidates, decision.choice, towers, gathered, batch.labels, scale)
        learner.apply(learner.reduce(found, gathered, capacity=batch.capacity), gathered)
        return StepReport(found.values.sum(), batch.labels.numel(), unlabelled_logits=dual.values, decision=decision)

    def _fused_inverse(
        self, fused: FusedSteps | GraphedSteps, batch: Batch, plans: tuple[IndexPlan, IndexPlan], direction: Direction
    ) -> StepReport:
        """The same step of one process, in two compiled functions with the decision between them."""
        learner, pairs, labels, count = self.learner, batch.unlabelled, batch.labels, batch.global_count
        assert pairs is not None
        pair_plan, plan = plans
        overlap = pairs.overlap or Overlap.of(plan, pair_plan)
        scale = 1 / (count * pairs.rate)
        look = fused.look(pair_plan, pairs.weight, scale, plan, overlap, labels, direction, learner.step)
        decision = decide_together(learner.collectives, look.sums, labels.numel())
        if sign := SIGNS[decision.choice]:
            fused.shift(look, sign, pair_plan, learner.step)
        learner.step += 1
        losses = fused.plain(plan, labels, 1 / count, learner.step)
        return StepReport(losses.sum(), labels.numel(), unlabelled_logits=look.logits, decision=decision)

    def _dual(self, batch: Batch, pairs: Unlabelled, gathered: GatheredBatch) -> PassResult:
        """g = ∇ mean dual loss over the unlabelled pairs of all ranks: this rank's part."""
        learner = self.learner
        scale = learner.collectives.world_size / (batch.global_count * pairs.rate)
        return self.passes.dual(learner.tower.module, gathered, pairs.weight, batch.labels.new_full((), scale))


def _delta(g: Gradients, direction: Direction) -> Gradients:
    """δ = α · d(g), for the rows owned here and for the tower."""
    return Gradients(
        RowGradients(g.users.ids, direction(g.users.gradient)),
        RowGradients(g.items.ids, direction(g.items.gradient)),
        direction(g.tower),
    )
