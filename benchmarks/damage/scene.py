"""A small dataset with all that one can hold, and runs over it; and another of each, to take files from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from distributed_il.core.collectives import LocalCollectives
from distributed_il.core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from distributed_il.core.method_config import InverseGradientConfig
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.data.prepare import PrepareConfig, prepare
from distributed_il.training.trainer import Trainer

USERS, ITEMS = 160, 90
DATA, RUN, STOPPED, MORE = "data", "run", "stopped", "more.csv"
_COLUMNS = "user_id,item_id,label\n"


def build_scene(root: Path, seed: int) -> None:
    """Makes a dataset with unclear rows, side features and factors, a run of two rounds, and one that has had one.

    Args:
        root: Directory for all of them.
        seed: Of the log and of the runs.
    """
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    same_taste = (np.arange(USERS)[:, None] + np.arange(ITEMS)) % 3 == 0
    seen = np.argwhere(rng.random((USERS, ITEMS)) < np.where(same_taste, 0.5, 0.05))
    labels = rng.choice(["0", "1", ""], size=len(seen))
    rows = [f"{user},{item},{label}\n" for (user, item), label in zip(seen.tolist(), labels, strict=True)]
    (root / "log.csv").write_text(_COLUMNS + "".join(rows))
    (root / MORE).write_text(_COLUMNS + "".join(f"{user},{ITEMS},{user % 2}\n" for user in range(40)))
    for kind, ids in (("user", USERS), ("item", ITEMS)):
        text = "".join(f"{number},{rng.integers(3)}\n" for number in range(ids))
        (root / f"{kind}s.csv").write_text(f"{kind}_id,kind\n{text}")
    prepare(
        PrepareConfig(
            source=str(root / "log.csv"),
            output=str(root / DATA),
            lanes=2,
            name="log",
            factors=4,
            **features_of(root),
        )
    )
    train(root / DATA, root / RUN, rounds=2, seed=seed)
    train(root / DATA, root / STOPPED, rounds=1, seed=seed)


def features_of(root: Path) -> dict[str, Any]:
    """Returns the settings that name the files of side features."""
    files = {f"{kind}_features": str(root / f"{kind}s.csv") for kind in ("user", "item")}
    return files | {f"{kind}_feature_columns": ["kind"] for kind in ("user", "item")}


def train(data: Path, run_dir: Path, *, rounds: int, seed: int, start_from: str | None = None) -> dict[str, object]:
    """Trains in this process; returns the metrics that metrics.json holds."""
    config = TrainConfig(
        data=DataConfig(path=str(data)),
        model=ModelConfig(backbone="deepfm", embedding_dim=4),
        run=RunConfig(dir=str(run_dir), max_rounds=rounds, batch_size=512, seed=seed, start_from=start_from),
        method=InverseGradientConfig(),
    )
    dataset = Dataset.open(config.data.path)
    reader, ranks = LocalBlockReader(dataset), LocalCollectives()
    result = Trainer(config, dataset, reader=reader, collectives=ranks, device=torch.device("cpu")).run()
    return {name: result[name] for name in ("valid", "test", "trivial")}
