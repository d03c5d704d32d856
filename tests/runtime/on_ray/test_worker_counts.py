"""One worker against two and four with the same global batch, through Ray Data and Ray Train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_runs import exact_run

from distributed_il.core.config import TrainConfig
from distributed_il.data.dataset import Dataset
from distributed_il.inference.evaluate import load_model
from distributed_il.runtime.launch import launch
from distributed_il.training.checkpoint import CheckpointStore

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("private_ray")]

TOLERANCE = 1e-10


def arrays(config: TrainConfig) -> dict[str, np.ndarray]:
    """The last checkpoint: the run's arrays, and the model as one process reads it."""
    manifest = CheckpointStore(config.run.dir).manifest("last")
    assert manifest is not None
    learner, _ = load_model(config.run.dir, "last", None)
    model = {"users": learner.users.packed, "items": learner.items.packed, "tower": learner.tower.packed}
    return load_file(f"{manifest['place']}/state.safetensors") | {name: value.numpy() for name, value in model.items()}


@pytest.fixture(scope="module")
def alone(private_ray: None, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = exact_run(dataset, tmp_path_factory.mktemp("alone") / "run", workers=1)
    return config, launch(config)


@pytest.mark.cluster
def test_four_workers_with_their_shares_of_the_tables_come_to_the_same(
    alone: Any, dataset: Dataset, tmp_path: Path
) -> None:
    config = exact_run(dataset, tmp_path / "run", workers=4, tables="sharded")
    assert_same(alone, (config, launch(config)))


def test_two_workers_share_one_global_batch_one_decision_and_one_result(alone: Any, undisturbed: Any) -> None:
    assert_same(alone, undisturbed)


def assert_same(alone: Any, together: Any) -> None:
    """Replicas have been compared bit by bit at each checkpoint, where a run fails if they differ."""
    config, result = together
    mine, theirs = arrays(alone[0]), arrays(config)
    assert mine["decisions.counts"].sum() > 0
    assert (mine["decisions.counts"] > 0).sum() >= 2  # else equal decisions would say little
    np.testing.assert_array_equal(mine["decisions.choices"], theirs["decisions.choices"])
    np.testing.assert_array_equal(mine["decisions.steps"], theirs["decisions.steps"])
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        np.testing.assert_allclose(theirs[name], values, rtol=0, atol=TOLERANCE, err_msg=name)
    assert result["test"] == pytest.approx(alone[1]["test"], abs=TOLERANCE)
