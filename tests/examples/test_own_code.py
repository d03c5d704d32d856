"""A method and a backbone of one's own, from the command line to the trained model, and how mistakes are answered."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
import yaml
from forged_checkpoints import rewrite_manifests
from local_runs import local_trainer
from thread_ranks import run_on_threads

from distributed_il.cli import main
from distributed_il.cli.train import read as read_train_config
from distributed_il.core.config import TrainConfig, config_from_dict, config_to_dict, config_to_yaml
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset
from distributed_il.inference.trained_run import open_run
from distributed_il.methods import make_method
from distributed_il.runtime.preflight import check_run
from distributed_il.runtime.sweep.draw import draw, with_settings
from distributed_il.runtime.sweep.space import Domain, read_space
from distributed_il.training.feedback import resolve_feedback

METHOD = "own_method:FocalLoss"
BACKBONE = "own_backbone:Distance"
MISTAKES = """
from dataclasses import dataclass, field
from distributed_il.data.loading.batch import Phase

class NoStep:
    @dataclass(frozen=True)
    class Config: pass

class NoConfig:
    def step(self, executor, batch): ...

class Thawed:
    @dataclass
    class Config: pass
    step = NoConfig.step

class Named:
    @dataclass(frozen=True)
    class Config:
        name: str = "mine"
    step = NoConfig.step

class NoPhases:
    Config = NoStep.Config
    step = NoConfig.step
    def __init__(self, config): pass

class NoShare(NoPhases):
    phases = (Phase("train", "all", unlabelled=False),)

class NoTestRows(NoPhases):
    phases = (Phase("test", "test", unlabelled=True),)
    test_share = 0.0

class NeedsRate(NoConfig):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        rate: float
        kinds: list[str] = field(default_factory=list)

class Slips(NoShare):
    test_share = 0.0
    def step(self, executor, batch):
        return batch.labels + batch.lables
"""
SLIPS = """
import torch
from distributed_il.models.backbones import Backbone

class Wide(Backbone):
    def __init__(self, embedding_dim):
        super().__init__(embedding_dim)
        self.user_dim = self.item_dim = embedding_dim

    def forward(self, user_rows, item_rows):
        return user_rows * item_rows

class Slips(Wide):
    def forward(self, user_rows, item_rows):
        return torch.cat([user_rows, item_rows[:1]]) @ user_rows
"""


@pytest.fixture(autouse=True)
def own_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands are given where the examples lie; the module of mistakes lies elsewhere on the path."""
    (tmp_path / "mistaken.py").write_text(MISTAKES)
    (tmp_path / "slips.py").write_text(SLIPS)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(Path(__file__).parent)


@pytest.fixture
def argv(make_dataset: Callable[..., Dataset], tmp_path: Path) -> list[str]:
    """A short run of both examples."""
    dataset = make_dataset(train=240, valid=60, test=60, lanes=2)
    places = [f"--data.path={dataset.path}", f"--run.dir={tmp_path / 'run'}"]
    sizes = ["--run.batch_size=40", "--run.max_rounds=2", "--model.embedding_dim=4", "--optimizer.learning_rate=0.01"]
    return [*places, *sizes, f"--method.name={METHOD}", f"--model.backbone={BACKBONE}", "--model.factors=0"]


def metrics(config: TrainConfig) -> dict[str, Any]:
    return json.loads(Path(config.run.dir, "metrics.json").read_text())


def test_both_train_and_every_record_of_the_run_names_them(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = read_train_config([*argv, "--method.focus=1.5"])
    check_run(config)
    local_trainer(config).run()
    found = metrics(config)["run"]
    assert (found["method"], found["backbone"]) == ({"name": METHOD, "focus": 1.5}, BACKBONE)
    saved = yaml.safe_load(Path(config.run.dir, "config.yaml").read_text())
    assert saved["method"] == {"name": METHOD, "focus": 1.5}
    config = resolve_feedback(config, Dataset.open(config.data.path))  # what trained
    assert read_train_config(["--config", f"{config.run.dir}/config.yaml"]) == config
    manifest = open_run(config.run.dir, "best", None, allow_code=True).manifest
    assert config_from_dict(manifest["config"]) == config
    report = [config.run.dir, f"--output={tmp_path / 'page.html'}"]
    assert main(["report", *report]) == 2
    assert f"names code: model.backbone '{BACKBONE}'" in capsys.readouterr().err
    assert main(["report", "--allow_code", *report]) == 0


def test_a_trained_model_is_read_without_the_code_of_its_method(argv: list[str]) -> None:
    config = read_train_config(argv)
    local_trainer(config).run()

    def change(manifest: dict[str, Any]) -> None:
        manifest["config"]["method"]["name"] = "gone:Method"

    rewrite_manifests(config.run.dir, change)
    assert open_run(config.run.dir, "best", None, allow_code=True).config.model.backbone == BACKBONE


def test_a_focus_of_zero_is_log_loss(argv: list[str], tmp_path: Path) -> None:
    focused = read_train_config([*argv, "--method.focus=0"])
    plain = read_train_config([*argv, "--method.name=none", f"--run.dir={tmp_path / 'plain'}"])
    assert local_trainer(focused).run()["test"] == pytest.approx(local_trainer(plain).run()["test"], rel=1e-5)


def test_two_ranks_train_the_same_model_as_one(argv: list[str], tmp_path: Path) -> None:
    # GMF: the bias of `Distance` would go through DDP, which ranks that are threads do not have.
    config = read_train_config([*argv, "--model.backbone=bias_mf", "--model.dtype=float64"])
    alone = local_trainer(config).run()
    halves = replace(config, run=replace(config.run, workers=2, batch_size=20, dir=str(tmp_path / "halves")))
    together = run_on_threads(2, lambda ranks: local_trainer(halves, ranks).run())[0]
    assert together["test"] == pytest.approx(alone["test"], rel=1e-9)


def test_settings_come_from_files_and_variables_like_those_of_a_built_in_method(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job.yaml").write_text(f"method: {{name: {METHOD}, focus: 3}}")
    config = read_train_config([*argv[:2], f"--config={tmp_path}/job.yaml"])
    assert config_to_dict(config)["method"] == {"name": METHOD, "focus": 3.0}
    monkeypatch.setenv("DISTRIBUTED_IL_TRAIN__METHOD__FOCUS", "4")
    config = read_train_config([*argv[:2], f"--config={tmp_path}/job.yaml"])
    assert config_to_dict(config)["method"] == {"name": METHOD, "focus": 4.0}


def test_settings_travel_to_other_processes(argv: list[str]) -> None:
    config = read_train_config(argv)
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_sweep_draws_its_settings(argv: list[str], tmp_path: Path) -> None:
    base = read_train_config([*argv, "--method.name=none"])
    space = tmp_path / "space.yaml"
    space.write_text(f"method.name: {{choice: [none, {METHOD}]}}\nmethod.focus: {{uniform: [0, 5]}}")
    found = read_space(str(space), base)
    assert found.domains[0] == Domain("method.name", "choice", ("none", METHOD))
    trials = [with_settings(base, settings) for settings in draw(found, base, trials=8)]
    assert {trial.method.name for trial in trials} == {"none", METHOD}
    assert len({config_to_yaml(trial) for trial in trials}) == 8
    space.write_text("method.name: {choice: ['mistaken:Nothing']}")
    with pytest.raises(UserError, match=r"space\.yaml: method\.name 'mistaken:Nothing' can't be imported"):
        read_space(str(space), base)


def test_help_shows_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f"--method.name={METHOD}", "--help"]) == 0
    assert "γ; 0 is log loss." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method.name=absent:Method"], "--method.name: method.name 'absent:Method' can't be imported"),
        (["--method.name=mistaken:Absent"], "can't be imported"),
        (["--method.name=broken:Method"], "(ZeroDivisionError: division by zero); `python -c 'import broken'` shows"),
        (["--method.name=mistaken:NoStep"], "it must be a class with `Config` and `step`"),
        (["--method.name=mistaken:NoConfig"], "it must be a class with `Config` and `step`"),
        (["--method.name=mistaken:Thawed"], "write @dataclass(frozen=True) above it"),
        (["--method.name=mistaken:Named"], "has a field `name`"),
        (["--method.name=mistaken:NeedsRate"], "method.rate is missing; give it as --method.rate=…"),
        ([f"--method.name={METHOD}", "--method.focal=1"], "did you mean 'method.focus'?"),
        ([f"--method.name={METHOD}", "--method.direction=sgd"], "it belongs to ig"),
        ([f"--method.name={METHOD}", "--method.focus=much"], "method.focus is 'much'; it must be a number"),
        (["--method.name"], "it must be one of none, ns, t_ce, r_ce, idl, ordinal, ig, or module:Class"),
    ],
)
def test_a_mistake_is_answered_in_one_line_that_names_its_place(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data.path=data", "--run.dir=run", *flags]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert "method." in said


@pytest.mark.parametrize(
    ("name", "message"),
    [("NoPhases", "has no `phases`"), ("NoShare", "test_share is None"), ("NoTestRows", "a test_share above 0")],
)
def test_a_method_without_a_part_is_refused_before_anything_starts(name: str, message: str, argv: list[str]) -> None:
    config = read_train_config([*argv, f"--method.name=mistaken:{name}"])
    with pytest.raises(UserError, match=message):
        check_run(config)
    with pytest.raises(UserError, match=message):
        make_method(config.method)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--method.name=mistaken:Slips",
            r"method\.name 'mistaken:Slips' fails on two rows, at .*mistaken\.py:44: A",
        ),
        (
            "--model.backbone=slips:Slips",
            r"model\.backbone 'slips:Slips' fails on two rows, at .*slips\.py:15: R",
        ),
        ("--model.backbone=slips:Wide", r"model\.backbone 'slips:Wide' gives logits of shape \[2, 4\] for 2 rows"),
    ],
)
def test_a_slip_in_own_code_is_told_with_its_line_before_anything_starts(
    flag: str, message: str, argv: list[str], tmp_path: Path
) -> None:
    config = read_train_config([*argv, flag])
    with pytest.raises(UserError, match=message):
        check_run(config)
    assert not Path(config.run.dir).exists()


def test_an_unknown_backbone_is_refused_before_anything_starts(argv: list[str]) -> None:
    with pytest.raises(UserError, match=r"model\.backbone 'absent:Net' can't be imported"):
        check_run(read_train_config([*argv, "--model.backbone=absent:Net"]))


def test_settings_without_a_value_are_missed_in_a_dictionary_too() -> None:
    places = {"data": {"path": "data"}, "run": {"dir": "run"}}
    with pytest.raises(UserError, match=r"method\.rate is missing"):
        config_from_dict({**places, "method": {"name": "mistaken:NeedsRate"}})


@pytest.mark.parametrize("name", ["own_backbone", "own_method"])
def test_the_guide_shows_these_files(name: str) -> None:
    here = Path(__file__).parent
    _, code = (here / f"{name}.py").read_text().split('"""\n\n', 1)
    shown = (here.parents[1] / "CONTRIBUTING.md").read_text()
    assert indent(code, "    ") in shown
