"""A model whose scores are known in advance, and the metrics of a split over ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from small_datasets import SplitRows
from torch import Tensor

from distributed_il.core.collectives import Collectives
from distributed_il.data.dataset import Dataset, LocalBlockReader
from distributed_il.evaluation.output import Output
from distributed_il.evaluation.split_scores import SplitReader, score_split

HALF_WIDTH = 0.75


class KnownScores:
    """Stands for a learner: the score of a pair is an entry of a table.

    Attributes:
        table: Scores, float32 [num_users, num_items].
        calls: Pairs of each call so far.
    """

    device = torch.device("cpu")

    def __init__(self, num_users: int, num_items: int) -> None:
        # Eighths, so that many scores tie.
        self.table = torch.from_numpy(
            np.random.default_rng(0).integers(-20, 20, (num_users, num_items)).astype(np.float32) / 8
        )
        self.calls: list[int] = []

    def score(self, user_ids: Tensor, item_ids: Tensor) -> Tensor:
        self.calls.append(user_ids.numel())
        return self.table[user_ids, item_ids]


def known_scores(rows: SplitRows, split: str, model: KnownScores) -> dict[str, Any]:
    """Columns of a split with their scores, in global order, as `evaluate` takes them."""
    users, items = rows[split]["user_id"], rows[split]["item_id"]
    return {"user_ids": users, "scores": model.table[users, items].numpy(), "labels": rows[split]["label"]}


def measure(collectives: Collectives, path: str, split: str) -> dict[str, Any]:
    """What a rank finds on a split of a dataset."""
    dataset = Dataset.open(path)
    model: Any = KnownScores(dataset.num_users, dataset.num_items)
    rank, world_size = collectives.rank, collectives.world_size
    reader = SplitReader(dataset, LocalBlockReader(dataset), split, rank=rank, world_size=world_size)
    scores = score_split(model, reader, collectives)
    again = score_split(model, reader, collectives)
    return {
        "again": again.metrics(Output()),
        "users": np.unique(np.concatenate([part["user_id"] for part in scores.parts])).tolist(),
        "rows": sum(part.size for part in scores.parts),
        "calls": len(model.calls),
        "metrics": scores.metrics(Output()),
        "output": scores.fit(),
        "calibrated": scores.metrics(scores.fit()),
        "clear_output": scores.fit(HALF_WIDTH),
        "clear": scores.metrics(scores.fit(HALF_WIDTH)),
        "trivial": scores.baseline_metrics(dataset),
    }
