"""Every kind of step on a device of its own: no tensor of another one takes part, and the decision alone is waited for.

Fake tensors have no values: whatever asks for one (`tolist`, `item`, `unique`) raises an error, but for the decision,
which is handed in.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import small_learner
from fake_device import DEVICE, FakeRanks, fake_device, on_device
from random_batches import part_of_rank, random_batch, weighted_batch
from thread_ranks import run_on_threads
from torch import Tensor

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.method_config import (
    InverseDualConfig,
    InverseGradientConfig,
    MethodConfig,
    NegativeSamplingConfig,
    NoneConfig,
    OrdinalConfig,
    ReweightedConfig,
)
from distributed_il.data.loading.batch import Batch
from distributed_il.data.loading.index_plan import IndexPlan, Overlap
from distributed_il.methods import make_method
from distributed_il.methods.protocol import extras_of
from distributed_il.methods.steps import executor as executor_module
from distributed_il.methods.steps import fused
from distributed_il.methods.steps.decision import DIRECT, INVERSE, SKIP, Decision
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.embedding import sharded as sharded_module
from distributed_il.models.embedding.routes import Routes, find_routes

USERS, ITEMS, ROWS, RATE = 40, 50, 32, 2
METHODS: list[tuple[MethodConfig, int]] = [
    (NoneConfig(), SKIP),
    (NegativeSamplingConfig(), SKIP),
    (ReweightedConfig(), SKIP),
    (InverseDualConfig(), SKIP),
    (OrdinalConfig(), SKIP),
    (InverseGradientConfig(), DIRECT),
    (InverseGradientConfig(), SKIP),
    (InverseGradientConfig(), INVERSE),
]
"""T-CE is not among them: which examples it keeps is known on the host alone."""
NAMES = ["none", "ns", "r_ce", "idl", "ordinal", "direct", "skip", "inverse"]


def batch_of(method: Any, *, weights: bool = False, rank: int | None = None) -> Batch:
    """A batch as the loader makes it for the method's last phase, all plans made ahead."""
    generator, phase = np.random.default_rng(3), method.phases[-1]
    batch = random_batch(generator, rows=ROWS, num_users=USERS, num_items=ITEMS, rate=RATE if phase.unlabelled else 0)
    if weights:
        batch = weighted_batch(batch, generator)
    if rank is not None:
        batch = part_of_rank(batch, rank, 2)
    pairs = batch.unlabelled
    if pairs is None or phase.joined:
        return dataclasses.replace(batch, plan=batch.joined_plan)
    plan, of_pairs = IndexPlan.of(batch.user_ids, batch.item_ids), IndexPlan.of(pairs.user_ids, pairs.item_ids)
    pairs = dataclasses.replace(pairs, plan=of_pairs, overlap=Overlap.of(plan, of_pairs))
    return dataclasses.replace(batch, plan=plan, unlabelled=pairs)


def decide_for_all(monkeypatch: pytest.MonkeyPatch, choice: int) -> None:
    """Hands the decision in, which waits for the device; the sums that it is made of still have to lie there."""

    def decided(_: Any, sums: Tensor, *__: Any) -> Decision:
        assert sums.device == DEVICE
        return Decision(choice, (0.0, 0.0, 0.0))

    monkeypatch.setattr(executor_module, "decide_together", decided)


def take_step(
    monkeypatch: pytest.MonkeyPatch,
    config: MethodConfig,
    choice: int,
    *,
    model: dict[str, Any],
    optimizer: dict[str, Any] | None = None,
    factors: bool = False,
    weights: bool = False,
    compile: bool = False,
    sharded: bool = False,
) -> None:
    """Takes a step of the method's last phase on the fake device."""
    method = make_method(config)
    batch = batch_of(method, weights=weights, rank=0 if sharded else None)
    routes = [of_ranks[0] for of_ranks in routes_of(method, weights)] if sharded else []
    made = small_learner.random_factors(USERS, ITEMS)
    decide_for_all(monkeypatch, choice)
    with fake_device(monkeypatch) as mode:
        monkeypatch.setattr(small_learner, "random_factors", lambda *_: on_device(made, mode))
        learner = small_learner.small_learner(
            USERS,
            ITEMS,
            model=model | {"tables": "sharded" if sharded else "replicated"},
            optimizer=optimizer or {},
            factors=factors,
            method_extras=extras_of(method),
            collectives=FakeRanks() if sharded else LocalCollectives(),
            device=str(DEVICE),
        )
        executor = StepExecutor(learner)
        if compile:
            executor.fused = fused.FusedSteps(learner, lambda _: None)
        batch = on_device(batch, mode)
        if sharded:
            monkeypatch.setattr(sharded_module, "find_routes", lambda *_: on_device(routes, mode))
            learner.embeddings.prefetch_routes(batch.plans)
        report = method.step(executor, batch)
        assert report.loss_sum.device == DEVICE
        assert learner.step == 1


def routes_of(method: Any, weights: bool) -> list[list[Routes]]:
    """The routes of both ranks of each plan of a batch."""

    def find(ranks: Any) -> list[Routes]:
        return find_routes(batch_of(method, weights=weights, rank=ranks.rank).plans, ranks)

    return list(zip(*run_on_threads(2, find), strict=True))  # type: ignore[arg-type]


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions that would be compiled, as they are."""
    monkeypatch.setattr(fused, "compiled", lambda function, **_: function)


@pytest.mark.parametrize(("backbone", "factors"), [("gmf", True), ("neumf", False), ("deepfm", False)])
@pytest.mark.parametrize(("config", "choice"), METHODS, ids=NAMES)
def test_a_step_stays_on_its_device(
    monkeypatch: pytest.MonkeyPatch, config: MethodConfig, choice: int, backbone: str, factors: bool
) -> None:
    take_step(monkeypatch, config, choice, model={"backbone": backbone}, factors=factors)


@pytest.mark.parametrize(("config", "choice"), METHODS, ids=NAMES)
def test_a_step_on_sharded_rows_stays_on_its_device(
    monkeypatch: pytest.MonkeyPatch, config: MethodConfig, choice: int
) -> None:
    take_step(monkeypatch, config, choice, model={"backbone": "neumf"}, factors=True, sharded=True)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(("missed_steps", "factors"), [("skip", False), ("catch_up", True)])
@pytest.mark.parametrize(("config", "choice"), METHODS, ids=NAMES)
def test_what_is_compiled_stays_on_its_device(
    monkeypatch: pytest.MonkeyPatch, config: MethodConfig, choice: int, missed_steps: str, factors: bool
) -> None:
    optimizer = {"missed_steps": missed_steps}
    model = {"backbone": "gmf"}
    take_step(monkeypatch, config, choice, model=model, optimizer=optimizer, factors=factors, compile=True)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(("config", "choice"), [METHODS[0], METHODS[4], METHODS[7]], ids=["none", "ordinal", "inverse"])
def test_row_weights_stay_on_their_device(
    monkeypatch: pytest.MonkeyPatch, config: MethodConfig, choice: int, compile: bool
) -> None:
    take_step(monkeypatch, config, choice, model={"backbone": "gmf"}, weights=True, compile=compile)
