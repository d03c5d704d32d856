"""none, ns, t_ce, r_ce, idl and ordinal against losses written out over whole models."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dense_reference import DenseReference, WholeModel, dual_losses, log_losses
from random_batches import random_batch
from small_learner import small_learner

from distributed_il.core.config import OptimizerConfig
from distributed_il.core.method_config import (
    InverseDualConfig,
    MethodConfig,
    NegativeSamplingConfig,
    NoneConfig,
    OrdinalConfig,
    ReweightedConfig,
    TruncatedConfig,
)
from distributed_il.data.loading.batch import Batch, Unlabelled
from distributed_il.methods import make_method
from distributed_il.methods.protocol import extras_of, half_width_of
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner
from distributed_il.models.tower import Extra

DenseLoss = Callable[[WholeModel, Batch, int], torch.Tensor]
USERS, ITEMS = 30, 40


def pairs_of(batch: Batch) -> Unlabelled:
    assert batch.unlabelled is not None
    return batch.unlabelled


def labelled(model: WholeModel, batch: Batch) -> torch.Tensor:
    return log_losses(model(batch.user_ids, batch.item_ids), batch.labels)


def pair_logits(model: WholeModel, batch: Batch) -> torch.Tensor:
    pairs = pairs_of(batch)
    return model(pairs.user_ids, pairs.item_ids)


def none_loss(model: WholeModel, batch: Batch, _: int) -> torch.Tensor:
    return labelled(model, batch).mean()


def ns_loss(model: WholeModel, batch: Batch, _: int) -> torch.Tensor:
    """Label 0 for unlabelled pairs, at weight 0.5; a pair that could not be drawn weighs 0."""
    negatives = F.softplus(pair_logits(model, batch)) * pairs_of(batch).weight
    return labelled(model, batch).mean() + 0.5 * negatives.mean()


def lukewarm_loss(model: WholeModel, batch: Batch, _: int) -> torch.Tensor:
    """Label ½ for unlabelled pairs."""
    logits = pair_logits(model, batch)
    losses = log_losses(logits, torch.full_like(logits, 0.5)) * pairs_of(batch).weight
    return labelled(model, batch).mean() + 0.5 * losses.mean()


def idl_loss(model: WholeModel, batch: Batch, _: int) -> torch.Tensor:
    dual = dual_losses(pair_logits(model, batch)) * pairs_of(batch).weight
    return labelled(model, batch).mean() + 0.5 * dual.mean()


def always_inverse_loss(model: WholeModel, batch: Batch, _: int) -> torch.Tensor:
    dual = dual_losses(pair_logits(model, batch)) * pairs_of(batch).weight
    return labelled(model, batch).mean() - 0.25 * dual.mean()


def three_class_loss(model: WholeModel, batch: Batch, t: torch.Tensor) -> torch.Tensor:
    """−log P of negatives, unclear pairs and positives under proportional odds with cut points ±t; λ = 0.5."""
    logits, unclear = model(batch.user_ids, batch.item_ids), pair_logits(model, batch)
    clear = torch.where(batch.labels == 1, torch.sigmoid(logits - t), torch.sigmoid(-logits - t))
    between = torch.sigmoid(unclear + t) - torch.sigmoid(unclear - t)
    return -clear.log().mean() - 0.5 * between.log().mean()


def ordinal_loss(model: WholeModel, batch: Batch, _: int) -> torch.Tensor:
    return three_class_loss(model, batch, torch.tensor(0.7, dtype=torch.float64))


def learned_ordinal_loss(model: WholeModel, batch: Batch, _: int) -> torch.Tensor:
    """t = softplus(w + log(√e − 1)), ½ at w = 0."""
    return three_class_loss(model, batch, F.softplus(model.extras[0] + math.log(math.sqrt(math.e) - 1)))


def r_ce_loss(model: WholeModel, batch: Batch, _: int) -> torch.Tensor:
    """ŷ^β on positives, (1 − ŷ)^β on negatives, β = 0.3."""
    logits = model(batch.user_ids, batch.item_ids)
    probability = torch.sigmoid(logits).detach()
    weight = torch.where(batch.labels == 1, probability, 1 - probability) ** 0.3
    return (weight * log_losses(logits, batch.labels)).mean()


def t_ce_loss(model: WholeModel, batch: Batch, step: int) -> torch.Tensor:
    """Without the ⌊rate · B⌋ rows of largest loss × label; rate = 0.3 · min(1, step/20).

    Where positives are too few, negatives (0 all) make up the number, those of the largest row numbers.
    """
    losses = labelled(model, batch)
    dropped = int(0.3 * min(1.0, step / 20) * losses.numel() + 1e-9)
    by_score = sorted(
        range(losses.numel()), key=lambda k: (float(losses[k].detach() * batch.labels[k]), int(batch.row_numbers[k]))
    )
    return losses[by_score[: len(by_score) - dropped]].mean()


def sampled_none_loss(model: WholeModel, batch: Batch, _: int) -> torch.Tensor:
    """Positives, and their pairs as negatives; labelled negatives are left out."""
    positive = batch.labels == 1
    pairs = pairs_of(batch)
    used = positive.repeat_interleave(pairs.rate) & (pairs.weight > 0)
    positives, negatives = labelled(model, batch)[positive], F.softplus(pair_logits(model, batch))[used]
    return torch.cat([positives, negatives]).mean()


def all_positive_none_loss(model: WholeModel, batch: Batch, _: int) -> torch.Tensor:
    """The setting of WSDM 2021: all rows are positives, also those labelled 0, and their pairs negatives."""
    pairs = pairs_of(batch)
    positives = F.softplus(-model(batch.user_ids, batch.item_ids))
    return torch.cat([positives, F.softplus(pair_logits(model, batch))[pairs.weight > 0]]).mean()


def all_positive_t_ce_loss(model: WholeModel, batch: Batch, step: int) -> torch.Tensor:
    """Without the ⌊rate · B⌋ positives of largest loss; there are enough of them, and no two are equal."""
    positives = F.softplus(-model(batch.user_ids, batch.item_ids))
    negatives = F.softplus(pair_logits(model, batch))[pairs_of(batch).weight > 0]
    dropped = int(0.3 * min(1.0, step / 20) * (positives.numel() + negatives.numel()) + 1e-9)
    return torch.cat([positives.sort().values[: positives.numel() - dropped], negatives]).mean()


CASES: dict[str, tuple[MethodConfig, DenseLoss]] = {
    "none": (NoneConfig(), none_loss),
    "none, sampled negatives": (NoneConfig(negatives="sampled"), sampled_none_loss),
    "none, all positive": (NoneConfig(negatives="sampled_all_positive"), all_positive_none_loss),
    "t_ce, all positive": (
        TruncatedConfig(max_drop_rate=0.3, num_gradual_steps=20, negatives="sampled_all_positive"),
        all_positive_t_ce_loss,
    ),
    "ns": (NegativeSamplingConfig(unlabelled_weight=0.5), ns_loss),
    "ns, lukewarm": (NegativeSamplingConfig(unlabelled_weight=0.5, target=0.5), lukewarm_loss),
    "t_ce": (TruncatedConfig(max_drop_rate=0.3, num_gradual_steps=20), t_ce_loss),
    "r_ce": (ReweightedConfig(exponent=0.3), r_ce_loss),
    "ordinal": (OrdinalConfig(unlabelled_weight=0.5, half_width=0.7), ordinal_loss),
    "ordinal, learned": (OrdinalConfig(unlabelled_weight=0.5, half_width="learned"), learned_ordinal_loss),
    "idl": (InverseDualConfig(unlabelled_weight=0.5), idl_loss),
    "idl, always inverse": (InverseDualConfig(unlabelled_weight=-0.25), always_inverse_loss),
}


def make_learner(backbone: str, extras: dict[str, Extra] | None = None) -> Learner:
    return small_learner(USERS, ITEMS, model={"backbone": backbone}, optimizer={}, seed=8, method_extras=extras)


@pytest.mark.parametrize("backbone", ["gmf", "neumf"])
@pytest.mark.parametrize("case", CASES)
def test_100_steps_equal_the_dense_loss(case: str, backbone: str) -> None:
    config, dense_loss = CASES[case]
    method = make_method(config)
    learner = make_learner(backbone, extras_of(method))
    reference = DenseReference(learner)
    uses_pairs = method.phases[0].unlabelled
    rng = np.random.default_rng(2)
    for step in range(100):
        # Logged pairs can always be drawn.
        invalid_share = 0.0 if isinstance(config, OrdinalConfig) else 0.1
        batch = random_batch(
            rng, rows=24, num_users=USERS, num_items=ITEMS, rate=2 if uses_pairs else 0, invalid_share=invalid_share
        )
        loss = dense_loss(reference.model, batch, step)
        users, items = batch.user_ids, batch.item_ids
        if uses_pairs:
            users, items = torch.cat([users, pairs_of(batch).user_ids]), torch.cat([items, pairs_of(batch).item_ids])
        reference.descend(loss, users, items)
        report = method.step(StepExecutor(learner), batch)
        assert report.decision is None
        assert torch.isfinite(report.loss_sum)
    assert learner.step == 100
    assert reference.distance(learner) < 1e-11


def test_the_reported_loss_is_the_log_loss_of_the_labelled_rows_before_the_step() -> None:
    learner = make_learner("gmf")
    reference = DenseReference(learner)
    batch = random_batch(np.random.default_rng(0), rows=24, num_users=USERS, num_items=ITEMS, rate=1)
    report = make_method(InverseDualConfig()).step(StepExecutor(learner), batch)
    assert report.rows == 24
    assert float(report.loss_sum) == pytest.approx(float(labelled(reference.model, batch).detach().sum()), rel=1e-12)
    assert report.unlabelled_logits is not None
    torch.testing.assert_close(report.unlabelled_logits, pair_logits(reference.model, batch).detach())


def test_ordinal_reports_the_log_loss_of_what_it_serves() -> None:
    """−log P(y | clear), in three-class probabilities."""
    learner = make_learner("gmf")
    learner.users.weight.mul_(20)  # logits of some size
    batch = random_batch(np.random.default_rng(0), rows=24, num_users=USERS, num_items=ITEMS, rate=2)
    with torch.no_grad():
        logits = DenseReference(learner).model(batch.user_ids, batch.item_ids)
    positive, negative = torch.sigmoid(logits - 0.5), torch.sigmoid(-logits - 0.5)
    given = torch.where(batch.labels == 1, positive, negative)
    report = make_method(OrdinalConfig()).step(StepExecutor(learner), batch)
    assert report.rows == 24
    assert float(report.loss_sum) == pytest.approx(float(-(given / (positive + negative)).log().sum()), rel=1e-12)


def test_a_learned_half_width_starts_at_a_half_and_finds_the_share_of_unclear_pairs() -> None:
    """One pair for a row at λ = 1: half of all are unclear. With logits held at 0, that is P(unclear) at t = log 3."""
    method = make_method(OrdinalConfig(unlabelled_weight=1.0, half_width="learned", pairs=1))
    learner = make_learner("gmf", extras_of(method))
    assert half_width_of(method, learner.tower) == pytest.approx(0.5, rel=1e-15)
    learner.optimizer = OptimizerConfig(learning_rate=5e-2)
    rng = np.random.default_rng(0)
    for _ in range(150):
        learner.users.weight.zero_()
        learner.tower.flat[:1].zero_()
        method.step(StepExecutor(learner), random_batch(rng, rows=8, num_users=USERS, num_items=ITEMS, rate=1))
    assert half_width_of(method, learner.tower) == pytest.approx(math.log(3), abs=1e-2)


def test_t_ce_drops_equal_losses_by_row_number_so_that_dealing_does_not_matter() -> None:
    """Six positives of six items with equal embeddings: equal losses, and item rows that tell who was dropped."""
    learner = make_learner("gmf")
    learner.items.weight[:] = learner.items.weight[0]
    batch = random_batch(np.random.default_rng(0), rows=6, num_users=USERS, num_items=ITEMS)
    batch = dataclasses.replace(
        batch,
        user_ids=torch.zeros(6, dtype=torch.int64),
        item_ids=torch.arange(6),
        labels=torch.ones(6, dtype=torch.float64),
        row_numbers=torch.tensor([50, 10, 40, 0, 30, 20]),
    )
    learner.step = 1  # the rate has risen by then
    before = learner.items.packed.clone()
    make_method(TruncatedConfig(max_drop_rate=0.34, num_gradual_steps=1)).step(StepExecutor(learner), batch)
    moments = learner.items.packed[:6, 4:8]
    # A row that was dropped has no gradient but λw.
    decay_only = 0.1 * 1e-3 * before[:6, :4]
    dropped = [k for k in range(6) if torch.allclose(moments[k], decay_only[k], rtol=1e-9, atol=0)]
    assert dropped == [0, 2]  # ⌊0.34 · 6⌋ = 2, row numbers 50 and 40


def test_only_methods_of_unlabelled_pairs_ask_for_them() -> None:
    asked = {case: make_method(config).phases[0].unlabelled for case, (config, _) in CASES.items()}
    assert asked == {
        "none": False,
        "none, sampled negatives": True,
        "none, all positive": True,
        "t_ce, all positive": True,
        "ns": True,
        "ns, lukewarm": True,
        "t_ce": False,
        "r_ce": False,
        "ordinal": True,
        "ordinal, learned": True,
        "idl": True,
        "idl, always inverse": True,
    }
