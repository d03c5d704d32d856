"""A trainer begins to read its next round before it validates, and leaves no reading behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from small_datasets import make_small_dataset

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import DataConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.dataset import Block, Dataset, LocalBlockReader
from distributed_il.training.run_hooks import RunHooks
from distributed_il.training.trainer import Stopped, Trainer


class NotingReader(LocalBlockReader):
    """Notes which split each read is of."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.splits: list[str] = []

    def read(self, blocks: Sequence[Block], columns: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        if blocks:
            self.splits.append(blocks[0].path.partition("/")[0])
        return super().read(blocks, columns)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_small_dataset(tmp_path_factory.mktemp("ahead") / "dataset", train=600, valid=100, test=100)


def trainer(
    dataset: Dataset, run_dir: Path, reader: LocalBlockReader, *, stop_after: int = 10**9, **run: int
) -> Trainer:
    asked = iter(range(10**9))
    return Trainer(
        TrainConfig(
            data=DataConfig(path=dataset.path),
            run=RunConfig(dir=str(run_dir), batch_size=50, **run),
            method=InverseGradientConfig(),
        ),
        dataset,
        reader=reader,
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
        hooks=RunHooks(should_stop=lambda: next(asked) >= stop_after),
    )


def reading_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "prefetch"]


def test_every_round_is_read_once_and_none_beyond_the_last(dataset: Dataset, tmp_path: Path) -> None:
    reader = NotingReader(dataset)
    trainer(dataset, tmp_path / "run", reader, max_rounds=3).fit()
    assert reader.splits.count("train") == 3
    assert reader.splits[0] == "train"
    assert not reading_threads()


def test_the_next_round_is_being_read_while_the_last_one_is_validated(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[list[str]] = []
    validate = Trainer._validate

    def noting(self: Trainer) -> bool:
        during.append(reading_threads())
        return validate(self)

    monkeypatch.setattr(Trainer, "_validate", noting)
    # As many windows as are made in a pass would end the thread, so let it hold one back.
    monkeypatch.setattr("distributed_il.data.loading.loader.WINDOW_ROWS", 1)
    trainer(dataset, tmp_path / "run", NotingReader(dataset), max_rounds=3).fit()
    assert during == [["prefetch"], ["prefetch"], []]


def test_a_run_that_ends_early_leaves_no_reading_behind(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worse(self: Trainer) -> bool:
        self.state.history.append({"round": self.state.round + 1, "step": self.learner.step, "train_loss": 1.0})
        self.state.best_round = 1
        return self.state.round == 0

    monkeypatch.setattr(Trainer, "_validate", worse)
    reader = NotingReader(dataset)
    run = trainer(dataset, tmp_path / "run", reader, max_rounds=9, patience=2)
    run.fit()
    assert run.state.round == 3
    assert reader.splits.count("train") == 4
    assert not reading_threads()


@pytest.mark.parametrize("stop_after", [0, 5])
def test_a_run_that_is_stopped_leaves_no_reading_behind(dataset: Dataset, tmp_path: Path, stop_after: int) -> None:
    with pytest.raises(Stopped):
        trainer(dataset, tmp_path / "run", NotingReader(dataset), stop_after=stop_after, max_rounds=3).fit()
    assert not reading_threads()


def test_a_validation_that_fails_leaves_no_reading_behind(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Trainer) -> bool:
        raise UserError("no")

    monkeypatch.setattr(Trainer, "_validate", fail)
    with pytest.raises(UserError, match="no"):
        trainer(dataset, tmp_path / "run", NotingReader(dataset), max_rounds=3).fit()
    assert not reading_threads()
