"""Scores of a whole split over all ranks, every row exactly once, and the metrics of those scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distributed_il.collectives import Collectives, sum_over_ranks
from distributed_il.dataset import BlockReader, Dataset
from distributed_il.lanes import lanes_of_rank
from distributed_il.learner import Learner
from distributed_il.metrics import evaluate
from distributed_il.objectives import log_loss
from distributed_il.trivial import item_mean, user_item_bias

COLUMNS = ("user_id", "item_id", "label")
CHUNK_ROWS = 16_384
KEPT_ROWS = 4_194_304


@dataclass(frozen=True, slots=True)
class Part:
    """A rank's rows of a split.

    Attributes:
        numbers: Global row numbers, int64 [n].
        user_ids: int64 [n].
        item_ids: int64 [n].
        labels: int8 [n].
    """

    numbers: NDArray[np.int64]
    user_ids: NDArray[np.int64]
    item_ids: NDArray[np.int64]
    labels: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class SplitScores:
    """All rows of a split in global order.

    Attributes:
        user_ids: int64 [N].
        item_ids: int64 [N].
        labels: int8 [N].
        logits: float64 [N].
    """

    user_ids: NDArray[np.int64]
    item_ids: NDArray[np.int64]
    labels: NDArray[np.int8]
    logits: NDArray[np.float64]

    def metrics(self) -> dict[str, Any]:
        """Every metric of `distributed_il.metrics.evaluate`, from logits."""
        return evaluate(self.user_ids, self.logits, self.labels)

    def trivial_metrics(self, dataset: Dataset) -> dict[str, dict[str, Any]]:
        """The metrics of the two trivial predictors on the same rows, fitted on the training rows.

        Args:
            dataset: The dataset that the split belongs to.
        """
        seen = dataset.activity()
        bias, mean = user_item_bias(
            seen.user_rows, seen.user_positives, seen.item_rows, seen.item_positives, dataset.observed()
        )
        item = item_mean(seen.item_rows, seen.item_positives)[self.item_ids]
        both = bias[self.user_ids] + mean[self.item_ids]
        return {
            "item_mean": evaluate(self.user_ids, item, self.labels, probabilities=item),
            "user_item_bias": evaluate(self.user_ids, both, self.labels, probabilities=np.clip(both, 1e-6, 1 - 1e-6)),
        }


class SplitReader:
    """A rank's rows of one split; small ones are kept after the first reading."""

    def __init__(self, dataset: Dataset, reader: BlockReader, split: str, *, rank: int, world_size: int) -> None:
        """Lays out the reading; nothing is read yet.

        Args:
            dataset: The prepared dataset.
            reader: How its blocks are read.
            split: `valid` or `test`.
            rank: This worker.
            world_size: Workers.
        """
        self.split, self.total = split, dataset.rows(split)
        self._dataset, self._reader = dataset, reader
        self._lanes = lanes_of_rank(dataset.lanes, rank, world_size)
        self._kept: list[Part] | None = None

    def parts(self) -> list[Part]:
        """The rank's rows, block by block."""
        if self._kept is not None:
            return self._kept
        blocks = [block for lane in self._lanes for block in self._dataset.blocks(self.split, lane)]
        parts = [
            Part(
                np.arange(block.start, block.start + block.rows, dtype=np.int64) * self._dataset.lanes + block.lane,
                columns["user_id"].astype(np.int64),
                columns["item_id"].astype(np.int64),
                columns["label"].astype(np.int8),
            )
            for block, columns in zip(blocks, self._reader.read(blocks, COLUMNS), strict=True)
        ]
        if sum(block.rows for block in blocks) <= KEPT_ROWS:
            self._kept = parts
        return parts


def mean_log_loss(learner: Learner, split: SplitReader, collectives: Collectives) -> tuple[float, list[torch.Tensor]]:
    """Mean log loss of a split over all ranks, and this rank's logits.

    Args:
        learner: The replica, settled.
        split: The rows.
        collectives: The ranks.

    Returns:
        The loss, the same on every rank; the logits of each part, on the CPU.
    """
    total = torch.zeros(2, dtype=torch.float64)
    logits: list[torch.Tensor] = []
    for part in split.parts():
        scores = torch.cat([torch.empty(0, dtype=learner.users.packed.dtype), *_chunks(learner, part)])
        labels = torch.from_numpy(part.labels.astype(np.float64))
        total += torch.tensor([float(log_loss(scores.to(torch.float64), labels).sum()), float(labels.numel())])
        logits.append(scores)
    loss_sum, rows = sum_over_ranks(collectives, total.to(learner.device)).tolist()
    return (loss_sum / rows if rows else math.nan), logits


def gather_scores(
    split: SplitReader, logits: list[torch.Tensor], collectives: Collectives, device: torch.device
) -> SplitScores:
    """Brings the rows of all ranks together, in global row order, so that metrics do not depend on the worker count.

    Args:
        split: This rank's rows.
        logits: Of each part.
        collectives: The ranks.
        device: Where collectives work.
    """
    parts = split.parts()
    capacity = math.ceil(split.total / collectives.world_size)
    columns = torch.full((4, capacity), -1, dtype=torch.float64)
    start = 0
    for part in parts:
        stop = start + part.numbers.size
        # Row numbers and ids stay far below 2**53, so float64 carries them exactly.
        for row, values in enumerate((part.numbers, part.user_ids, part.item_ids, part.labels)):
            columns[row, start:stop] = torch.from_numpy(values.astype(np.float64))
        start = stop
    gathered = collectives.all_gather(columns.to(device)).cpu()
    scores = torch.zeros(capacity, dtype=torch.float64)
    scores[:start] = torch.cat([torch.empty(0, dtype=torch.float64), *(part.to(torch.float64) for part in logits)])
    all_scores = collectives.all_gather(scores.to(device)).cpu().reshape(-1).numpy()
    numbers, users, items, labels = (gathered[:, row].reshape(-1).numpy() for row in range(4))
    real = np.flatnonzero(numbers >= 0)
    order = real[np.argsort(numbers[real], kind="stable")]
    return SplitScores(
        users[order].astype(np.int64), items[order].astype(np.int64), labels[order].astype(np.int8), all_scores[order]
    )


def _chunks(learner: Learner, part: Part) -> list[torch.Tensor]:
    user_ids, item_ids = torch.from_numpy(part.user_ids), torch.from_numpy(part.item_ids)
    return [
        learner.score(users.to(learner.device), items.to(learner.device)).cpu()
        for users, items in zip(user_ids.split(CHUNK_ROWS), item_ids.split(CHUNK_ROWS), strict=True)
    ]
