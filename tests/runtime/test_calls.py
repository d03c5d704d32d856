"""Settings of a run as keywords of a Python program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from local_runs import local_trainer

import distributed_il as dil
from distributed_il.core.config import TrainConfig, config_from_dict
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.runtime import early_start, opening
from distributed_il.runtime.calls import config_of

PLACES: dict[str, Any] = {"data": "d", "run_dir": "r"}


def test_keywords_are_settings_by_their_names() -> None:
    made = config_of(None, {**PLACES, "max_rounds": 2, "learning_rate": 3e-3, "backbone": "gmf", "method": "ordinal"})
    method = {"name": "ordinal"}
    assert made == config_from_dict(
        {
            "data": {"path": "d"},
            "run": {"dir": "r", "max_rounds": 2},
            "model": {"backbone": "gmf"},
            "optimizer": {"learning_rate": 3e-3},
            "method": method,
        }
    )
    assert config_of(None, {**PLACES, "method": "ordinal", "half_width": 0.25}).method.half_width == 0.25  # type: ignore[attr-defined]
    sections = config_of(None, {**PLACES, "model": {"factors": 16}, "factor_decay": 1e-3, "method": {"name": "none"}})
    assert (sections.model.factors, sections.model.factor_decay, sections.method.name) == (16, 1e-3, "none")


def test_keywords_replace_single_settings_of_a_whole_configuration() -> None:
    whole = config_of(None, {**PLACES, "seed": 3, "method": {"name": "idl", "unlabelled_weight": 0.5}})
    assert config_of(whole, {}) == whole
    other = config_of(whole, {"seed": 4})
    assert (other.run.seed, other.method) == (4, whole.method)
    assert config_of(whole, {"method": "idl"}).method == whole.method
    assert config_of(whole, {"method": "none"}).method == NoneConfig()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_round": 2}, "max_round is no setting of a run with this method; there are"),
        ({"max_rounds": "2"}, "run.max_rounds is '2'; it must be a whole number"),
        ({"max_rounds": True}, "run.max_rounds is True; it must be a whole number"),
        ({"learning_rate": None}, "optimizer.learning_rate is None; it must be a number"),
        ({"missed_steps": "skp"}, "optimizer.missed_steps is 'skp'; it must be 'skip' or 'catch_up'"),
        ({"model": {"dim": 3}}, "model.dim is unknown; there are"),
        ({"half_width": 1.0}, "half_width is no setting of a run with this method"),
        ({"max_rounds": 0}, "run.max_rounds is 0; it must be at least 1"),
        ({"method": "igg"}, "igg"),
    ],
)
def test_a_wrong_keyword_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(dil.UserError) as caught:
        config_of(None, {**PLACES, **settings})
    assert words in str(caught.value)


def test_a_run_has_its_metrics_and_history(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_start, "start_run", lambda config: local_trainer(config).run())
    run_dir = str(tmp_path / "run")
    run = dil.train(data=tiny_dataset.path, run_dir=run_dir, max_rounds=2, batch_size=8, method="none", factors=0)
    assert run.dir == run_dir
    assert [entry["round"] for entry in run.history] == [1, 2]
    model = dil.load(run_dir)
    assert model.history == run.history
    assert model.metrics["test"]["auc"] == pytest.approx(run.metrics["test"]["auc"])
    assert dil.evaluate(run_dir)["test"]["auc"] == pytest.approx(run.metrics["test"]["auc"])


def test_whole_numbers_do_for_numbers_and_null_where_it_may_stand() -> None:
    made: TrainConfig = config_of(None, {**PLACES, "weight_decay": 0, "checkpoint_every_s": None})
    assert (made.optimizer.weight_decay, made.run.checkpoint_every_s) == (0, None)


def test_the_package_alone_imports_neither_torch_nor_ray() -> None:
    code = "import sys, distributed_il as d; d.UserError; print(*{'torch', 'ray', 'pyarrow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"\n"
    assert {"prepare", "train", "load", "evaluate", "sweep"} <= set(dir(dil))
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        _ = dil.predict  # type: ignore[attr-defined]


def test_positives_alone_are_trained_on_by_none_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(user, item) for user in range(6) for item in range(8) if (user + item) % 3]
    table = pa.table({"user_id": [user for user, _ in pairs], "item_id": [item for _, item in pairs]})
    path = dil.prepare(table, str(tmp_path / "data")).path
    made: list[TrainConfig] = []
    monkeypatch.setattr(early_start, "start_run", lambda config: made.append(config) or {})
    monkeypatch.setattr(opening, "open_run", lambda config: None)
    for settings in ({}, {"method": "ns"}, {"test_share": 0.2}):
        dil.train(data=path, run_dir=str(tmp_path / "run"), **settings)
    assert [config.method.name for config in made] == ["none", "ns", "ig"]
