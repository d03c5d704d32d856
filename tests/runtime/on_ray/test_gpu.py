"""A run on a GPU, with NCCL, against the same run on the CPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from small_runs import small_run

from distributed_il.core.config import ModelConfig
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.dataset import Dataset
from distributed_il.runtime.launch import launch

pytestmark = [
    pytest.mark.ray,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.usefixtures("private_ray"),
]


@pytest.mark.parametrize("backbone", ["gmf", "neumf"])
def test_one_round_on_a_gpu_ends_as_on_the_cpu(dataset: Dataset, tmp_path: Path, backbone: str) -> None:
    results = []
    for use_gpu in (False, True):
        config = dataclasses.replace(
            small_run(dataset, tmp_path / f"gpu-{use_gpu}", workers=1, max_rounds=1, use_gpu=use_gpu),
            model=ModelConfig(backbone=backbone, dtype="float64"),
            method=InverseGradientConfig(dual_learning_rate=1e-3, test_share=0.3),
        )
        results.append(launch(config))
    on_cpu, on_gpu = results
    assert on_gpu["test"] == pytest.approx(on_cpu["test"], abs=1e-6)
    assert on_gpu["run"]["decisions"] == on_cpu["run"]["decisions"]
