"""Several seeds are trained one after the other; what is finished is not trained again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_runs import local_trainer
from small_datasets import make_small_dataset

from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.runtime import calls, seeds
from distributed_il.runtime.seeds import train_seeds


class HereAlone:
    """Trains in this process, in the place of Ray; a kill comes at the start of one run."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.killed_at: int | None = None

    def __call__(self, configs: Iterable[TrainConfig]) -> Iterator[dict[str, Any]]:
        for config in configs:
            if config.run.seed == self.killed_at:
                raise KeyboardInterrupt
            self.started.append(config.run.seed)
            yield local_trainer(config).run()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> HereAlone:
    here = HereAlone()
    monkeypatch.setattr(seeds, "start_runs", here)
    return here


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    make_small_dataset(tmp_path / "data")
    run = RunConfig(dir=str(tmp_path / "run"), seed=4, seeds=3, max_rounds=1, patience=1, batch_size=50)
    return TrainConfig(data=DataConfig(path=str(tmp_path / "data")), run=run, method=NoneConfig())


def changed(config: TrainConfig, **settings: Any) -> TrainConfig:
    return dataclasses.replace(config, run=dataclasses.replace(config.run, **settings))


def test_a_stopped_command_goes_on_with_the_seeds_that_are_left(
    here: HereAlone, config: TrainConfig, tmp_path: Path
) -> None:
    here.killed_at = 5
    with pytest.raises(KeyboardInterrupt):
        train_seeds(config)
    assert not (tmp_path / "run" / "seeds.json").exists()
    here.killed_at = None
    results = train_seeds(config)
    assert here.started == [4, 5, 6]
    assert list(results) == [4, 5, 6]
    alone = local_trainer(changed(config, dir=str(tmp_path / "alone"), seed=5, seeds=1)).run()
    assert results[5]["test"] == alone["test"]
    told = json.loads((tmp_path / "run" / "seeds.json").read_text())
    aucs = [results[seed]["test"]["auc"] for seed in (4, 5, 6)]
    assert len(set(aucs)) == 3
    assert told["test"]["mean"]["auc"] == pytest.approx(sum(aucs) / 3)
    # Once more: nothing is left, and with more rounds all go on.
    assert train_seeds(config)[6]["test"]["auc"] == results[6]["test"]["auc"]
    assert here.started == [4, 5, 6]
    longer = train_seeds(changed(config, seeds=2, max_rounds=2, patience=2))
    assert here.started == [4, 5, 6, 4, 5]
    assert [result["run"]["rounds"] for result in longer.values()] == [2, 2]


def test_finished_runs_of_other_settings_are_refused(here: HereAlone, config: TrainConfig) -> None:
    train_seeds(changed(config, seeds=2))
    with pytest.raises(UserError, match=r"seed-4.* belongs to a run with other settings: run.workers × run.batch"):
        train_seeds(changed(config, batch_size=25))
    assert here.started == [4, 5]


def test_python_programs_get_means_and_every_history(here: HereAlone, config: TrainConfig) -> None:
    run = calls.train(config, seeds=2)
    assert run.dir == config.run.dir
    assert run.metrics["seeds"] == [4, 5]
    assert {"auc", "gauc"} <= run.metrics["test"]["mean"].keys() & run.metrics["test"]["sd"].keys()
    assert [(entry["seed"], entry["round"]) for entry in run.history] == [(4, 1), (5, 1)]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("checkpoints", "holds the run of one seed; for run.seeds 3 give another"),
        ("notes", "not empty: it holds notes"),
    ],
)
def test_a_directory_of_something_else_is_refused(
    name: str, told: str, here: HereAlone, config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "run" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=told):
        train_seeds(config)
    assert here.started == []
