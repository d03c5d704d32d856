from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from random_factors import store_random_factors

from benchmarks.paper.search_space import BACKBONES, METHODS, PAPER_RATES, ROWS, Log, candidates, paper_setting
from benchmarks.paper.table2_report import PAPER
from benchmarks.table2 import Plan, choose, main, possible_rows
from distributed_il.core.config import config_from_dict
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset

PLACES = {"data": {"path": "data"}, "run": {"dir": "run"}}


@pytest.mark.parametrize("log", ["ml1m", "micro_video"])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", ROWS)
def test_every_row_has_six_different_settings_that_the_config_accepts(backbone: str, method: str, log: Log) -> None:
    settings = candidates(backbone, method, log)
    configs = {repr(config_from_dict({**PLACES, **setting})) for setting in settings}
    assert len(configs) == 6
    if method in METHODS:
        paper = config_from_dict({**PLACES, **paper_setting(backbone, method, log)})
        assert (paper.optimizer.learning_rate, paper.optimizer.weight_decay) == (PAPER_RATES[log], 0.0)
        assert (backbone, method) in PAPER[log]


def test_the_search_may_not_read_the_test_split(tmp_path: Path) -> None:
    plan = Plan(data="data", out=tmp_path, seeds=2)
    search = plan.search()
    assert not any(task.test for tasks in search.values() for task in tasks)
    best = search["gmf", "ig"][4]
    first, second = plan.chosen(("gmf", "ig"), best)
    assert (first.model_dir, first.go_on, first.test) == (best.model_dir, True, True)
    assert (second.setting, second.seed, second.go_on, second.test) == (best.setting, 1, False, True)


def test_the_lowest_validation_log_loss_wins_and_a_diverged_run_never_does(tmp_path: Path) -> None:
    tasks = Plan(data="data", out=tmp_path).search()["gmf", "none"][:3]
    results = {
        tasks[0].name: {"failed": "diverged"},
        tasks[1].name: {"valid": {"calibrated_logloss": 0.5}},
        tasks[2].name: {"valid": {"calibrated_logloss": 0.4}},
    }
    assert choose(tasks, results) is tasks[2]
    with pytest.raises(UserError, match="diverged"):
        choose(tasks[:1], results)


def test_a_table_of_a_tiny_dataset_then_again_from_what_is_saved(
    make_dataset: Callable[..., Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset()
    out, jobs = tmp_path / "out", tmp_path / "jobs"
    rows = [("gmf", "ns"), ("gmf", "ig")]
    arguments = ["--data", dataset.path, "--out", str(out), "--jobs", "1", "--quick"]
    arguments += ["--backbones", "gmf", "--methods", "ns", "ig"]
    assert main(arguments) == 0
    (written_report,) = out.glob("table2-ml1m-*.json")
    report = json.loads(written_report.read_text())
    for part in ("paper", "tuned"):
        assert [(row["backbone"], row["method"]) for row in report[part]] == rows
        assert all(0 <= run["test"]["auc"] <= 1 for row in report[part] for run in row["runs"])
    for row, tuned in zip(report["search"], report["tuned"], strict=True):
        assert not any("test" in tried for tried in row["settings"])
        lowest = min(row["settings"], key=lambda tried: tried["valid"]["calibrated_logloss"])
        assert lowest["chosen"]
        assert tuned["setting"] == lowest["setting"]
        assert tuned["runs"][0]["valid"] == pytest.approx(lowest["valid"])
    text = written_report.with_suffix(".md").read_text()
    assert text.count("| gmf | ig |") == 2 + len(report["search"][0]["settings"])
    assert "item mean" in text
    assert not (out / "models").exists()

    written = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    assert main([*arguments, "--write-jobs", str(jobs)]) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()} == written
    assert text == written_report.with_suffix(".md").read_text()
    assert len(list(jobs.iterdir())) == len(rows)
    for row in report["tuned"]:
        job = yaml.safe_load((jobs / f"ml1m_{row['backbone']}_{row['method']}.yaml").read_text())
        config = config_from_dict({**job, "data": PLACES["data"], "run": {**job["run"], **PLACES["run"]}})
        assert config.run.global_batch_size == report["config"]["batch_size"]
        assert config.method.name == row["method"]
    assert "GAUC" in capsys.readouterr().out


def test_rows_that_the_data_rule_out_are_left_out(make_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    with_log, without = make_dataset(), make_dataset("without", unclear=0)
    assert with_log.logged() is not None
    assert possible_rows(without) == METHODS
    store_random_factors(with_log, tmp_path / "scratch")
    assert possible_rows(Dataset.open(with_log.path)) == ROWS
    plan = Plan(data="data", out=tmp_path, backbones=("gmf",), possible=(*METHODS, "factors"))
    assert [method for _, method in plan.rows] == [*METHODS, "factors"]
    assert [method for _, method in plan.paper()] == [*METHODS]
