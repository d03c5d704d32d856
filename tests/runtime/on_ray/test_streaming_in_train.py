"""Two Ray Train workers that hold every CPU, each reading its own lanes at the same time."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import ray.train
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.runtime.ray_data import RayBlockReader

pytestmark = [pytest.mark.cluster, pytest.mark.ray, pytest.mark.usefixtures("private_ray")]


def test_each_worker_reads_its_own_blocks_in_order_pass_after_pass(dataset: Dataset, tmp_path: Path) -> None:
    def read_own_lanes(arguments: dict[str, str]) -> None:  # nested, so that it travels by value
        opened = Dataset.open(arguments["path"])
        context = ray.train.get_context()
        lanes = range(context.get_world_rank(), opened.lanes, context.get_world_size())
        blocks = [
            block
            for turn in itertools.zip_longest(*(opened.blocks("train", lane) for lane in lanes))
            for block in turn
            if block is not None
        ]
        columns = ("user_id", "item_id", "label")
        expected = list(LocalBlockReader(opened).read(blocks, columns))
        reader = RayBlockReader(opened, rows_per_task=2_000)
        for wanted in (len(blocks), 2, len(blocks), len(blocks)):  # the second pass is left early
            stream = reader.read(blocks, columns)
            for arrays, right in zip(itertools.islice(stream, wanted), expected, strict=False):
                for name in columns:
                    np.testing.assert_array_equal(arrays[name], right[name])
            assert (next(stream, None) is None) == (wanted == len(blocks))
            stream.close()  # type: ignore[attr-defined]
        ray.train.report({"rank": context.get_world_rank(), "blocks": len(blocks)})

    TorchTrainer(
        read_own_lanes,
        train_loop_config={"path": dataset.path},
        torch_config=TorchConfig(backend="gloo", timeout_s=60),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=str(tmp_path), name="reading"),
    ).fit()
