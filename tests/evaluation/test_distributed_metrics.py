"""Metrics over ranks that are threads against the metrics of all rows in one place."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from thread_ranks import ThreadCollectives, run_on_threads

from distributed_il.core.errors import UserError
from distributed_il.core.record_file import RecordFile
from distributed_il.evaluation import distributed_auc
from distributed_il.evaluation.distributed_auc import ScoreRanges
from distributed_il.evaluation.distributed_metrics import ScoredRows, compute_metrics_over_ranks
from distributed_il.evaluation.metrics import compute_metrics, descending_ranks

CPU = torch.device("cpu")
Columns = dict[str, NDArray[Any]]


def random_columns(seed: int, rows: int, users: int, *, decimals: int = 1, dtype: type = np.float64) -> Columns:
    """Scores that know a little of the labels and tie often; every third user has one class alone."""
    rng = np.random.default_rng(seed)
    user_ids = rng.integers(0, users, rows)
    labels = np.where(user_ids % 3 == 0, user_ids % 2, rng.random(rows) < 0.3).astype(np.int8)
    scores = np.round(rng.standard_normal(rows) + labels, decimals).astype(dtype)
    return {"user_ids": user_ids.astype(np.int32), "scores": scores, "labels": labels}


def on_ranks(
    world_size: int, columns: Columns, owner: Callable[[NDArray[Any]], NDArray[Any]], parts: int = 1
) -> list[dict[str, Any]]:
    """What each rank finds where the rank `owner(user_ids)` has a user's rows, in some parts."""

    def of_rank(ranks: ThreadCollectives) -> dict[str, Any]:
        users = columns["user_ids"]
        mine = [(owner(users) == ranks.rank) & (users // world_size % parts == part) for part in range(parts)]
        rows = [ScoredRows(**{name: values[chosen] for name, values in columns.items()}) for chosen in mine]
        return compute_metrics_over_ranks(rows, collectives=ranks, device=CPU)

    return run_on_threads(world_size, of_rank)


def assert_same_as_in_one_place(found: list[dict[str, Any]], columns: Columns) -> None:
    whole = compute_metrics(**columns)
    for of_rank in found:
        assert repr(of_rank) == repr(found[0])  # the same bits; NaN equals itself
        assert list(of_rank) == list(whole)
        assert repr(of_rank["auc"]) == repr(whole["auc"])
        assert of_rank == pytest.approx(whole, rel=0, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize(("decimals", "dtype"), [(0, np.float64), (1, np.float32), (12, np.float64)])
def test_ranks_find_what_one_place_finds(world_size: int, decimals: int, dtype: type) -> None:
    columns = random_columns(decimals, 3000, 100, decimals=decimals, dtype=dtype)
    assert_same_as_in_one_place(on_ranks(world_size, columns, lambda users: users % world_size), columns)


def test_by_hand() -> None:
    # User 0: 1 0 descending (AUC 1, rank 1). User 1: 0 1 0 0 (AUC ⅔, rank 2). User 2: only positives.
    columns = {
        "user_ids": np.array([0, 0, 1, 1, 1, 1, 2]),
        "scores": np.array([1.0, -1.0, 3.0, 2.0, 1.5, 0.5, 0.0]),
        "labels": np.array([1, 0, 0, 1, 0, 0, 1]),
    }
    found = on_ranks(3, columns, lambda users: users)[0]
    # Positives 1, 2, 0 over negatives −1, 3, 1.5, 0.5: 2 + 3 + 1 of 12.
    assert found["auc"] == 0.5
    assert found["gauc"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["gauc_impressions"] == pytest.approx((2 * 1 + 4 * 2 / 3) / 6)
    assert found["ndcg@10"] == found["ndcg@20"] == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert found["mrr"] == found["mrr_first"] == pytest.approx((1 + 1 / 2) / 2)
    counts = {key: found[key] for key in ("rows", "users", "users_left_out", "rows_left_out")}
    assert counts == {"rows": 7, "users": 3, "users_left_out": 1, "rows_left_out": 1}


@pytest.mark.parametrize("world_size", [2, 4])
def test_probabilities_beside_scores(world_size: int) -> None:
    columns = random_columns(3, 2000, 60)
    columns["probabilities"] = 1 / (1 + np.exp(-2 * columns["scores"]))
    assert_same_as_in_one_place(on_ranks(world_size, columns, lambda users: users % world_size), columns)


@pytest.mark.parametrize("merged", [1, 7, 100, 10_000])
@pytest.mark.parametrize("decimals", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_some_users_and_some_scores_at_a_time(
    world_size: int, decimals: int, merged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed_auc, "MERGED_RECORDS", merged)
    columns = random_columns(4, 3000, 100, decimals=decimals)
    assert_same_as_in_one_place(on_ranks(world_size, columns, lambda users: users % world_size, parts=9), columns)


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_pieces_keep_equal_scores_together_and_are_small(size: int) -> None:
    rng = np.random.default_rng(0)
    scores = [np.unique(np.round(rng.standard_normal(rows), 3)) for rows in (3000, 10, 1, 2000)]
    runs = [np.array([(score,) for score in run], np.dtype([("score", np.float64)])) for run in scores]
    cuts = distributed_auc._cuts(runs, size)
    assert cuts[0] == [0] * 4
    assert cuts[-1] == [run.size for run in runs]
    last = -np.inf
    for low, high in pairwise(cuts):
        piece = np.concatenate([run["score"][start:stop] for run, start, stop in zip(runs, low, high, strict=True)])
        # One stride of each run beyond the size; a run has a score once.
        assert piece.size <= size + 2 * len(runs) * max(1, size // 16)
        if piece.size:
            assert piece.min() > last
            last = piece.max()


@pytest.mark.parametrize("owner", [0, 2])
def test_ranks_without_rows(owner: int) -> None:
    columns = random_columns(5, 500, 20)
    assert_same_as_in_one_place(on_ranks(4, columns, lambda users: np.full(users.size, owner)), columns)


def test_all_scores_equal() -> None:
    columns = random_columns(6, 900, 30)
    columns["scores"] = np.full(900, -0.25)
    found = on_ranks(3, columns, lambda users: users % 3)
    assert_same_as_in_one_place(found, columns)
    assert found[0]["auc"] == 0.5


def test_negative_zero_ties_with_zero_on_another_rank() -> None:
    columns = {"user_ids": np.array([0, 1]), "scores": np.array([-0.0, 0.0]), "labels": np.array([0, 1])}
    assert on_ranks(2, columns, lambda users: users)[0]["auc"] == 0.5


@pytest.mark.parametrize("labels", [[], [1, 1, 1], [0]])
def test_what_is_undefined_is_nan(labels: list[int]) -> None:
    size = len(labels)
    columns = {"user_ids": np.arange(size), "scores": np.zeros(size), "labels": np.array(labels, dtype=np.int64)}
    found = on_ranks(3, columns, lambda users: users % 3)
    assert_same_as_in_one_place(found, columns)
    assert math.isnan(found[0]["auc"])


@pytest.mark.parametrize("parts", [1, 2])
def test_one_ranks_bad_column_ends_the_evaluation_on_all(parts: int) -> None:
    def of_rank(ranks: ThreadCollectives) -> str:
        scores = np.array([1.0, np.inf if ranks.rank == 1 else 0.0])
        rows = ScoredRows(np.full(2, ranks.rank), scores, np.array([1, 0]))
        with pytest.raises(ValueError if ranks.rank == 1 else RuntimeError) as caught:
            compute_metrics_over_ranks([rows] * parts, collectives=ranks, device=CPU)
        return str(caught.value)

    messages = run_on_threads(3, of_rank)
    assert "1 of 2 scores are not finite" in messages[1]
    assert "rows could not be measured on ranks [1]" in messages[0] == messages[2]


def test_one_ranks_full_disk_ends_the_evaluation_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    append = RecordFile.append
    here = threading.local()

    def full(self: RecordFile, records: NDArray[Any]) -> None:
        if here.rank == 1:
            raise UserError("full")
        append(self, records)

    monkeypatch.setattr(RecordFile, "append", full)

    def of_rank(ranks: ThreadCollectives) -> str:
        here.rank = ranks.rank
        rows = ScoredRows(np.full(2, ranks.rank), np.array([1.0, 0.5]), np.array([1, 0]))
        with pytest.raises(UserError if ranks.rank == 1 else RuntimeError) as caught:
            compute_metrics_over_ranks([rows], collectives=ranks, device=CPU)
        return str(caught.value)

    assert run_on_threads(2, of_rank) == ["the AUC could not be counted on ranks [1]", "full"]


def test_more_pairs_than_fit_into_32_bits() -> None:
    # At 1 stand 10⁵ positives and 9 · 10⁴ negatives, so that one rank counts 9 · 10⁹ ties; 10⁴ negatives stand at 0:
    # 0.1 + 0.9 / 2.
    scores, labels = np.repeat([1.0, 0.0], [190_000, 10_000]), np.repeat([1, 0], 100_000)

    def area(ranks: ThreadCollectives) -> float:
        mine = slice(ranks.rank, None, 2)
        ranges = ScoreRanges(scores[mine], [100_000] * 2, collectives=ranks, device=CPU)
        ranges.add(scores[mine], descending_ranks(scores[mine]), labels[mine])
        return ranges.auc()

    assert run_on_threads(2, area) == [0.55, 0.55]


@pytest.mark.parametrize("skew", ["none", "most equal", "all equal", "all on one rank", "few values"])
def test_no_rank_gets_much_more_than_its_share_of_the_scores(skew: str) -> None:
    world_size, rows = 4, 20_000

    def counts_of_range(ranks: ThreadCollectives) -> int:
        rng = np.random.default_rng(ranks.rank)
        scores = rng.standard_normal(rows)
        if skew == "most equal":
            scores[rng.random(rows) < 0.9] = 1.5
        if skew == "all equal":
            scores[:] = 1.5
        if skew == "few values":
            scores = np.floor(scores)
        if skew == "all on one rank":
            scores = scores if ranks.rank == 2 else scores[:0]
        sizes = [rows if skew != "all on one rank" or rank == 2 else 0 for rank in range(world_size)]
        ranges = ScoreRanges(scores, sizes, collectives=ranks, device=CPU)
        all_to_all, arrived = ranks.all_to_all, []
        ranks.all_to_all = lambda parts, counts=None: arrived.extend(all_to_all(parts, counts)) or arrived
        ranges.add(scores, descending_ranks(scores), np.arange(scores.size) % 2)
        assert 0 <= ranges.auc() <= 1
        return sum(part.shape[0] for part in arrived)

    found = run_on_threads(world_size, counts_of_range)
    share = rows if skew != "all on one rank" else rows / world_size
    assert max(found) < 1.25 * share
    if skew == "all equal":
        assert sorted(found) == [0, 0, 0, world_size]
