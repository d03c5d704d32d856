"""What TensorBoard shows of a run that was killed and went on: the curves of one that was not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_datasets import make_small_dataset
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.training import run_outputs
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.monitor import TensorBoardMonitor
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.trainer import Trainer


class Killed(BaseException):
    """Stands for a SIGKILL: what is not in a file by now is lost."""


def run(dataset: Dataset, run_dir: Path) -> None:
    """Starts a run or goes on with it, as a worker does."""
    config = TrainConfig(
        data=DataConfig(path=dataset.path),
        run=RunConfig(dir=str(run_dir), max_rounds=2, patience=2, batch_size=50, checkpoint_every_steps=3),
        method=InverseGradientConfig(test_share=0.3),
    )
    last = CheckpointStore(str(run_dir)).manifest("last")
    monitor = TensorBoardMonitor(str(run_dir), purge_step=0 if last is None else last["step"] + 1)
    with monitor:
        Trainer(
            config,
            dataset,
            reader=LocalBlockReader(dataset),
            collectives=LocalCollectives(),
            device=torch.device("cpu"),
            hooks=RunHooks(monitor=monitor),
        ).run()


def shown(run_dir: Path) -> dict[str, Any]:
    """What the server would show: the steps of each tag, and the values of those that measure no time."""
    events = EventAccumulator(str(run_dir), {"tensors": 0}).Reload()
    found: dict[str, Any] = {}
    for tag in events.Tags()["tensors"]:
        compared = tag.partition("/")[0] in ("2_train", "1_valid", "test", "candidates", "decisions", "weights")
        found[tag] = [
            (event.step, tensor_util.make_ndarray(event.tensor_proto).tolist() if compared else None)
            for event in events.Tensors(tag)
        ]
    return found


def killed_at(number: int, dataset: Dataset, place: Path, kill_before: Callable[[Callable[[], None]], None]) -> Path:
    """A copy of a run's directory as it is found after a kill at the `number`-th of the moments in question."""
    count = 0

    def reached() -> None:
        nonlocal count
        count += 1
        if count == number:
            shutil.copytree(place / "run", place / "killed")
            raise Killed

    kill_before(reached)
    with pytest.raises(Killed):
        run(dataset, place / "run")
    for file in (place / "killed").glob("events.*"):  # read first, whatever the clock says
        file.rename(file.with_name("events.out.tfevents.0000000001.killed"))
    return place / "killed"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_small_dataset(tmp_path_factory.mktemp("curves") / "dataset")


@pytest.fixture(scope="module")
def undisturbed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    run(dataset, run_dir)
    return shown(run_dir)


@pytest.mark.parametrize("number", [1, 2, 4, 5])  # inside a round, at the end of one, inside the next
def test_a_kill_right_after_a_checkpoint_leaves_no_gap(
    number: int, dataset: Dataset, undisturbed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_a_checkpoint(reached: Callable[[], None]) -> None:
        save = CheckpointStore.save

        def noted(*arguments: Any, **named: Any) -> None:
            save(*arguments, **named)
            reached()

        monkeypatch.setattr(CheckpointStore, "save", noted)

    run_dir = killed_at(number, dataset, tmp_path, after_a_checkpoint)
    monkeypatch.undo()
    run(dataset, run_dir)
    assert shown(run_dir) == undisturbed


def test_a_kill_before_the_results_are_complete_leaves_nothing_twice(
    dataset: Dataset, undisturbed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def before_the_metrics(reached: Callable[[], None]) -> None:
        write = run_outputs.write_run_file

        def noted(run_dir: str, name: str, content: str) -> None:
            if name == "metrics.json":
                reached()
            write(run_dir, name, content)

        monkeypatch.setattr(run_outputs, "write_run_file", noted)

    run_dir = killed_at(1, dataset, tmp_path, before_the_metrics)
    assert "test/auc" in shown(run_dir)
    monkeypatch.undo()
    run(dataset, run_dir)
    assert shown(run_dir) == undisturbed
