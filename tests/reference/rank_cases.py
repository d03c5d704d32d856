"""Short trainings that one rank of several can run, or one process with the joined batches."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from unittest import mock

import numpy as np
import torch
from random_batches import part_of_rank, random_batch, weighted_batch
from small_learner import small_learner
from torch import Tensor

from distributed_il.core.collectives import Collectives
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
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.data.loading.batch import Batch, with_global_weights
from distributed_il.data.loading.loader import BatchLayout, TrainingRows
from distributed_il.data.logged_pairs import LoggedPairSampler
from distributed_il.data.sampling import UnlabelledSampler
from distributed_il.methods import Method, make_method
from distributed_il.methods.ordinal import Ordinal
from distributed_il.methods.protocol import extras_of
from distributed_il.methods.steps import executor
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.embedding.table import EmbeddingTable
from distributed_il.models.learner import Learner
from distributed_il.training.consistency import check_replicas

USERS, ITEMS = 24, 32
# Four ranks have 9 or 8 rows of a batch of 33; of the last three, one or more ranks have none.
ROWS = (33, 33, 33, 33, 33, 3, 2, 1)


@dataclass(frozen=True)
class Case:
    """One short training."""

    method: MethodConfig
    backbone: str = "gmf"
    missed_steps: Literal["skip", "catch_up"] = "skip"
    crossing: bool = False
    from_dataset: bool = False
    tables: Literal["replicated", "sharded"] = "replicated"
    factors: bool = False
    row_dropout: float = 0.0
    weights: bool = False


T_CE = TruncatedConfig(max_drop_rate=0.4, num_gradual_steps=4)
IG = InverseGradientConfig(dual_learning_rate=5e-3)
IG_SGD = InverseGradientConfig(dual_learning_rate=1.0, direction="sgd")
IG_OFTEN = dataclasses.replace(IG, test_share=0.4)  # decides often enough on a dataset of a few steps
LEARNED = OrdinalConfig(half_width="learned")
CASES = {
    "none": Case(NoneConfig()),
    "none, sampled negatives": Case(NoneConfig(negatives="sampled")),
    "ns": Case(NegativeSamplingConfig(unlabelled_weight=0.5)),
    "t_ce": Case(T_CE),
    "t_ce, sampled negatives": Case(dataclasses.replace(T_CE, negatives="sampled")),
    "r_ce": Case(ReweightedConfig(exponent=0.3)),
    "t_ce, all positive": Case(dataclasses.replace(T_CE, negatives="sampled_all_positive")),
    "r_ce, sampled negatives": Case(ReweightedConfig(exponent=0.3, negatives="sampled")),
    "idl": Case(InverseDualConfig(unlabelled_weight=0.5)),
    "idl, neumf": Case(InverseDualConfig(), "neumf"),
    "ig": Case(IG),
    "ig, sgd": Case(IG_SGD),
    "ig, neumf": Case(IG, "neumf"),
    "ig, deepfm": Case(IG, "deepfm"),
    "ig, deepfm, dataset": Case(IG_OFTEN, "deepfm", from_dataset=True),
    "idl, deepfm": Case(InverseDualConfig(), "deepfm"),
    "ig, scalar tower": Case(IG, "backbones:Biased"),
    "ig, no tower": Case(IG, "backbones:DotProduct"),
    "ig, catch up": Case(IG, missed_steps="catch_up"),
    "ig, crossing": Case(IG, crossing=True),
    "ig, crossing, no tower": Case(IG, "backbones:DotProduct", crossing=True),
    "ordinal": Case(OrdinalConfig()),
    "ordinal, neumf": Case(LEARNED, "neumf"),
    "ordinal, factors": Case(LEARNED, "bias_mf", factors=True),
    "ordinal, dataset": Case(LEARNED, from_dataset=True),
    "ig, dataset": Case(IG_OFTEN, from_dataset=True),
    "t_ce, dataset": Case(T_CE, from_dataset=True),
    "none, factors": Case(NoneConfig(), "bias_mf", factors=True),
    "idl, factors": Case(InverseDualConfig(), "bias_mf", factors=True),
    "ig, factors": Case(IG, "bias_mf", factors=True),
    "ig, neumf, factors": Case(IG, "neumf", factors=True),
    "ig, catch up, factors": Case(IG, missed_steps="catch_up", factors=True),
    "ig, crossing, factors": Case(IG, crossing=True, factors=True),
    "ig, factors, row dropout": Case(IG, "bias_mf", factors=True, row_dropout=0.3),
    "ig, dataset, factors": Case(IG_OFTEN, from_dataset=True, factors=True),
    "ig, weights": Case(IG, weights=True),
    "t_ce, sampled negatives, weights": Case(dataclasses.replace(T_CE, negatives="sampled"), weights=True),
    "ordinal, weights": Case(LEARNED, weights=True),
    "ig, no tower, factors": Case(IG, "backbones:DotProduct", factors=True),
}
DDP_CASES = ("none", "idl, neumf", "ig, neumf", "ordinal, neumf")
"""Run once more with the tower under DDP, which is too small for that otherwise."""
LOCAL_T_CE = Case(dataclasses.replace(T_CE, ranking="local"))


@dataclass(frozen=True)
class Outcome:
    """What a rank ends with."""

    choices: list[int]
    losses: list[tuple[float, float, float]]
    users: Tensor
    items: Tensor
    tower: Tensor
    loss_sums: Tensor
    rows: list[int]


def crossing_batch(rng: np.random.Generator, rows: int) -> Batch:
    """Row n's ids are of class n mod 4, its pair's ids of the next class.

    So with 2 or 4 ranks no rank's pairs meet a row of its own, and every rank's pairs meet another rank's rows.
    """
    batch = random_batch(rng, rows=rows, num_users=USERS // 4, num_items=ITEMS // 4, rate=1)
    pairs, own = batch.unlabelled, torch.arange(rows) % 4
    assert pairs is not None
    following = (own + 1) % 4
    return dataclasses.replace(
        batch,
        user_ids=batch.user_ids + own * (USERS // 4),
        item_ids=batch.item_ids + own * (ITEMS // 4),
        unlabelled=dataclasses.replace(
            pairs,
            user_ids=pairs.user_ids + following * (USERS // 4),
            item_ids=pairs.item_ids + following * (ITEMS // 4),
        ),
    )


def global_batches(case: Case, method: Method) -> Iterator[Batch]:
    """The case's batches, whole; of phases with and without pairs by turns."""
    rng, weights = np.random.default_rng(7), np.random.default_rng(8)
    for step, rows in enumerate(ROWS):
        phase = method.phases[step % len(method.phases)] if step % 4 == 0 else method.phases[-1]
        if case.crossing:
            yield crossing_batch(rng, rows)
        else:
            batch = random_batch(
                rng,
                rows=rows,
                num_users=USERS,
                num_items=ITEMS,
                rate=2 if phase.unlabelled else 0,
                invalid_share=0.1,
            )
            yield weighted_batch(batch, weights) if case.weights else batch


def dataset_batches(path: str, method: Method, learner: Learner) -> Iterator[Batch]:
    """Two rounds of batches of 40 read from a dataset, each window's routes prefetched: this rank's part."""
    collectives = learner.collectives
    dataset = Dataset.open(path)
    rows = TrainingRows(
        dataset,
        LocalBlockReader(dataset),
        LoggedPairSampler(dataset.logged(), seed=3, rate=2)
        if isinstance(method, Ordinal)
        else UnlabelledSampler(dataset.observed(), dataset.num_items, seed=3),
        BatchLayout(
            seed=3,
            test_share=method.test_share,
            global_batch=40,
            rank=collectives.rank,
            world_size=collectives.world_size,
        ),
        dtype=torch.float64,
        device=torch.device("cpu"),
        factors=learner.factors and (learner.factors[0].of, learner.factors[1].of),
    )
    for round in range(2):
        for phase in method.phases:
            for window in rows.batches(phase, round=round):
                learner.embeddings.prefetch_routes([plan for batch in window for plan in batch.plans])
                yield from window


def make_learner(case: Case, collectives: Collectives, *, num_users: int = USERS, num_items: int = ITEMS) -> Learner:
    """A float64 model of the case."""
    return small_learner(
        num_users,
        num_items,
        model={"backbone": case.backbone, "tables": case.tables, "row_dropout": case.row_dropout},
        optimizer={"missed_steps": case.missed_steps},
        factors=case.factors,
        method_extras=extras_of(make_method(case.method)),
        collectives=collectives,
    )


def train(case: Case, collectives: Collectives, dataset: str) -> tuple[Outcome, Learner]:
    """Runs a case and checks the replicas at its end."""
    method = make_method(case.method)
    if case.from_dataset:
        learner = make_learner(case, collectives, num_users=40, num_items=60)
        batches = dataset_batches(dataset, method, learner)
    else:
        learner = make_learner(case, collectives)
        batches = (
            part_of_rank(batch, collectives.rank, collectives.world_size) for batch in global_batches(case, method)
        )
    if case.weights:
        batches = (with_global_weights([batch], collectives)[0] for batch in batches)
    steps = StepExecutor(learner)
    reports = [method.step(steps, batch) for batch in batches]
    learner.materialize()
    check_replicas(learner, collectives)
    decisions = [report.decision for report in reports if report.decision is not None]
    outcome = Outcome(
        choices=[decision.choice for decision in decisions],
        losses=[decision.losses for decision in decisions],
        users=whole_table(learner.users, collectives),
        items=whole_table(learner.items, collectives),
        tower=learner.tower.flat.clone(),
        loss_sums=torch.stack([report.loss_sum for report in reports]),
        rows=[report.rows for report in reports],
    )
    return outcome, learner


def whole_table(table: EmbeddingTable, collectives: Collectives) -> Tensor:
    """All rows of a table, packed, whoever holds them."""
    if table.rows.step == 1:
        return table.packed.clone()
    counts = collectives.all_gather(torch.tensor(table.num_rows)).tolist()
    padded = torch.zeros((max(counts), table.packed.shape[1]), dtype=table.packed.dtype)
    padded[: table.num_rows] = table.packed
    whole = torch.zeros((sum(counts), table.packed.shape[1]), dtype=table.packed.dtype)
    for rank, part in enumerate(collectives.all_gather(padded)):
        whole[rank :: collectives.world_size] = part[: counts[rank]]
    return whole


def run_cases(collectives: Collectives, dataset: str) -> dict[str, Any]:
    """All cases on one rank: outcomes by name, and what the check of replicas says of single flipped bits."""
    cases = CASES | {"t_ce, local": LOCAL_T_CE}
    results: dict[str, Any] = {name: train(case, collectives, dataset)[0] for name, case in cases.items()}
    if collectives.world_size > 1:
        for name in [*cases, "ig"]:
            sharded = dataclasses.replace(cases[name], tables="sharded")
            again = "again, " if f"sharded, {name}" in results else ""
            results[f"{again}sharded, {name}"] = train(sharded, collectives, dataset)[0]
        with mock.patch.object(executor, "DDP_FROM_PARAMETERS", 1):
            for name in DDP_CASES:
                results[f"ddp, {name}"] = train(cases[name], collectives, dataset)[0]
        results["flips"] = _flips(collectives)
        results["collectives"] = _collectives(collectives)
    return results


def _flips(collectives: Collectives) -> dict[str, str]:
    """On the last rank one bit at a time is flipped, in weights, moments, tower and the tower's moments."""
    _, learner = train(CASES["ig"], collectives, "")
    places = {
        "user weight": learner.users.packed[3, 1:2],
        "item moment": learner.items.packed[ITEMS - 1, -1:],
        "tower": learner.tower.flat[:1],
        "tower moment": learner.tower.rows.second[0, -1:],
    }
    messages: dict[str, str] = {}
    for name, place in places.items():
        for _ in range(2):  # the second flip mends the first
            if collectives.rank == collectives.world_size - 1:
                place.view(torch.int64).bitwise_xor_(1)
            try:
                check_replicas(learner, collectives)
                messages[f"{name}, mended"] = "equal"
            except RuntimeError as error:
                messages[name] = str(error)
    return messages


def _collectives(collectives: Collectives) -> dict[str, Any]:
    """Each collective on numbers that tell ranks apart; 10^(-16·rank) to see the order of summation."""
    rank, before = collectives.rank, collectives.sent_bytes
    results = {
        "gathered": collectives.all_gather(torch.full((2, 3), rank, dtype=torch.int64)),
        "bytes": collectives.all_gather(torch.full((5,), rank, dtype=torch.uint8)),
        "empty": collectives.all_gather(torch.zeros(0, 3)),
        "summed": collectives.all_reduce_sum(torch.tensor([1.0, 10.0**rank])),
        "inexact": collectives.all_reduce_sum(torch.linspace(0, 1, 1000, dtype=torch.float64) / 3 ** (rank + 1)),
    }
    collectives.barrier()
    results["sent_bytes"] = collectives.sent_bytes - before
    results["seconds_are_counted"] = math.isfinite(collectives.seconds) and collectives.seconds > 0
    return results
