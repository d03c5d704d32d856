"""Rows with exposure factors, some of whose own parts are left out."""

from __future__ import annotations

import torch
from random_factors import random_factors

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.models.embedding.factored import RowDropout
from distributed_il.models.learner import Learner

USERS, ITEMS, SEED, RATE = 40, 30, 5, 0.4
PLAN = IndexPlan.of(torch.arange(40) % USERS, torch.arange(40) * 7 % ITEMS)


def make_learner(row_dropout: float) -> Learner:
    learner = Learner(
        ModelConfig(embedding_dim=4, init_std=0.3, dtype="float64", row_dropout=row_dropout),
        OptimizerConfig(),
        num_users=USERS,
        num_items=ITEMS,
        seed=SEED,
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
        factors=random_factors(USERS, ITEMS),
    )
    for name in learner.tower.extras:
        learner.tower.extra(name).normal_(generator=torch.Generator().manual_seed(1))
    return learner


def test_a_dropped_row_is_its_factors_alone_and_gets_no_gradient() -> None:
    learner = make_learner(RATE)
    learner.step = 3
    gathered, whole = learner.gather(PLAN), make_learner(0.0).gather(PLAN)
    kept = RowDropout(RATE, SEED).kept(0, PLAN.users.ids, 3)
    assert 0 < kept.sum() < USERS
    own = learner.users.weight[PLAN.users.ids]
    expected = whole.users.weight.detach() - torch.where(kept, 0.0, own)
    assert torch.allclose(gathered.users.weight.detach(), expected, rtol=0, atol=1e-15)
    ones = tuple(torch.ones_like(leaf) for leaf in gathered.leaves)
    reduced = learner.embeddings.reduce(gathered, ones, None, capacity=40)
    assert torch.equal(reduced.users.gradient, kept.expand_as(ones[0]).double())
    both = learner.embeddings.reduce(whole, ones, None, capacity=40)
    assert torch.equal(reduced.tower, both.tower)  # the maps learn from every row


def test_who_is_dropped_depends_on_seed_step_table_and_row_alone() -> None:
    ids = torch.arange(20_000)
    dropout = RowDropout(0.2, SEED)
    kept = dropout.kept(0, ids, 7)
    assert abs(float(kept.double().mean()) - 0.8) < 0.012  # four deviations of the mean
    assert torch.equal(dropout.kept(0, ids[5:9], 7), kept[5:9])
    for other in (dropout.kept(1, ids, 7), dropout.kept(0, ids, 8), RowDropout(0.2, SEED + 1).kept(0, ids, 7)):
        assert abs(float((other == kept).double().mean()) - (0.8**2 + 0.2**2)) < 0.014
    assert RowDropout(0.0, SEED).kept(0, ids, 7).all()


def test_scores_are_of_whole_rows() -> None:
    users, items = torch.arange(20), torch.arange(20)
    assert torch.equal(make_learner(RATE).score(users, items), make_learner(0.0).score(users, items))
