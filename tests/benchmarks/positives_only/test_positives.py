"""The benchmark of positives without labels, on a small log; the other package's part is played by known vectors."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.common import resumable_pool
from benchmarks.common.training_task import TrainingTask
from benchmarks.positives import leads, main, parse
from benchmarks.positives_only import package
from benchmarks.positives_only.comparison import SELECT_BY, choose, make_dataset
from benchmarks.positives_only.package import carry_out_of_package
from benchmarks.positives_only.rows import ROWS, draw
from distributed_il.core.config import config_from_dict
from distributed_il.data.dataset import Dataset

PLACES = {"data": {"path": "data"}, "run": {"dir": "run"}}


def positives(dataset: Dataset, split: str) -> np.ndarray:
    """1 where a user has a positive, [num_users, num_items]."""
    found = np.zeros((dataset.num_users, dataset.num_items), np.float32)
    for lane in range(dataset.lanes):
        for block in dataset.blocks(split, lane):
            table = dataset.read_block(block, ["user_id", "item_id"])
            found[table.column("user_id").to_numpy(), table.column("item_id").to_numpy()] = 1
    return found


def task_of(dataset: Dataset, work: Path, *, name: str = "als", test: bool = True) -> TrainingTask:
    setting = draw(ROWS[name], 0, dataset=dataset)
    return TrainingTask(
        name=name,
        data=dataset.path,
        model_dir=str(work / "model"),
        setting=setting,
        seed=0,
        max_rounds=1,
        patience=1,
        select_by=SELECT_BY,
        test=test,
    )


def played(vectors: dict[int, np.ndarray], num_items: int) -> Callable[..., subprocess.CompletedProcess[str]]:
    """What stands for the package's Python: writes scores of all items as the users' vectors."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked = json.loads(command[-1])
        for kept in asked["keep_at"]:
            np.save(Path(command[-2]) / f"users-{kept}.npy", vectors[kept])
            np.save(Path(command[-2]) / f"items-{kept}.npy", np.eye(num_items, dtype=np.float32))
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_draws_differ_and_the_config_accepts_them(row: Any, tiny_dataset: Dataset) -> None:
    settings = [draw(row, number, dataset=tiny_dataset) for number in range(6)]
    assert len(set(map(repr, settings))) == 6
    if row.of_package:
        assert {setting["package"]["factors"] for setting in settings} <= set(row.sizes)
    else:
        configs = [config_from_dict({**PLACES, **setting}) for setting in settings]
        assert {config.model.embedding_dim for config in configs} <= set(row.sizes)
        assert all(config.unlabelled.rate >= 2 for config in configs)


def test_vectors_of_the_package_are_ranked_as_models_of_ours(
    ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(str(ratings), tmp_path)
    assert dataset.manifest.positives_only
    shape = dataset.num_users, dataset.num_items
    vectors = {kept: np.zeros(shape, np.float32) for kept in package.KEEP_AT["als"]}
    vectors[6] = positives(dataset, "valid")  # the best on valid
    monkeypatch.setattr(package.subprocess, "run", played(vectors, dataset.num_items))
    found = carry_out_of_package(task_of(dataset, tmp_path), Path("python"))
    assert found["run"] == {"best_round": 6, "rounds": 30}
    cold = dataset.activity().item_rows == 0
    if not (positives(dataset, "valid")[:, cold]).any():
        assert found["valid"]["ranking"][SELECT_BY] == pytest.approx(1)
    # Of test nothing is known but that all unseen items are tied: as good as chance.
    unseen = 1 - np.clip(positives(dataset, "train") + positives(dataset, "valid"), 0, 1)
    unseen[:, cold] = 0
    relevant = positives(dataset, "test")
    users = np.flatnonzero(relevant.any(axis=1))
    free, hits = unseen.sum(axis=1)[users], (relevant * unseen).sum(axis=1)[users]
    expected = np.mean(hits * np.minimum(1, 20 / free) / relevant.sum(axis=1)[users])
    assert found["ranking"]["recall@20"] == pytest.approx(expected, rel=1e-6)
    assert "ranking" not in carry_out_of_package(task_of(dataset, tmp_path, test=False), Path("python"))


def test_a_package_that_fails_says_why(ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(str(ratings), tmp_path)
    failed = subprocess.CompletedProcess([], 1, "", "no such package")
    monkeypatch.setattr(package.subprocess, "run", lambda *_, **__: failed)
    result = carry_out_of_package(task_of(dataset, tmp_path), Path("python"))
    assert result["failed"] == "no such package"
    assert choose([task_of(dataset, tmp_path)], {"als": result}) is None


def test_leads_are_of_the_best_row_by_seed() -> None:
    runs = {"gmf_none": [0.2, 0.3], "bias_mf_none": [0.1, 0.2], "als": [0.25, 0.25], "popularity": [0.4]}
    report = {"rows": {name: {"runs": [{"ndcg@20": value} for value in values]} for name, values in runs.items()}}
    assert leads(report, "ndcg@20") == {"gmf_none_minus_als": pytest.approx([-0.05, 0.05])}


def test_a_table_of_a_small_log(
    ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Processes would take most of the time to import torch.
    monkeypatch.setattr(resumable_pool, "ProcessPoolExecutor", lambda jobs, **_: ThreadPoolExecutor(jobs))
    out, work = tmp_path / "out", tmp_path / "work"
    arguments = ["--rows", "bias_mf_none", "--draws", "1", "--seeds", "1", "--max_rounds", "1", "--jobs", "1"]
    assert main([*arguments, "--source", str(ratings), "--out", str(out), "--work", str(work)]) == 0
    capsys.readouterr()
    [path] = out.glob("positives-*.json")
    report = json.loads(path.read_text())
    rows = report["details"]["rows"]
    assert list(rows) == ["popularity", "item_co_occurrence", "bias_mf_none"]
    assert report["figures"]["bias_mf_none_ndcg@20"]["median"] == rows["bias_mf_none"]["runs"][0]["ndcg@20"]
    assert str(ratings) not in path.read_text()
    assert "| item–item co-occurrence |" in path.with_suffix(".md").read_text()
    assert not any((work / "models").iterdir())


def test_quick_and_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTRIBUTED_IL_ML1M", "somewhere")
    options = parse(["--quick"])
    assert (options.source, options.draws, options.seeds, options.rows) == (
        "somewhere",
        1,
        1,
        ["bias_mf_none", "als", "bpr"],
    )
    monkeypatch.delenv("DISTRIBUTED_IL_ML1M")
    with pytest.raises(SystemExit):
        parse(["--quick"])
