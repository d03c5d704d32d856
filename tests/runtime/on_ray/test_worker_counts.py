"""One worker against two and four with the same global batch, through Ray Data and Ray Train."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_runs import small_run

from distributed_il.core.config import ModelConfig, TrainConfig
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.dataset import Dataset
from distributed_il.inference.evaluate import load_model
from distributed_il.runtime.launch import launch
from distributed_il.training.checkpoint import CheckpointStore

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]

GLOBAL_BATCH = 400
TOLERANCE = 1e-10


def trained(
    dataset: Dataset, run_dir: Path, workers: int, tables: Any = "replicated"
) -> tuple[TrainConfig, dict[str, Any]]:
    config = small_run(dataset, run_dir)
    config = dataclasses.replace(
        config,
        model=ModelConfig(dtype="float64", tables=tables),
        method=InverseGradientConfig(dual_learning_rate=1e-3, test_share=0.3),
        run=dataclasses.replace(
            config.run, workers=workers, batch_size=GLOBAL_BATCH // workers, checkpoint_every_steps=None, max_rounds=2
        ),
    )
    # Replicas are compared bit by bit at each checkpoint, and the run fails where they differ.
    return config, launch(config)


def arrays(config: TrainConfig) -> dict[str, np.ndarray]:
    """The last checkpoint: the run's arrays, and the model as one process reads it."""
    manifest = CheckpointStore(config.run.dir).manifest("last")
    assert manifest is not None
    learner, _ = load_model(config.run.dir, "last", None)
    model = {"users": learner.users.packed, "items": learner.items.packed, "tower": learner.tower.packed}
    return load_file(f"{manifest['place']}/state.safetensors") | {name: value.numpy() for name, value in model.items()}


@pytest.fixture(scope="module")
def alone(private_ray: None, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trained(dataset, tmp_path_factory.mktemp("alone") / "run", 1)


@pytest.mark.parametrize(
    ("workers", "tables"), [(2, "replicated"), pytest.param(4, "sharded", marks=pytest.mark.cluster)]
)
def test_workers_share_one_global_batch_one_decision_and_one_result(
    alone: Any, dataset: Dataset, tmp_path: Path, workers: int, tables: str
) -> None:
    config, result = trained(dataset, tmp_path / "run", workers, tables)
    mine, theirs = arrays(alone[0]), arrays(config)
    assert mine["decisions.counts"].sum() > 0
    assert (mine["decisions.counts"] > 0).sum() >= 2  # else equal decisions would say little
    np.testing.assert_array_equal(mine["decisions.choices"], theirs["decisions.choices"])
    np.testing.assert_array_equal(mine["decisions.steps"], theirs["decisions.steps"])
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        np.testing.assert_allclose(theirs[name], values, rtol=0, atol=TOLERANCE, err_msg=name)
    assert result["test"] == pytest.approx(alone[1]["test"], abs=TOLERANCE)
