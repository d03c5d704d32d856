"""A run on an object store, over HTTP: trained, stopped, resumed, measured; its bits are those of a local run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_runs import local_trainer
from object_store import BUCKET, object_store
from pyarrow.fs import copy_files
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distributed_il.cli import main
from distributed_il.core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem, read_run_file
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.training.monitor import TensorBoardMonitor
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.run_state import Stopped


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URI of an empty bucket."""
    with object_store() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield f"s3://{BUCKET}"


def config_of(data: str, run_dir: str, rounds: int = 3) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(path=data),
        run=RunConfig(dir=run_dir, batch_size=64, max_rounds=rounds, patience=9, checkpoint_every_steps=4),
        model=ModelConfig(factors=0, embedding_dim=4),
        method=NoneConfig(),
    )


def put(dataset: Dataset, uri: str) -> str:
    """Copies a dataset into the store."""
    fs, place = filesystem(uri)
    copy_files(dataset.path, place, destination_filesystem=fs)
    return uri


def test_a_run_that_was_stopped_goes_on_from_the_store_and_ends_as_a_local_one(
    make_dataset: Callable[..., Dataset], store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(lanes=2)
    data, run_dir = put(dataset, f"{store}/data"), f"{store}/runs/one"
    local = local_trainer(config_of(dataset.path, str(tmp_path / "run"))).run()
    first = local_trainer(config_of(data, run_dir))
    first.hooks = RunHooks(should_stop=lambda: first.state.round == 1)
    with pytest.raises(Stopped):
        first.run()
    assert read_run_file(run_dir, "metrics.json") is None
    second = local_trainer(config_of(data, run_dir))
    assert second.state.round == 1
    result = second.run()
    assert {name: result[name] for name in ("valid", "test", "trivial")} == {
        name: local[name] for name in ("valid", "test", "trivial")
    }
    written = json.loads(read_run_file(run_dir, "metrics.json") or "")
    assert written["test"]["auc"] == local["test"]["auc"]

    assert main(["evaluate", f"--run_dir={run_dir}"]) == 0
    assert f"{local['test']['auc']:.4f}" in capsys.readouterr().out


def test_curves_are_brought_over_at_each_flush(store: str, tmp_path: Path) -> None:
    def curve() -> list[tuple[int, float]]:
        copy = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        copy.mkdir()
        fs, place = filesystem(f"{store}/run/tensorboard")
        copy_files(place, str(copy), source_filesystem=fs)
        events: Any = EventAccumulator(str(copy)).Reload()
        return [(event.step, event.value) for event in events.Scalars("loss")]

    with TensorBoardMonitor(f"{store}/run/tensorboard", purge_step=None) as monitor:
        monitor.scalars({"loss": 0.5}, 1)
        monitor.flush()
        assert curve() == [(1, 0.5)]
        monitor.scalars({"loss": 0.25}, 2)
    assert curve() == [(1, 0.5), (2, 0.25)]


def test_what_is_missing_in_the_store_is_one_line(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="holds no manifest"):
        Dataset.open(f"{store}/nothing")
    for uri in (f"{store}/runs/none", "s3://no-such-bucket/run"):
        assert main(["evaluate", f"--run_dir={uri}"]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
