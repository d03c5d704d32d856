"""Runs of a model that takes side features, and runs that start from one on a dataset that has grown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from local_runs import local_trainer
from random_features import random_features
from small_datasets import random_rows, write_dataset

from distributed_il.core.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset, DatasetWriter
from distributed_il.data.features import Features
from distributed_il.inference.config import EvaluateConfig
from distributed_il.inference.evaluate import evaluate, load_model
from distributed_il.runtime.preflight import check_run
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.side_features import about_features, features_for

USERS, ITEMS = 30, 40


def config_of(data: Dataset, run_dir: Path, *, start: str | None = None, backbone: str = "deepfm") -> TrainConfig:
    return TrainConfig(
        data=DataConfig(path=data.path),
        run=RunConfig(dir=str(run_dir), batch_size=50, max_rounds=1, patience=2, seed=3, start_from=start),
        model=ModelConfig(backbone=backbone, embedding_dim=4, init_std=0.1),
        optimizer=OptimizerConfig(learning_rate=0.02),
        method=NoneConfig(),
    )


def make(path: Path, features: Features | None, users: int = USERS) -> Dataset:
    rows = random_rows(np.random.default_rng(users), users, ITEMS, {"train": 400, "valid": 50, "test": 50})
    return write_dataset(path, rows, num_users=users, num_items=ITEMS, lanes=2, features=features)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def old(place: Path) -> TrainConfig:
    """A finished run."""
    config = config_of(make(place / "old", random_features(USERS, ITEMS)), place / "run")
    local_trainer(config).run()
    return config


def grown(path: Path, **changes: Any) -> Dataset:
    """Five new users, of the second column of users an eighth value, and room for two more values of an item."""
    features = random_features(USERS + 5, ITEMS)
    wider = {"items": F.pad(features.items, (0, 2)), "item_widths": (features.items.shape[1] + 2,)}
    return make(path, replace(features, **{"user_values": (2, 8), **wider, **changes}), USERS + 5)


def test_a_run_takes_them_and_evaluation_reads_them_again(old: TrainConfig) -> None:
    learner, run = load_model(old.run.dir, "best", None)
    dataset = run.dataset
    assert learner.features is not None
    assert {"user_features.1", "item_features.0"} <= set(learner.tower.state())
    test = evaluate(EvaluateConfig(run_dir=old.run.dir))["test"]
    assert test["logloss"] == pytest.approx(local_trainer(old).run()["test"]["logloss"], rel=1e-6)
    manifest = CheckpointStore(old.run.dir).manifest("best")
    assert manifest is not None
    assert [column["name"] for column in manifest["features"]["users"]] == ["column0", "column1"]
    assert features_for(ModelConfig(backbone="gmf"), dataset) is None
    assert about_features(ModelConfig(backbone="gmf"), dataset) == {}


def test_old_values_keep_their_rows_and_new_ones_begin_like_any(old: TrainConfig, tmp_path: Path) -> None:
    data = grown(tmp_path / "grown")
    config = config_of(data, tmp_path / "run", start=old.run.dir)
    check_run(config)
    best, fresh = load_model(old.run.dir, "best", None)[0], local_trainer(config_of(data, tmp_path / "fresh")).learner
    trainer = local_trainer(config)
    found, before, new = (learner.tower.state() for learner in (trainer.learner, best, fresh))
    for name, tensor in found.items():
        rows = len(before[name])
        assert torch.equal(tensor[:rows], before[name])
        assert torch.equal(tensor[rows:], new[name][rows:])
    assert len(found["user_features.1"]) == len(before["user_features.1"]) + 1 == 9
    assert not found["user_features.1#first"][8].any()
    trainer.run()


def test_other_features_are_refused_before_the_run(old: TrainConfig, tmp_path: Path) -> None:
    def refused(data: Dataset, message: str) -> None:
        with pytest.raises(UserError, match=message):
            check_run(config_of(data, tmp_path / "run", start=old.run.dir))

    refused(make(tmp_path / "none", None), r"has the user features \[\], and checkpoint .* with \[column0, column1\]")
    features = random_features(USERS, ITEMS)
    one = replace(features, users=features.users[:, :1].contiguous(), user_values=(2,), user_widths=(1,))
    refused(make(tmp_path / "one", one), r"has the user features \[column0\], and checkpoint")
    fewer = replace(features, users=features.users.clamp(max=6), user_values=(2, 6))
    refused(make(tmp_path / "fewer", fewer), "the first 7 values of the user feature column1 are not those that")


def test_a_run_over_ids_alone_does_not_go_on_with_features(tmp_path: Path) -> None:
    config = config_of(make(tmp_path / "ids", None), tmp_path / "run")
    local_trainer(config).run()
    with pytest.raises(UserError, match=r"has the user features \[column0, column1\], and checkpoint .* with \[\]"):
        check_run(config_of(grown(tmp_path / "grown"), tmp_path / "other", start=config.run.dir))
    gmf = config_of(make(tmp_path / "gmf", None, 29), tmp_path / "gmf_run", backbone="gmf")
    local_trainer(gmf).run()
    check_run(config_of(grown(tmp_path / "more"), tmp_path / "third", start=gmf.run.dir, backbone="gmf"))


def test_features_of_another_number_of_users_are_no_dataset(tmp_path: Path) -> None:
    with DatasetWriter(str(tmp_path / "data"), name="x", rule={}) as writer:
        for split in ("train", "valid", "test"):
            column = np.zeros(1, np.int32)
            writer.append(split, pa.table({"user_id": column, "item_id": column, "label": np.ones(1, np.int8)}))
        writer.write_index("observed", [(np.zeros(1, np.int64), np.zeros(1, np.int64))], 1)
        writer.write_features("users", np.zeros((2, 1)), {"age": pa.array(["25"])})
        with pytest.raises(ValueError, match="side features are of"):
            writer.finish(users=pa.array([1]), items=pa.array([1]))
