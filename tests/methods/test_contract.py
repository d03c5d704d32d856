"""What holds for every method with every backbone, a user's own among them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from random_batches import random_batch
from small_learner import small_learner

from distributed_il.core.method_config import (
    InverseDualConfig,
    InverseGradientConfig,
    MethodConfig,
    NegativeSamplingConfig,
    NoneConfig,
    OrdinalConfig,
    ReweightedConfig,
    TruncatedConfig,
)
from distributed_il.data.loading.batch import Batch
from distributed_il.methods import make_method
from distributed_il.methods.steps.decision import StepReport
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner

USERS, ITEMS = 20, 25
METHODS: dict[str, MethodConfig] = {
    "none": NoneConfig(),
    "none, sampled negatives": NoneConfig(negatives="sampled"),
    "none, all positive": NoneConfig(negatives="sampled_all_positive"),
    "ns": NegativeSamplingConfig(),
    "t_ce": TruncatedConfig(max_drop_rate=0.3, num_gradual_steps=3),
    "t_ce, local": TruncatedConfig(max_drop_rate=0.3, num_gradual_steps=3, ranking="local"),
    "r_ce": ReweightedConfig(),
    "idl": InverseDualConfig(),
    "ordinal": OrdinalConfig(),
    "ig": InverseGradientConfig(dual_learning_rate=1e-3),
    "ig, sgd": InverseGradientConfig(dual_learning_rate=1e-1, direction="sgd"),
}
BACKBONES = ["gmf", "neumf", "bias_mf", "mlp", "deepfm", "backbones:Biased", "backbones:DotProduct"]
every_method = pytest.mark.parametrize("method", METHODS)
every_backbone = pytest.mark.parametrize("backbone", BACKBONES)
every_optimizer = pytest.mark.parametrize("missed_steps", ["skip", "catch_up"])


def make_learner(backbone: str, *, seed: int = 1, missed_steps: str = "skip", dtype: str = "float32") -> Learner:
    return small_learner(
        USERS,
        ITEMS,
        model={"backbone": backbone, "init_std": 0.1, "dtype": dtype},
        optimizer={"learning_rate": 1e-2, "missed_steps": missed_steps},
        seed=seed,
    )


def batches(method: str, *, steps: int = 9, dtype: torch.dtype = torch.float32, rows: int = 16) -> list[Batch]:
    """Of the method's phases by turns; users and items of the upper half never occur."""
    rng = np.random.default_rng(6)
    phases = make_method(METHODS[method]).phases
    return [
        random_batch(
            rng,
            rows=rows,
            num_users=USERS // 2,
            num_items=ITEMS // 2,
            rate=2 if phases[step % len(phases)].unlabelled else 0,
            invalid_share=0.1,
            dtype=dtype,
        )
        for step in range(steps)
    ]


def train(learner: Learner, method: str, given: list[Batch]) -> list[StepReport]:
    chosen = make_method(METHODS[method])
    return [chosen.step(StepExecutor(learner), batch) for batch in given]


def state(learner: Learner) -> list[torch.Tensor]:
    """Everything that the next step depends on."""
    return [learner.users.packed, learner.items.packed, learner.tower.packed]


@every_optimizer
@every_backbone
@every_method
def test_steps_are_finite_move_the_model_and_report_themselves(method: str, backbone: str, missed_steps: str) -> None:
    learner = make_learner(backbone, missed_steps=missed_steps)
    before = [tensor.clone() for tensor in state(learner)]
    given = batches(method)
    reports = train(learner, method, given)
    learner.materialize()
    assert learner.step == len(given)
    for tensor in state(learner):
        assert torch.isfinite(tensor).all()
    assert not torch.equal(learner.users.packed, before[0])
    assert not torch.equal(learner.items.packed, before[1])
    if learner.tower.size:
        assert not torch.equal(learner.tower.packed, before[2])
    for report in reports:
        assert report.loss_sum.shape == ()
        assert not report.loss_sum.requires_grad
        assert torch.isfinite(report.loss_sum)
        assert report.rows > 0


@every_backbone
@every_method
def test_the_same_seed_gives_the_same_bits(method: str, backbone: str) -> None:
    first, second = make_learner(backbone), make_learner(backbone)
    train(first, method, batches(method))
    torch.rand(3)  # the global random state plays no part
    train(second, method, batches(method))
    for ours, theirs in zip(state(first), state(second), strict=True):
        assert torch.equal(ours, theirs)


@every_backbone
@every_method
def test_rows_outside_the_batches_stay_bit_for_bit(method: str, backbone: str) -> None:
    learner = make_learner(backbone)
    users, items = learner.users.packed[USERS // 2 :].clone(), learner.items.packed[ITEMS // 2 :].clone()
    train(learner, method, batches(method))
    assert torch.equal(learner.users.packed[USERS // 2 :], users)
    assert torch.equal(learner.items.packed[ITEMS // 2 :], items)


@every_method
def test_the_order_of_rows_in_a_batch_does_not_matter(method: str) -> None:
    straight, turned = make_learner("neumf", dtype="float64"), make_learner("neumf", dtype="float64")
    given = batches(method, dtype=torch.float64)
    train(straight, method, given)
    train(turned, method, [reverse(batch) for batch in given])
    if method == "t_ce, local":
        return  # breaks ties by the place in the batch
    for ours, theirs in zip(state(straight), state(turned), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


def reverse(batch: Batch) -> Batch:
    """The rows from the last to the first, with their pairs."""
    pairs = batch.unlabelled
    if pairs is not None:
        pairs = dataclasses.replace(
            pairs,
            **{
                name: getattr(pairs, name).view(-1, pairs.rate).flip(0).reshape(-1)
                for name in ("user_ids", "item_ids", "weight")
            },
        )
    return dataclasses.replace(
        batch,
        user_ids=batch.user_ids.flip(0),
        item_ids=batch.item_ids.flip(0),
        labels=batch.labels.flip(0),
        row_numbers=batch.row_numbers.flip(0),
        unlabelled=pairs,
    )


@every_backbone
@every_method
def test_labels_of_another_shape_are_refused(method: str, backbone: str) -> None:
    """[B, 1] beside [B] would broadcast to [B, B] and train on nonsense without a word."""
    for batch in batches(method, steps=2):
        with pytest.raises((ValueError, RuntimeError), match="labels must have shape|same number of dimensions"):
            train(make_learner(backbone), method, [dataclasses.replace(batch, labels=batch.labels.unsqueeze(1))])


@every_method
def test_a_backbone_whose_logits_are_a_column_is_refused(method: str) -> None:
    for batch in batches(method, steps=2):
        with pytest.raises(ValueError, match=r"logits must have shape \[B\], not \[\d+, 1\]"):
            train(make_learner("backbones:ColumnLogits"), method, [batch])
