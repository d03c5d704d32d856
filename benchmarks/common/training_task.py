"""One training run of a benchmark, in this process and without Ray."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper.search_space import BATCH_SIZE, Setting
from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import SelectBy, TrainConfig, config_from_dict
from distributed_il.core.errors import UserError
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.inference.config import EvaluateConfig
from distributed_il.inference.evaluate import evaluate
from distributed_il.training.trainer import Trainer


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrainingTask:
    """What to train and whether its test split may be read."""

    name: str
    """Of the task; its result is kept under it."""
    data: str
    """Prepared dataset."""
    model_dir: str
    """Where the run keeps its checkpoints."""
    setting: Setting
    """Sections of the configuration."""
    seed: int
    """Seed of the run."""
    max_rounds: int
    """Rounds at the most."""
    patience: int
    """Rounds without a better validation."""
    select_by: SelectBy = "logloss"
    """What chooses the best round."""
    batch_size: int = BATCH_SIZE
    """Labelled rows of a step."""
    test: bool
    """Whether to measure the best round on the test split."""
    go_on: bool = False
    """Whether the run in `model_dir` is finished and only to be measured; it is trained where it is missing."""

    def config(self) -> TrainConfig:
        """The run's whole configuration."""
        run = {
            "dir": self.model_dir,
            "seed": self.seed,
            "max_rounds": self.max_rounds,
            "patience": self.patience,
            "select_by": self.select_by,
            "batch_size": self.batch_size,
        }
        return config_from_dict({"data": {"path": self.data}, "run": run, **self.setting})

    def identity(self) -> dict[str, Any]:
        """What decides the result; a saved one is used again only where this is the same."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in ("data", "model_dir", "go_on")}


def carry_out(task: TrainingTask) -> dict[str, Any]:
    """Trains and measures.

    Args:
        task: The run.

    Returns:
        `task`, `dataset`, `seconds` of training, `valid` and `run` as in metrics.json, and where the test split was
        read `test` and `trivial`; a run that diverged has `failed`, the reason, in their place.
    """
    if not task.go_on:
        shutil.rmtree(task.model_dir, ignore_errors=True)
    Path(task.model_dir).mkdir(parents=True, exist_ok=True)
    dataset = Dataset.open(task.data)
    found: dict[str, Any] = {"task": task.identity(), "dataset": dataset.fingerprint}
    started = time.perf_counter()
    try:
        found |= local_trainer(task.config(), dataset).fit()
    except UserError as error:
        return {**found, "seconds": time.perf_counter() - started, "failed": str(error)}
    found["seconds"] = time.perf_counter() - started
    if task.test:
        # The run is this process's own, and so is the code that it may name.
        found |= evaluate(EvaluateConfig(run_dir=task.model_dir, data=task.data, allow_code=True))
    return found


def local_trainer(config: TrainConfig, dataset: Dataset) -> Trainer:
    """A trainer in this process, that reads files itself and tells nobody.

    Args:
        config: The run.
        dataset: Its data.
    """
    return Trainer(
        config,
        dataset,
        reader=LocalBlockReader(dataset),
        collectives=LocalCollectives(),
        device=torch.device("cpu"),
    )
