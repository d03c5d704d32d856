"""Row weights: a row of weight 2 is two equal rows, whatever the method, and 2 everywhere is no weight at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from dense_reference import DenseReference, log_losses
from local_runs import local_trainer
from random_batches import random_batch, weighted_batch
from small_datasets import random_rows, write_dataset
from small_learner import small_learner

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
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
from distributed_il.data.loading.batch import Batch, with_global_weights
from distributed_il.methods import make_method
from distributed_il.methods.protocol import extras_of
from distributed_il.methods.steps.decision import decide_together
from distributed_il.methods.steps.executor import StepExecutor

USERS, ITEMS = 30, 40
CASES: dict[str, MethodConfig] = {
    "none": NoneConfig(),
    "none, sampled": NoneConfig(negatives="sampled"),
    "none, all positive": NoneConfig(negatives="sampled_all_positive"),
    "ns": NegativeSamplingConfig(unlabelled_weight=0.5),
    "r_ce": ReweightedConfig(exponent=0.3),
    "t_ce, none dropped": TruncatedConfig(max_drop_rate=0.0),
    "idl": InverseDualConfig(unlabelled_weight=0.5),
    "ordinal": OrdinalConfig(half_width=0.7),
    "ordinal, learned": OrdinalConfig(half_width="learned"),
    "ig": InverseGradientConfig(dual_learning_rate=5e-3),
    "ig, sgd": InverseGradientConfig(dual_learning_rate=1.0, direction="sgd"),
}


def repeated(batch: Batch) -> Batch:
    """Each row and its pairs as often as the row weighs, without weights."""
    assert batch.weights is not None
    times = batch.weights.to(torch.int64)
    rows, pairs = torch.arange(times.numel()).repeat_interleave(times), batch.unlabelled
    if pairs is not None:
        places = (rows.unsqueeze(1) * pairs.rate + torch.arange(pairs.rate)).reshape(-1)
        drawn = (pairs.weight[places] > 0).to(pairs.weight.dtype)
        pairs = dataclasses.replace(
            pairs, user_ids=pairs.user_ids[places], item_ids=pairs.item_ids[places], weight=drawn
        )
    return Batch(
        batch.user_ids[rows],
        batch.item_ids[rows],
        batch.labels[rows],
        torch.arange(rows.numel()),
        pairs,
        global_count=rows.numel(),
        capacity=rows.numel(),
    )


@pytest.mark.parametrize("case", CASES)
def test_a_row_of_weight_two_is_two_rows(case: str) -> None:
    method = make_method(CASES[case])
    ours, theirs = (
        StepExecutor(small_learner(USERS, ITEMS, model={}, optimizer={}, method_extras=extras_of(method)))
        for _ in range(2)
    )
    rng = np.random.default_rng(1)
    for step in range(12):
        phase = method.phases[step % len(method.phases)]
        invalid = 0.0 if isinstance(CASES[case], OrdinalConfig) else 0.1
        batch = random_batch(
            rng, rows=24, num_users=USERS, num_items=ITEMS, rate=2 * phase.unlabelled, invalid_share=invalid
        )
        batch = weighted_batch(batch, rng)
        found, expected = method.step(ours, batch), method.step(theirs, repeated(batch))
        if expected.decision is not None:
            assert found.decision is not None
            assert found.decision.choice == expected.decision.choice
            assert found.decision.losses == pytest.approx(expected.decision.losses, rel=1e-12)
    for name in ("users", "items", "tower"):
        packed = [getattr(executor.learner, name).packed for executor in (ours, theirs)]
        torch.testing.assert_close(*packed, rtol=0, atol=1e-11)


@pytest.mark.parametrize("ranking", ["global", "local"])
def test_t_ce_drops_by_loss_alone_and_weighs_what_is_left(ranking: str) -> None:
    method = make_method(TruncatedConfig(max_drop_rate=0.3, num_gradual_steps=1, ranking=ranking))  # type: ignore[arg-type]
    learner = small_learner(USERS, ITEMS, model={}, optimizer={})
    learner.step = 1  # the rate has risen by then
    reference = DenseReference(learner)
    reference.t = 1
    batch = random_batch(np.random.default_rng(0), rows=24, num_users=USERS, num_items=ITEMS)
    batch = weighted_batch(batch, np.random.default_rng(1))
    assert batch.weights is not None
    losses = log_losses(reference.model(batch.user_ids, batch.item_ids), batch.labels)
    kept = (losses.detach() * batch.labels).argsort()[: 24 - 7]  # ⌊0.3 · 24⌋ = 7 of more positives than that
    assert batch.labels.sum() > 7
    loss = (losses * batch.weights)[kept].sum() / batch.weights[kept].sum()
    reference.descend(loss, batch.user_ids, batch.item_ids)
    method.step(StepExecutor(learner), batch)
    assert reference.distance(learner) < 1e-12


def test_candidates_are_judged_by_weighted_means() -> None:
    """Sums 6, 8 and 10 of rows that weigh 1, 0.5 and 2.5."""
    sums, weights = torch.tensor([6.0, 8.0, 10.0], dtype=torch.float64), torch.tensor([1.0, 0.5, 2.5])
    assert decide_together(LocalCollectives(), sums, 3, weights).losses == (1.5, 2.0, 2.5)
    assert decide_together(LocalCollectives(), sums, 4).losses == (1.5, 2.0, 2.5)


def test_a_mean_over_weighted_rows_needs_their_sum() -> None:
    batch = weighted_batch(
        random_batch(np.random.default_rng(0), rows=9, num_users=USERS, num_items=ITEMS), np.random.default_rng(0)
    )
    alone = dataclasses.replace(batch, global_weight=None)
    with pytest.raises(ValueError, match="is not known"):
        _ = alone.total_weight
    assert with_global_weights([alone, batch], LocalCollectives())[0].total_weight == batch.total_weight


@pytest.mark.parametrize(
    "method",
    [
        TruncatedConfig(max_drop_rate=0.3, num_gradual_steps=4, negatives="sampled"),
        InverseGradientConfig(test_share=0.3),
        InverseGradientConfig(test_share=0.3, decision="round"),
    ],
)
def test_a_run_whose_rows_all_weigh_two_is_one_without_weights(tmp_path: Path, method: MethodConfig) -> None:
    """To the bit: twice a sum over twice a count. With weights that differ something else is learned."""
    rng = np.random.default_rng(0)
    rows = random_rows(rng, USERS, ITEMS, {"train": 300, "valid": 60, "test": 60})
    size = rows["train"]["label"].size
    learned: list[torch.Tensor] = []
    for name, weights in (("none", None), ("two", np.full(size, 2.0)), ("other", rng.integers(1, 9, size))):
        train = rows["train"] if weights is None else {**rows["train"], "weight": weights.astype(np.float32)}
        dataset = write_dataset(tmp_path / name, {**rows, "train": train}, num_users=USERS, num_items=ITEMS)
        assert dataset.weighted == (weights is not None)
        trainer = local_trainer(
            TrainConfig(
                data=DataConfig(path=dataset.path),
                run=RunConfig(dir=str(tmp_path / f"run {name}"), batch_size=64, max_rounds=2),
                model=ModelConfig(embedding_dim=4, factors=0),
                method=method,
            )
        )
        trainer.fit()
        learned.append(trainer.learner.users.packed)
    assert torch.equal(learned[0], learned[1])
    assert not torch.equal(learned[0], learned[2])
