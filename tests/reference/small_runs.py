"""A small dataset and runs over it, for tests that start whole runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distributed_il.core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.dataset import Dataset, DatasetWriter
from distributed_il.data.sampling import PairIndex

USERS, ITEMS = 300, 400
GLOBAL_BATCH = 200
SIZES = {"train": 24_000, "valid": 4_000, "test": 4_000}


def write_small_dataset(path: Path) -> Dataset:
    """Distinct pairs at random; a label is likelier 1 where user and item have the same parity."""
    rng = np.random.default_rng(7)
    pairs = rng.choice(USERS * ITEMS, size=sum(SIZES.values()), replace=False)
    users, items = (pairs // ITEMS).astype(np.int32), (pairs % ITEMS).astype(np.int32)
    labels = (rng.random(len(pairs)) < np.where((users + items) % 2 == 0, 0.8, 0.2)).astype(np.int8)
    with DatasetWriter(str(path), name="small", rule={"name": "binary"}, lanes=8, row_group_rows=1000) as writer:
        start = 0
        for split, size in SIZES.items():
            part = slice(start, start + size)
            writer.append(split, pa.table({"user_id": users[part], "item_id": items[part], "label": labels[part]}))
            start += size
        seen = PairIndex.from_pairs(users[: SIZES["train"]], items[: SIZES["train"]], USERS)
        writer.write_index("observed", [(np.repeat(np.arange(USERS), np.diff(seen.indptr)), seen.items)], USERS)
        writer.finish(users=pa.array(range(USERS), pa.int64()), items=pa.array(range(ITEMS), pa.int64()))
    return Dataset.open(str(path))


def small_run(dataset: Dataset, run_dir: Path, **run: Any) -> TrainConfig:
    """Inverse gradient with GMF, two workers, some rounds of some hundred steps, often saved."""
    settings: dict[str, Any] = {
        "checkpoint_every_steps": 20,
        "workers": 2,
        "batch_size": 64,
        "max_rounds": 3,
        "patience": 3,
    } | run
    return TrainConfig(data=DataConfig(path=dataset.path), run=RunConfig(dir=str(run_dir), **settings))


def exact_run(
    dataset: Dataset, run_dir: Path, *, workers: int = 2, tables: Any = "replicated", **run: Any
) -> TrainConfig:
    """In float64 and of one global batch, so that any number of workers comes to the same but for the last digits."""
    return dataclasses.replace(
        small_run(dataset, run_dir, workers=workers, batch_size=GLOBAL_BATCH // workers, **run),
        model=ModelConfig(dtype="float64", tables=tables),
        method=InverseGradientConfig(dual_learning_rate=1e-3, test_share=0.3),
    )
