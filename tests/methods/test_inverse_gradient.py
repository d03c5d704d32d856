"""The inverse step against three whole models, and the rules of its choice."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
import torch
from dense_reference import DenseReference
from random_batches import random_batch
from small_learner import small_learner

from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.methods import make_method
from distributed_il.methods.steps.decision import DIRECT, INVERSE, SKIP, decide
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner

USERS, ITEMS, ROWS = 30, 40, 64
ALPHA = {"adam": 3e-3, "sgd": 3.0}  # long steps, so that skip wins now and then


def make_learner(backbone: str, *, dtype: str = "float64", factors: bool = False) -> Learner:
    return small_learner(USERS, ITEMS, model={"backbone": backbone, "dtype": dtype}, optimizer={}, factors=factors)


@pytest.mark.parametrize(
    ("backbone", "factors", "direction"),
    [
        ("gmf", False, "adam"),
        ("gmf", False, "sgd"),
        ("neumf", False, "adam"),
        ("deepfm", False, "adam"),
        ("bias_mf", True, "sgd"),
        ("neumf", True, "adam"),
    ],
)
def test_200_inverse_steps_equal_three_whole_models(backbone: str, factors: bool, direction: str) -> None:
    """64 rows and 64 pairs of 30 users and 40 items: nearly every row is touched by both batches, many times each."""
    learner = make_learner(backbone, factors=factors)
    reference = DenseReference(learner)
    method = make_method(InverseGradientConfig(dual_learning_rate=ALPHA[direction], direction=direction))
    rng = np.random.default_rng(3)
    decisions: Counter[int] = Counter()
    for step in range(200):
        batch = random_batch(rng, rows=ROWS, num_users=USERS, num_items=ITEMS, rate=1)
        expected, losses = reference.inverse_step(batch, alpha=ALPHA[direction], direction=direction)
        decision = method.step(StepExecutor(learner), batch).decision
        assert decision is not None
        assert decision.choice == expected, step
        assert decision.losses == pytest.approx(losses, rel=0, abs=1e-12), step
        decisions[expected] += 1
    assert min(decisions[choice] for choice in (DIRECT, SKIP, INVERSE)) >= 2
    # d(g) = g/(|g| + 1e-8) magnifies the rounding of small gradients, so the bound is not the losses'.
    assert reference.distance(learner) < 1e-10
    assert reference.moment_distance(learner) < 1e-12


@pytest.mark.parametrize("factors", [False, True])
@pytest.mark.parametrize("backbone", ["gmf", "neumf", "deepfm", "backbones:Biased", "backbones:DotProduct"])
def test_rounds_of_labelled_and_inverse_steps_equal_the_reference(backbone: str, factors: bool) -> None:
    """Short batches too, so that most rows are left alone by most steps, and pairs that could not be drawn."""
    learner = make_learner(backbone, factors=factors)
    reference = DenseReference(learner)
    method = make_method(InverseGradientConfig(dual_learning_rate=2e-3))
    rng = np.random.default_rng(3)
    for step in range(60):
        rows, rate = (5, 0) if step % 4 < 2 else (6, 2)
        batch = random_batch(rng, rows=rows, num_users=USERS, num_items=ITEMS, rate=rate, invalid_share=0.2)
        report = method.step(StepExecutor(learner), batch)
        if rate:
            expected, losses = reference.inverse_step(batch, alpha=2e-3, direction="adam")
            assert report.decision is not None
            assert report.decision.choice == expected
            assert report.decision.losses == pytest.approx(losses, rel=0, abs=1e-12)
            assert float(report.loss_sum) == pytest.approx(losses[expected] * rows, rel=1e-12)
        else:
            loss = reference.labelled_step(batch)
            assert report.decision is None
            assert float(report.loss_sum) == pytest.approx(loss * rows, rel=1e-12)
    assert learner.step == reference.t == 60
    assert reference.distance(learner) < 1e-11


def test_float32_follows_the_reference_while_rounding_lets_it() -> None:
    learner = make_learner("neumf", dtype="float32")
    reference = DenseReference(learner)
    reference.model.double()
    reference.first = [m.double() for m in reference.first]
    reference.second = [v.double() for v in reference.second]
    method = make_method(InverseGradientConfig(dual_learning_rate=2e-3))
    rng = np.random.default_rng(4)
    for _ in range(10):
        batch = random_batch(rng, rows=ROWS, num_users=USERS, num_items=ITEMS, rate=1)
        expected, losses = reference.inverse_step(batch, alpha=2e-3, direction="adam")
        pairs = batch.unlabelled
        assert pairs is not None
        pairs = dataclasses.replace(pairs, weight=pairs.weight.float())
        batch = dataclasses.replace(batch, labels=batch.labels.float(), unlabelled=pairs)
        decision = method.step(StepExecutor(learner), batch).decision
        assert decision is not None
        assert decision.choice == expected
        assert decision.losses == pytest.approx(losses, abs=1e-5)


def test_delta_moves_weights_and_leaves_moments_and_steps_to_the_labelled_step() -> None:
    """The pairs' rows and the batch's rows are disjoint: the former move by exactly ∓α·g, with moments still 0."""
    learner = make_learner("backbones:Biased")
    before = learner.users.weight.clone()
    rng = np.random.default_rng(0)
    batch = random_batch(rng, rows=8, num_users=10, num_items=10, rate=1)
    pairs = batch.unlabelled
    assert pairs is not None
    pairs = dataclasses.replace(pairs, user_ids=pairs.user_ids + 10, item_ids=pairs.item_ids + 10)
    decision = (
        make_method(InverseGradientConfig(dual_learning_rate=1e-3))
        .step(StepExecutor(learner), dataclasses.replace(batch, unlabelled=pairs))
        .decision
    )
    assert decision is not None
    # The tower's one scalar, shared by both batches, sees to it that the candidates differ.
    assert decision.choice in (DIRECT, INVERSE)
    weight, first, second = learner.users.packed.chunk(3, dim=1)
    moved = (weight - before).abs()
    assert float(moved[pairs.user_ids].max()) == pytest.approx(1e-3, rel=1e-4)  # |d(g)| = |g|/(|g| + 1e-8)
    assert not first[10:].any()
    assert not second[10:].any()
    untouched = torch.tensor([k for k in range(USERS) if k not in {*batch.user_ids.tolist(), *pairs.user_ids.tolist()}])
    assert not moved[untouched].any()
    assert learner.step == 1


def test_without_a_shared_row_or_tower_the_three_tie_and_skip_wins() -> None:
    learner = make_learner("backbones:DotProduct")
    rng = np.random.default_rng(0)
    batch = random_batch(rng, rows=8, num_users=10, num_items=10, rate=1)
    pairs = batch.unlabelled
    assert pairs is not None
    pairs = dataclasses.replace(pairs, user_ids=pairs.user_ids + 10, item_ids=pairs.item_ids + 10)
    before = learner.users.packed[10:].clone()
    decision = (
        make_method(InverseGradientConfig())
        .step(StepExecutor(learner), dataclasses.replace(batch, unlabelled=pairs))
        .decision
    )
    assert decision is not None
    assert decision.losses[DIRECT] == decision.losses[SKIP] == decision.losses[INVERSE]
    assert decision.choice == SKIP
    assert torch.equal(learner.users.packed[10:], before)


@pytest.mark.parametrize(
    ("losses", "choice"),
    [
        ((0.1, 0.2, 0.3), DIRECT),
        ((0.2, 0.1, 0.3), SKIP),
        ((0.3, 0.2, 0.1), INVERSE),
        ((0.1, 0.1, 0.1), SKIP),
        ((0.1, 0.2, 0.1), DIRECT),
        ((0.2, 0.1, 0.1), SKIP),
        ((0.1, 0.1, 0.2), SKIP),
        ((math.nan, 0.2, 0.3), SKIP),
        ((math.nan, math.nan, 0.3), INVERSE),
        ((0.1, math.nan, 0.05), INVERSE),
        ((-math.inf, 0.2, 0.1), INVERSE),
        ((0.2, math.inf, math.inf), DIRECT),
    ],
)
def test_the_smallest_finite_loss_wins_and_ties_go_to_skip_then_direct(
    losses: tuple[float, float, float], choice: int
) -> None:
    assert decide(losses) == choice


def test_three_losses_that_are_not_finite_end_the_run() -> None:
    with pytest.raises(UserError, match=r"diverged; lower optimizer\.learning_rate"):
        decide((math.nan, math.inf, -math.inf))


def test_a_round_is_a_labelled_pass_and_an_inverse_pass() -> None:
    method = make_method(InverseGradientConfig(test_share=0.25))
    assert [(phase.subset, phase.unlabelled) for phase in method.phases] == [("train", False), ("test", True)]
    assert method.test_share == 0.25
