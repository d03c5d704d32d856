"""Which checkpoints a run goes on with: those of its own data and settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import DataConfig, OptimizerConfig, RunConfig, TrainConfig, config_to_dict, flat
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseGradientConfig, NegativeSamplingConfig, NoneConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.runtime.preflight import check_run
from distributed_il.training.resume import FREE_TO_CHANGE, check_same_run
from distributed_il.training.trainer import Trainer


def config_of(dataset: Dataset, run_dir: Path) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(run_dir), workers=2, batch_size=50, max_rounds=1),
        method=NoneConfig(),
    )


def manifest_of(config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    return {"place": "checkpoint", "dataset": dataset.fingerprint, "config": config_to_dict(config)}


def test_a_dataset_that_is_not_the_checkpoints_is_refused_before_anything_begins(
    make_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    trained, other = make_dataset("trained"), make_dataset("other", seed=1)
    config = config_of(trained, tmp_path / "run")
    Trainer(
        config,
        trained,
        reader=LocalBlockReader(trained),
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
    ).fit()
    check_run(config)
    before = sorted((tmp_path / "run").rglob("*"))
    with pytest.raises(UserError, match=rf"{other.path} has changed since checkpoint .* another run.dir") as caught:
        check_run(config_of(other, tmp_path / "run"))
    assert trained.fingerprint[:12] in str(caught.value)
    assert other.fingerprint[:12] in str(caught.value)
    assert sorted((tmp_path / "run").rglob("*")) == before


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"optimizer": OptimizerConfig(learning_rate=0.5)}, r"optimizer.learning_rate \(was 0.001, is 0.5\)"),
        ({"method": InverseGradientConfig()}, r"method.name \(was none, is ig\)"),
        ({"run": {"seed": 4}}, r"run.seed \(was 0, is 4\)"),
        ({"run": {"batch_size": 25}}, r"run.workers × run.batch_size \(was 100, is 50\)"),
        ({"run": {"workers": 4, "batch_size": 50}}, r"run.workers × run.batch_size \(was 100, is 200\)"),
    ],
)
def test_other_settings_are_named(changed: dict[str, Any], words: str, tiny_dataset: Dataset, tmp_path: Path) -> None:
    config = config_of(tiny_dataset, tmp_path)
    if "run" in changed:
        changed = {"run": dataclasses.replace(config.run, **changed["run"])}
    with pytest.raises(UserError, match=f"belongs to a run with other settings: .*{words}"):
        check_same_run(dataclasses.replace(config, **changed), tiny_dataset, manifest_of(config, tiny_dataset))


def test_a_setting_of_the_method_that_came_later_had_its_default(tiny_dataset: Dataset, tmp_path: Path) -> None:
    config = dataclasses.replace(config_of(tiny_dataset, tmp_path), method=NegativeSamplingConfig())
    manifest = manifest_of(config, tiny_dataset)
    del manifest["config"]["method"]["target"]
    check_same_run(config, tiny_dataset, manifest)
    config = dataclasses.replace(config, method=NegativeSamplingConfig(target=0.5))
    with pytest.raises(UserError, match=r"method.target \(was 0.0, is 0.5\)"):
        check_same_run(config, tiny_dataset, manifest)


def test_what_does_not_change_the_result_may_change(tiny_dataset: Dataset, tmp_path: Path) -> None:
    config = config_of(tiny_dataset, tmp_path)
    changed = dataclasses.replace(
        config.run, workers=4, batch_size=25, min_workers=1, max_rounds=9, patience=9, threads_per_worker=2,
        checkpoint_every_steps=7, checkpoint_every_s=None, collective_timeout_s=9.0, max_failures=0,
        wait_for_workers_s=None, dir=str(tmp_path / "moved"), use_gpu=True,
    )  # fmt: skip
    check_same_run(dataclasses.replace(config, run=changed), tiny_dataset, manifest_of(config, tiny_dataset))


def test_only_settings_that_exist_are_free_to_change(tiny_dataset: Dataset, tmp_path: Path) -> None:
    assert flat(config_to_dict(config_of(tiny_dataset, tmp_path))).keys() >= FREE_TO_CHANGE
