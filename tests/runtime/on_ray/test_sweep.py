"""A whole sweep on Ray Tune, stopped, gone on with and enlarged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from local_runs import local_trainer
from small_datasets import make_small_dataset

from distributed_il.cli import main
from distributed_il.core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.runtime.sweep.search import run_sweep
from distributed_il.runtime.sweep.space import SweepConfig

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]

RATES = [1e-4, 3e-3, 3e-2, 1e30]
"""Too small, small, right, and one at which training diverges."""


@pytest.fixture(scope="module")
def swept(private_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished sweep: its configuration, its base and what it returned."""
    place = tmp_path_factory.mktemp("sweep")
    data = make_small_dataset(place / "data", train=1200, valid=300, test=300)
    (place / "space.yaml").write_text(f"optimizer.learning_rate: {{choice: {RATES}}}\n")
    base = TrainConfig(
        data=DataConfig(path=data.path),
        # Two workers of 25 rows do what one of 50 does.
        run=RunConfig(dir=str(place / "sweep"), workers=2, batch_size=25, max_rounds=4, patience=4),
        model=ModelConfig(embedding_dim=4, init_std=0.1),
    )
    config = SweepConfig(space=str(place / "space.yaml"), trials=9, grace_rounds=2, reduction_factor=3)
    return config, base, run_sweep(config, base)


def states(run_dir: str) -> dict[str, int]:
    """When the last checkpoint of each trial was written."""
    paths = Path(run_dir).glob("trials/*/checkpoints/names.json")
    return {path.parts[-3]: path.stat().st_mtime_ns for path in paths}


def test_the_best_by_validation_loss_is_tested_and_it_alone(swept: Any) -> None:
    _, base, outcome = swept
    trials, best, result = outcome.trials, outcome.best, outcome.results[outcome.best.name]
    assert sorted(trial.settings["optimizer.learning_rate"] for trial in trials) == RATES
    assert best.best_value == min(trial.best_value for trial in trials if trial.best_round)
    assert best.settings["optimizer.learning_rate"] == 3e-2
    tested = sorted(path.parts[-2] for path in Path(base.run.dir).glob("trials/*/metrics.json"))
    assert tested == [best.name]
    assert json.loads((Path(best.config.run.dir) / "metrics.json").read_text())["test"] == pytest.approx(result["test"])


def test_a_trial_is_an_ordinary_run_of_the_same_global_batch(swept: Any, tmp_path: Path) -> None:
    _, _, outcome = swept
    best, result = outcome.best, outcome.results[outcome.best.name]
    assert (best.config.run.workers, best.config.run.batch_size) == (1, 50)
    run = dataclasses.replace(best.config.run, dir=str(tmp_path / "run"))
    alone = local_trainer(dataclasses.replace(best.config, run=run)).run()
    assert alone["test"] == pytest.approx(result["test"])
    history = json.loads((tmp_path / "run" / "metrics.json").read_text())["history"]
    assert [entry["calibrated_logloss"] for entry in history] == best.values


def test_trials_that_fall_behind_are_stopped_and_one_that_diverges_ends_nothing(swept: Any) -> None:
    _, _, outcome = swept
    trials, best = outcome.trials, outcome.best
    of_rate = {trial.settings["optimizer.learning_rate"]: trial for trial in trials}
    assert of_rate[1e30].ended == "failed"
    assert "diverged" in of_rate[1e30].failed
    assert best.ended == "all rounds"
    assert {of_rate[rate].ended for rate in RATES[:2]} <= {"stopped early", "all rounds"}
    assert all(len(trial.history) >= 2 for trial in trials if trial.failed is None)


def test_results_are_a_table_and_a_page(swept: Any) -> None:
    _, base, outcome = swept
    trials, best, result = outcome.trials, outcome.best, outcome.results[outcome.best.name]
    facts = json.loads((Path(base.run.dir) / "sweep.json").read_text())
    assert facts["best"] == best.name
    assert facts["select_by"] == "calibrated_logloss"
    assert [trial["valid_values"] for trial in facts["trials"]] == [trial.values for trial in trials]
    page = (Path(base.run.dir) / "sweep.html").read_text()
    assert f"{result['test']['auc']:.4f}" in page
    assert "Lowest calibrated log loss by optimizer.learning_rate" in page


@pytest.mark.cluster  # half a minute
def test_a_sweep_that_is_started_again_does_what_is_missing(swept: Any) -> None:
    config, base, outcome = swept
    trials, best, result = outcome.trials, outcome.best, outcome.results[outcome.best.name]
    lost = next(trial for trial in trials if trial is not best and trial.failed is None)
    before = states(base.run.dir)
    shutil.rmtree(lost.config.run.dir)
    again = run_sweep(config, base)
    after = states(base.run.dir)
    assert again.best.name == best.name
    assert again.results[best.name]["test"] == pytest.approx(result["test"])
    assert after[best.name] == before[best.name]  # nothing of it was trained again
    found = next(trial for trial in again.trials if trial.name == lost.name)
    shared = min(len(found.values), len(lost.values))
    assert shared >= 2
    assert found.values[:shared] == lost.values[:shared]


def test_another_sweep_in_the_same_place_is_refused(swept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    config, base, _ = swept
    other = dataclasses.replace(base, model=ModelConfig(embedding_dim=8))
    with pytest.raises(UserError, match=r"belongs to a run with other settings: .*model\.embedding_dim"):
        run_sweep(config, other)
    argv = ["sweep", f"--sweep.space={config.space}", f"--data.path={base.data.path}", f"--run.dir={base.run.dir}"]
    assert main([*argv, "--sweep.trials=0"]) == 2
    assert "sweep.trials is 0; it must be at least 1" in capsys.readouterr().err
    assert main(argv[:1]) == 2
    assert "sweep.space" in capsys.readouterr().err
