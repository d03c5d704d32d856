"""The learner: same start everywhere, scores, and what deferring updates does to rows that a run seldom touches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dense_reference import DenseReference
from random_batches import random_batch
from thread_ranks import run_on_threads
from torch.nn.functional import binary_cross_entropy_with_logits as mean_log_loss

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.methods import make_method
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner

USERS, ITEMS = 12, 15


def make_learner(
    backbone: str = "gmf",
    *,
    seed: int = 1,
    dtype: str = "float64",
    collectives: Collectives | None = None,
    weight_decay: float = 1e-3,
    missed_steps: str = "skip",
    tables: str = "replicated",
) -> Learner:
    return Learner(
        ModelConfig(backbone=backbone, embedding_dim=4, init_std=0.3, dtype=dtype, tables=tables),
        OptimizerConfig(learning_rate=1e-2, weight_decay=weight_decay, missed_steps=missed_steps),
        num_users=USERS,
        num_items=ITEMS,
        seed=seed,
        collectives=collectives or LocalCollectives(),
        device=torch.device("cpu"),
    )


def test_the_seed_decides_the_start_on_every_rank() -> None:
    alone = make_learner("backbones:DotProduct")
    for users, items in run_on_threads(
        2,
        lambda ranks: (
            (learner := make_learner("backbones:DotProduct", collectives=ranks)).users.packed,
            learner.items.packed,
        ),
    ):
        assert torch.equal(users, alone.users.packed)
        assert torch.equal(items, alone.items.packed)
    assert not torch.equal(make_learner(seed=2).users.weight, make_learner().users.weight)
    assert not torch.equal(alone.users.weight[:5], alone.items.weight[:5])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backbone", ["gmf", "neumf", "backbones:Biased", "backbones:DotProduct"])
def test_tables_are_as_wide_as_the_backbone_says_and_of_one_dtype(backbone: str, dtype: str) -> None:
    learner = make_learner(backbone, dtype=dtype)
    assert learner.users.weight.shape == (USERS, learner.tower.module.user_dim)
    assert learner.items.weight.shape == (ITEMS, learner.tower.module.item_dim)
    assert {t.dtype for t in (learner.users.packed, learner.items.packed, learner.tower.packed)} == {
        getattr(torch, dtype)
    }


def test_tables_are_no_parameters() -> None:
    learner = make_learner("neumf")
    assert learner.tower.size == sum(parameter.numel() for parameter in learner.tower.module.parameters())
    assert make_learner("backbones:DotProduct").tower.size == 0


def test_parameters_are_counted_over_all_ranks() -> None:
    gmf = (USERS + ITEMS) * 4 + 4 + 1  # rows, and the head with its bias
    assert make_learner().num_parameters == gmf
    sharded = run_on_threads(2, lambda ranks: make_learner(tables="sharded", collectives=ranks).num_parameters)
    assert sharded == [gmf, gmf]


def test_scores_are_the_towers_logits_of_whole_rows() -> None:
    learner = make_learner("neumf")
    users, items = torch.tensor([3, 3, 0]), torch.tensor([14, 2, 2])
    scores = learner.score(users, items)
    expected = DenseReference(learner).model(users, items)
    torch.testing.assert_close(scores, expected.detach())
    assert not scores.requires_grad


@pytest.mark.parametrize("backbone", ["gmf", "neumf"])
def test_rows_and_tower_take_one_adam(backbone: str) -> None:
    """Every row is in every batch: then lazy, caught-up and torch's dense Adam over all weights are one."""
    learners = [make_learner(backbone, missed_steps=missed) for missed in ("skip", "catch_up")]
    dense = DenseReference(learners[0]).model
    adam = torch.optim.Adam(dense.parameters(), lr=1e-2, weight_decay=1e-3)
    users = torch.arange(60) % USERS
    items = torch.arange(60) % ITEMS
    rng = np.random.default_rng(0)
    for _ in range(30):
        batch = random_batch(rng, rows=60, num_users=USERS, num_items=ITEMS)
        labels = batch.labels
        adam.zero_grad()
        mean_log_loss(dense(users, items), labels).backward()
        adam.step()
        for learner in learners:
            StepExecutor(learner).minimize(
                IndexPlan.of(users, items),
                lambda logits, labels=labels: (mean_log_loss(logits, labels), None),
                capacity=60,
            )
    for learner in learners:
        torch.testing.assert_close(learner.users.weight, dense.users.detach(), rtol=0, atol=1e-11)
        torch.testing.assert_close(learner.items.weight, dense.items.detach(), rtol=0, atol=1e-11)


def test_catching_up_comes_closer_to_dense_adam_than_being_lazy() -> None:
    """Batches of 3 rows: most rows miss most steps. The mark is torch's Adam over whole matrices."""
    lazy, caught_up = (make_learner(missed_steps=missed) for missed in ("skip", "catch_up"))
    dense = DenseReference(lazy).model
    adam = torch.optim.Adam(dense.parameters(), lr=1e-2, weight_decay=1e-3)
    method, rng = make_method(NoneConfig()), np.random.default_rng(0)
    for _ in range(150):
        batch = random_batch(rng, rows=3, num_users=USERS, num_items=ITEMS)
        adam.zero_grad()
        logits = dense(batch.user_ids, batch.item_ids)
        mean_log_loss(logits, batch.labels).backward()
        adam.step()
        for learner in (lazy, caught_up):
            method.step(StepExecutor(learner), batch)
    for learner in (lazy, caught_up):
        learner.materialize()

    def distance(learner: Learner) -> float:
        return float((learner.items.weight - dense.items.detach()).norm())

    assert distance(caught_up) < 0.5 * distance(lazy)
