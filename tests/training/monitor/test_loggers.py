"""Loggers: what reaches MLflow and Weights & Biases, played by modules that write down what they are told."""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import NoneConfig
from distributed_il.runtime.data_checks import check_data
from distributed_il.training.monitor import TensorBoardMonitor
from distributed_il.training.monitor.loggers import LoggingMonitor, MlflowLogger


class FakeMlflow(types.ModuleType):
    """Takes what the real one takes, and refuses what that refuses."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.calls: list[Any] = []
        self.entities = SimpleNamespace(Metric=lambda *metric: metric)
        self.down = False

    def start_run(self, run_id: str | None, run_name: str | None) -> Any:
        self.calls.append(("start", run_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id or "run-1"))

    def log_params(self, params: Mapping[str, Any]) -> None:
        self.calls.append(("params", params["optimizer.learning_rate"]))

    def MlflowClient(self) -> FakeMlflow:  # noqa: N802, its name there
        return self

    def log_batch(self, run_id: str, metrics: Any) -> None:
        if self.down:
            raise ConnectionError("no server")
        assert len(metrics) <= 1_000
        assert not any("@" in name for name, *_ in metrics)
        self.calls.append((run_id, [(name, value, step) for name, value, _, step in metrics]))

    def end_run(self, status: str) -> None:
        self.calls.append(status)


class FakeWandb(types.ModuleType):
    """Notes each run's id and what it logs."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[Any] = []
        self.ids: list[str] = []

    def init(self, *, id: str, resume: str, name: str, config: Mapping[str, Any], dir: str) -> FakeWandb:
        self.ids.append(id)
        self.calls.append((resume, name, config["method"]["name"], dir))
        return self

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.calls.append((step, values))

    def finish(self, exit_code: int) -> None:
        self.calls.append(exit_code)


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    monkeypatch.setitem(sys.modules, "mlflow", FakeMlflow())
    return sys.modules["mlflow"]  # pyright: ignore[reportReturnType]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    return sys.modules["wandb"]  # pyright: ignore[reportReturnType]


def config_of(place: Path, *loggers: str) -> TrainConfig:
    run = RunConfig(dir=f"{place}/runs/feed", loggers=list(loggers))
    return TrainConfig(data=DataConfig(path=f"{place}/data"), run=run, method=NoneConfig())


def monitor_of(config: TrainConfig, notes: list[str]) -> LoggingMonitor:
    return LoggingMonitor(TensorBoardMonitor(config.run.dir, purge_step=0), config, notes.append)


def test_numbers_go_out_together_at_each_flush(tmp_path: Path, mlflow: FakeMlflow) -> None:
    notes: list[str] = []
    with monitor_of(config_of(tmp_path, "mlflow"), notes) as monitor:
        monitor.scalars({"2_train/loss_round": 0.5, "1_valid/ndcg@10": 0.75, "1_valid/ece": math.nan}, 7)
        monitor.scalars({"decisions/skip": 1.0}, 8)
        assert mlflow.calls == [("start", None, "runs/feed"), ("params", 0.001)]
        monitor.flush()
    sent = [("train/loss_round", 0.5, 7), ("valid/ndcg_at_10", 0.75, 7), ("decisions/skip", 1.0, 8)]
    assert mlflow.calls[2:] == [("run-1", sent), "FINISHED"]
    assert notes == []
    assert list((tmp_path / "runs" / "feed").glob("events.*"))


def test_a_run_that_goes_on_is_the_same_run(tmp_path: Path, mlflow: FakeMlflow, wandb: FakeWandb) -> None:
    config = config_of(tmp_path, "mlflow", "wandb")
    with pytest.raises(KeyboardInterrupt), monitor_of(config, []) as monitor:
        monitor.scalars({"test/auc": 0.5}, 1)  # of no checkpoint, and so told by the process that goes on
        raise KeyboardInterrupt
    with monitor_of(config, []) as monitor:
        monitor.scalars({"test/auc": 0.5}, 1)
        monitor.flush()
    assert mlflow.calls == [
        ("start", None, "runs/feed"),
        ("params", 0.001),
        "KILLED",
        ("start", "run-1", None),
        ("run-1", [("test/auc", 0.5, 1)]),
        "FINISHED",
    ]
    begun = ("allow", "runs/feed", "none", config.run.dir)
    assert wandb.calls == [begun, 1, begun, (1, {"test/auc": 0.5}), 0]
    assert wandb.ids[0] == wandb.ids[1]


def test_many_numbers_go_in_requests_that_mlflow_takes(tmp_path: Path, mlflow: FakeMlflow) -> None:
    logger = MlflowLogger(config_of(tmp_path, "mlflow"))
    logger.send([(step, {"loss": 0.5}) for step in range(2_500)])
    assert [len(metrics) for _, metrics in mlflow.calls[2:]] == [1_000, 1_000, 500]


def test_a_logger_that_fails_is_left_out_and_the_others_go_on(
    tmp_path: Path, mlflow: FakeMlflow, wandb: FakeWandb
) -> None:
    notes: list[str] = []
    mlflow.down = True
    with monitor_of(config_of(tmp_path, "mlflow", "wandb"), notes) as monitor:
        for step in (1, 2):
            monitor.scalars({"a": 0.5}, step)
            monitor.flush()
    assert notes == ["mlflow fails (ConnectionError: no server); the run goes on without it"]
    assert [call[0] for call in mlflow.calls] == ["start", "params"]
    assert wandb.calls[1:] == [(1, {"a": 0.5}), (2, {"a": 0.5}), 0]


def test_what_is_not_installed_is_told_before_anything_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb").mkdir()  # as W&B leaves one; it is no installed library
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(
        UserError, match=r"names wandb, which is not installed; `pip install 'distributed-il\[wandb\]'`"
    ):
        check_data(config_of(tmp_path, "wandb"))


def test_other_names_are_refused() -> None:
    with pytest.raises(UserError, match="run.loggers names neptune; there are mlflow and wandb"):
        RunConfig(dir="run", loggers=["mlflow", "neptune"])


def test_mlflow_itself_takes_what_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    config = config_of(tmp_path, "mlflow")
    notes: list[str] = []
    for step in (1, 2):
        with monitor_of(config, notes) as monitor:
            monitor.scalars({"1_valid/ndcg@10": step / 4}, step)
            monitor.flush()
    assert notes == []
    client = real.MlflowClient()
    run = client.get_run((tmp_path / "runs" / "feed" / "mlflow.txt").read_text())
    assert (run.info.run_name, run.info.status) == ("runs/feed", "FINISHED")
    assert run.data.params["method.name"] == "none"
    history = client.get_metric_history(run.info.run_id, "valid/ndcg_at_10")
    assert [(point.step, point.value) for point in history] == [(1, 0.25), (2, 0.5)]
