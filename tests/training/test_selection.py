"""A run's best round by each metric, and the calibration of its checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from forged_checkpoints import rewrite_manifests
from local_runs import local_trainer
from small_datasets import make_small_dataset
from thread_ranks import run_on_threads

from distributed_il.core.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, SelectBy, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.inference.config import EvaluateConfig
from distributed_il.inference.evaluate import evaluate
from distributed_il.training.checkpoint import CheckpointStore

ROUNDS = 5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_small_dataset(tmp_path_factory.mktemp("selection") / "data", unclear=0)


def config_of(dataset: Dataset, run_dir: Path, select_by: SelectBy = "calibrated_logloss", **run: Any) -> TrainConfig:
    """A learning rate at which rounds differ much."""
    wanted = {"batch_size": 24, "max_rounds": ROUNDS, "patience": ROUNDS, **run}
    return TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(run_dir), select_by=select_by, **wanted),
        model=ModelConfig(embedding_dim=4, init_std=0.3, dtype="float64", factors=0),
        optimizer=OptimizerConfig(learning_rate=0.05),
        method=NoneConfig(),
    )


def test_each_metric_chooses_its_best_round_and_stops_by_it(dataset: Dataset, tmp_path: Path) -> None:
    chosen: dict[str, int] = {}
    for select_by, best in (("calibrated_logloss", min), ("logloss", min), ("auc", max), ("gauc", max)):
        trainer = local_trainer(config_of(dataset, tmp_path / select_by, select_by))
        valid = trainer.fit()["valid"]
        values = [round[select_by] for round in trainer.state.history]
        chosen[select_by] = trainer.state.best_round
        assert trainer.state.best_round == values.index(best(values)) + 1
        assert trainer.state.best_value == trainer.telemetry.best == valid[select_by] == best(values)
        # With a patience of one round it ends at the first that is no better.
        impatient = local_trainer(config_of(dataset, tmp_path / f"{select_by}, patience 1", select_by, patience=1))
        impatient.fit()
        worse = [n for n in range(1, ROUNDS) if best(values[n], *values[:n]) != values[n]]
        assert impatient.state.round == (worse[0] + 1 if worse else ROUNDS)
    assert len(set(chosen.values())) > 1


def test_calibration_lies_in_the_checkpoint_and_is_applied_to_test(dataset: Dataset, tmp_path: Path) -> None:
    trainer = local_trainer(config_of(dataset, tmp_path / "run"))
    trainer.method.half_width = lambda tower: 0.5  # pyright: ignore
    result = trainer.run()
    best = CheckpointStore(str(tmp_path / "run")).manifest("best")
    assert best is not None
    assert best["output"]["half_width"] == 0.5
    for split in ("valid", "test"):
        found = evaluate(EvaluateConfig(run_dir=str(tmp_path / "run"), split=split))[split]
        assert repr(found) == repr(result[split])
        assert found["calibrated_logloss"] < found["logloss"]


def test_a_run_that_is_gone_on_with_chooses_as_the_whole_one(dataset: Dataset, tmp_path: Path) -> None:
    whole = local_trainer(config_of(dataset, tmp_path / "whole", "auc")).run()
    local_trainer(config_of(dataset, tmp_path / "run", "auc", max_rounds=2)).run()
    resumed = local_trainer(config_of(dataset, tmp_path / "run", "auc"))
    assert resumed.telemetry.best == resumed.state.best_value is not None
    found = resumed.run()
    assert {name: found[name] for name in ("valid", "test")} == {name: whole[name] for name in ("valid", "test")}
    outputs = [CheckpointStore(str(tmp_path / run)).manifest("best") for run in ("whole", "run")]
    assert outputs[0] is not None
    assert outputs[1] is not None
    assert outputs[0]["output"] == outputs[1]["output"]


def test_a_run_of_before_goes_on_by_log_loss(dataset: Dataset, tmp_path: Path) -> None:
    """Its checkpoints have neither the setting nor an output."""
    local_trainer(config_of(dataset, tmp_path / "run", "logloss", max_rounds=2)).run()

    def change(manifest: dict[str, Any]) -> None:
        del manifest["output"], manifest["config"]["run"]["select_by"]
        course = manifest["facts"]["course"]
        course["best_loss"] = course.pop("best_value")

    rewrite_manifests(tmp_path / "run", change)
    with pytest.raises(UserError, match=r"run\.select_by \(was logloss, is calibrated_logloss\)"):
        local_trainer(config_of(dataset, tmp_path / "run"))
    test = evaluate(EvaluateConfig(run_dir=str(tmp_path / "run")))["test"]
    assert (test["calibrated_logloss"], test["calibrated_ece"]) == (test["logloss"], test["ece"])
    resumed = local_trainer(config_of(dataset, tmp_path / "run", "logloss"))
    assert resumed.telemetry.best == min(round["logloss"] for round in resumed.state.history)
    whole = local_trainer(config_of(dataset, tmp_path / "whole", "logloss"))
    resumed.fit(), whole.fit()
    assert resumed.state == whole.state


def test_any_number_of_ranks_calibrates_and_chooses_alike(dataset: Dataset, tmp_path: Path) -> None:
    def outcome(trainer: Any) -> tuple[dict[str, Any], Any]:
        trainer.fit()
        calibration = dataclasses.astuple(trainer.calibration)
        return trainer.state, calibration

    state, calibration = outcome(local_trainer(config_of(dataset, tmp_path / "1", max_rounds=2)))
    for world in (2, 4):
        config = config_of(dataset, tmp_path / str(world), max_rounds=2, workers=world, batch_size=24 // world)
        found = run_on_threads(world, lambda ranks, config=config: outcome(local_trainer(config, ranks)))
        assert found == found[:1] * world  # the same bits
        assert found[0][1] == pytest.approx(calibration, rel=1e-9)
        assert found[0][0].best_round == state.best_round
        for here, there in zip(found[0][0].history, state.history, strict=True):
            assert here == pytest.approx(there, rel=1e-9)
