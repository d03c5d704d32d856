"""Runs of several seeds: where they lie, and what they come to."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.method_config import NoneConfig
from distributed_il.training.seeds import OverSeeds, seed_dirs, seed_runs, write_seeds


def test_each_seed_is_an_ordinary_run_below_the_directory() -> None:
    run = RunConfig(dir="runs/x/", seed=3, seeds=2, batch_size=64)
    runs = seed_runs(TrainConfig(data=DataConfig(path="d"), run=run, method=NoneConfig()))
    assert [(seed, one.run.seed, one.run.seeds, one.run.dir, one.run.batch_size) for seed, one in runs.items()] == [
        (3, 3, 1, "runs/x/seed-3", 64),
        (4, 4, 1, "runs/x/seed-4", 64),
    ]


def test_means_and_deviations_by_hand() -> None:
    # Mean (0.1 + 0.2 + 0.6) / 3 = 0.3, squares of the distances 0.04 + 0.01 + 0.09 = 0.14, of which half is 0.07.
    found = OverSeeds.of([{"auc": value, "rows": 20, "trivial": {}} for value in (0.1, 0.2, 0.6)])
    assert found.means == {"auc": pytest.approx(0.3), "rows": 20}
    assert found.deviations == {"auc": pytest.approx(math.sqrt(0.07))}


def test_what_one_run_does_not_define_has_no_mean() -> None:
    found = OverSeeds.of([{"gauc": None, "ece": 0.5}, {"gauc": 0.5, "ece": math.nan}])
    assert [math.isnan(value) for value in (*found.means.values(), *found.deviations.values())] == [True] * 4


def test_the_directories_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("seed-10", "seed-9", "seed-x", "other"):
        (tmp_path / name).mkdir()
    assert seed_dirs(f"{tmp_path}/") == [f"{tmp_path}/seed-9", f"{tmp_path}/seed-10"]
    assert seed_dirs(f"{tmp_path}/other") == seed_dirs(f"{tmp_path}/none") == []


def test_what_is_not_defined_is_null_in_the_file(tmp_path: Path) -> None:
    results = {
        seed: {"valid": {"auc": value}, "test": {"auc": value, "gauc": None}, "ranking": {"recall@10": 0.5, "users": 7}}
        for seed, value in ((0, 0.25), (1, 0.75))
    }
    write_seeds(str(tmp_path), results)
    found = json.loads((tmp_path / "seeds.json").read_text())
    assert found["seeds"] == [0, 1]
    assert found["test"]["mean"] == {"auc": 0.5, "gauc": None}
    assert found["valid"]["sd"] == {"auc": pytest.approx(math.sqrt(0.125))}
    assert found["ranking"] == {"mean": {"recall@10": 0.5, "users": 7}, "sd": {"recall@10": 0.0}}
