"""Rankings of all unseen items over ranks against a plain ranking of all users and all items."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_rankings import metrics_of_order
from small_datasets import SplitRows, random_rows, write_dataset
from thread_ranks import run_on_threads
from torch import Tensor

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.evaluation import full_ranking, item_scores, ranked_users
from distributed_il.evaluation.baselines import item_mean
from distributed_il.evaluation.full_ranking import measure_ranking
from distributed_il.evaluation.item_scores import CoOccurrence, ItemScores, ModelScores, Popularity, Rows
from distributed_il.evaluation.ranked_users import RankedUsers
from distributed_il.evaluation.split_scores import SplitReader
from distributed_il.models.learner import Learner

USERS, ITEMS = 23, 13
CUTOFFS = (1, 3, 5)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rows() -> SplitRows:
    sizes = {"train": 90, "valid": 40, "test": 60, "unclear": 30}
    return random_rows(np.random.default_rng(4), USERS, ITEMS, sizes)


@pytest.fixture(scope="module")
def dataset(rows: SplitRows, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("ranking") / "dataset"
    return write_dataset(path, rows, num_users=USERS, num_items=ITEMS, lanes=12, row_group_rows=7)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ranked_users, item_scores):
        monkeypatch.setattr(module, "USERS_AT_ONCE", 3)
    monkeypatch.setattr(full_ranking, "ITEMS_AT_ONCE", 4)
    monkeypatch.setattr(full_ranking, "BLOCKS_TOGETHER", 2)


class Table:
    """Scores from a table."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def fetch(self, user_ids: Tensor, item_ids: Tensor) -> tuple[Rows, Rows]:
        return (user_ids,), (item_ids,)

    def block(self, users: Rows, items: Rows) -> Tensor:
        return self.table[users[0]][:, items[0]]


def ranked(
    dataset: Dataset, ranks: Collectives, *, split: str = "test", besides: tuple[str, ...] = (), **options: Any
) -> RankedUsers:
    def reader(name: str) -> SplitReader:
        return SplitReader(dataset, LocalBlockReader(dataset), name, rank=ranks.rank, world_size=ranks.world_size)

    others = [reader(name) for name in besides]
    return RankedUsers(dataset, reader(split), others, **{"most": None, **options}, collectives=ranks, device=CPU)


def measured(dataset: Dataset, scores: ItemScores, ranks: Collectives, **options: Any) -> dict[str, float]:
    users = ranked(dataset, ranks, **options)
    positives = dataset.activity().item_positives
    return measure_ranking(users, scores, positives, cutoffs=CUTOFFS, collectives=ranks, device=CPU)


def plainly(
    rows: SplitRows, table: np.ndarray[Any, Any], hidden: tuple[str, ...], excluded: frozenset[int] = frozenset()
) -> dict[str, float]:
    """All users, all items, and all orders of tied items."""
    positives = np.zeros(ITEMS)
    np.add.at(positives, rows["train"]["item_id"], rows["train"]["label"])
    sums: dict[str, list[float]] = {}
    missed = {k: np.ones(ITEMS) for k in CUTOFFS}
    left_out = 0
    for user in range(USERS):
        of = {name: set(part["item_id"][part["user_id"] == user].tolist()) for name, part in rows.items()}
        seen = set().union(excluded, *(of[name] for name in hidden))
        good = (rows["test"]["user_id"] == user) & (rows["test"]["label"] == 1)
        relevant = set(rows["test"]["item_id"][good].tolist())
        left_out += bool(relevant) and not relevant - seen
        relevant -= seen
        if not relevant:
            continue
        groups = [
            [item for item in range(ITEMS) if item not in seen and table[user, item] == score]
            for score in sorted(set(table[user].tolist()), reverse=True)
        ]
        orders = [list(itertools.chain(*order)) for order in itertools.product(*map(itertools.permutations, groups))]
        for k in CUTOFFS:
            each = [metrics_of_order([item in relevant for item in order], len(relevant), k) for order in orders]
            for name in each[0]:
                sums.setdefault(f"{name}@{k}", []).append(float(np.mean([one[name] for one in each])))
            chance = np.array([np.mean([item in order[:k] for order in orders]) for item in range(ITEMS)])
            missed[k] *= 1 - chance
            sums.setdefault(f"popularity@{k}", []).append(chance @ positives / min(k, len(orders[0])))
    means = {name: float(np.mean(values)) for name, values in sums.items()}
    covered = {f"coverage@{k}": float((1 - missed[k]).sum() / (ITEMS - len(excluded))) for k in CUTOFFS}
    return {**means, **covered, "users": len(sums["recall@1"]), "users_left_out": left_out}


@pytest.fixture(scope="module")
def table() -> Tensor:
    """Scores of which at most four of a user tie."""
    rng = np.random.default_rng(1)
    return torch.from_numpy(np.stack([rng.permutation(np.arange(ITEMS) // 4) for _ in range(USERS)]) / 8)


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("besides", [(), ("valid",)])
def test_ranks_find_what_a_plain_ranking_finds(
    rows: SplitRows, dataset: Dataset, table: Tensor, world_size: int, besides: tuple[str, ...]
) -> None:
    expected = plainly(rows, table.numpy(), ("train", "unclear", *besides))
    found = run_on_threads(world_size, lambda ranks: measured(dataset, Table(table), ranks, besides=besides))
    assert all(repr(of_rank) == repr(found[0]) for of_rank in found)  # the same bits
    assert found[0] == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("world_size", [1, 3])
def test_given_candidates_alone_are_ranked_and_relevant(
    rows: SplitRows, dataset: Dataset, table: Tensor, world_size: int
) -> None:
    excluded = frozenset({0, 3, 4, 5, 6, 7, 12})  # 4 to 7 are a block of their own
    allowed = np.array([item not in excluded for item in range(ITEMS)])
    expected = plainly(rows, table.numpy(), ("train", "unclear"), excluded)
    for found in run_on_threads(world_size, lambda ranks: measured(dataset, Table(table), ranks, allowed=allowed)):
        assert found == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("world_size", [1, 3])
def test_the_metrics_are_the_means_of_those_of_each_user(dataset: Dataset, table: Tensor, world_size: int) -> None:
    def of_rank(ranks: Collectives) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
        told: dict[int, dict[str, float]] = {}

        def keep(users: np.ndarray[Any, Any], metrics: Mapping[str, np.ndarray[Any, Any]]) -> None:
            for place, user in enumerate(users.tolist()):
                told.setdefault(user, {}).update({name: float(values[place]) for name, values in metrics.items()})

        found = measure_ranking(
            ranked(dataset, ranks),
            Table(table),
            dataset.activity().item_positives,
            cutoffs=CUTOFFS,
            collectives=ranks,
            device=CPU,
            of_users=keep,
        )
        return found, told

    ranks = run_on_threads(world_size, of_rank)
    users = [metrics for _, told in ranks for metrics in told.values()]
    found = ranks[0][0]
    assert len(users) == found["users"]
    for name in users[0]:
        assert np.mean([metrics[name] for metrics in users]) == pytest.approx(found[name], rel=0, abs=1e-12)
    assert len(users[0]) == 6 * len(CUTOFFS)


def test_ties_among_all_items_need_no_more_than_counts(dataset: Dataset) -> None:
    found = measured(dataset, Table(torch.zeros((USERS, ITEMS))), LocalCollectives())
    ranked_by_chance = run_on_threads(3, lambda ranks: measured(dataset, Table(torch.zeros((USERS, ITEMS))), ranks))[0]
    assert found == pytest.approx(ranked_by_chance, rel=0, abs=1e-12)
    users, recall = ranked(dataset, LocalCollectives()), []
    for block in users.blocks():
        for place in np.unique(block.relevant.places):
            candidates = ITEMS - np.unique(block.left_out.items[block.left_out.places == place]).size
            recall.append(min(3 / candidates, 1))
    assert found["recall@3"] == pytest.approx(np.mean(recall))


@pytest.mark.parametrize("world_size", [2, 4])
def test_tables_held_in_parts_rank_like_whole_ones(dataset: Dataset, world_size: int) -> None:
    def of_rank(ranks: Collectives, tables: Any) -> dict[str, float]:
        learner = Learner(
            ModelConfig(backbone="backbones:DotProduct", embedding_dim=4, init_std=0.5, tables=tables, dtype="float64"),
            OptimizerConfig(),
            num_users=USERS,
            num_items=ITEMS,
            seed=1,
            collectives=ranks,
            device=CPU,
        )
        return measured(dataset, ModelScores(learner, dataset), ranks)

    alone = of_rank(LocalCollectives(), "replicated")
    for tables in ("replicated", "sharded"):
        for found in run_on_threads(world_size, lambda ranks, tables=tables: of_rank(ranks, tables)):
            assert found == pytest.approx(alone, rel=0, abs=1e-12)


def test_whom_the_model_does_not_know_is_ranked_as_recommend_does(rows: SplitRows, tmp_path: Path) -> None:
    """Strangers, from user 20 on, get the items' means; items from 10 on come last."""
    train = rows["train"]
    kept = (train["user_id"] < 20) & (train["item_id"] < 10)
    fewer = {**rows, "train": {name: column[kept] for name, column in train.items()}}
    dataset = write_dataset(tmp_path / "fewer", fewer, num_users=USERS, num_items=ITEMS)
    learner = Learner(
        ModelConfig(backbone="gmf", embedding_dim=4, init_std=0.5),
        OptimizerConfig(),
        num_users=USERS,
        num_items=ITEMS,
        seed=1,
        collectives=LocalCollectives(),
        device=CPU,
    )
    activity = dataset.activity()
    assert (activity.user_rows[20:] == 0).all()
    assert (activity.user_rows[:20] > 0).all()
    pairs = torch.cartesian_prod(torch.arange(USERS), torch.arange(ITEMS))
    expected = learner.score(pairs[:, 0], pairs[:, 1]).view(USERS, ITEMS)
    expected[20:] = torch.from_numpy(item_mean(activity.item_rows, activity.item_positives)).float()
    expected[:, activity.item_rows == 0] = -1e30
    ranks = LocalCollectives()
    found = measured(dataset, ModelScores(learner, dataset), ranks)
    assert found == pytest.approx(measured(dataset, Table(expected), ranks), rel=0, abs=1e-12)


def test_fewer_users_are_the_same_ones_on_any_number_of_ranks(dataset: Dataset, table: Tensor) -> None:
    alone = measured(dataset, Table(table), LocalCollectives(), most=5)
    assert alone["users"] + alone["users_left_out"] == 5
    for found in run_on_threads(4, lambda ranks: measured(dataset, Table(table), ranks, most=5)):
        assert found == pytest.approx(alone, rel=0, abs=1e-12)
    users = ranked(dataset, LocalCollectives(), most=5)
    assert (users.chosen, users.with_positives) == (5, ranked(dataset, LocalCollectives()).chosen)


@pytest.mark.parametrize("world_size", [1, 3])
def test_popularity_and_co_occurrence_are_counts(rows: SplitRows, dataset: Dataset, world_size: int) -> None:
    train = rows["train"]
    has = np.zeros((USERS, ITEMS))
    has[train["user_id"], train["item_id"]] = 1
    positives = np.zeros(ITEMS)
    np.add.at(positives, train["item_id"], train["label"])

    def of_rank(ranks: Collectives) -> list[np.ndarray[Any, Any]]:
        both = Popularity(dataset), CoOccurrence(dataset.observed(), ITEMS, collectives=ranks, device=CPU)
        users, items = torch.tensor([0, 7, 22]), torch.arange(2, 9)
        return [scores.block(*scores.fetch(users, items)).numpy() for scores in both]

    for popular, together in run_on_threads(world_size, of_rank):
        assert np.array_equal(popular, np.tile(positives[2:9], (3, 1)))
        assert np.array_equal(together, (has @ (has.T @ has))[[0, 7, 22], 2:9])
    assert not CoOccurrence.takes_too_much(dataset.observed(), ITEMS, USERS)
    assert CoOccurrence.takes_too_much(dataset.observed(), 100_000, USERS)


def test_a_split_without_positives_has_no_ranking(tmp_path: Path) -> None:
    rows = random_rows(np.random.default_rng(0), 5, 6, {"train": 10, "valid": 5, "test": 5})
    rows["test"]["label"][:] = 0
    dataset = write_dataset(tmp_path / "data", rows, num_users=5, num_items=6, lanes=2)
    for found in run_on_threads(2, lambda ranks: measured(dataset, Table(torch.zeros((5, 6))), ranks)):
        assert (found["users"], found["coverage@1"]) == (0, 0.0)
        assert np.isnan(found["recall@3"])


def test_sampled_candidates_are_unseen_and_the_same_on_any_number_of_ranks(dataset: Dataset, table: Tensor) -> None:
    for block in ranked(dataset, LocalCollectives(), sampled=3).blocks():
        assert block.candidates is not None
        assert not block.left_out.have(block.candidates.places, block.candidates.items).any()
        assert block.candidates.have(block.relevant.places, block.relevant.items).all()
        free = ITEMS - np.bincount(block.left_out.places, minlength=block.user_ids.size)
        relevant = np.bincount(block.relevant.places, minlength=block.user_ids.size)
        drawn = np.bincount(block.candidates.places, minlength=block.user_ids.size) - relevant
        assert drawn.tolist() == np.minimum(3, free - relevant).tolist()
    alone = measured(dataset, Table(table), LocalCollectives(), sampled=3)
    for found in run_on_threads(4, lambda ranks: measured(dataset, Table(table), ranks, sampled=3)):
        assert found == pytest.approx(alone, rel=0, abs=1e-12)
    whole = measured(dataset, Table(table), LocalCollectives())
    assert measured(dataset, Table(table), LocalCollectives(), sampled=ITEMS) == pytest.approx(whole, rel=0, abs=1e-12)
    assert alone["recall@3"] > whole["recall@3"]
