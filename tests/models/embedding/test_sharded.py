"""Sharded rows over ranks that are threads, beside whole tables; see also methods/test_across_ranks.py."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from random_batches import part_of_rank, random_batch
from rank_cases import Case, make_learner, whole_table
from thread_ranks import ThreadCollectives, run_on_threads

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.method_config import InverseGradientConfig, MethodConfig, NoneConfig
from distributed_il.data.loading.batch import Batch
from distributed_il.data.loading.index_plan import IndexPlan
from distributed_il.methods import make_method
from distributed_il.methods.steps.executor import StepExecutor
from distributed_il.models.embedding import gradient_exchange as exchange
from distributed_il.models.embedding.replicated import ReplicatedStore
from distributed_il.models.embedding.sharded import ShardedStore
from distributed_il.models.learner import Learner
from distributed_il.training.consistency import check_replicas, fingerprint

ONE_AT_A_TIME = threading.Lock()
"""The start of a tower is drawn from torch's global generator, which threads share."""


def sharded_learner(ranks: Any, method: MethodConfig, *, users: int = 10, items: int = 3) -> Learner:
    with ONE_AT_A_TIME:
        return make_learner(Case(method, tables="sharded"), ranks, num_users=users, num_items=items)


def test_a_rank_keeps_every_wth_row_of_the_start() -> None:
    whole = sharded_learner(LocalCollectives(), NoneConfig())
    assert isinstance(whole.embeddings, ReplicatedStore)  # of one process
    for rank, learner in enumerate(run_on_threads(4, lambda ranks: sharded_learner(ranks, NoneConfig()))):
        assert isinstance(learner.embeddings, ShardedStore)
        assert torch.equal(learner.users.packed, whole.users.packed[rank::4])
        assert torch.equal(learner.items.packed, whole.items.packed[rank::4])
    assert learner.items.num_rows == 0  # the last rank has none of three


@pytest.mark.parametrize("sizes", [(5, 5, 5, 5), (9, 0, 1, 0), (0, 0, 0, 0)])
def test_scores_are_those_of_whole_tables(sizes: tuple[int, ...]) -> None:
    """Also where a rank has no pairs to score but owns rows of others' pairs."""
    whole = sharded_learner(LocalCollectives(), NoneConfig())
    rng = np.random.default_rng(0)
    users = [torch.from_numpy(rng.integers(0, 10, size)) for size in sizes]
    items = [torch.from_numpy(rng.integers(0, 3, size)) for size in sizes]

    def score(ranks: ThreadCollectives) -> torch.Tensor:
        return sharded_learner(ranks, NoneConfig()).score(users[ranks.rank], items[ranks.rank])

    for rank, scores in enumerate(run_on_threads(4, score)):
        assert torch.equal(scores, whole.score(users[rank], items[rank]))
        assert not scores.requires_grad


def trained(steps: int, method: MethodConfig, rows: int = 20) -> Callable[[Any], tuple[Learner, list[torch.Tensor]]]:
    """A training for one rank: what it ends with, its learner and the whole tables."""

    def train(ranks: Any) -> tuple[Learner, list[torch.Tensor]]:
        learner, rng, made = sharded_learner(ranks, method), np.random.default_rng(1), make_method(method)
        rate = max(int(phase.unlabelled) for phase in made.phases)
        for _ in range(steps):
            batch = random_batch(rng, rows=rows, num_users=10, num_items=3, rate=rate)
            made.step(StepExecutor(learner), part_of_rank(batch, ranks.rank, ranks.world_size))
        return learner, [whole_table(table, ranks) for table in (learner.users, learner.items)]

    return train


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("limit", [exchange.GATHERED_DENSE_BYTES, 0], ids=["tower with rows", "tower apart"])
def test_ranks_without_rows_of_their_own_take_part(rows: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four ranks, three items, and batches of one pair."""
    monkeypatch.setattr(exchange, "GATHERED_DENSE_BYTES", limit)
    train = trained(6, InverseGradientConfig(dual_learning_rate=5e-3), rows)
    alone, tables = train(LocalCollectives())
    for learner, found in run_on_threads(4, train):
        for ours, theirs in zip(found, tables, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        torch.testing.assert_close(learner.tower.packed, alone.tower.packed, rtol=0, atol=1e-12)


def planned(batch: Batch) -> Batch:
    """The batch with its plans made ahead."""
    pairs = batch.unlabelled
    if pairs is not None:
        pairs = dataclasses.replace(pairs, plan=IndexPlan.of(pairs.user_ids, pairs.item_ids))
    return dataclasses.replace(batch, unlabelled=pairs, plan=IndexPlan.of(batch.user_ids, batch.item_ids))


class Counted(ThreadCollectives):
    """Names the collectives that a rank takes part in."""

    def __init__(self, ranks: ThreadCollectives) -> None:
        self.__dict__.update(ranks.__dict__)
        self.calls: list[str] = []

    def all_gather(self, tensor: torch.Tensor) -> torch.Tensor:
        self.calls.append("all_gather")
        return super().all_gather(tensor)

    def all_to_all(self, *arguments: Any) -> list[torch.Tensor]:
        self.calls.append("all_to_all")
        return super().all_to_all(*arguments)


@pytest.mark.parametrize("prefetched", [False, True])
def test_prefetched_routes_need_no_requests_in_the_step(prefetched: bool) -> None:
    """Plain: weights, gradients. Inverse: weights, g, weights with δ, losses, gradients. Finding routes: sizes, ids."""
    config = InverseGradientConfig(dual_learning_rate=5e-3)

    def train(ranks: Any) -> tuple[list[list[str]], list[torch.Tensor]]:
        learner, rng = sharded_learner(ranks, config), np.random.default_rng(1)
        whole = [random_batch(rng, rows=20, num_users=10, num_items=3, rate=rate) for rate in (0, 1, 1)]
        batches = [planned(part_of_rank(batch, ranks.rank, ranks.world_size)) for batch in whole]
        if prefetched:
            learner.embeddings.prefetch_routes([plan for batch in batches for plan in batch.plans])
        calls: list[list[str]] = []
        for batch in batches:
            noted = getattr(ranks, "calls", [])
            noted.clear()
            make_method(config).step(StepExecutor(learner), batch)
            calls.append(list(noted))
        return calls, [whole_table(table, ranks) for table in (learner.users, learner.items)]

    find = [] if prefetched else ["all_to_all"] * 2
    plain = [*find, "all_to_all", "all_to_all"]
    inverse = [*find, "all_to_all", "all_to_all", *find, "all_to_all", "all_gather", "all_to_all"]
    _, expected = train(LocalCollectives())
    for calls, tables in run_on_threads(3, lambda ranks: train(Counted(ranks))):
        assert calls == [plain, inverse, inverse]
        for ours, theirs in zip(tables, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_only_the_tower_and_the_step_are_replicas() -> None:
    learners = [learner for learner, _ in run_on_threads(3, trained(2, NoneConfig()))]
    assert fingerprint(learners[0]).shape == (2,)

    def message(ranks: ThreadCollectives) -> str:
        try:
            check_replicas(learners[ranks.rank], ranks)
        except RuntimeError as error:
            return str(error)
        return "equal"

    assert run_on_threads(3, message) == ["equal"] * 3
    learners[1].users.packed[0, 0] += 1  # nobody else has this row
    assert run_on_threads(3, message) == ["equal"] * 3
    learners[1].step += 1
    assert all("ranks [1] do not hold" in found for found in run_on_threads(3, message))
    learners[1].step -= 1
    learners[2].tower.flat[0] += 1
    assert all("ranks [2] do not hold" in found for found in run_on_threads(3, message))
