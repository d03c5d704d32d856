"""A split scored over ranks against the metrics of all its rows in one place."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gloo_ranks import run_on_gloo
from scored_splits import HALF_WIDTH, KnownScores, known_scores, measure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from small_datasets import SplitRows, random_rows, write_dataset
from thread_ranks import ThreadCollectives, run_on_threads

from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.config import ModelConfig, OptimizerConfig
from distributed_il.core.errors import UserError
from distributed_il.core.record_file import RecordFile
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.evaluation import split_scores
from distributed_il.evaluation.baselines import user_item_bias
from distributed_il.evaluation.metrics import compute_metrics
from distributed_il.evaluation.output import Output
from distributed_il.evaluation.split_scores import SplitReader, UserParts, score_split
from distributed_il.models.learner import Learner

USERS, ITEMS = 30, 40
# Four ranks have 63 or 62 rows of valid; of test two ranks have one row and two have none.
SIZES = {"train": 400, "valid": 250, "test": 2}


@pytest.fixture(scope="module")
def rows() -> SplitRows:
    return random_rows(np.random.default_rng(10), USERS, ITEMS, SIZES)


@pytest.fixture(scope="module")
def dataset(rows: SplitRows, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """12 lanes in blocks of 7 rows."""
    path = tmp_path_factory.mktemp("split") / "dataset"
    return write_dataset(path, rows, num_users=USERS, num_items=ITEMS, lanes=12, row_group_rows=7)


def on_threads(world_size: int, dataset: Dataset, split: str, folder: Path) -> list[dict[str, Any]]:
    return run_on_threads(world_size, lambda ranks: measure(ranks, dataset.path, split))


def on_gloo(world_size: int, dataset: Dataset, split: str, folder: Path) -> list[dict[str, Any]]:
    return run_on_gloo(world_size, folder, measure, dataset.path, split)


def trivial_in_one_place(dataset: Dataset, columns: dict[str, Any], items: np.ndarray[Any, Any]) -> dict[str, Any]:
    seen = dataset.activity()
    bias, mean = user_item_bias(
        seen.user_rows, seen.user_positives, seen.item_rows, seen.item_positives, dataset.observed()
    )
    users, labels = columns["user_ids"], columns["labels"]
    both = bias[users] + mean[items]
    return {
        "item_mean": compute_metrics(users, mean[items], labels, probabilities=mean[items]),
        "user_item_bias": compute_metrics(users, both, labels, probabilities=np.clip(both, 1e-6, 1 - 1e-6)),
    }


@pytest.mark.parametrize(
    ("run", "world_size", "split"),
    [*((on_threads, ranks, split) for ranks in (1, 2, 3, 4) for split in ("valid", "test")), (on_gloo, 2, "valid")],
)
def test_ranks_find_what_one_place_finds(
    rows: SplitRows, dataset: Dataset, tmp_path: Path, run: Callable[..., Any], world_size: int, split: str
) -> None:
    columns = known_scores(rows, split, KnownScores(USERS, ITEMS))
    whole = compute_metrics(**columns, calibrated=columns["scores"].astype(np.float64))
    trivial = trivial_in_one_place(dataset, columns, rows[split]["item_id"])
    found = run(world_size, dataset, split, tmp_path)
    assert sum(of_rank["rows"] for of_rank in found) == SIZES[split]
    for rank, of_rank in enumerate(found):
        assert all(user % world_size == rank for user in of_rank["users"])
        assert repr(of_rank["metrics"]) == repr(found[0]["metrics"])  # the same bits
        assert repr(of_rank["again"]) == repr(of_rank["metrics"])
        assert of_rank["metrics"] == pytest.approx(whole, rel=0, abs=1e-12, nan_ok=True)
        for name, expected in trivial.items():
            assert of_rank["trivial"][name] == pytest.approx(expected, rel=0, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_find_the_calibration_of_one_place(rows: SplitRows, dataset: Dataset, world_size: int) -> None:
    columns = known_scores(rows, "valid", KnownScores(USERS, ITEMS))
    labels, raw = columns["labels"], torch.from_numpy(columns["scores"])
    found = on_threads(world_size, dataset, "valid", Path())
    for half_width, output, metrics in ((None, "output", "calibrated"), (HALF_WIDTH, "clear_output", "clear")):
        served = Output(half_width).served(raw).double().numpy()
        oracle = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky").fit(served[:, None], labels)
        fits = [rank[output] for rank in found]
        assert fits == fits[:1] * world_size  # the same bits
        assert fits[0].half_width == half_width
        assert fits[0].calibration.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-7)
        assert fits[0].calibration.intercept == pytest.approx(oracle.intercept_[0], rel=1e-7)
        calibrated = fits[0].calibration.apply(served)
        whole = compute_metrics(**columns, served=served, calibrated=calibrated)
        assert [rank[metrics] for rank in found] == [pytest.approx(whole, rel=0, abs=1e-12)] * world_size
        assert whole["calibrated_logloss"] == pytest.approx(
            log_loss(labels, oracle.predict_proba(served[:, None])), rel=1e-9
        )


@pytest.mark.parametrize("most_parts", [2, 1000])
@pytest.mark.parametrize(("chunk", "piece"), [(3, 6), (5, 20), (7, 63), (100, 62)])
def test_rows_may_come_in_pieces_and_be_read_again(
    rows: SplitRows, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, chunk: int, piece: int, most_parts: int
) -> None:
    monkeypatch.setattr(split_scores, "CHUNK_ROWS", chunk)
    monkeypatch.setattr(split_scores, "PIECE_ROWS", piece)
    monkeypatch.setattr(split_scores, "PART_ROWS", piece)
    monkeypatch.setattr(split_scores, "MOST_PARTS", most_parts)
    columns = known_scores(rows, "valid", KnownScores(USERS, ITEMS))
    whole = compute_metrics(**columns, calibrated=columns["scores"].astype(np.float64))
    found = on_threads(4, dataset, "valid", Path())
    for of_rank in found:
        assert of_rank["metrics"] == pytest.approx(whole, rel=0, abs=1e-12)
        assert of_rank["again"] == of_rank["metrics"]
        # A score may be a collective: all ranks call it equally often.
        assert of_rank["calls"] == found[0]["calls"]


def test_ranks_that_hold_a_part_of_the_model_each_find_the_same(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split_scores, "CHUNK_ROWS", 5)
    monkeypatch.setattr(split_scores, "PIECE_ROWS", 20)

    def measured(ranks: Collectives) -> dict[str, Any]:
        learner = Learner(
            # Without a tower nothing is drawn from the generator that threads share.
            ModelConfig(backbone="backbones:DotProduct", embedding_dim=4, init_std=0.5, tables="sharded"),
            OptimizerConfig(),
            num_users=USERS,
            num_items=ITEMS,
            seed=1,
            collectives=ranks,
            device=torch.device("cpu"),
        )
        split = SplitReader(dataset, LocalBlockReader(dataset), "valid", rank=ranks.rank, world_size=ranks.world_size)
        return score_split(learner, split, ranks).metrics(Output())

    alone = measured(LocalCollectives())
    for found in run_on_threads(4, measured):
        assert found == pytest.approx(alone, rel=0, abs=1e-6)  # scores are float32


class CountedReader(LocalBlockReader):
    blocks = 0

    def read(self, blocks: Any, columns: Any) -> Any:
        self.blocks += len(blocks)
        return super().read(blocks, columns)


@pytest.mark.parametrize(("room", "readings"), [(True, 1), (False, 3)])
def test_a_split_is_read_once_where_there_is_room_for_its_rows(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, room: bool, readings: int
) -> None:
    append = RecordFile.append

    def almost_full(self: RecordFile, records: Any) -> None:
        if self.size + len(records) > 249:
            raise UserError("full")
        append(self, records)

    if not room:
        monkeypatch.setattr(RecordFile, "append", almost_full)
    monkeypatch.setattr(split_scores, "PIECE_ROWS", 100)
    reader = CountedReader(dataset)
    split = SplitReader(dataset, reader, "valid", rank=0, world_size=1)
    first, second, third = ([piece.tolist() for piece in split.pieces()] for _ in range(3))
    assert first == second == third
    assert [len(piece) for piece in first] == [100, 100, 50]
    assert reader.blocks == readings * sum(len(dataset.blocks("valid", lane)) for lane in range(12))


def test_a_split_without_rows_has_no_loss(dataset: Dataset) -> None:
    found = on_threads(2, dataset, "unclear", Path())
    for of_rank in found:
        assert of_rank["metrics"]["rows"] == 0
        assert all(math.isnan(of_rank["metrics"][name]) for name in ("auc", "logloss", "calibrated_logloss"))
        assert of_rank["output"] == Output()


# An infinite score that is right costs nothing, so the loss alone would not tell.
@pytest.mark.parametrize(("damage", "loss"), [(math.nan, "nan"), (-math.inf, "inf"), (math.inf, r"\d\.\d+")])
@pytest.mark.parametrize("world_size", [1, 3])
def test_a_score_that_is_not_finite_ends_the_run_on_every_rank(
    rows: SplitRows, dataset: Dataset, world_size: int, damage: float, loss: str
) -> None:
    row = int(np.flatnonzero(rows["valid"]["label"])[0])
    place = rows["valid"]["user_id"][row], rows["valid"]["item_id"][row]

    def of_rank(ranks: ThreadCollectives) -> None:
        model: Any = KnownScores(USERS, ITEMS)
        model.table[place] = damage
        reader = LocalBlockReader(dataset)
        split = SplitReader(dataset, reader, "valid", rank=ranks.rank, world_size=world_size)
        with pytest.raises(
            UserError, match=rf"the valid loss is {loss}, 1 of 250 scores .* lower optimizer.learning_r"
        ):
            score_split(model, split, ranks)

    run_on_threads(world_size, of_rank)


def test_float64_scores_stay_float64(dataset: Dataset) -> None:
    model: Any = KnownScores(USERS, ITEMS)
    model.table = model.table.to(torch.float64) + 1e-12
    split = SplitReader(dataset, LocalBlockReader(dataset), "valid", rank=0, world_size=1)
    scores = score_split(model, split, LocalCollectives())
    (rows,) = scores.parts
    expected = model.table.numpy()[rows["user_id"], rows["item_id"]]
    assert np.array_equal(rows["logit"], expected)
    assert rows["logit"].dtype == np.float64


def test_one_ranks_full_disk_ends_the_evaluation_on_all(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    add, here = UserParts.add, threading.local()

    def full(self: UserParts, records: Any) -> None:
        if here.rank == 1:
            raise UserError("full")
        add(self, records)

    monkeypatch.setattr(UserParts, "add", full)
    monkeypatch.setattr(split_scores, "PIECE_ROWS", 20)

    def of_rank(ranks: ThreadCollectives) -> str:
        here.rank = ranks.rank
        model: Any = KnownScores(USERS, ITEMS)
        split = SplitReader(dataset, LocalBlockReader(dataset), "valid", rank=ranks.rank, world_size=3)
        with pytest.raises(UserError if ranks.rank == 1 else RuntimeError) as caught:
            score_split(model, split, ranks)
        return str(caught.value)

    others = "the valid split could not be kept on ranks [1]"
    assert run_on_threads(3, of_rank) == [others, "full", others]
