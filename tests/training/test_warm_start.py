"""Runs that start from another run's model, on a dataset that has grown."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from local_runs import local_trainer
from rank_cases import whole_table
from small_datasets import random_rows, write_dataset
from thread_ranks import run_on_threads

from distributed_il.cli.submit import check_arguments
from distributed_il.cli.train import read as read_train_config
from distributed_il.core.collectives import Collectives, LocalCollectives
from distributed_il.core.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.data.dataset.vocabulary import VocabularyDigest
from distributed_il.runtime.preflight import check_run

USERS, ITEMS = 30, 40
NEW_USERS, NEW_ITEMS = 5, 7
ONE_AT_A_TIME = threading.Lock()
"""The start of a tower is drawn from torch's global generator, which threads share."""


def config_of(data: Dataset, run_dir: Path, *, start: str | None = None, **model: Any) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(path=data.path),
        run=RunConfig(dir=str(run_dir), batch_size=50, max_rounds=2, patience=2, seed=3, start_from=start),
        model=ModelConfig(**{"embedding_dim": 4, "init_std": 0.1, **model}),
        optimizer=OptimizerConfig(learning_rate=0.02, weight_decay=1e-4, missed_steps="catch_up"),
        method=NoneConfig(),
    )


def make(path: Path, users: int, items: int, ids: pa.Array | None = None) -> Dataset:
    rows = random_rows(np.random.default_rng(users), users, items, {"train": 800, "valid": 150, "test": 100})
    return write_dataset(path, rows, num_users=users, num_items=items, lanes=2, users=ids)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("start")


@pytest.fixture(scope="module")
def old(place: Path) -> TrainConfig:
    """A finished run."""
    config = config_of(make(place / "old", USERS, ITEMS), place / "run")
    local_trainer(config).run()
    return config


@pytest.fixture(scope="module")
def grown(place: Path) -> Dataset:
    """The dataset of `old` with new users and items behind its own."""
    return make(place / "grown", USERS + NEW_USERS, ITEMS + NEW_ITEMS)


def start(config: TrainConfig, collectives: Collectives) -> tuple[list[torch.Tensor], list[int], int]:
    """The whole tables and the tower with which a run begins, last_step of the rows held here, and the step."""
    with ONE_AT_A_TIME:
        learner = local_trainer(config, collectives).learner
    whole = [whole_table(learner.users, collectives), whole_table(learner.items, collectives)]
    return [*whole, learner.tower.packed.clone()], learner.users.last_step.tolist(), learner.step


@pytest.mark.parametrize(("ranks", "tables"), [(1, "replicated"), (2, "sharded")])
def test_old_rows_are_the_best_models_and_new_ones_a_new_runs(
    ranks: int, tables: Literal["replicated", "sharded"], old: TrainConfig, grown: Dataset, tmp_path: Path
) -> None:
    best, _, _ = start(config_of(Dataset.open(old.data.path), tmp_path / "same", start=old.run.dir), LocalCollectives())
    fresh, _, _ = start(config_of(grown, tmp_path / "fresh"), LocalCollectives())
    config = config_of(grown, tmp_path / "new", start=old.run.dir, tables=tables)
    found = [start(config, LocalCollectives())] if ranks == 1 else run_on_threads(ranks, lambda own: start(config, own))
    pointer = json.loads((Path(old.run.dir) / "checkpoints" / "names.json").read_text())["best"]
    for tensors, last_step, step in found:
        for whole, of_best, of_fresh in zip(tensors[:2], best[:2], fresh[:2], strict=True):
            assert torch.equal(whole[: len(of_best)], of_best)
            assert torch.equal(whole[len(of_best) :], of_fresh[len(of_best) :])
        assert best[0].abs().sum() > 0
        assert torch.equal(tensors[2], best[2])
        assert step == int(pointer.split("-")[1])
        assert set(last_step) == {step}  # of new rows too: no update is deferred from before


def test_a_continued_run_is_ahead_of_a_new_one(old: TrainConfig, grown: Dataset, tmp_path: Path) -> None:
    continued = local_trainer(config_of(grown, tmp_path / "a", start=old.run.dir)).run()
    fresh = local_trainer(config_of(grown, tmp_path / "b")).run()
    first = [json.loads((tmp_path / name / "metrics.json").read_text())["history"][0] for name in "ab"]
    assert first[0]["logloss"] < first[1]["logloss"]
    assert fresh["run"]["start"] is None
    begun = continued["run"]["start"]
    assert (begun["new_users"], begun["new_items"]) == (NEW_USERS, NEW_ITEMS)
    assert continued["run"]["optimizer_steps"] == begun["step"] + 2 * 16


def test_a_run_that_goes_on_no_longer_needs_what_it_started_from(
    old: TrainConfig, grown: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(old.run.dir, tmp_path / "source")
    config = config_of(grown, tmp_path / "run", start=str(tmp_path / "source"))
    began = local_trainer(config).run()["run"]["start"]
    shutil.rmtree(tmp_path / "source")
    assert local_trainer(config).run()["run"]["start"] == began


def test_a_single_checkpoint_can_be_named(old: TrainConfig, tmp_path: Path) -> None:
    directory = json.loads((Path(old.run.dir) / "checkpoints" / "names.json").read_text())["last"]
    named = f"{old.run.dir}/checkpoints/{directory}"
    config = config_of(Dataset.open(old.data.path), tmp_path / "run", start=named)
    assert start(config, LocalCollectives())[2] == int(directory.split("-")[1])


def test_what_does_not_fit_is_refused_before_the_run(old: TrainConfig, grown: Dataset, tmp_path: Path) -> None:
    def refused(message: str, data: Dataset, start: str = old.run.dir, **model: Any) -> None:
        with pytest.raises(UserError, match=message):
            check_run(config_of(data, tmp_path / "run", start=start, **model))

    swapped = list(range(USERS + NEW_USERS))
    swapped[0], swapped[1] = 1, 0
    refused("its first 30 users are not known to be those", make(tmp_path / "b", 35, 40, pa.array(swapped)))
    strings = pa.array([str(number) for number in range(USERS + NEW_USERS)])
    refused("its first 30 users are not known to be those", make(tmp_path / "c", 35, 40, strings))
    refused("has 29 users, fewer than the 30 of checkpoint", make(tmp_path / "d", 29, 60))
    refused(r"model\.backbone \(there bias_mf, here neumf\)", grown, backbone="neumf")
    refused(r"model\.embedding_dim \(there 4, here 8\)", grown, embedding_dim=8)
    refused("holds no checkpoint named best", grown, start=str(tmp_path / "nothing"))
    refused("can't be read", grown, start=f"{old.run.dir}/checkpoints/000009-00000009")
    check_run(config_of(grown, tmp_path / "run", start=old.run.dir, init_std=0.2))


def test_from_is_short_for_run_start_from(tmp_path: Path) -> None:
    needed = ["--data.path=/data", "--run.dir=/run"]
    assert read_train_config([*needed, "--from", "/runs/a"]).run.start_from == "/runs/a"
    assert read_train_config([*needed, "--run.start_from=/runs/a"]).run.start_from == "/runs/a"
    with pytest.raises(UserError, match=r"--from: run\.start_from is 'runs/a'.*give the full path"):
        check_arguments("train", [*needed, "--from=runs/a"])


ids = st.one_of(
    st.lists(st.integers(0, 2**62), max_size=20).map(lambda values: pa.array(values, pa.int64())),
    st.lists(st.text(max_size=3), max_size=20).map(lambda values: pa.array(values, pa.string())),
)


def digest(*pieces: pa.Array) -> str:
    found = VocabularyDigest()
    for piece in pieces:
        found.add(piece)
    return found.hexdigest()


@given(ids=ids, cut=st.integers(0, 20))
def test_a_digest_does_not_depend_on_pieces(ids: pa.Array, cut: int) -> None:
    assert digest(ids.slice(0, cut), ids.slice(cut)) == digest(ids)


@given(one=ids, other=ids)
def test_a_digest_tells_vocabularies_apart(one: pa.Array, other: pa.Array) -> None:
    assert (digest(one) == digest(other)) == one.equals(other)
