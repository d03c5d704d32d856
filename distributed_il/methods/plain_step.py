"""The ordinary labelled step: mean log loss, nothing else."""

from __future__ import annotations

from distributed_il.learner import Learner
from distributed_il.methods.batch import Batch, StepReport
from distributed_il.objectives import log_loss
from distributed_il.plan import plan_pairs


def plain_step(learner: Learner, batch: Batch) -> StepReport:
    """Takes one Adam step on the mean log loss of the global batch's labelled rows.

    Args:
        learner: The replica to train.
        batch: This rank's part.
    """
    plan = batch.plan or plan_pairs(batch.user_ids, batch.item_ids)
    scale = learner.collectives.world_size / batch.global_count
    if learner.fused is not None and learner.fused.fits(plan):
        learner.step += 1
        losses = learner.fused.plain(plan, batch.labels, scale, learner.step)
        return StepReport(losses.sum(), batch.labels.numel())
    tiles = learner.tiles(plan)
    if learner.tower.replica is not None:
        losses = log_loss(learner.logits(tiles), batch.labels)
        learner.descend(losses.sum() * scale, tiles, capacity=batch.capacity)
        return StepReport(losses.detach().sum(), batch.labels.numel())
    found = learner.passes.labelled(learner.tower.module, tiles, batch.labels, batch.labels.new_full((), scale))
    learner.apply(learner.reduce(found, tiles, capacity=batch.capacity), tiles)
    return StepReport(found.values.sum(), batch.labels.numel())
