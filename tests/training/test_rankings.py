"""Rankings of all unseen items in a run: what chooses its best round, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from local_runs import local_trainer
from small_datasets import random_rows, write_dataset

from distributed_il.core.config import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
)
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.evaluation.metric_columns import ranking_note
from distributed_il.evaluation.selection import Selection
from distributed_il.inference.config import EvaluateConfig
from distributed_il.inference.evaluate import evaluate
from distributed_il.training.feedback import resolve_feedback

USERS, ITEMS = 30, 24
COUNTS = {"users", "users_left_out", "users_with_positives"}


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rows = random_rows(np.random.default_rng(0), USERS, ITEMS, {"train": 300, "valid": 90, "test": 90, "unclear": 30})
    return write_dataset(tmp_path_factory.mktemp("graded") / "data", rows, num_users=USERS, num_items=ITEMS)


@pytest.fixture(scope="module")
def positive(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rows = random_rows(np.random.default_rng(1), USERS, ITEMS, {"train": 300, "valid": 90, "test": 90})
    for columns in rows.values():
        columns["label"][:] = 1
    return write_dataset(tmp_path_factory.mktemp("positive") / "data", rows, num_users=USERS, num_items=ITEMS)


def config_of(dataset: Dataset, path: Path, select_by: str = "auto", **evaluation: Any) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(path), batch_size=60, max_rounds=4, patience=4, select_by=select_by),
        model=ModelConfig(backbone="gmf", embedding_dim=4, factors=0, init_std=0.1),
        optimizer=OptimizerConfig(learning_rate=0.05),
        evaluation=EvaluationConfig(**evaluation),
        method=NoneConfig(),
    )


def test_positives_alone_are_chosen_by_the_ranking(positive: Dataset, tmp_path: Path) -> None:
    trainer = local_trainer(config_of(positive, tmp_path / "run", ks=[2, 5]))
    result = trainer.run()
    rankings = [entry["ranking"] for entry in trainer.state.history]
    assert set(rankings[0]) - COUNTS == {
        f"{name}@{k}"
        for k in (2, 5, 20)
        for name in ("recall", "ndcg", "hit_rate", "precision", "map", "mrr", "coverage", "popularity")
    }
    values = [ranking["ndcg@20"] for ranking in rankings]
    assert trainer.state.best_value == max(values) == values[trainer.state.best_round - 1]
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written["ranking"]["recall@5"] == result["ranking"]["recall@5"]
    assert set(written["ranking"]["trivial"]) == {"popularity", "item_co_occurrence"}
    assert written["test"]["auc"] is None
    again = evaluate(EvaluateConfig(run_dir=str(tmp_path / "run")))
    assert again["ranking"] == result["ranking"]
    valid = evaluate(EvaluateConfig(run_dir=str(tmp_path / "run"), split="valid"))["ranking"]
    assert valid["recall@5"] == rankings[trainer.state.best_round - 1]["recall@5"]
    assert "over all items" in ranking_note(valid)


@pytest.mark.parametrize("split", ["last", "random"])
def test_users_and_items_alone_are_ranked_whatever_the_split(split: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pairs = [(user, item) for user in range(12) for item in rng.permutation(15)[:8].tolist()]
    lines = [f"{user},{item},{1_600_000_000 + place}" for place, (user, item) in enumerate(pairs)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    prepare(PrepareConfig(source=str(tmp_path / "log.csv"), output=str(tmp_path / "data"), split=split, lanes=4))
    dataset = Dataset.open(str(tmp_path / "data"))
    trainer = local_trainer(config_of(dataset, tmp_path / "run", ks=[2, 5]))
    ranking = trainer.run()["ranking"]
    assert trainer.config.run.select_by == "ndcg@20"
    assert 0 < ranking["recall@5"] <= 1
    assert set(ranking["trivial"]) == {"popularity", "item_co_occurrence"}
    if split == "last":  # one relevant item a user
        assert ranking["users"] == 12
        assert ranking["recall@5"] == ranking["hit_rate@5"] == pytest.approx(5 * ranking["precision@5"])
        assert ranking["map@5"] == pytest.approx(ranking["mrr@5"])


def test_sampled_candidates_are_marked_wherever_they_are_shown(graded: Dataset, tmp_path: Path) -> None:
    ranking = local_trainer(config_of(graded, tmp_path / "run", candidates=5)).run()["ranking"]
    assert ranking["sampled_candidates"] == 5
    assert "5 SAMPLED items" in ranking_note(ranking)


def test_given_candidates_are_marked_and_a_file_without_one_is_refused(graded: Dataset, tmp_path: Path) -> None:
    ids = graded.vocabulary("items").to_pylist()[:10]
    (tmp_path / "some.csv").write_text("item_id\n" + "\n".join(map(str, [*ids, 987654321])) + "\n")
    config = config_of(graded, tmp_path / "run", candidates=str(tmp_path / "some.csv"))
    ranking = local_trainer(config).run()["ranking"]
    assert ranking["given_candidates"] == 10
    assert "10 GIVEN items" in ranking_note(ranking)
    assert ranking["recall@10"] == 1  # all of them are in the first ten
    assert evaluate(EvaluateConfig(run_dir=config.run.dir))["ranking"] == ranking
    (tmp_path / "none.csv").write_text("item_id\n987654321\n")
    with pytest.raises(UserError, match=r"none\.csv: none of its items is one of the dataset's"):
        local_trainer(config_of(graded, tmp_path / "other", candidates=str(tmp_path / "none.csv"))).run()


def test_metrics_of_each_user_are_what_those_of_the_run_are_the_means_of(graded: Dataset, tmp_path: Path) -> None:
    config = config_of(graded, tmp_path / "run", ks=[2, 5], users=20)
    local_trainer(config).run()
    place = str(tmp_path / "users.parquet")
    found = evaluate(EvaluateConfig(run_dir=config.run.dir, per_user=place))
    table = pq.read_table(place)
    ids = graded.vocabulary("users")
    assert set(table.column("user_id").to_pylist()) <= set(ids.to_pylist())
    assert table.column("user_id").type == ids.type
    assert sum(table.column("rows").to_pylist()) == found["test"]["rows"] == 90
    ranking, test = found["ranking"], found["test"]
    assert table.num_rows - table.column("ndcg@5").null_count == ranking["users"] <= 20
    assert table.num_rows - table.column("labelled_auc").null_count == test["users"] - test["users_left_out"]
    for name in ("recall@2", "ndcg@5", "hit_rate@2", "precision@5", "map@5", "mrr@2"):
        assert pc.mean(table.column(name)).as_py() == pytest.approx(ranking[name], abs=1e-12)
    for name, of_run in (("auc", "gauc"), ("ndcg@10", "ndcg@10"), ("mrr", "mrr"), ("mrr_first", "mrr_first")):
        assert pc.mean(table.column(f"labelled_{name}")).as_py() == pytest.approx(test[of_run], abs=1e-12)
    for wrong, problem in (("users.txt", "ends neither in"), ("nowhere/users.parquet", "directory does not exist")):
        with pytest.raises(UserError, match=problem):
            evaluate(EvaluateConfig(run_dir=config.run.dir, per_user=str(tmp_path / wrong)))


def test_with_negatives_nothing_but_the_end_is_ranked_unless_asked_for(graded: Dataset, tmp_path: Path) -> None:
    results = {}
    for name, options in (("as ever", {}), ("five", {"users": 5}), ("all", {"users": "all"})):
        trainer = local_trainer(config_of(graded, tmp_path / name, **options))
        results[name] = trainer.run()
        assert trainer.config.run.select_by == "calibrated_logloss"
        assert all(("ranking" in entry) == bool(options) for entry in trainer.state.history)
        for split in ("valid", "test"):
            assert results[name][split] == results["as ever"][split]
    assert results["all"]["ranking"] == results["as ever"]["ranking"]
    assert results["five"]["ranking"]["users"] + results["five"]["ranking"]["users_left_out"] == 5
    # Those over a user's own rows have kept their names and their meaning.
    assert results["all"]["test"]["ndcg@10"] != results["all"]["ranking"]["ndcg@10"]


def test_a_ranking_metric_of_any_k_can_choose(graded: Dataset, tmp_path: Path) -> None:
    chosen = Selection("recall@3")
    trainer = local_trainer(config_of(graded, tmp_path / "run", "recall@3"))
    best = trainer.fit()
    values = [chosen.value(entry) for entry in trainer.state.history]
    assert best["valid"]["ranking"]["recall@3"] == max(values) == trainer.state.best_value
    assert (chosen.name, chosen.superlative) == ("Recall@3 of unseen items", "highest")
    # It goes on from its checkpoint, other k or not.
    more = local_trainer(config_of(graded, tmp_path / "run", "recall@3", ks=[7]))
    assert more.state.history == trainer.state.history
    with pytest.raises(UserError, match=r"evaluation\.users \(was auto, is 7\)"):
        local_trainer(config_of(graded, tmp_path / "run", "recall@3", users=7))


@pytest.mark.parametrize("key", ["recall", "recall@", "recall@0", "recall@x", "coverage@10", "rmse", "ndcg@-1"])
def test_a_metric_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(UserError, match=r"run\.select_by is '.*'; it must be one of auto, calibrated_logloss"):
        RunConfig(dir="run", select_by=key)


@pytest.mark.parametrize("values", [{"ks": []}, {"ks": [5, 0]}, {"users": 0}, {"candidates": 0}, {"candidates": ""}])
def test_settings_of_no_ranking_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"evaluation\.(ks|users|candidates)"):
        EvaluationConfig(**values)


def test_auto_means_what_fits_the_feedback(graded: Dataset, positive: Dataset) -> None:
    for dataset, key in ((graded, "calibrated_logloss"), (positive, "ndcg@20")):
        assert resolve_feedback(config_of(dataset, Path("run")), dataset).run.select_by == key
        assert resolve_feedback(config_of(dataset, Path("run"), "auc"), dataset).run.select_by == "auc"
