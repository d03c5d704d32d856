"""The branches of a round: what each minimises, and which is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from dense_reference import DenseReference, dual_losses, log_losses
from random_batches import random_batch
from rank_cases import IG, ITEMS, USERS, Case, make_learner

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.methods import make_method
from distributed_il.methods.branches import best_branch, signed_branches
from distributed_il.methods.protocol import branches_of
from distributed_il.methods.steps.executor import StepExecutor

NAMES = ("plus", "zero", "minus")


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ((0.5, 0.4, 0.6), "zero"),
        ((0.3, 0.4, 0.6), "plus"),
        ((0.5, 0.4, 0.1), "minus"),
        ((0.4, 0.4, 0.4), "zero"),
        ((0.4, 0.5, 0.4), "plus"),
        ((0.5, 0.4, 0.4), "zero"),
        ((math.nan, math.inf, 0.9), "minus"),
        ((0.5, math.nan, 0.5), "plus"),
    ],
)
def test_the_smallest_loss_wins_and_ties_go_to_zero_then_plus(losses: tuple[float, ...], chosen: str) -> None:
    assert best_branch(signed_branches(1.0), dict(zip(NAMES, losses, strict=True))).name == chosen


def test_no_finite_loss_is_an_error() -> None:
    with pytest.raises(UserError, match=r"all branches are not finite .*optimizer.learning_rate"):
        best_branch(signed_branches(1.0), dict.fromkeys(NAMES, math.nan))


@pytest.mark.parametrize("name", NAMES)
def test_steps_of_a_branch_equal_a_whole_model(name: str) -> None:
    """Log loss + s·λ·dual loss, λ = 0.7; without an unlabelled term no rows of pairs are touched."""
    learner = make_learner(Case(IG, "neumf"), LocalCollectives())
    reference = DenseReference(learner)
    branch = next(one for one in signed_branches(0.7) if one.name == name)
    rng, executor = np.random.default_rng(1), StepExecutor(learner)
    rate = 2 if branch.phase.unlabelled else 0
    for _ in range(5):
        batch = random_batch(rng, rows=9, num_users=USERS, num_items=ITEMS, rate=rate, invalid_share=0.2)
        branch.step(executor, batch)
        loss, users, items = log_losses(reference.model(batch.user_ids, batch.item_ids), batch.labels).mean(), [], []
        if batch.unlabelled is not None:
            pairs = batch.unlabelled
            dual = dual_losses(reference.model(pairs.user_ids, pairs.item_ids)) * pairs.weight
            loss = loss + {"plus": 1, "minus": -1}[name] * 0.7 * dual.sum() / pairs.weight.numel()
            users, items = [pairs.user_ids], [pairs.item_ids]
        reference.descend(loss, torch.cat([batch.user_ids, *users]), torch.cat([batch.item_ids, *items]))
    assert reference.distance(learner) < 1e-12
    assert reference.moment_distance(learner) < 1e-12


def test_passes_of_a_round() -> None:
    """Training-train in three ways, then training-test by plain steps; `batch` stays Algorithm 1."""
    method = make_method(InverseGradientConfig(decision="round", test_share=0.2))
    branches = branches_of(method)
    assert [(branch.name, branch.sign) for branch in branches] == [("plus", 1), ("zero", 0), ("minus", -1)]
    assert [branch.phase.unlabelled for branch in branches] == [True, False, True]
    assert all(branch.phase.subset == "train" and branch.phase.trial for branch in branches)
    assert method.phases[0] is branches[0].phase
    assert [(phase.subset, phase.unlabelled, phase.trial) for phase in method.phases[1:]] == [("test", False, False)]
    assert method.test_share == 0.2
    assert branches_of(make_method(InverseGradientConfig())) == ()


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan])
def test_a_weight_that_is_not_above_0_is_refused(weight: float) -> None:
    with pytest.raises(UserError, match=r"method.unlabelled_weight \(λ\)"):
        InverseGradientConfig(decision="round", unlabelled_weight=weight)
