"""Users who are folded in from files of their histories get the items of the model with their rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import torch
from local_runs import local_trainer
from small_datasets import make_small_dataset

from distributed_il.core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.exposure import Neighbours
from distributed_il.data.prepare.build.exposure_factors import add_factors
from distributed_il.inference.config import RecommendConfig
from distributed_il.inference.fold_in import LabelledItems, load_fold_in
from distributed_il.inference.recommendation_work import recommendations_of

WATCHED = {900: [3, 7, 11, 20], 901: [5, 6, 5, 30], 902: [8, 9]}
"""Items by user; 902 has too few. Ids of items are their rows."""
LABELS = {(900, 3): 1, (900, 7): 0, (901, 30): 1}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("histories")
    dataset = make_small_dataset(place / "data", train=1200)
    add_factors(dataset, place, columns=3)
    config = TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(place / "run"), batch_size=100, max_rounds=1),
        model=ModelConfig(backbone="bias_mf", embedding_dim=4, factors=3),
        method=NoneConfig(),
    )
    local_trainer(config).run()
    return config.run.dir


@pytest.fixture
def histories(tmp_path: Path) -> str:
    rows = [(user, item, LABELS.get((user, item), "")) for user, items in WATCHED.items() for item in items]
    rows.append((900, 77777, 1))  # an item that the dataset lacks
    path = tmp_path / "histories.csv"
    path.write_text("user_id,item_id,label\n" + "".join(f"{user},{item},{label}\n" for user, item, label in rows))
    return str(path)


def recommended(run_dir: str, **options: object) -> list[dict[str, object]]:
    settings = {"run_dir": run_dir, "output": "out", "top": 5, **options}
    work = recommendations_of(RecommendConfig(**settings))  # type: ignore[arg-type]
    return [row for part in range(len(work.rows)) for table, _ in work.tables(part) for row in table.to_pylist()]


def expected(run_dir: str, user: int, left_out: list[int]) -> list[int]:
    """The five best items of one user who is folded in alone."""
    fold_in = load_fold_in(run_dir, "best", None)
    watched = np.unique(WATCHED[user]).astype(np.int32)
    labels = {item: label for (other, item), label in LABELS.items() if other == user}
    index = Neighbours(np.array([0, watched.size]), watched)
    clear = Neighbours(np.array([0, len(labels)]), np.array([*labels], np.int32))
    row = fold_in.rows([index], LabelledItems(clear, np.array([*labels.values()], np.int8)))
    items = torch.from_numpy(fold_in.model.items)
    logits = fold_in.model.backbone(row.expand(len(items), -1), items)
    logits[left_out] = -torch.inf
    return logits.topk(5).indices.tolist()


def test_users_get_the_best_items_of_their_rows(run_dir: str, histories: str) -> None:
    found = recommended(run_dir, histories=histories)
    for place, user in enumerate((900, 901)):
        own = found[5 * place : 5 * place + 5]
        assert {row["user_id"] for row in own} == {user}
        assert [row["item_id"] for row in own] == expected(run_dir, user, WATCHED[user])
        assert {row["answered_by"] for row in own} == {"history"}
    kept = recommended(run_dir, histories=histories, seen="keep")
    assert [row["item_id"] for row in kept[:5]] == expected(run_dir, 900, [])


def test_labels_are_what_prepare_takes_for_such(run_dir: str, histories: str, tmp_path: Path) -> None:
    """Truth values and numbers of Parquet as well as text."""
    whole, table = recommended(run_dir, histories=histories), pacsv.read_csv(histories)
    for kind in (pa.bool_(), pa.float64(), pa.string()):
        labels = table["label"].cast(pa.int8()).cast(kind)
        pq.write_table(table.set_column(2, "label", labels), tmp_path / "table.parquet")
        assert recommended(run_dir, histories=str(tmp_path / "table.parquet")) == whole


def test_a_user_of_too_few_items_gets_the_means(run_dir: str, histories: str) -> None:
    few = recommended(run_dir, histories=histories)[10:]
    assert {(row["user_id"], row["answered_by"]) for row in few} == {(902, "item_mean")}
    means = load_fold_in(run_dir, "best", None).model.priors.items
    means[WATCHED[902]] = -np.inf
    assert [row["item_id"] for row in few] == np.argsort(-means, kind="stable")[:5].tolist()


def test_a_least_score_leaves_no_gaps_in_the_ranks(run_dir: str, histories: str) -> None:
    """Items that the model does not know come last, by the mean of all, which may be above what it makes of others."""
    every = recommended(run_dir, histories=histories, top=60)
    least = sorted(float(str(row["score"])) for row in every)[len(every) // 2]
    kept = recommended(run_dir, histories=histories, top=60, min_score=least)
    ids = [(row["user_id"], row["item_id"]) for row in every if float(str(row["score"])) >= least]
    assert [(row["user_id"], row["item_id"]) for row in kept] == ids
    for user in WATCHED:
        ranks = [row["rank"] for row in kept if row["user_id"] == user]
        assert ranks == [*range(1, len(ranks) + 1)]


def test_what_is_no_history_is_refused(run_dir: str, histories: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("user_id,item_id,label\n900,3,1\n900,4,maybe\n")
    with pytest.raises(UserError, match=r"bad.csv, column label: 'maybe' is no label; give 1, 0, or nothing"):
        recommended(run_dir, histories=str(bad))
    with pytest.raises(UserError, match="histories.csv has no column 'liked', only user_id"):
        recommended(run_dir, histories=histories, label_column="liked")
    with pytest.raises(UserError, match="label_column is liked; give histories"):
        recommended(run_dir, label_column="liked")
    with pytest.raises(UserError, match="give either users, ids of the dataset, or histories"):
        recommended(run_dir, histories=histories, users=histories)
    with pytest.raises(UserError, match="excludes items for users of the dataset"):
        recommended(run_dir, histories=histories, exclude=histories)


def test_blocks_of_users_are_folded_in_alike(run_dir: str, histories: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recommended(run_dir, histories=histories)
    for name, size in (("USERS_AT_ONCE", 1), ("USERS_PER_PART", 2)):
        monkeypatch.setattr(f"distributed_il.inference.histories.{name}", size)
    monkeypatch.setattr("distributed_il.inference.recommendations.USERS_PER_PART", 2)
    for row, other in zip(recommended(run_dir, histories=histories), whole, strict=True):
        assert [row["user_id"], row["item_id"], row["rank"]] == [other["user_id"], other["item_id"], other["rank"]]
