"""The calibrated loss of a model in training equals that of a whole model, fitted in one go."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest
import torch
from random_batches import part_of_rank, random_batch
from rank_cases import IG, Case, make_learner
from thread_ranks import run_on_threads

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.data.loading.batch import Batch
from distributed_il.evaluation import calibrated_loss as module
from distributed_il.evaluation.affine_calibration import affine_loss, fit_affine
from distributed_il.evaluation.calibrated_loss import calibrated_loss
from distributed_il.methods import make_method
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.learner import Learner

USERS, ITEMS = 24, 32
CASES = [
    Case(IG),
    Case(IG, missed_steps="catch_up", tables="sharded"),
    Case(IG, "bias_mf", missed_steps="catch_up", factors=True, tables="sharded"),
    Case(IG, "deepfm", tables="sharded"),
]


ONE_AT_A_TIME = threading.Lock()
"""The start of a tower is drawn from torch's global generator, which threads share."""


def part(seed: int, ranks: Collectives, rows: int, rate: int = 0) -> Batch:
    batch = random_batch(np.random.default_rng(seed), rows=rows, num_users=USERS, num_items=ITEMS, rate=rate)
    return part_of_rank(batch, ranks.rank, ranks.world_size)


def trained(case: Case, ranks: Collectives) -> Learner:
    with ONE_AT_A_TIME:
        learner = make_learner(case, ranks)
    executor = StepExecutor(learner)
    for step in range(8):
        make_method(IG).step(executor, part(step, ranks, 33, rate=step % 2))
    return learner


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.backbone} {case.missed_steps}")
def test_ranks_some_without_rows_equal_one_whole_model(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_ROWS", 7)

    def measure(ranks: Collectives) -> float:
        learner = trained(case, ranks)
        before = learner.users.packed.clone(), learner.items.packed.clone(), learner.users.last_step.clone()
        # Three ranks have 11 rows each, then one has two rows and none has the others.
        found = calibrated_loss(learner, [part(50, ranks, 33), part(51, ranks, 1), part(52, ranks, 1)], ranks)
        after = learner.users.packed, learner.items.packed, learner.users.last_step
        assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
        return found

    alone = LocalCollectives()
    learner = trained(case, alone)
    learner.materialize()
    whole = [part(seed, alone, rows) for seed, rows in ((50, 33), (51, 1), (52, 1))]
    logits = np.concatenate([learner.score(batch.user_ids, batch.item_ids).numpy() for batch in whole])
    labels = np.concatenate([batch.labels.numpy() for batch in whole])
    expected = affine_loss(fit_affine(lambda: [(logits, labels)]), lambda: [(logits, labels)])
    assert 0.1 < expected < math.log(2)
    found = run_on_threads(3, measure)
    assert len(set(found)) == 1
    assert found[0] == pytest.approx(expected, rel=0, abs=1e-10)
    assert measure(alone) == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_logit_that_is_not_finite_makes_no_number(value: float) -> None:
    learner: Any = trained(Case(IG), LocalCollectives())
    learner.items.weight[:] = value
    assert math.isnan(calibrated_loss(learner, [part(1, LocalCollectives(), 33)], LocalCollectives()))
